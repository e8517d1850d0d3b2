"""The paired differences of two arms, item by seed, from the table of items (chapter 5).

A difference is `new` minus `old`. Models of the same training seed are a pair. The untuned `base`
has one model, which is paired with every seed.
"""

import numpy as np
import pandas as pd

from ..errors import require

UNTUNED = -1  # the seed of a model that was not trained


def matrix(items: pd.DataFrame, new: str, old: str, task: str, column: str = "correct") -> np.ndarray:
    """Paired differences of one task, shape (items, seeds): 1, 0 or -1, items and seeds in sorted order.

    Raises:
        UserError: an arm is missing, an item occurs twice, seeds are not paired, or the arms have
            other items than their pair.
    """
    return table(items, new, old, task, column).to_numpy()


def table(items: pd.DataFrame, new: str, old: str, task: str, column: str = "correct") -> pd.DataFrame:
    """The same as `matrix`, with the items as index and the seeds as columns."""
    rows = items[(items.task == task) & items.arm.isin([new, old])]
    twice = rows[rows.duplicated(["arm", "seed", "item"])]
    require(twice.empty, f"items: {task} has {len(twice)} rows whose arm, seed and item occur before"
            + (f", first item {twice['item'].iloc[0]!r}; keep one of each" if len(twice) else ""))
    wide = {}
    for arm in (new, old):
        part = rows[rows.arm == arm]
        require(len(part), f"items: arm {arm!r} has no rows for {task}; arms there: {sorted(set(items[items.task == task].arm))}")
        require(part[column].notna().all(), f"items: {column} of {task}, arm {arm!r}, has empty cells; score every reply")
        wide[arm] = part.pivot(index="item", columns="seed", values=column).sort_index()
        gaps = wide[arm].isna()
        require(not gaps.any(axis=None), f"items: {task}, arm {arm!r}: the seeds {list(wide[arm].columns)} have other items than "
                f"each other, such as {gaps.index[gaps.any(axis=1)][:1].tolist()}; ask every seed the same items")
    first, second = wide[new].astype(int), wide[old].astype(int)
    unlike = first.index.symmetric_difference(second.index)
    require(unlike.empty, f"items: {task}: {new!r} and {old!r} were not asked the same items, such as {list(unlike[:3])}; "
            "run both on the same ones")
    if list(second.columns) == [UNTUNED]:
        return first.sub(second[UNTUNED], axis=0)
    if list(first.columns) == [UNTUNED]:
        return -second.sub(first[UNTUNED], axis=0)
    alone = sorted(set(first.columns) ^ set(second.columns))
    require(not alone, f"items: {task}: seeds {alone} of {new!r} and {old!r} have no pair; train both arms with the same seeds")
    return first - second


def tables(items: pd.DataFrame, new: str, old: str, column: str = "correct") -> dict[str, pd.DataFrame]:
    """Each task's `table`, in the order of the tasks; every task has the same seeds.

    Raises:
        UserError: as `matrix`, or a task lacks a seed that another has.
    """
    tasks = list(dict.fromkeys(items[items.arm.isin([new, old])].task))
    require(tasks, f"items: no rows of {new!r} or {old!r}; arms there: {sorted(set(items.arm))}")
    found = {task: table(items, new, old, task, column) for task in tasks}
    seeds = list(found[tasks[0]].columns)
    odd = [task for task in tasks if list(found[task].columns) != seeds]
    require(not odd, f"items: {odd[:1]} has other seeds than {tasks[0]}, which has {seeds}; ask every model all tasks")
    return found
