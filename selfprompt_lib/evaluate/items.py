"""The table of items: what each arm made of each, in each training seed; and tables counted from it.

Columns: `seed` (training seed, -1: untuned), `arm`, `task`, `item`, `stratum`, `question`, `reply`, `role`, `key`;
what the readers took as the answer, `strict`, `tolerant` and `second` (`[none]`: nothing); and whether that is
right, `correct_strict`, `correct_tolerant`, `correct_second`, and `correct` for the one that counts.
"""

from pathlib import Path

import pandas as pd

from .. import stats
from ..errors import require

UNREAD = "[none]"
COLUMNS = ["seed", "arm", "task", "item", "stratum", "question", "reply", "role", "key", "strict", "tolerant", "second",
           "correct_strict", "correct_tolerant", "correct_second", "correct"]


def checked(items: pd.DataFrame, origin: str = "items") -> pd.DataFrame:
    """The table with its columns in order.

    Raises:
        UserError: a missing column, an item that occurs twice, an arm that answered other items than the rest of its seed.
    """
    lacking = [name for name in COLUMNS if name not in items]
    require(not lacking, f"{origin}: no column {', '.join(lacking)}; run chapter 5 again")
    twice = items[items.duplicated(["seed", "arm", "task", "item"])]
    require(twice.empty, f"{origin}: item {twice.item.head(1).to_list()} of {twice.task.head(1).to_list()} occurs twice in arm "
                         f"{twice.arm.head(1).to_list()}; give each item an id of its own")
    asked = items.groupby(["arm", "seed"])[["task", "item"]].apply(lambda part: frozenset(map(tuple, part.to_numpy())))
    for (arm, seed), found in asked.items():
        require(found == asked.iloc[0], f"{origin}: arm {arm!r}, seed {seed}, has other items than {asked.index[0][0]!r}; "
                                        "measure all arms on the same items")
    return items[COLUMNS]


def read_table(path: Path) -> pd.DataFrame:
    """A table of items from its Parquet file, checked."""
    require(path.is_file(), f"{path}: missing; run chapter 5 again")
    return checked(pd.read_parquet(path), str(path))


def accuracy(items: pd.DataFrame, column: str = "correct") -> pd.DataFrame:
    """Accuracy with its Wilson interval for each arm and task, and how many answers were not read.

    With several training seeds an item counts once for each; the interval then knows nothing of the
    luck of training, and is given for one seed at a time in the book.
    """
    rows = []
    for (arm, task), part in items.groupby(["arm", "task"], sort=False):
        estimate = stats.rate(part[column])
        rows.append({"arm": arm, "task": task, "accuracy": estimate.value, "low": estimate.low, "high": estimate.high,
                     "n": estimate.n, "not read": int((part.second == UNREAD).sum())})
    return pd.DataFrame(rows)


def readings(items: pd.DataFrame) -> pd.DataFrame:
    """For each arm: right and not read, by the strict reader, the tolerant one, and after the second pass."""
    rows = []
    for arm, part in items.groupby("arm", sort=False):
        for how in ("strict", "tolerant", "second"):
            right, read = stats.rate(part[f"correct_{how}"]), stats.rate(part[how] != UNREAD)
            rows.append({"arm": arm, "reader": how, "right": right.value, "low": right.low, "high": right.high,
                         "read": read.value, "n": right.n})
    return pd.DataFrame(rows)


def disputed(items: pd.DataFrame) -> pd.DataFrame:
    """The replies that the strict and the tolerant reader score differently."""
    return items[items.correct_strict != items.correct_tolerant][["arm", "task", "reply", "strict", "tolerant", "key"]]


def wins(items: pd.DataFrame, winner: str, loser: str) -> pd.DataFrame:
    """The items that `winner` answered rightly and `loser` wrongly, with both replies."""
    won, lost = items[items.arm == winner], items[items.arm == loser]
    both = won.merge(lost, on=["seed", "task", "item", "question", "key"], suffixes=("", " (other)"))
    picked = both[both.correct & ~both["correct (other)"]]
    return picked[["task", "question", "key", "reply", "reply (other)"]].rename(columns={"reply": winner, "reply (other)": loser})
