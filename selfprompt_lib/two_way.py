"""Differences over items and training seeds: their intervals and tests, and what a sample can show (chapter 5).

The libraries have no interval for a mean over two crossed factors of which one has three levels;
`selfprompt_lib.evaluate.simulate` measures how well this one keeps its promise.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtr
from scipy.stats import chi2, norm, t
from statsmodels.stats.power import TTestPower

from .stats import Estimate, Z, mcnemar_p, tango

DRAWS = 80  # variances between seeds that a p-value is averaged over


@dataclass(frozen=True)
class Parts:
    """What the variance of a mean difference is made of. Floats, or arrays with one entry a repeat.

    `items`: variance of the items' means (over seeds) divided by the number of items. `seeds`: the
    same of the seeds' means. `rest`: the noise that both of them contain. `df_…`: degrees of freedom.
    """

    items: np.ndarray
    seeds: np.ndarray
    rest: np.ndarray
    df_items: np.ndarray
    df_rest: np.ndarray
    count: int  # of seeds

    @property
    def between(self) -> np.ndarray:
        """What the seeds vary beyond noise, never below zero."""
        return np.maximum(0.0, self.seeds - self.rest)

    @property
    def variance(self) -> np.ndarray:
        """Of the mean over items and seeds."""
        return self.items + self.between

    @property
    def df(self) -> np.ndarray:
        """Satterthwaite's degrees of freedom; those of the seeds count where their part does."""
        noise = np.where(self.between > 0, self.seeds**2 / max(1, self.count - 1) + self.rest**2 / self.df_rest, 0.0)
        return self.variance**2 / (self.items**2 / self.df_items + noise)


@dataclass(frozen=True)
class Effect(Estimate):
    """A paired difference with its interval, from `n` items and `seeds` pairs of models; `p` and what it rests on."""

    seeds: int
    p: float
    df: float
    parts: Parts


def crossed(*tasks: np.ndarray) -> Effect:
    """The paired difference over items and training seeds, each task counting the same (chapter 5).

    Args:
        tasks: one table a task, shape (items, seeds): 1 where only the new arm was right, -1 where
            only the old one was, else 0. Column s is the same pair of models in every task.

    Items and seeds are crossed random factors; `parts` has the variances. With one seed the result is
    about these two models: for one task it is Tango's interval with the exact McNemar test.
    """
    tables = [np.asarray(task, dtype=float) for task in tasks]
    value = float(np.mean([table.mean() for table in tables]))
    n, seeds, found = sum(map(len, tables)), tables[0].shape[1], parts(*tables)
    low, high = interval(value, found)
    p = p_value(value, found)
    if seeds == 1 and len(tables) == 1:
        change = tables[0][:, 0]
        low, high = tango((change > 0).sum(), (change < 0).sum(), n)
        p = mcnemar_p(change > 0, change < 0)
    return Effect(value, float(low), float(high), n, seeds, float(p), float(found.df), found)


def parts(*tasks: np.ndarray) -> Parts:
    """The variances of a mean over tasks; axes before (items, seeds), if any, are repeats.

    They are the mean squares of a balanced two-way table without replication, divided by its size.
    """
    count, share = tasks[0].shape[-1], len(tasks) ** -2
    items, rest = (share * np.stack(part) for part in zip(*map(_item_parts, tasks), strict=True))
    df_items = np.stack([np.full(items.shape[1:], max(1, table.shape[-2] - 1)) for table in tasks])
    means = sum(table.mean(axis=-2) for table in tasks) / len(tasks)
    seeds = means.var(axis=-1, ddof=1) / count if count > 1 else np.zeros(means.shape[:-1])
    return Parts(items.sum(axis=0), seeds, rest.sum(axis=0), _satterthwaite(items, df_items),
                 _satterthwaite(rest, df_items * max(1, count - 1)), count)


def _item_parts(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One task's variance from its items, and from what is left beside items and seeds."""
    n, seeds = table.shape[-2:]
    rows, columns = table.mean(axis=-1, keepdims=True), table.mean(axis=-2, keepdims=True)
    items = rows[..., 0].var(axis=-1, ddof=1) / n if n > 1 else np.zeros(rows.shape[:-2])
    left = table - rows - columns + rows.mean(axis=-2, keepdims=True)
    rest = (left**2).sum(axis=(-2, -1)) / max(1, (n - 1) * (seeds - 1)) / (n * seeds)
    # Where all items are alike there is no variance to see. Then about as wide as Tango's interval.
    return np.where(items > 0, items, (Z / n) ** 2), rest


def _satterthwaite(variances: np.ndarray, df: np.ndarray) -> np.ndarray:
    """Degrees of freedom of a sum of variances (first axis)."""
    total, squares = variances.sum(axis=0), (variances**2 / df).sum(axis=0)
    return np.divide(total**2, squares, out=np.ones_like(total), where=squares > 0)


def interval(value: np.ndarray, found: Parts) -> tuple[np.ndarray, np.ndarray]:
    """95% t interval with Satterthwaite's degrees of freedom, within -1 and 1."""
    reach = t.ppf(0.975, found.df) * np.sqrt(found.variance)
    return np.maximum(-1, value - reach), np.minimum(1, value + reach)


def p_value(value: np.ndarray, found: Parts) -> np.ndarray:
    """Two-sided p-value of no difference; with several seeds a generalised one.

    Few seeds say little about how much seeds vary. So the p-value is averaged over the variances that
    they leave possible (generalised p-values: Weerahandi, Exact Statistical Methods for Data Analysis,
    1995). Satterthwaite's t would be too bold in the far tail, where Holm looks.
    """
    if found.count == 1:
        return 2 * t.sf(np.abs(value) / np.sqrt(found.items), found.df_items)
    luck, chances = _luck(found.count - 1, DRAWS)
    items, seeds, rest, df = (np.asarray(part)[..., None] for part in (found.items, found.seeds, found.rest, found.df_items))
    variance = items + np.maximum(0, seeds / luck - rest)
    return 2 * stdtr(df, -np.abs(value)[..., None] / np.sqrt(variance)) @ chances


def smallest(found: Parts, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest difference that a sample with these variances finds with this power (chapter 5)."""
    if found.count == 1:
        n = float(found.df_items) + 1
        return float(np.squeeze(TTestPower().solve_power(nobs=n, alpha=alpha, power=power)) * np.sqrt(n * found.items))
    # How much the seeds will be seen to vary is luck, and what the test then asks for depends on it.
    luck, chances = _luck(found.count - 1, 25)
    enough, spread = critical(replace(found, seeds=(found.rest + found.between) * luck), alpha), np.sqrt(found.variance)
    return float(brentq(lambda value: norm.cdf((value - enough) / spread) @ chances - power, 0, enough.max() + 5 * spread))


def critical(found: Parts, alpha: float) -> np.ndarray:
    """The differences whose p-values are `alpha`, one for each entry of `found.seeds`."""
    low = np.zeros_like(found.seeds)
    high = 1.5 * t.ppf(1 - alpha / 2, found.count - 1) * np.sqrt(found.items + found.seeds)
    for _ in range(16):  # bisection
        middle = (low + high) / 2
        below = p_value(middle, found) > alpha
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return high


@cache
def _luck(df: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Ratios of a variance that was seen to the true one, and how likely each is. The small ones, which count most, lie dense."""
    edges = np.linspace(0, 1, draws + 1) ** 3
    return chi2.ppf((edges[1:] + edges[:-1]) / 2, df) / df, np.diff(edges)


def planned(found: Parts, items: float = 1, seeds: int | None = None) -> Parts:
    """The variances to expect with `items` times as many items and another number of seeds."""
    seeds = found.count if seeds is None else seeds
    rest, between = found.rest * found.count / (items * seeds), found.between * found.count / seeds
    own = np.maximum(0, found.items - found.rest) / items + rest
    return Parts(own, between + rest, rest, found.df_items * items, found.df_rest * items * max(1, seeds - 1)
                 / max(1, found.count - 1), seeds)


def needed_size(effect: Effect, target: float, seeds_most: int = 200, times_most: float = 1e6) -> tuple[int | None, int | None]:
    """(items at these seeds, seeds at these items) that would show a difference of `target`; None where none would.

    From one seed alone nobody can tell how much seeds vary, so then the second is None.
    """
    found = effect.parts

    def falls_short(times: float, seeds: int) -> float:
        return smallest(planned(found, times, seeds)) - target

    items, least = None, 2 / effect.n
    if falls_short(least, found.count) <= 0:
        items = 2
    elif falls_short(times_most, found.count) <= 0:
        root = brentq(lambda log: falls_short(np.exp(log), found.count), np.log(least), np.log(times_most), xtol=1e-3)
        items = int(np.ceil(effect.n * np.exp(root)))
    return items, None if found.count == 1 else _first(lambda seeds: falls_short(1, seeds) <= 0, 2, seeds_most)


def _first(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """The smallest whole number from `low` to `high` for which a condition that stays true once true holds."""
    if not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
