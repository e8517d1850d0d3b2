"""What a reply states as its answer, and which statement counts (chapter 5)."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

AMBIGUOUS = ""  # the value of a candidate that names more than one answer

# Marks of one meaning: the one that is read here.
SAME = str.maketrans({
    **dict.fromkeys("\u2212\u2010\u2011\u2012\u2013", "-"), "\u2014": " - ",
    **dict.fromkeys("\u2018\u2019\u02bc\u2032\u00b4", "'"),
    **dict.fromkeys("\u201c\u201d\u2033", '"'), **dict.fromkeys("\u2044\u2215\u00f7", "/"),
    **dict.fromkeys("\u00d7\u22c5\u00b7", "*"),
    **dict.fromkeys("\u200b\u2060\ufeff\u00ad"),
    "\u066b": ".", "\u066c": ",", "\u2248": "=", "≤": "<", "≥": ">", "。": ". ",
})
ASKED_FORM = (
    r"(?i)answer (?:with )?yes or no\.?|answer with the letter of the right option\.?"
    r"|end with the answer as a number\.?"
)
REWRITTEN = [(re.compile(pattern), new) for pattern, new in (
    # What is no part of the answer: a next question of its own, the instruction's words.
    (r"\n\s*(?:Question|Q|User|Human)\s*:(?s:.*)", ""),
    (ASKED_FORM, ""),
    (r"(?i)\((?:arabic numerals|yes or no)\)", ""),  # of the second pass
    (r"<<[^>\n]*>>", ""),  # GSM8K's calculator marks
    # LaTeX.
    (r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]*)\}", r"\1"),
    (r"\{,\}|(?<=\d),\\!(?=\d)", ","),
    (r"\\[dtc]?frac\s*(?:\{\s*(-?[\d,]+)\s*\}|(\d))\s*(?:\{\s*([\d,]+)\s*\}|(\d))", r" \1\2/\3\4"),
    (r"\\[dtc]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"(\1)/(\2)"),
    (r"\\(?:begin|end)\s*\{(?:align|gather|equation)[a-z]*\*?\}|\\\\\s*(?=\n)", "\n"),
    (r"&\s*=", "="),
    (r"(?<=\d)!(?=\s*\})", "!."),  # a factorial, not an exclamation
    (r"\\f?box(?:ed)?\s*\{\s*\}[\s$.]*", " answer:"),
    (r"\\f?box(?:ed)?\s*\{((?:[^{}]|\{[^{}]*\})*)\}", r" answer: \1 "),
    (r"\\(?:times|cdot)\b", "*"), (r"\\approx\b", "="), (r"\\[lg](?:eq?|t)\b", "<"),
    (r"\^\s*\{?\\circ\}?|\\degree\b", "°"), (r"\\%", "%"), (r"\\pm\b", "±"),
    (r"\\[()\[\],;:! ]|\\q?quad\b", " "),
    (r"(?i)\$\s*(\d[\d.,]*)\s?m\b(?!\$)", r" \1 million"),  # "$5m"; without a "$", metres
    # Marks of an answer: GSM8K's, and XML's.
    (r"(?m)^\s*####\s*", "answer: "),
    (r"</answer>", "\n"),
    (r"<answer>", "answer: "),
    # Markdown, quotation marks and what is left of braces.
    (r"(?<=\d)\*\*(?=-?\d)", "^"),
    (r"(?m)^\s*(?:#+|[-*>•])\s+", ""),
    (r"(?m)^\s*✅\s*(?=\(?[A-Z]\b\W*$)", ""),  # "✅ B", and no mark in a list of options
    (r"[*_]{2}|[`\"{}]", ""),
    (r"(?<![\w*])\*(\w[^*\n]*)\*(?![\w*])", r"\1"),
    (r"(?:-|(?:(?<=\bis )|(?<=[=:] ))- )\\?\$ ?(?=[\d.])", "-"),  # "-$5", "is - $5"
    (r"\\?\$", " "),
)]

# "The answer is", "Option:", "ans.", "I meant", "Wait, it is": an answer comes next.
STATED = re.compile(
    r"(?i)(?:\b(?:answer|option|choice|letter|antwort|antwoord|r[eé]ponse|respuesta|resposta"
    r"|risposta)|答案)(?![a-z])(?: corr?ec?t+\w*)?(?: to [^.:\n]{1,40}?)?"
    r"\s*(?:(?:(?=isn't\b)|\b(?:is|would be|must be|should be|ist|est|es|[éè])\b|是|:)\s*:?\s*"
    r"|\n+\s*)"
    r"(?:(?:definitely|clearly|certainly|(?:most )?likely|probably|simply)\s+)?"
    r"|\bbest (?:estimate|guess) (?:is|would be)\s+"
    r"|\bans\b[.:]\s*|\bI meant\s+|\b(?:final|result|conclusion|solution|decision)\s*:\s*"
    r"|\bI made (?:a|an) (?:mistake|error)\b[.!:]?\s*(?:(?:it|that)(?: is|'s| should be)\s+)?"
    r"|\b(?:actually|sorry|wait|no|hmm)\b,? (?:it|that)(?: is|'s|(?= isn't| can(?:no|')t))\s+"
)
CORRECTION = re.compile(r"(?i)(?:actually|sorry|wait|no|hmm|I made)\b")
RETRACTED = re.compile(r"(?i)(?:isn't|can't be|cannot be|not|wrong|incorrect|a mistake)\b|$")
# In front of a cue: what follows is denied, or said by others.
DENIED = re.compile(r"(?i)(?:\b(?:not|never|cannot|whether|if)|n't) +(?:\w+ +){0,2}$"
                    r"|\b(?:wrong|incorrect|false|worst|least likely|second[- ]best|previous) +$"
                    r"|(?:错误|不正确)的?$")
OF_OTHERS = re.compile(r"(?i)\b(?:some|others|many|people|they|might|may) +(?:\w+ +){0,2}$")
# The sentence before an answer concludes ("so") or corrects ("wait").
FINAL = re.compile(
    r"(?i)(?:^|[.!?,;\n])\s*(?:I(?:'d|'ll| would| will)? )?"
    r"(?:but|however|actually|wait|sorry|correction|instead|therefore|thus|hence|so|final|finally|"
    r"in conclusion|I made|no, (?:it|that|this)|no wait)\b[^.!?\n]{0,40}(?:[.!?]\s+)?[^.!?\n]*$"
)
INSTEAD = re.compile(r"(?i)(?:not|isn't)\b[^.\n]*?(?:\bbut\b|\bit is\b|\bit's\b|\brather\b)\s*")


@dataclass(frozen=True)
class Candidate:
    """One answer that a reply states; `final` where the words before it conclude or correct."""

    value: str
    final: bool = False
    at: int = 0  # where in the reply it begins


def normalize(answer: str) -> str:
    """An answer without Markdown, LaTeX and its own copy of the instruction.

    `####`, boxes and `<answer>` become "answer: ". Used by all readers of chapter 5.
    """
    answer = plain_characters(answer)
    for pattern, new in REWRITTEN:
        answer = pattern.sub(new, answer)
    return answer.strip()


def plain_characters(text: str) -> str:
    """The text with one character for each kind of digit, space, minus, quote and currency.

    A fraction in one character gets a space in front, and raised digits a "^", so that neither is
    taken for more digits of the number before it.
    """
    if text.isascii():
        return text
    text = re.sub("[\u2070-\u207e\u00b2\u00b3\u00b9]+", r"^\g<0>", text)
    return "".join(char if char.isascii() else _plain(char) for char in text)


def _plain(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.decimal(char))
    if category == "Sc":  # a currency
        return "$"
    kind = unicodedata.decomposition(char).split(" ")[0]
    mark = {"<fraction>": " ", "<sub>": "_"}.get(kind, "")
    return mark + unicodedata.normalize("NFKC", char.translate(SAME)).translate(SAME)


def answer_candidates(text: str, cue: re.Pattern,
                      value: Callable[[str], str | None]) -> Iterator[Candidate]:
    """What a text states after each `cue`; `value` reads the answer that a text begins with."""
    for hit in cue.finditer(text):
        before = text[: hit.start()][-60:]
        if DENIED.search(before):
            continue
        rest = text[hit.end():]
        corrected = INSTEAD.match(rest)  # "not B but C"
        got = value(rest[corrected.end():] if corrected else rest)
        retracted = got is None and CORRECTION.match(hit[0]) and RETRACTED.match(rest)
        if retracted or (got is not None and OF_OTHERS.search(before)):
            got = AMBIGUOUS
        if got is not None:
            yield Candidate(got, bool(FINAL.search(text[: hit.end()])), hit.end())


def resolve(candidates: Iterable[Candidate], strict: bool) -> str | None:
    """The one answer of all candidates; None where there is no candidate.

    Where they disagree, the last one counts if it is final, else the answer is `AMBIGUOUS`.
    Strictly, candidates that disagree are always ambiguous.
    """
    candidates = list(candidates)
    if not candidates:
        return None
    last, agree = candidates[-1], len({candidate.value for candidate in candidates}) == 1
    return last.value if agree or (last.final and not strict) else AMBIGUOUS
