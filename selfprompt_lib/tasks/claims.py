"""What a reply claims to be its answer, and which claim counts (chapter 5)."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

SEVERAL = ""  # the value of a claim that names more than one answer
REWRITTEN = [(re.compile(pattern), new) for pattern, new in (
    (r"\n\s*(?:Question|Q|User|Human)\s*:(?s:.*)", ""),  # it went on with a question of its own
    (r"(?i)answer (?:with )?yes or no\.?|answer with the letter of the right option\.?|end with the answer as a number\.?", ""),
    (r"(?i)\((?:arabic numerals|yes or no)\)", ""),  # of the second pass
    (r"<<[^>\n]*>>", ""),  # GSM8K's calculator marks
    (r"[\u2212\u2013]", "-"), (r"[\u2018\u2019]", "'"),
    (r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}", r"\1"), (r"\\d?frac\{([^{}]*)\}\{([^{}]*)\}", r"\1/\2"),
    (r"\{,\}", ","), (r"\\\$", ""), (r"\\boxed\s*\{([^{}]*)\}", r" answer: \1 "),
    (r"\\times|\u00d7", "*"), (r"\\[()\[\],;!]", " "),
    (r"(?m)^\s*####\s*", "answer: "), (r"</answer>", "\n"), (r"<answer>", "answer: "),
    (r"(?m)^\s*(?:#+|[-*>])\s+", ""), (r"[*_]{2}|[`\"$\u201c\u201d{}]", ""),
)]  # fmt: skip
STATED = re.compile(
    r"(?i)\b(?:answer|option|choice|letter)\b(?: to [^.:\n]{1,40}?)?"
    r"\s*(?:(?:\b(?:is|would be|must be|should be)\b|:)\s*:?\s*|\n+\s*)"
    r"(?:(?:definitely|clearly|certainly|(?:most )?likely|probably|simply)\s+)?"
    r"|\bans\b[.:]\s*|\bI meant\s+|\b(?:actually|sorry|wait|no),? (?:it|that)(?: is|'s)\s+"
)
FINAL = re.compile(
    r"(?i)(?:^|[.!?,;\n])\s*(?:but|however|actually|wait|sorry|correction|instead|therefore|thus|hence|so|final|finally|"
    r"in conclusion)\b[^.!?\n]{0,40}(?:[.!?]\s+)?[^.!?\n]*$"
)
INSTEAD = re.compile(r"(?i)not\b[^.\n]*?(?:\bbut\b|\bit is\b|\bit's\b|\brather\b)\s*")


@dataclass(frozen=True)
class Claim:
    """One answer that a reply states; `final` where the words before it conclude ("so") or correct ("wait")."""

    value: str
    final: bool = False


def tidy(answer: str) -> str:
    """An answer without Markdown, LaTeX and its own copy of the instruction; `####` and boxes say "answer: "."""
    for pattern, new in REWRITTEN:
        answer = pattern.sub(new, answer)
    return answer.strip()


def claims(text: str, cue: re.Pattern, value: Callable[[str], str | None]) -> Iterator[Claim]:
    """What a text states after each `cue`; `value` reads the answer that a text begins with, if it does."""
    for hit in cue.finditer(text):
        rest = text[hit.end():]
        corrected = INSTEAD.match(rest)  # "not B but C"
        got = value(rest[corrected.end():] if corrected else rest)
        if got is not None:
            yield Claim(got, bool(FINAL.search(text[: hit.end()])))


def settled(found: Iterable[Claim], strict: bool) -> str | None:
    """The one value of all claims; where they disagree, the last one's if it is final; None where nothing is claimed.

    Strictly, claims that disagree are no answer, whatever the last one says.
    """
    found = list(found)
    if not found:
        return None
    same = len({claim.value for claim in found}) == 1
    return found[-1].value if same or (found[-1].final and not strict) else SEVERAL
