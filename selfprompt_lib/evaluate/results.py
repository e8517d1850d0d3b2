"""The table of items: what each arm made of each item, in each training seed; and counts from it.

Columns: `seed` (training seed, -1: untuned), `arm`, `task`, `item`, `stratum`, `question`, `reply`,
`role`, `key`; what the readers took as the answer, `strict`, `tolerant` and `second` (`[none]`: no
answer was found); and whether that is right, `correct_strict`, `correct_tolerant`,
`correct_second`, and `correct` for the one that counts.
"""

from pathlib import Path

import pandas as pd

from .. import stats
from ..errors import require
from ..profiles import ARMS
from ..tasks import NO_ANSWER

BASE, BASELINE, MANUAL, OWN = ARMS[:4]
# Roles that the self-prompt model did not write for the item that it answers.
SUBSTITUTED = ARMS[4:]
OTHER, EXPERT, IRRELEVANT, NO_ROLE = SUBSTITUTED[:4]
UNTUNED = -1  # the seed of a model that was not trained
COLUMNS = ["seed", "arm", "task", "item", "stratum", "question", "reply", "role", "key",
           "strict", "tolerant", "second",
           "correct_strict", "correct_tolerant", "correct_second", "correct"]


def check_items(items: pd.DataFrame, origin: str = "items") -> pd.DataFrame:
    """The table with its columns in order.

    Raises:
        UserError: a missing column, an item that occurs twice, or an arm that answered other items
            than the rest of its seed.
    """
    lacking = [name for name in COLUMNS if name not in items]
    require(not lacking, f"{origin}: no column {', '.join(lacking)}; run chapter 5 again")
    twice = items[items.duplicated(["seed", "arm", "task", "item"])].head(1)
    require(twice.empty, f"{origin}: item {twice.item.to_list()} of {twice.task.to_list()} occurs "
                         f"twice in arm {twice.arm.to_list()}; give each item an id of its own")
    asked = items.groupby(["arm", "seed"])[["task", "item"]].apply(
        lambda part: frozenset(map(tuple, part.to_numpy())))
    for (arm, seed), found in asked.items():
        require(found == asked.iloc[0], f"{origin}: arm {arm!r}, seed {seed}, has other items than "
                f"{asked.index[0][0]!r}; measure all arms on the same items")
    return items[COLUMNS]


def read_items(path: Path) -> pd.DataFrame:
    """A table of items from its Parquet file, checked."""
    require(path.is_file(), f"{path}: missing; run chapter 5 again")
    return check_items(pd.read_parquet(path), str(path))


def save_items(items: pd.DataFrame, path: Path) -> Path:
    """Write a table of items as Parquet, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    items.to_parquet(partial, index=False)
    partial.replace(path)
    return path


def accuracy(items: pd.DataFrame) -> pd.DataFrame:
    """Accuracy with its Wilson interval by arm and task, and how many answers were not found.

    With several training seeds an item counts once for each. The interval does not know how much
    trainings differ; the book gives it for one seed at a time.
    """
    rows = []
    for (arm, task), part in items.groupby(["arm", "task"], sort=False):
        rows.append({"arm": arm, "task": task, **stats.rate(part.correct).columns("accuracy"),
                     "not read": int((part.second == NO_ANSWER).sum())})
    return pd.DataFrame(rows)


def accuracy_of_seed(items: pd.DataFrame, seed: int) -> pd.DataFrame:
    """`accuracy` of the untuned, the baseline and the self-prompt model, for one training seed."""
    chosen = items.arm.isin([BASE, BASELINE, OWN]) & items.seed.isin([UNTUNED, seed])
    return accuracy(items[chosen])


def readings(items: pd.DataFrame) -> pd.DataFrame:
    """By arm and reader (strict, tolerant, second pass): how often right, how often any answer."""
    rows = []
    for arm, part in items.groupby("arm", sort=False):
        for reader in ("strict", "tolerant", "second"):
            right = stats.rate(part[f"correct_{reader}"])
            rows.append({"arm": arm, "reader": reader, **right.columns("right"),
                         "read": (part[reader] != NO_ANSWER).mean()})
    return pd.DataFrame(rows)


def disputed(items: pd.DataFrame) -> pd.DataFrame:
    """The replies that the strict and the tolerant reader score differently."""
    differ = items.correct_strict != items.correct_tolerant
    return items[differ][["arm", "task", "reply", "strict", "tolerant", "key"]]


def won_items(items: pd.DataFrame, winner: str, loser: str) -> pd.DataFrame:
    """The items that `winner` answered rightly and `loser` wrongly, with both replies."""
    won, lost = items[items.arm == winner], items[items.arm == loser]
    pairs = won.merge(lost, on=["seed", "task", "item", "question", "key"],
                      suffixes=("", " (other)"))
    picked = pairs[pairs.correct & ~pairs["correct (other)"]]
    columns = ["task", "question", "key", "reply", "reply (other)"]
    return picked[columns].rename(columns={"reply": winner, "reply (other)": loser})
