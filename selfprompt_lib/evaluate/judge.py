"""A model that compares two answers: what it is asked, how it is read, the verdict on a pair.

It is asked through `llm_client`, as the annotator is, so limits, budget, batches and the record of
replies are the same: a second run asks only what is missing.
"""

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
from ..sources import take_evenly_spaced
from .verdicts import read_verdicts

JUDGE_FOLDER = Path(__file__).parent.parent / "resources" / "judge"
ENDING = ("First write one short reason, in at most 30 words. "
          "Then end with the line Verdict: A, Verdict: B or Verdict: tie.")
# What a verdict means for the pair, by the answer that was shown first
ONE_FIRST = {"A": "one", "B": "other", "tie": "tie"}
OTHER_FIRST = {"A": "other", "B": "one", "tie": "tie"}


@dataclass(frozen=True)
class Pair:
    """Two answers to one question, roles stripped: what is judged. `domain` is for the tables."""

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

    def text(self) -> str:
        """Question and answers as the judge reads them."""
        return (f"Question: {self.question}\n\n[Answer A]\n{self.a}\n[End of answer A]\n\n"
                f"[Answer B]\n{self.b}\n[End of answer B]\n\nWhich answer helps more?")


@dataclass(frozen=True)
class Comparison:
    """A pair in one of its two orders; `question` is what the judge is asked about."""

    id: str
    domain: str
    question: Shown


class JudgeReply(BaseModel):
    """What a reply says."""

    verdict: Literal["A", "B", "tie"]
    reason: str


class JudgeExample(JudgeReply):
    """A line of examples.jsonl: a comparison with its verdict, to show the form."""

    id: str
    question: str
    a: str
    b: str


@dataclass(frozen=True)
class JudgePrompt(Prompt):
    """What is asked for a verdict. Made by `JudgePrompt.from_settings` from the profile."""

    kind, unit, label = "verdict", "comparisons", "judging"
    retry_instruction = f"Judge the two answers once more. {ENDING}"

    settings: Judge
    examples: tuple[JudgeExample, ...]

    @classmethod
    def from_settings(cls, settings: Judge) -> "JudgePrompt":
        """Read the examples, and the package's guideline or the one `judge.guideline` names."""
        examples = tuple(read_rows(JUDGE_FOLDER / "examples.jsonl", JudgeExample))
        return cls(settings, read_guideline(settings, JUDGE_FOLDER / "guideline.md"), examples)

    def messages(self, question: Shown) -> list[dict[str, str]]:
        """The guideline, an example of each verdict, then question and answers."""
        turns = [{"role": "system", "content": f"{self.guideline}\n\n{ENDING}"}]
        for example in self.examples:
            shown = Shown(example.question, example.a, example.b)
            reply = f"{example.reason}\nVerdict: {example.verdict}"
            turns += [user_turn(shown.text()), {"role": "assistant", "content": reply}]
        return [*turns, user_turn(Shown(*map(self.shorten, question)).text())]

    def read_answer(self, text: str) -> JudgeReply:
        """The verdict of an answer (see `verdicts`), and the rest of it as the reason.

        Raises:
            ValueError: no line with a verdict, a last one that is none, or two that differ.
        """
        stated, rest = read_verdicts(text)
        found = sorted({verdict for verdict in stated if verdict})
        if not found or stated[-1] is None:
            raise ValueError("no line that says Verdict: A, Verdict: B or Verdict: tie")
        if len(found) > 1:
            raise ValueError(f"more than one verdict: {', '.join(found)}")
        return JudgeReply(verdict=found[0], reason=rest[:500])

    def stops_within(self, text: str) -> str:
        """The verdict, whatever follows it: what is not whole may take it back."""
        return "verdict"

    def cut_characters(self, question: Shown) -> int:
        """Characters that are left out of the question and the two answers."""
        return sum(super(JudgePrompt, self).cut_characters(text) for text in question)


def pair_answers(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]],
                 count: int | None = None) -> list[Pair]:
    """Pairs of two arms' answers to the same questions (appendix A1).

    Args:
        ours: rows of `infer.ask_questions`, whose answers become `one`.
        theirs: rows for the same questions in the same order, whose answers become `other`.
        count: how many pairs to take, evenly spaced; None takes all.
    """
    both = take_evenly_spaced(list(zip(ours, theirs, strict=True)), count)
    return [Pair(own["id"], own["domain"], own["question"], own["answer"], other["answer"])
            for own, other in both]


async def judge_pairs(endpoint: Endpoint, profile: Profile, pairs: Sequence[Pair],
                      folder: Path) -> list[dict[str, Any]]:
    """Have every pair judged in both orders; one row a pair, in their order (appendix A1).

    `first` and `second` are what the judge preferred ("one", "other" or "tie") with `one` shown
    first and second. `verdict` is what both orders say, and a tie where they differ; None where an
    order brought no verdict, and then `outcome` and `reason` say why. `reasons` are the judge's
    own, `lengths` those of the two answers in characters. Every reply is in
    `<folder>/replies.jsonl` with its provenance.

    Raises:
        UserError: a model, key or setting that the server refuses; a budget without a price; a
            judge whose replies hold no verdict at all.
    """
    rows = await ask_both_orders(endpoint, profile, pairs, folder)
    unusable = sum(row["outcome"] in ("malformed", "truncated", "empty") for row in rows)
    require(unusable < len(rows) or not rows, f"judge: {no_verdicts(endpoint.name, rows)}")
    return rows


async def ask_both_orders(endpoint: Endpoint, profile: Profile, pairs: Sequence[Pair],
                          folder: Path) -> list[dict[str, Any]]:
    """The rows of `judge_pairs`, also of a judge whose replies hold no verdict at all."""
    often, count = Counter(pair.id for pair in pairs).most_common(1)[0] if pairs else ("", 1)
    require(count == 1,
            f"judge: {count} pairs have the id {often!r}; give every pair an id of its own")
    comparisons = []
    for pair in pairs:
        one_first = Shown(pair.question, pair.one, pair.other)
        other_first = Shown(pair.question, pair.other, pair.one)
        comparisons += [Comparison(pair.id, pair.domain, one_first),
                        Comparison(pair.id, pair.domain, other_first)]
    prompt = JudgePrompt.from_settings(profile.judge)
    replies = await ask_rows(endpoint, prompt, comparisons, folder)
    return [_judged(*three) for three in zip(pairs, replies[::2], replies[1::2], strict=True)]


def no_verdicts(name: str, rows: Sequence[dict[str, Any]]) -> str:
    """The message about a judge that answers with prose only."""
    why = next((row["reason"] for row in rows if row["verdict"] is None), "")
    return (f"none of {name}'s replies on {len(rows)} pairs holds a verdict ({why}); use a "
            "stronger model (judge.model), or more tokens (judge.max_tokens) for one that thinks "
            "before it answers")


def _judged(pair: Pair, one_first: dict[str, Any], other_first: dict[str, Any]) -> dict[str, Any]:
    """The row of a pair, from the replies to its two orders."""
    a, b = one_first["verdict"], other_first["verdict"]
    first = ONE_FIRST[a["verdict"]] if a else None
    second = OTHER_FIRST[b["verdict"]] if b else None
    row = {"id": pair.id, "domain": pair.domain, "first": first, "second": second,
           "reasons": [reply["reason"] if reply else None for reply in (a, b)],
           "lengths": [len(pair.one), len(pair.other)]}
    if not (a and b):
        bad = other_first if a else one_first
        return row | {"verdict": None, "consistent": None, "outcome": bad["outcome"],
                      "reason": bad["reason"]}
    consistent = first == second
    return row | {"verdict": first if consistent else "tie", "consistent": consistent,
                  "outcome": "judged", "reason": ""}
