"""The table of items: what each arm made of each, and tables made from it."""

import pandas as pd

from .. import stats

UNREAD = "[none]"


def accuracy(frame: pd.DataFrame) -> pd.DataFrame:
    """Accuracy with its Wilson interval for each arm and task, and how many answers were not read."""
    rows = []
    for (arm, task), part in frame.groupby(["arm", "task"], sort=False):
        estimate = stats.rate(part.correct)
        rows.append({"arm": arm, "task": task, "accuracy": estimate.value, "low": estimate.low, "high": estimate.high,
                     "n": estimate.n, "not read": int((part["read"] == UNREAD).sum())})
    return pd.DataFrame(rows)


def differences(frame: pd.DataFrame, new: str, old: str, seed: int = 0) -> pd.DataFrame:
    """Paired differences of two arms by task and over all items, with intervals and p-values.

    p is the exact McNemar test of that task; `p_holm` is adjusted over the tasks. The row `all`
    pools the items.
    """
    wide = frame.pivot_table(index=["task", "item"], columns="arm", values="correct", sort=False).astype(bool)
    parts = [*wide.groupby(level="task", sort=False), ("all", wide)]
    rows = []
    for task, part in parts:
        estimate = stats.paired_difference(part[new], part[old], seed)
        rows.append({"task": task, "difference": estimate.value, "low": estimate.low, "high": estimate.high,
                     "wins": int((part[new] & ~part[old]).sum()), "losses": int((~part[new] & part[old]).sum()),
                     "n": estimate.n, "p": stats.mcnemar_p(part[new], part[old])})
    table = pd.DataFrame(rows)
    table["p_holm"] = [*stats.holm(table.p[:-1]), table.p.iloc[-1]]
    return table


def wins(frame: pd.DataFrame, winner: str, loser: str) -> pd.DataFrame:
    """The items that `winner` answered rightly and `loser` wrongly, with both replies."""
    won, lost = frame[frame.arm == winner], frame[frame.arm == loser]
    both = won.merge(lost, on=["task", "item", "question", "key"], suffixes=("", " (other)"))
    picked = both[both.correct & ~both["correct (other)"]]
    return picked[["task", "question", "key", "reply", "reply (other)"]].rename(columns={"reply": winner, "reply (other)": loser})
