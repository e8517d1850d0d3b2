"""With a role or without: what it brings to let the model choose, task by task.

Experts may hurt facts and help form (PRISM, see the page *Method*). A model that was tuned with
some role-free samples (`data.without_role`) begins in both ways, and how sure it is of a role can
say which questions get one. Everything is computed from likelihoods behind the role and behind no
text, so that no answer is written for any rule; `book/studies/role_choice_study.py` measures them.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from selfprompt_lib.errors import require
from selfprompt_lib.evaluate.compare import ALL
from selfprompt_lib.evaluate.contrasts import TEXT
from selfprompt_lib.evaluate.prefixes import NOTHING, OWN_ROLE
from selfprompt_lib.evaluate.results import OWN
from selfprompt_lib.two_way import two_way_interval

ALWAYS, NEVER, MODEL, GAP_RULE = ("always", "never", "model's choice", "gap")
SHARES = np.linspace(0, 1, 11)  # of the questions that get a role, to choose from
Tables = dict[str, np.ndarray]  # by task, shape (items, seeds)


def choice_gains(table: pd.DataFrame, gaps: pd.DataFrame) -> pd.DataFrame:
    """What four rules of giving a role bring on each task, against always and against never.

    The rules: `always`, `never`, `model's choice` (a gap above zero) and `gap`: a role where the
    gap is above a threshold. That is the quantile of the gaps which gives a role to the share of
    questions (of `SHARES`) that did best, the mean over all tasks of the form, for each seed's
    model. It is chosen on other questions than those that it is judged on: on every second item of
    each task, for the items between them, and the other way round (cross-fitting by halves). The
    two halves' thresholds depend on each other's items a little, which the intervals do not hold.

    Args:
        table: of likelihoods (see `contrasts`), with the self-prompt model's rows behind its own
            role and behind none. Where it wrote no role both are the same, so that `always` is then
            what it chose; `measure_choice` forces one.
        gaps: one row a seed, task and item, with its `gap` of `role_gaps`; with a `form`, too,
            where tasks were measured in several.

    Returns:
        Columns form, task (and `all`, each task counting the same), rule, measure (`nats` a token
        of an open question's answer, else `log_odds`), mean, share (of the questions that get a
        role), n, seeds, and for both `always` and `never` the difference with its 95% interval
        (`two_way_interval`) and p: over_always, over_always_low, over_always_high, over_always_p,
        over_never, …

    Raises:
        UserError: no such rows, items without a gap, or a task of fewer than two items.
    """
    rows = []
    for form, part in table[table.model == OWN].groupby("form", sort=False):
        measure = "nats" if form == TEXT else "log_odds"
        of_form = gaps[gaps.form == form] if "form" in gaps else gaps
        always, never, gap = _paired(part, of_form, measure)
        given = {ALWAYS: {task: np.ones_like(each, bool) for task, each in gap.items()},
                 NEVER: {task: np.zeros_like(each, bool) for task, each in gap.items()},
                 MODEL: {task: each > 0 for task, each in gap.items()},
                 GAP_RULE: _cross_fitted(gap, {task: always[task] - never[task] for task in gap})}
        scopes = {task: [task] for task in gap} | ({ALL: list(gap)} if len(gap) > 1 else {})
        for task, scope in scopes.items():
            for rule, chosen in given.items():
                values = [np.where(chosen[one], always[one], never[one]) for one in scope]
                rows.append({
                    "form": form, "task": task, "rule": rule, "measure": measure,
                    "mean": float(np.mean([each.mean() for each in values])),
                    "share": float(np.mean([chosen[one].mean() for one in scope])),
                    "n": sum(map(len, values)), "seeds": values[0].shape[1],
                    **_over(ALWAYS, values, [always[one] for one in scope]),
                    **_over(NEVER, values, [never[one] for one in scope])})
    require(rows, f"choice_gains: the table has no rows of model {OWN}; measure it behind "
                  f"{OWN_ROLE!r} and {NOTHING!r} (measure_choice)")
    return pd.DataFrame(rows)


def _paired(rows: pd.DataFrame, gaps: pd.DataFrame, measure: str) -> tuple[Tables, Tables, Tables]:
    """Likelihoods behind the role and behind none, and gaps, of items that have both everywhere."""
    keys = ["seed", "task", "item"]
    wide = rows.pivot(index=keys, columns="prefix", values=measure)
    lacking = {OWN_ROLE, NOTHING} - set(wide)
    require(not lacking, f"choice_gains: no rows behind {sorted(lacking)}; measure the model "
                         "behind both (measure_choice)")
    found = wide[[OWN_ROLE, NOTHING]].dropna().join(gaps.set_index(keys).gap, how="left")
    bare = found[found.gap.isna()]
    require(bare.empty, f"choice_gains: {len(bare)} of {len(found)} items have no gap, such as "
                        f"(seed, task, item) {list(bare.index[:1])}; measure them with role_gaps")
    parts: tuple[Tables, Tables, Tables] = ({}, {}, {})
    for task in dict.fromkeys(rows.task):
        columns = found[found.index.get_level_values("task") == task].unstack("seed").dropna()
        require(len(columns) > 1, f"choice_gains: task {task} has {len(columns)} items that all "
                                  "seeds have; it takes two to choose on one and judge on another")
        for tables, name in zip(parts, (OWN_ROLE, NOTHING, "gap"), strict=True):
            tables[task] = columns[name].to_numpy(dtype=float)
    return parts


def _cross_fitted(gaps: Tables, gains: Tables) -> Tables:
    """Which items get a role, by thresholds chosen on the other half of the items of each task."""
    given = {task: np.zeros_like(gap, bool) for task, gap in gaps.items()}
    seeds = next(iter(gaps.values())).shape[1]
    for half in (0, 1):
        for seed in range(seeds):
            other = {task: (gaps[task][1 - half :: 2, seed], gains[task][1 - half :: 2, seed])
                     for task in gaps}
            threshold = _best_threshold(list(other.values()))
            for task, gap in gaps.items():
                given[task][half::2, seed] = gap[half::2, seed] > threshold
    return given


def _best_threshold(tasks: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """The threshold with the largest mean gain over tasks; of equal ones that with fewest roles."""
    pooled = np.concatenate([gap for gap, _ in tasks])
    thresholds = [np.inf, *np.quantile(pooled, 1 - SHARES[1:-1]), -np.inf]
    means = [np.mean([np.where(gap > threshold, gain, 0).mean() for gap, gain in tasks])
             for threshold in thresholds]
    return float(thresholds[int(np.argmax(means))])


def _over(name: str, new: list[np.ndarray], old: list[np.ndarray]) -> dict[str, float]:
    """The difference and its interval; none where all items differ by the same."""
    tables = [one - other for one, other in zip(new, old, strict=True)]
    effect = two_way_interval(*tables, shares=False)
    return {f"over_{name}": effect.value, f"over_{name}_low": effect.low,
            f"over_{name}_high": effect.high, f"over_{name}_p": effect.p}
