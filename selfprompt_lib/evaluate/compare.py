"""Arms compared on the same items: paired differences, contrasts, needed sizes (chapters 5 and 6).

Everything here takes the table of items (`results`) and names of arms; a difference is `new` minus
`old`. Models of the same training seed are a pair. The untuned `base` is one model, which is paired
with every seed.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .. import stats
from ..errors import require
from ..sample_size import minimum_detectable_effect, required_sample_size
from ..two_way import Effect, t_interval, two_way_interval, variance_components
from .results import BASE, BASELINE, MANUAL, OWN, SUBSTITUTED, UNTUNED

ALL = "all"  # the row over all tasks, each of which counts the same
ARM_CONTRASTS = ((BASELINE, BASE), (MANUAL, BASELINE), (OWN, MANUAL), (OWN, BASE))


def paired_table(items: pd.DataFrame, new: str, old: str, task: str,
                 column: str = "correct") -> pd.DataFrame:
    """Paired differences of one task, items as index and seeds as columns, both sorted.

    They are 1, 0 or -1, or those of another `column` that holds numbers.

    Raises:
        UserError: an arm is missing, an item occurs twice, seeds are not paired, or the arms have
            other items than their pair.
    """
    rows = items[(items.task == task) & items.arm.isin([new, old])]
    twice = rows[rows.duplicated(["arm", "seed", "item"])]
    require(twice.empty, f"items: {task} has {len(twice)} rows whose arm, seed and item occur "
            f"before, first item {twice['item'].head(1).to_list()}; keep one of each")
    first, second = (_item_by_seed(items, arm, task, column) for arm in (new, old))
    unlike = first.index.symmetric_difference(second.index)
    require(unlike.empty, f"items: {task}: {new!r} and {old!r} were not asked the same items, such "
            f"as {list(unlike[:3])}; run both on the same ones")
    if list(second.columns) == [UNTUNED]:
        return first.sub(second[UNTUNED], axis=0)
    if list(first.columns) == [UNTUNED]:
        return -second.sub(first[UNTUNED], axis=0)
    alone = sorted(set(first.columns) ^ set(second.columns))
    require(not alone, f"items: {task}: seeds {alone} of {new!r} and {old!r} have no pair; train "
            "both arms with the same seeds")
    return first - second


def _item_by_seed(items: pd.DataFrame, arm: str, task: str, column: str) -> pd.DataFrame:
    """One arm's answers on a task: 1 where right, or the numbers of another column."""
    of_task = items[items.task == task]
    rows = of_task[of_task.arm == arm]
    require(len(rows), f"items: arm {arm!r} has no rows for {task}; arms there: "
            f"{sorted(set(of_task.arm))}")
    require(rows[column].notna().all(), f"items: {column} of {task}, arm {arm!r}, has empty cells; "
            "score every reply")
    wide = rows.pivot(index="item", columns="seed", values=column).sort_index()
    gaps = wide.index[wide.isna().any(axis=1)]
    require(gaps.empty, f"items: {task}, arm {arm!r}: the seeds {list(wide.columns)} have other "
            f"items than each other, such as {gaps[:1].tolist()}; ask every seed the same items")
    return wide.astype(float)


def paired_tables(items: pd.DataFrame, new: str, old: str,
                  column: str = "correct") -> dict[str, pd.DataFrame]:
    """Each task's `paired_table`; every task has the same seeds.

    Raises:
        UserError: as `paired_table`, or a task lacks a seed that another has.
    """
    tasks = list(dict.fromkeys(items[items.arm.isin([new, old])].task))
    require(tasks, f"items: no rows of {new!r} or {old!r}; arms there: {sorted(set(items.arm))}")
    tables = {task: paired_table(items, new, old, task, column) for task in tasks}
    seeds = list(tables[tasks[0]].columns)
    odd = [task for task in tasks if list(tables[task].columns) != seeds]
    require(not odd, f"items: {odd[:1]} has other seeds than {tasks[0]}, which has {seeds}; ask "
            "every model all tasks")
    return tables


def effects(items: pd.DataFrame, new: str, old: str, column: str = "correct") -> dict[str, Effect]:
    """The effect on each task, and on `all`, the mean over tasks that each count the same."""
    tables = paired_tables(items, new, old, column)
    return {task: two_way_interval(*parts) for task, parts in _with_all(tables).items()}


def _with_all(tables: dict[str, pd.DataFrame]) -> dict[str, list[np.ndarray]]:
    """The tables that each row rests on: a task on its own, `all` on those of all tasks."""
    every = [table.to_numpy() for table in tables.values()]
    return {task: [table] for task, table in zip(tables, every, strict=True)} | {ALL: every}


def differences(items: pd.DataFrame, new: str, old: str, column: str = "correct") -> pd.DataFrame:
    """One row a task and a last row `all` (the mean over tasks), with intervals (chapter 5).

    Columns: task, difference, low, high (95%), n (items), seeds, wins and losses (answers, over all
    seeds), p, p_holm (adjusted over the tasks), smallest (the difference that such a sample shows
    with 80% power at 5%), df.
    """
    rows = []
    for task, parts in _with_all(paired_tables(items, new, old, column)).items():
        effect = two_way_interval(*parts)
        rows.append({
            "task": task, **effect.columns("difference"), "seeds": effect.seeds,
            "wins": sum(int((part > 0).sum()) for part in parts),
            "losses": sum(int((part < 0).sum()) for part in parts),
            "p": effect.p, "p_holm": effect.p,
            "smallest": minimum_detectable_effect(effect.components), "df": effect.df,
        })
    frame = pd.DataFrame(rows)
    frame["p_holm"] = [*stats.holm(frame.p[:-1]), frame.p.iloc[-1]]
    return frame


def seed_differences(items: pd.DataFrame, new: str, old: str) -> pd.DataFrame:
    """The difference of each pair of models by task and over `all` (chapter 5).

    Columns: seed, task, difference, low, high, n. The intervals are about that one pair of models:
    Tango's for a task, a t interval for `all`.
    """
    tables = paired_tables(items, new, old)
    rows = []
    for seed in next(iter(tables.values())).columns:
        of_seed = {task: table[[seed]] for task, table in tables.items()}
        for task, parts in _with_all(of_seed).items():
            effect = two_way_interval(*parts)
            rows.append({"seed": int(seed), "task": task, **effect.columns("difference")})
    return pd.DataFrame(rows)


def needed_sizes(items: pd.DataFrame, new: str, old: str, target: float = 0.02) -> pd.DataFrame:
    """How many items, or seeds, would show a difference of `target` (80% power at 5%, chapter 5).

    Columns: task, n, seeds, smallest, items_needed (at these seeds), seeds_needed (at these items).
    Empty where more of that kind alone would never do, and for seeds where one seed cannot tell.

    Raises:
        UserError: `target` is not between 0 and 1, or as `paired_table`.
    """
    require(0 < target < 1,
            f"target: {target} is not a difference between 0 and 1; 0.02 is two points")
    rows = []
    for task, effect in effects(items, new, old).items():
        more_items, more_seeds = required_sample_size(effect, target)
        rows.append({"task": task, "n": effect.n, "seeds": effect.seeds,
                     "smallest": minimum_detectable_effect(effect.components),
                     "items_needed": more_items, "seeds_needed": more_seeds})
    return pd.DataFrame(rows).astype({"items_needed": "Int64", "seeds_needed": "Int64"})


def role_contrasts(items: pd.DataFrame) -> pd.DataFrame:
    """The self-prompt model with its own role minus the same model with another one (chapter 5).

    One row a substituted role. A contrast is no proof of a cause.
    """
    pairs = [(OWN, other) for other in SUBSTITUTED]
    return _contrasts(items, pairs, [f"its own minus {other}" for other in SUBSTITUTED])


def arm_contrasts(items: pd.DataFrame) -> pd.DataFrame:
    """Tuning, a role set by hand, and self-prompting against both (chapter 5)."""
    return _contrasts(items, ARM_CONTRASTS, [f"{new} minus {old}" for new, old in ARM_CONTRASTS])


def _contrasts(items: pd.DataFrame, pairs: Sequence[tuple[str, str]],
               labels: list[str]) -> pd.DataFrame:
    """The row `all` of `differences` of each pair that was measured, with Holm over these rows.

    It rests on the training seeds that both arms have.
    """
    rows = []
    for (new, old), label in zip(pairs, labels, strict=True):
        both = rows_of_both(items, new, old)
        if len(both):
            rows.append({"contrast": label, **differences(both, new, old).iloc[-1].drop("task")})
    table = pd.DataFrame(rows)
    return table.assign(p_holm=stats.holm(table.p)) if rows else table


def rows_of_both(items: pd.DataFrame, new: str, old: str) -> pd.DataFrame:
    """The rows of two arms with the training seeds that both have; none where one has no rows."""
    seeds_new, seeds_old = (set(items[items.arm == arm].seed) for arm in (new, old))
    if not seeds_new or not seeds_old:
        return items.iloc[:0]
    seeds = (seeds_new & seeds_old) or (seeds_new | seeds_old)
    return items[items.arm.isin([new, old]) & items.seed.isin(seeds | {UNTUNED})]


def above_chance(items: pd.DataFrame, arm: str, chance: dict[str, float]) -> stats.Estimate:
    """An arm's accuracy less that of guessing, the mean over tasks, with its interval (chapter 5).

    Args:
        chance: guessing's accuracy by task, of `benchmarks.chance`.
    """
    tables = [_item_by_seed(items, arm, task, "correct").to_numpy(dtype=float) - chance[task]
              for task in dict.fromkeys(items[items.arm == arm].task)]
    value = float(np.mean([table.mean() for table in tables]))
    low, high = t_interval(value, variance_components(*tables))
    return stats.Estimate(value, float(low), float(high), sum(map(len, tables)))
