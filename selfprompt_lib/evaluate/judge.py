"""A model that compares two answers: what it is asked, how its reply is read, and the verdict on a pair.

It is asked through the annotator's client (`selfprompt_lib.annotate`), so its limits, budget, batches and log
are the same: a second run asks only what is missing.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel

from ..errors import require
from ..llm_client.ask import ask_rows
from ..llm_client.endpoint import Endpoint
from ..llm_client.prompt import Prompt, read_guideline, user_turn
from ..profiles import Judge, Profile
from ..rows import read_rows

JUDGE_FOLDER = Path(__file__).parent.parent / "resources" / "judge"
ENDING = "First write one short reason, in at most 30 words. Then end with the line Verdict: A, Verdict: B or Verdict: tie."
VERDICT = re.compile(r"^\W*verdict[\W_]*:[\W_]*(?:answer\s+|a\s+(?=tie))?(a|b|tie)[\W_]*$", re.IGNORECASE | re.MULTILINE)
SWAPPED = {"A": "other", "B": "one", "tie": "tie"}
PLAIN = {"A": "one", "B": "other", "tie": "tie"}


@dataclass(frozen=True)
class Pair:
    """Two answers to one question, their roles stripped: what is judged. `domain` is for the tables."""

    id: str
    domain: str
    question: str
    one: str
    other: str


class Shown(NamedTuple):
    """What the judge sees: the question, and the answers in the places A and B."""

    question: str
    a: str
    b: str


@dataclass(frozen=True)
class Comparison:
    """A pair in one of its two orders; `question` is what the form asks about."""

    id: str
    domain: str
    question: Shown


class Verdict(BaseModel):
    """What a reply says."""

    verdict: Literal["A", "B", "tie"]
    reason: str


class Example(Verdict):
    """A line of examples.jsonl: a comparison with its verdict, to show the form."""

    id: str
    question: str
    a: str
    b: str


def written(shown: Shown) -> str:
    """Question and answers as the judge reads them."""
    return (f"Question: {shown.question}\n\n[Answer A]\n{shown.a}\n[End of answer A]\n\n"
            f"[Answer B]\n{shown.b}\n[End of answer B]\n\nWhich answer helps more?")


@dataclass(frozen=True)
class JudgePrompt(Prompt):
    """What is asked for a verdict. Made by `JudgePrompt.from_settings` from the profile."""

    kind, unit, label = "verdict", "comparisons", "judging"
    retry_instruction = f"Judge the two answers once more. {ENDING}"

    settings: Judge
    examples: tuple[Example, ...]

    @classmethod
    def from_settings(cls, settings: Judge) -> "JudgePrompt":
        """Read the guideline, the package's or the one that `judge.guideline` names, and the examples."""
        examples = tuple(read_rows(JUDGE_FOLDER / "examples.jsonl", Example))
        return cls(settings, read_guideline(settings, JUDGE_FOLDER / "guideline.md"), examples)

    def messages(self, question: Shown) -> list[dict[str, str]]:
        """The guideline, an example of each verdict, then question and answers."""
        turns = [{"role": "system", "content": f"{self.guideline}\n\n{ENDING}"}]
        for example in self.examples:
            reply = f"{example.reason}\nVerdict: {example.verdict}"
            turns += [user_turn(written(Shown(example.question, example.a, example.b))), {"role": "assistant", "content": reply}]
        return turns + [user_turn(written(Shown(*map(self.shorten, question))))]

    def read(self, reply: str) -> Verdict:
        """The verdict of a reply, and the rest of it as the reason.

        Raises:
            ValueError: no line with a verdict, or two that differ.
        """
        found = {word.upper() if len(word) == 1 else "tie" for word in VERDICT.findall(reply)}
        if not found:
            raise ValueError("no line that says Verdict: A, Verdict: B or Verdict: tie")
        if len(found) > 1:
            raise ValueError(f"more than one verdict: {', '.join(sorted(found))}")
        return Verdict(verdict=found.pop(), reason=" ".join(VERDICT.sub("", reply).split())[:500])

    def cut_characters(self, question: Shown) -> int:
        """Characters that are left out of the question and the two answers."""
        return sum(max(0, len(text) - len(self.shorten(text))) for text in question)


async def judge(endpoint: Endpoint, profile: Profile, pairs: Sequence[Pair], folder: Path) -> list[dict[str, Any]]:
    """Have every pair judged in both orders; one row a pair, in their order (chapter 5).

    `first` and `second` are what the judge preferred ("one", "other" or "tie") with `one` shown first and
    second. `verdict` is what both orders say, and a tie where they differ; None where an order brought no
    verdict, and then `outcome` and `reason` say why. `reasons` are the judge's own, `lengths` those of the
    two answers in characters. Every reply is in `<folder>/replies.jsonl` with its provenance.

    Raises:
        UserError: a model, key or setting that the server refuses; a budget without a price; a judge
            whose replies hold no verdict at all.
    """
    rows = await ask_both_orders(endpoint, profile, pairs, folder)
    outcomes = Counter(row["outcome"] for row in rows)
    prose = outcomes["malformed"] + outcomes["truncated"] + outcomes["empty"]
    require(prose < len(rows) or not rows, f"judge: {no_verdicts(endpoint.name, rows)}")
    return rows


async def ask_both_orders(endpoint: Endpoint, profile: Profile, pairs: Sequence[Pair], folder: Path) -> list[dict[str, Any]]:
    """`judge`, with whatever came of it: a judge of prose only has rows without a verdict."""
    often, count = Counter(pair.id for pair in pairs).most_common(1)[0] if pairs else ("", 1)
    require(count == 1, f"judge: {count} pairs have the id {often!r}; give every pair an id of its own")
    samples = [Comparison(pair.id, pair.domain, shown) for pair in pairs
               for shown in (Shown(pair.question, pair.one, pair.other), Shown(pair.question, pair.other, pair.one))]
    found = await ask_rows(endpoint, JudgePrompt.from_settings(profile.judge), samples, folder)
    return [_row(pair, *orders) for pair, orders in zip(pairs, zip(found[::2], found[1::2], strict=True), strict=True)]


def no_verdicts(name: str, rows: Sequence[dict[str, Any]]) -> str:
    """The message about a judge that answers with prose only."""
    why = next((row["reason"] for row in rows if row["verdict"] is None), "")
    return (f"none of {name}'s replies on {len(rows)} pairs holds a verdict ({why}); use a stronger model (judge.model), "
            "or more tokens (judge.max_tokens) for one that thinks before it answers")


def _row(pair: Pair, one_first: dict[str, Any], other_first: dict[str, Any]) -> dict[str, Any]:
    said = [one_first["verdict"], other_first["verdict"]]
    first, second = (words[answer["verdict"]] if answer else None
                     for words, answer in zip((PLAIN, SWAPPED), said, strict=True))
    bad = next((reply for reply in (one_first, other_first) if reply["verdict"] is None), None)
    read = bad is None
    return {
        "id": pair.id, "domain": pair.domain,
        "verdict": (first if first == second else "tie") if read else None, "first": first, "second": second,
        "consistent": first == second if read else None, "reasons": [answer["reason"] if answer else None for answer in said],
        "outcome": "judged" if read else bad["outcome"], "reason": "" if read else bad["reason"],
        "lengths": [len(pair.one), len(pair.other)],
    }  # fmt: skip
