"""What one arm gains over another, from the table of items (chapter 5).

Everything here takes that table and two names of arms, `new` and `old`; a difference is `new` minus `old`.
"""

import pandas as pd

from .. import stats
from ..errors import require
from ..two_way import (
    Effect,
    minimum_detectable_effect,
    required_sample_size,
    t_interval,
    two_way_interval,
    variance_components,
)
from .groups import groups
from .paired import matrix, tables

ALL = "all"
__all__ = ["ALL", "above_chance", "differences", "effects", "groups", "heterogeneity", "matrix", "needed", "seeds"]


def effects(items: pd.DataFrame, new: str, old: str, column: str = "correct") -> dict[str, Effect]:
    """The effect on each task, and on `all`, the mean over tasks that each count the same."""
    found = {task: part.to_numpy() for task, part in tables(items, new, old, column).items()}
    return {task: two_way_interval(part) for task, part in found.items()} | {ALL: two_way_interval(*found.values())}


def differences(items: pd.DataFrame, new: str, old: str, column: str = "correct") -> pd.DataFrame:
    """One row a task and a last row `all` (the mean over tasks), with intervals and p-values (chapter 5).

    Columns: task, difference, low, high (95%), n (items), seeds, wins and losses (answers, over all
    seeds), p, p_holm (adjusted over the tasks), smallest (the difference that this sample shows with
    80% power at 5%), df.
    """
    found, every = effects(items, new, old, column), tables(items, new, old, column)
    steps = len(every)
    rows = []
    for task, effect in found.items():
        cells = [every[task]] if task in every else list(every.values())
        rows.append({
            "task": task, "difference": effect.value, "low": effect.low, "high": effect.high, "n": effect.n,
            "seeds": effect.seeds, "wins": sum(int((cell > 0).sum(axis=None)) for cell in cells),
            "losses": sum(int((cell < 0).sum(axis=None)) for cell in cells), "p": effect.p, "p_holm": effect.p,
            "smallest": minimum_detectable_effect(effect.components), "df": effect.df,
        })
    frame = pd.DataFrame(rows)
    frame.loc[: steps - 1, "p_holm"] = stats.holm(frame.p[:steps])
    return frame


def above_chance(items: pd.DataFrame, arm: str, chance: dict[str, float], column: str = "correct") -> stats.Estimate:
    """An arm's accuracy less that of guessing, the mean over tasks, with an interval over items and seeds (chapter 5).

    Args:
        chance: guessing's accuracy by task, of `bench.chance`.
    """
    rows = items[items.arm == arm]
    tables = [part.pivot(index="item", columns="seed", values=column).to_numpy(dtype=float) - chance[str(task)]
              for task, part in rows.groupby("task", sort=False)]
    value = sum(table.mean() for table in tables) / len(tables)
    low, high = t_interval(value, variance_components(*tables))
    return stats.Estimate(float(value), float(low), float(high), sum(map(len, tables)))


def heterogeneity(items: pd.DataFrame, new: str, old: str, column: str = "correct") -> stats.Pooled | None:
    """How much the tasks differ beyond chance: a second view of `all`, as if tasks were drawn from many.

    It takes the tasks as independent, though they share their models. None for fewer than two tasks.
    """
    found = list(effects(items, new, old, column).values())[:-1]
    return stats.pooled([e.value for e in found], [float(e.components.variance) for e in found]) if len(found) > 1 else None


def needed(items: pd.DataFrame, new: str, old: str, target: float = 0.02, column: str = "correct") -> pd.DataFrame:
    """How many items, or seeds, would show a difference of `target` with 80% power at 5% (chapter 5).

    Columns: task, n, seeds, smallest, items_needed (at these seeds), seeds_needed (at these items), words.
    Empty where more of that kind alone would never do, and for seeds where one seed cannot tell.

    Raises:
        UserError: `target` is not between 0 and 1, or as `matrix`.
    """
    require(0 < target < 1, f"target: {target} is not a difference between 0 and 1; 0.02 is two points")
    rows = []
    for task, effect in effects(items, new, old, column).items():
        more, models = required_sample_size(effect, target)
        rows.append({"task": task, "n": effect.n, "seeds": effect.seeds, "smallest": minimum_detectable_effect(effect.components),
                     "items_needed": more, "seeds_needed": models, "words": _words(effect.seeds, more, models)})
    return pd.DataFrame(rows).astype({"items_needed": "Int64", "seeds_needed": "Int64"})


def _words(seeds: int, items: int | None, more: int | None) -> str:
    if seeds == 1:
        return f"{items:,} items, for these two models alone; what seeds do is not known" if items else "out of reach"
    if items and more:
        return f"{items:,} items, or {more:,} seeds"
    if more:
        return f"not with more items alone: {more:,} seeds"
    return f"{items:,} items; not with more seeds alone" if items else "more items and more seeds"


def seeds(items: pd.DataFrame, new: str, old: str, column: str = "correct") -> pd.DataFrame:
    """The difference of each pair of models by task and over `all`: seed, task, difference, low, high, n.

    The intervals are about that one pair of models: Tango's for a task, a t interval for `all`.
    """
    found = tables(items, new, old, column)
    rows = []
    for seed in next(iter(found.values())).columns:
        single = {task: part[[seed]].to_numpy() for task, part in found.items()}
        for task, some in [*((task, [part]) for task, part in single.items()), (ALL, list(single.values()))]:
            effect = two_way_interval(*some)
            rows.append({"seed": int(seed), "task": task, "difference": effect.value, "low": effect.low, "high": effect.high,
                         "n": effect.n})
    return pd.DataFrame(rows)
