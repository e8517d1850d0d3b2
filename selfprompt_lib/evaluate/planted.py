"""Planted pairs: answers whose fair verdict is known, to examine a judge with (chapter 5)."""

import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, Field

from ..rows import STARTER_FOLDER, Question, read_rows
from ..sources import take_evenly_spaced
from .judge import Pair

JUDGE_FOLDER = Path(__file__).parent.parent / "resources" / "judge"
PADDING = 3  # sentences that say nothing, before the answer and after it
BREAK = re.compile(r"\n+|(?<=[.!?])(?<!\d[.])\s+")  # not after the number of a list
FAIR = {  # kind → the verdicts that are right; `one` is the reference answer
    "cut short": {"one"}, "shuffled": {"one"}, "wrong fact": {"one"}, "off the question": {"one"},
    "padded": {"one", "tie"}, "identical": {"tie"},
}  # fmt: skip


class WrongFact(BaseModel):
    """A line of planted.jsonl: what stands in the reference answer, and the error that takes its place."""

    id: str
    right: str = Field(min_length=1)
    wrong: str = Field(min_length=1)


def planted(count: int, seed: int = 0) -> dict[str, list[Pair]]:
    """For each kind, `count` pairs of a starter question's reference answer (`one`) and a spoilt one (`other`).

    The answer is cut after a third of its sentences, or its sentences are shuffled, or a fact is changed by
    hand, or it belongs to a question of another domain, or it is padded before and after with sentences that
    say nothing, or it is the same.
    """
    questions = read_rows(STARTER_FOLDER / "heldout.jsonl", Question)
    wrong = {row.id: row for row in read_rows(JUDGE_FOLDER / "planted.jsonl", WrongFact)}
    filler = json.loads((JUDGE_FOLDER / "filler.json").read_text(encoding="utf-8"))
    spoil: dict[str, Callable[[Question, random.Random], str]] = {
        "cut short": lambda row, _: cut_short(row.reference),
        "shuffled": lambda row, dice: shuffled(row.reference, dice),
        "wrong fact": lambda row, _: row.reference.replace(wrong[row.id].right, wrong[row.id].wrong),
        "off the question": lambda row, dice: off_the_question(row, questions, dice),
        "padded": lambda row, dice: padded(row.reference, filler, dice),
        "identical": lambda row, _: row.reference,
    }
    return {kind: [Pair(f"{kind}: {row.id}", row.domain, row.question, row.reference,
                        make(row, random.Random(f"{seed} {kind} {row.id}")))
                   for row in take_evenly_spaced(questions, count)] for kind, make in spoil.items()}


def cut_short(text: str) -> str:
    """The first third of a text's sentences, at least one."""
    ends = [found.start() for found in BREAK.finditer(text)] + [len(text)]
    return text[: ends[max(1, len(ends) // 3) - 1]]


def shuffled(text: str, dice: random.Random) -> str:
    """The sentences of a text in another order."""
    sentences = [sentence for sentence in BREAK.split(text) if sentence.strip()]
    order = list(sentences)
    while order == sentences:
        dice.shuffle(order)
    return " ".join(order)


def off_the_question(row: Question, questions: Sequence[Question], dice: random.Random) -> str:
    """The reference answer to a question of another domain."""
    return dice.choice([other.reference for other in questions if other.domain != row.domain])


def padded(text: str, filler: Sequence[str], dice: random.Random) -> str:
    """The same text with sentences before and after it that say nothing."""
    chosen = dice.sample(filler, 2 * PADDING)
    return "\n\n".join([" ".join(chosen[:PADDING]), text, " ".join(chosen[PADDING:])])
