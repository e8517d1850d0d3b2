"""A judge is examined on control pairs, whose fair verdict is known, against a bar (A1)."""

import json
import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from ..llm_client.endpoint import Endpoint
from ..profiles import Judge, Profile
from ..reading import read_json_lines
from ..rows import STARTER_FOLDER, Question, read_rows
from ..sources import take_evenly_spaced
from ..stats import Estimate, rate
from .judge import JUDGE_FOLDER, Pair, ask_both_orders, no_verdicts
from .win_rates import mean_score

PADDING = 3  # sentences that say nothing, before the answer and after it
SENTENCE_END = re.compile(r"\n+|(?<=[.!?])(?<!\d[.])\s+")  # not after the number of a list
EXPECTED = {  # kind → the verdicts that are right; `one` is the reference answer
    "cut short": {"one"},
    "shuffled": {"one"},
    "wrong fact": {"one"},
    "off the question": {"one"},
    "padded": {"one", "tie"},
    "identical": {"tie"},
}


def control_pairs(count: int) -> dict[str, list[Pair]]:
    """For each kind, `count` pairs of a starter question's reference (`one`) and a spoilt answer.

    The answer is cut after a third of its sentences, or its sentences are shuffled, or a fact is
    changed by hand, or it belongs to a question of another domain, or it is padded before and after
    with sentences that say nothing, or it is the same (appendix A1).
    """
    questions = read_rows(STARTER_FOLDER / "heldout.jsonl", Question)
    # By question, what its reference answer says, and the error that takes its place.
    facts = {row["id"]: (row["right"], row["wrong"])
             for row in read_json_lines(JUDGE_FOLDER / "planted.jsonl")}
    filler = json.loads((JUDGE_FOLDER / "filler.json").read_text(encoding="utf-8"))
    spoil: dict[str, Callable[[Question, random.Random], str]] = {
        "cut short": lambda row, _: cut_short(row.reference),
        "shuffled": lambda row, rng: shuffled(row.reference, rng),
        "wrong fact": lambda row, _: row.reference.replace(*facts[row.id]),
        "off the question": lambda row, rng: off_the_question(row, questions, rng),
        "padded": lambda row, rng: padded(row.reference, filler, rng),
        "identical": lambda row, _: row.reference,
    }
    rows = take_evenly_spaced(questions, count)
    pairs = {}
    for kind, spoilt in spoil.items():
        pairs[kind] = [Pair(f"{kind}: {row.id}", row.domain, row.question, row.reference,
                            spoilt(row, random.Random(f"0 {kind} {row.id}"))) for row in rows]
    return pairs


def where_spoilt(pair: Pair, letters: int = 140) -> str:
    """The spoilt answer from shortly before it differs from the reference (appendix A1)."""
    same = len(os.path.commonprefix([pair.one, pair.other]))
    begin = max(0, same - letters // 3)
    end = begin + letters
    before, after = "… " if begin else "", " …" if end < len(pair.other) else " [the end]"
    return before + pair.other[begin:end] + after


def cut_short(text: str) -> str:
    """The first third of a text's sentences, at least one."""
    ends = [found.start() for found in SENTENCE_END.finditer(text)] + [len(text)]
    return text[: ends[max(1, len(ends) // 3) - 1]]


def shuffled(text: str, rng: random.Random) -> str:
    """The sentences of a text in another order."""
    sentences = [sentence for sentence in SENTENCE_END.split(text) if sentence.strip()]
    order = list(sentences)
    while order == sentences:
        rng.shuffle(order)
    return " ".join(order)


def off_the_question(row: Question, questions: Sequence[Question], rng: random.Random) -> str:
    """The reference answer to a question of another domain."""
    return rng.choice([other.reference for other in questions if other.domain != row.domain])


def padded(text: str, filler: Sequence[str], rng: random.Random) -> str:
    """The same text with sentences before and after it that say nothing."""
    chosen = rng.sample(filler, 2 * PADDING)
    return "\n\n".join([" ".join(chosen[:PADDING]), text, " ".join(chosen[PADDING:])])


@dataclass(frozen=True)
class JudgeExam:
    """What a judge made of the control pairs, and whether it may be used.

    `silent` pairs got no reply at all. `kinds` and `accuracy` are the shares of pairs with a fair
    verdict; a pair without a verdict is not fair. `position` is the share of pairs whose
    first-shown answer won in both orders, less that of the second-shown; `length` the share of
    padded pairs that the padding won; `consistency` the share of pairs with the same verdict in
    both orders; `unread` the share of replies without a verdict. Identical pairs, whose two orders
    are one, count for neither position nor consistency.
    """

    judge: str
    pairs: int
    silent: int
    kinds: dict[str, Estimate]
    accuracy: Estimate
    position: Estimate | None
    length: Estimate | None
    consistency: Estimate | None
    unread: Estimate
    fit: bool
    reasons: list[str]

    def statement(self) -> str:
        """Whether the judge may be used, and why not, in a sentence or two."""
        if self.fit:
            return (f"{self.judge} may judge: of {self.pairs} control pairs it got {self.accuracy} "
                    "right.")
        reasons = "; ".join(self.reasons)
        return f"{self.judge} is not used as a judge, and gives no verdicts: {reasons}."

    def table(self) -> pd.DataFrame:
        """Fair verdicts by kind, and what else was measured, each with its interval."""
        rows = self.kinds | {
            "all pairs": self.accuracy,
            "position bias": self.position,
            "length bias": self.length,
            "same verdict in both orders": self.consistency,
            "replies without a verdict": self.unread,
        }
        shown = {name: "–" if share is None else str(share) for name, share in rows.items()}
        return pd.Series(shown).to_frame("share [95% interval]")


async def judge_exam(endpoint: Endpoint, profile: Profile, folder: Path) -> JudgeExam:
    """Have the judge compare `judge.pairs` control pairs of each kind in both orders (appendix A1).

    The replies are in `<folder>/replies.jsonl`, which `judge_pairs` may share: run again, only what
    is missing is asked. Pairs that got no reply (a spent budget, Ctrl-C, errors of the server)
    leave the judge unexamined: it is not fit.

    Raises:
        UserError: a model, key or setting that the server refuses; a budget without a price.
    """
    pairs_by_kind = control_pairs(profile.judge.pairs)
    pairs = [pair for of_kind in pairs_by_kind.values() for pair in of_kind]
    rows = iter(await ask_both_orders(endpoint, profile, pairs, folder))  # in the same order
    rows_by_kind = {kind: list(islice(rows, len(of_kind)))
                    for kind, of_kind in pairs_by_kind.items()}
    return grade(endpoint.name, rows_by_kind, profile.judge)


def grade(name: str, rows_by_kind: Mapping[str, Sequence[dict[str, Any]]],
          settings: Judge) -> JudgeExam:
    """The examination from the judged rows of each kind (see `EXPECTED` for what is fair)."""
    rows = [row for part in rows_by_kind.values() for row in part]
    fair = {kind: [_fair(kind, row) for row in part] for kind, part in rows_by_kind.items()}
    both_orders = [row for kind, part in rows_by_kind.items() if kind != "identical"
                   for row in part if row["verdict"]]
    padding_won = [row["verdict"] == "other" for row in rows_by_kind["padded"] if row["verdict"]]
    unread = [row[order] is None for row in rows for order in ("first", "second")]
    silent = [row for row in rows if row["outcome"] in ("not asked", "error")]
    accuracy = rate([hit for hits in fair.values() for hit in hits])
    position = _position_bias(both_orders) if both_orders else None
    length = rate(padding_won) if padding_won else None
    if silent:
        reasons = [f"{len(silent)} of {len(rows)} control pairs got no reply "
                   f"({silent[0]['reason']}), and an examination needs them all: mend that and run "
                   "again, what came is kept"]
    elif all(unread):
        reasons = [no_verdicts(name, rows)]
    else:
        reasons = _reasons_to_fail(accuracy, position, length, settings)
    return JudgeExam(
        judge=name, pairs=len(rows), silent=len(silent),
        kinds={kind: rate(hits) for kind, hits in fair.items()},
        accuracy=accuracy, position=position, length=length,
        consistency=rate([row["consistent"] for row in both_orders]) if both_orders else None,
        unread=rate(unread), fit=not reasons, reasons=reasons,
    )


def _fair(kind: str, row: dict[str, Any]) -> bool:
    # Of identical answers both orders are one: a judge that prefers a place would seem undecided.
    return row["first" if kind == "identical" else "verdict"] in EXPECTED[kind]


def _position_bias(rows: Sequence[dict[str, Any]]) -> Estimate:
    """Share of pairs that the first-shown answer won in both orders, less the second-shown's."""
    orders = [(row["first"], row["second"]) for row in rows]
    first, second = orders.count(("one", "other")), orders.count(("other", "one"))
    mean = mean_score(first, len(rows) - first - second, second)
    return Estimate(2 * mean.value - 1, 2 * mean.low - 1, 2 * mean.high - 1, len(rows))


def _reasons_to_fail(accuracy: Estimate, position: Estimate | None, length: Estimate | None,
                     settings: Judge) -> list[str]:
    """Why the judge misses the profile's bar; none where it passes."""
    reasons = []
    if accuracy.low < settings.bar:
        reasons.append(f"accuracy {accuracy} on control pairs: the lower bound does not reach "
                       f"judge.bar, {settings.bar:.0%}")
    if position and abs(position.value) > settings.position_bias:
        place = "first" if position.value > 0 else "second"
        reasons.append(f"position bias {position} for the answer shown {place}, beyond "
                       f"judge.position_bias, {settings.position_bias:.0%}")
    if length and length.value > settings.length_bias:
        reasons.append(f"length bias: padding alone won {length} of its pairs, beyond "
                       f"judge.length_bias, {settings.length_bias:.0%}")
    return reasons
