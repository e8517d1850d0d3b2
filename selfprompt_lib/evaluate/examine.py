"""A judge is examined before it is believed: planted pairs, both orders, and a bar (chapter 5)."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import stats
from ..errors import require
from ..llm_client.endpoint import Endpoint
from ..profiles import Judge, Profile
from ..stats import Estimate
from .judge import ask_both_orders, no_verdicts
from .planted import FAIR, planted
from .verdicts import mean_score

NOT_ASKED = ("not asked", "error")


@dataclass(frozen=True)
class Examination:
    """What a judge made of planted pairs, and whether it may be used.

    `silent` pairs got no reply at all. `kinds` and `accuracy` are the shares of pairs with a fair verdict; a pair
    without a verdict is not fair. `position` is the share of pairs whose first-shown answer won in both orders, less that of the
    second-shown; `length` the share of padded pairs that the padding won; `consistency` the share of pairs
    with the same verdict in both orders; `unread` the share of replies without a verdict. Identical pairs,
    whose two orders are one, count for neither position nor consistency.
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
        passed = f"{self.judge} may judge: of {self.pairs} planted pairs it got {self.accuracy} right."
        failed = f"{self.judge} is not used as a judge, and gives no verdicts: {'; '.join(self.reasons)}."
        return passed if self.fit else failed


def require_fit(examination: Examination) -> None:
    """Refuse a judge that failed.

    Raises:
        UserError: with the reasons, and what to do.
    """
    require(examination.fit, f"judge.model: {examination.statement()} Name a stronger one in judge.model and judge.base_url")


async def examine(endpoint: Endpoint, profile: Profile, folder: Path) -> Examination:
    """Have the judge compare `judge.pairs` planted pairs of each kind in both orders, and mark it (chapter 5).

    The replies are in `<folder>/replies.jsonl`, which `judge` may share: run again, only what is missing is asked.

    Pairs that got no reply (a spent budget, Ctrl-C, errors of the server) leave the judge unexamined: it is not fit.

    Raises:
        UserError: a model, key or setting that the server refuses; a budget without a price.
    """
    kinds = planted(profile.judge.pairs)
    asked = [pair for pairs in kinds.values() for pair in pairs]
    rows = await ask_both_orders(endpoint, profile, asked, folder)
    found = iter(rows)
    return marked(endpoint.name, {kind: [next(found) for _ in pairs] for kind, pairs in kinds.items()}, profile.judge)


def marked(name: str, rows: Mapping[str, Sequence[dict[str, Any]]], settings: Judge) -> Examination:
    """The examination from the judged rows of each kind (see `planted.FAIR` for what is fair)."""
    right = {kind: [_fair(kind, row) for row in part] for kind, part in rows.items()}
    both = [row for kind, part in rows.items() if kind != "identical" for row in part if row["verdict"]]
    padding = [row["verdict"] == "other" for row in rows["padded"] if row["verdict"]]
    everything = [row for part in rows.values() for row in part]
    replies = [row[order] is None for row in everything for order in ("first", "second")]
    found = {
        "accuracy": stats.rate(sum(right.values(), [])),
        "position": _position(both) if both else None,
        "length": stats.rate(padding) if padding else None,
        "consistency": stats.rate([row["consistent"] for row in both]) if both else None,
        "unread": stats.rate(replies),
    }  # fmt: skip
    silent = [row for row in everything if row["outcome"] in NOT_ASKED]
    if silent:
        reasons = [f"{len(silent)} of {len(everything)} planted pairs got no reply ({silent[0]['reason']}), and an examination "
                   "needs them all: mend that and run again, what came is kept"]
    elif all(replies):
        reasons = [no_verdicts(name, everything)]
    else:
        reasons = _reasons(found, settings)
    return Examination(name, len(everything), len(silent), {kind: stats.rate(hits) for kind, hits in right.items()}, **found,
                       fit=not reasons, reasons=reasons)


def _fair(kind: str, row: dict[str, Any]) -> bool:
    # Of identical answers each is shown first: a judge that prefers a place would seem to be undecided.
    said = row["verdict"] if kind != "identical" else row["first"]
    return said in FAIR[kind]


def _position(rows: Sequence[dict[str, Any]]) -> Estimate:
    """Between -1 and 1: the first-shown answer in both orders, less the second-shown."""
    first = sum((row["first"], row["second"]) == ("one", "other") for row in rows)
    second = sum((row["first"], row["second"]) == ("other", "one") for row in rows)
    mean = mean_score(first, len(rows) - first - second, second)
    return Estimate(2 * mean.value - 1, 2 * mean.low - 1, 2 * mean.high - 1, len(rows))


def _reasons(found: Mapping[str, Estimate | None], settings: Judge) -> list[str]:
    """Why the judge fails the profile's bar; none where it passes."""
    accuracy, position, length = found["accuracy"], found["position"], found["length"]
    reasons = []
    if accuracy.low < settings.bar:
        reasons.append(f"accuracy {accuracy} on planted pairs: the lower bound does not reach judge.bar, {settings.bar:.0%}")
    if position and abs(position.value) > settings.position_bias:
        place = "first" if position.value > 0 else "second"
        reasons.append(f"position bias {position} for the answer shown {place}, beyond judge.position_bias, "
                       f"{settings.position_bias:.0%}")
    if length and length.value > settings.length_bias:
        reasons.append(f"length bias: padding alone won {length} of its pairs, beyond judge.length_bias, "
                       f"{settings.length_bias:.0%}")
    return reasons


if __name__ == "__main__":
    print("python -m selfprompt_lib.evaluate.examine is now: python book/studies/judge_table.py", file=sys.stderr)
    sys.exit(2)
