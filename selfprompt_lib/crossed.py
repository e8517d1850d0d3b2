"""Differences over items and training seeds: their intervals and tests, and what a sample can show (chapter 5).

The libraries have no interval for a mean over two crossed factors of which one has three levels;
`selfprompt_lib.evaluate.simulate` measures how well this one keeps its promise.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, norm, t
from statsmodels.stats.power import TTestPower

from .stats import Estimate, Z, mcnemar_p, tango

DRAWS = 400  # variances between seeds that a p-value is averaged over


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
    """The variance components of a mean over tasks, from their mean squares; axes before (items, seeds) are repeats."""
    items = rest = items_by_df = rest_by_df = 0.0
    seeds = tasks[0].shape[-1]
    means = sum(table.mean(axis=-2) for table in tasks) / len(tasks)
    for table in tasks:
        n = table.shape[-2]
        rows, columns, share = table.mean(axis=-1), table.mean(axis=-2), len(tasks) ** -2
        variance = rows.var(axis=-1, ddof=1) / n if n > 1 else np.zeros(rows.shape[:-1])
        # Where no item differs from another there is no variance to see: as wide as Tango's interval is then.
        variance = share * np.where(variance > 0, variance, (Z / n) ** 2)
        df, df_rest = max(1, n - 1), max(1, (n - 1) * (seeds - 1))
        left = table - rows[..., None] - columns[..., None, :] + rows.mean(axis=-1)[..., None, None]
        noise = share * (left**2).sum(axis=(-2, -1)) / df_rest / (n * seeds)
        items, items_by_df = items + variance, items_by_df + variance**2 / df
        rest, rest_by_df = rest + noise, rest_by_df + noise**2 / df_rest
    spread = means.var(axis=-1, ddof=1) / seeds if seeds > 1 else np.zeros(means.shape[:-1])
    return Parts(items, spread, rest, items**2 / items_by_df, np.divide(rest**2, rest_by_df, out=np.ones_like(rest),
                                                                        where=rest > 0), seeds)


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
    df = found.count - 1
    luck = chi2.ppf((np.arange(DRAWS) + 0.5) / DRAWS, df) / df
    items, seeds, rest = (np.asarray(part)[..., None] for part in (found.items, found.seeds, found.rest))
    variance = items + np.maximum(0, seeds / luck - rest)
    return 2 * t.sf(np.abs(value)[..., None] / np.sqrt(variance), np.asarray(found.df_items)[..., None]).mean(axis=-1)


def smallest(found: Parts, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest difference that a sample with these variances finds with this power, about (chapter 5)."""
    if found.count == 1:
        size = TTestPower().solve_power(nobs=found.df_items + 1, alpha=alpha, power=power)
        return float(size * np.sqrt((found.df_items + 1) * found.items))
    critical = brentq(lambda value: p_value(np.float64(value), found) - alpha, 0, 1e6 * np.sqrt(found.variance))
    return float(critical + norm.ppf(power) * np.sqrt(found.variance))


def planned(found: Parts, items: float = 1, seeds: int | None = None) -> Parts:
    """The variances to expect with `items` times as many items and another number of seeds."""
    seeds = found.count if seeds is None else seeds
    rest, between = found.rest * found.count / (items * seeds), found.between * found.count / seeds
    own = np.maximum(0, found.items - found.rest) / items + rest
    return Parts(own, between + rest, rest, found.df_items * items, found.df_rest * items * max(1, seeds - 1)
                 / max(1, found.count - 1), seeds)


def needed_size(effect: Effect, target: float, seeds_most: int = 1000, times_most: float = 1e6) -> tuple[int | None, int | None]:
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
        root = brentq(lambda log: falls_short(np.exp(log), found.count), np.log(least), np.log(times_most), xtol=1e-4)
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
