"""Differences over items and training seeds: intervals, tests, what a sample can show (chapter 5).

Items and seeds are two crossed random factors. SciPy and statsmodels have no interval for the mean
that holds with three seeds: the page "How sure can one be?" measures this one and theirs.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtr
from scipy.stats import chi2, norm, t
from statsmodels.stats.power import TTestPower

from .stats import ROUNDING, Estimate, Z, mcnemar_p, paired_difference

DRAWS = 80  # true variances between seeds that a p-value is averaged over
MOST_SEEDS, MOST_TIMES = 200, 10**6  # seeds, and times as many items, beyond which nobody looks


@dataclass(frozen=True)
class VarianceComponents:
    """What the variance of a mean difference is made of: floats, or arrays with one entry a repeat.

    Attributes:
        items: variance of the items' means (over seeds), divided by the number of items.
        seeds: variance of the seeds' means (over items), divided by the number of seeds.
        residual: the noise of single cells, which both of them contain.
        df_items, df_residual: degrees of freedom.
        n_seeds: number of training seeds.
    """

    items: np.ndarray
    seeds: np.ndarray
    residual: np.ndarray
    df_items: np.ndarray
    df_residual: np.ndarray
    n_seeds: int

    @property
    def between_seeds(self) -> np.ndarray:
        """What the seeds vary beyond noise, never below zero."""
        return np.maximum(0.0, self.seeds - self.residual)

    @property
    def variance(self) -> np.ndarray:
        """Of the mean over items and seeds."""
        return self.items + self.between_seeds

    @property
    def df(self) -> np.ndarray:
        """Satterthwaite's degrees of freedom; those of the seeds count where the seeds vary."""
        from_seeds = self.seeds**2 / max(1, self.n_seeds - 1) + self.residual**2 / self.df_residual
        from_seeds = np.where(self.between_seeds > 0, from_seeds, 0.0)
        return self.variance**2 / (self.items**2 / self.df_items + from_seeds)


@dataclass(frozen=True)
class Effect(Estimate):
    """A paired difference with its interval, from `n` items and `seeds` pairs of models."""

    seeds: int
    p: float
    df: float
    components: VarianceComponents


def two_way_interval(*tasks: np.ndarray, shares: bool = True) -> Effect:
    """The paired difference over items and training seeds, each task counting the same (chapter 5).

    Args:
        tasks: one table a task, shape (items, seeds): 1 where only the new arm was right, -1 where
            only the old one was, else 0. Column s is the same pair of models in every task.
        shares: False for differences of another measure, such as nats, of any size.

    With one seed it is about these two models: for one task of shares Tango's interval with the
    exact McNemar test, for any other measure that of the paired t test. Where all differences of
    another measure are the same there is no interval, and p is 1.
    """
    tables = [np.asarray(task, dtype=float) for task in tasks]
    value = float(np.mean([table.mean() for table in tables]))
    components = variance_components(*tables, shares=shares)
    low, high, p, df = np.nan, np.nan, 1.0, np.nan
    if components.variance > ROUNDING:
        low, high = t_interval(value, components, 1 if shares else np.inf)
        p, df = p_value(value, components), components.df
    if shares and components.n_seeds == 1 and len(tables) == 1:
        won, lost = tables[0][:, 0] > 0, tables[0][:, 0] < 0
        alone = paired_difference(won, lost)
        low, high, p = alone.low, alone.high, mcnemar_p(won, lost)
    return Effect(value, float(low), float(high), n=sum(map(len, tables)), seeds=components.n_seeds,
                  p=float(p), df=float(df), components=components)


def variance_components(*tasks: np.ndarray, shares: bool = True) -> VarianceComponents:
    """The components of a mean over tasks; each table has shape (..., items, seeds).

    Where all items are alike no variance is seen. Of `shares` it is then about as in Tango's
    interval; other measures have no size that one could expect.

    Notes:
        In a balanced table of n items and k seeds without replication, with the mean squares MS of
        an analysis of variance,

            items = MS_items / nk,  seeds = MS_seeds / nk,  residual = MS_residual / nk,
            variance of the mean = items + seeds - residual,

        since the first two both contain the residual (Searle, Casella and McCulloch, Variance
        Components, 1992, chapter 4). A mean over T tasks has 1/T² of the sum of the tasks'
        components of items and residual, which are independent. Seeds are shared: their component
        is that of the seeds' means over all tasks.
    """
    n_seeds, share = tasks[0].shape[-1], len(tasks) ** -2
    per_task = [_item_and_residual(table, (Z / table.shape[-2]) ** 2 if shares else 0.0)
                for table in tasks]
    items, residual = (share * np.stack(parts) for parts in zip(*per_task, strict=True))
    # Each has shape (tasks, ...).
    df_items = np.stack([np.full(items.shape[1:], max(1, table.shape[-2] - 1)) for table in tasks])
    seed_means = sum(table.mean(axis=-2) for table in tasks) / len(tasks)  # shape (..., seeds)
    df_residual = df_items * max(1, n_seeds - 1)
    return VarianceComponents(
        items.sum(axis=0), _variance_of_mean(seed_means), residual.sum(axis=0),
        _satterthwaite(items, df_items), _satterthwaite(residual, df_residual), n_seeds)


def _variance_of_mean(values: np.ndarray) -> np.ndarray:
    """Of the mean over the last axis; zero where it has one value, which tells of no variance."""
    n = values.shape[-1]
    return values.var(axis=-1, ddof=1) / n if n > 1 else np.zeros(values.shape[:-1])


def _item_and_residual(table: np.ndarray, alike: float) -> tuple[np.ndarray, np.ndarray]:
    """One task's components of items (`alike` where they do not differ) and of the residual."""
    n, seeds = table.shape[-2:]
    item_means = table.mean(axis=-1, keepdims=True)  # shape (..., items, 1)
    seed_means = table.mean(axis=-2, keepdims=True)  # shape (..., 1, seeds)
    items = _variance_of_mean(item_means[..., 0])
    left = table - item_means - seed_means + item_means.mean(axis=-2, keepdims=True)
    mean_square = (left**2).sum(axis=(-2, -1)) / max(1, (n - 1) * (seeds - 1))
    return np.where(items > ROUNDING, items, alike), mean_square / (n * seeds)


def _satterthwaite(variances: np.ndarray, df: np.ndarray) -> np.ndarray:
    """Degrees of freedom of a sum Σ v (first axis): (Σ v)² / Σ (v² / df), Satterthwaite 1946."""
    total, squares = variances.sum(axis=0), (variances**2 / df).sum(axis=0)
    return np.divide(total**2, squares, out=np.ones_like(total), where=squares > 0)


def t_interval(value: np.ndarray, components: VarianceComponents,
               limit: float = 1) -> tuple[np.ndarray, np.ndarray]:
    """95% interval by Student's t with Satterthwaite's degrees of freedom, within ±`limit`."""
    reach = t.ppf(0.975, components.df) * np.sqrt(components.variance)
    return np.maximum(-limit, value - reach), np.minimum(limit, value + reach)


def p_value(value: np.ndarray, components: VarianceComponents) -> np.ndarray:
    """Two-sided p-value of no difference; with several seeds a generalised one.

    Satterthwaite's t would be too bold in the far tail, where Holm's correction looks. So this is
    averaged over the variances between seeds that the few seeds seen leave possible.

    Notes:
        With k seeds, R = χ²(k-1) / (k-1) is the ratio of the variance that they show to the true
        one, and

            p = E_R[ 2 F(-|value| / √(items + max(0, seeds / R - residual))) ],

        F being Student's distribution with the items' degrees of freedom (generalised p-values:
        Weerahandi, Exact Statistical Methods for Data Analysis, 1995).
    """
    if components.n_seeds == 1:
        return 2 * t.sf(np.abs(value) / np.sqrt(components.items), components.df_items)
    ratios, weights = _variance_ratios(components.n_seeds - 1, DRAWS)  # each of shape (draws,)
    parts = (components.items, components.seeds, components.residual, components.df_items)
    items, seeds, residual, df = (np.asarray(part)[..., None] for part in parts)  # (..., 1)
    variances = items + np.maximum(0, seeds / ratios - residual)  # shape (..., draws)
    return 2 * stdtr(df, -np.abs(value)[..., None] / np.sqrt(variances)) @ weights


@cache
def _variance_ratios(df: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of χ²(df) / df and their weights; the small ones, which count most, lie dense."""
    edges = np.linspace(0, 1, draws + 1) ** 3
    return chi2.ppf((edges[1:] + edges[:-1]) / 2, df) / df, np.diff(edges)


def critical_difference(components: VarianceComponents, alpha: float) -> np.ndarray:
    """The differences whose p-values are `alpha`, one for each entry of `components.seeds`."""
    low = np.zeros_like(components.seeds)
    quantile = t.ppf(1 - alpha / 2, components.n_seeds - 1)
    high = 1.5 * quantile * np.sqrt(components.items + components.seeds)
    for _ in range(16):  # bisection
        middle = (low + high) / 2
        below = p_value(middle, components) > alpha
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return high


def minimum_detectable_effect(components: VarianceComponents, alpha=0.05, power=0.8) -> float:
    """The smallest difference that such a sample shows with this power (chapter 5)."""
    if components.n_seeds == 1:
        n = float(components.df_items) + 1
        in_deviations = TTestPower().solve_power(nobs=n, alpha=alpha, power=power)
        return float(np.squeeze(in_deviations) * np.sqrt(n * components.items))
    # How much the seeds will be seen to vary is chance, and the critical difference depends on it.
    ratios, weights = _variance_ratios(components.n_seeds - 1, 25)
    seen = (components.residual + components.between_seeds) * ratios
    critical = critical_difference(replace(components, seeds=seen), alpha)  # shape (25,)
    error = np.sqrt(components.variance)

    def missing_power(difference: float) -> float:
        return norm.cdf((difference - critical) / error) @ weights - power

    return float(brentq(missing_power, 0, critical.max() + 5 * error))


def scaled_components(components: VarianceComponents, times: float = 1,
                      seeds: int | None = None) -> VarianceComponents:
    """The components to expect with `times` as many items, and another number of seeds."""
    before, seeds = components.n_seeds, seeds or components.n_seeds
    residual = components.residual * before / (times * seeds)
    between_seeds = components.between_seeds * before / seeds
    between_items = np.maximum(0, components.items - components.residual) / times
    df_residual = components.df_residual * times * max(1, seeds - 1) / max(1, before - 1)
    return VarianceComponents(between_items + residual, between_seeds + residual, residual,
                              components.df_items * times, df_residual, seeds)


def required_sample_size(effect: Effect, target: float) -> tuple[int | None, int | None]:
    """(items at these seeds, seeds at these items) that would show a difference of `target`.

    None where none up to `MOST_TIMES` as many items, or `MOST_SEEDS`, would. One seed does not tell
    how much seeds vary, so then the second is None.
    """
    def shows(items: int, seeds: int) -> bool:
        expected = scaled_components(effect.components, items / effect.n, seeds)
        return minimum_detectable_effect(expected) <= target

    items = _first(range(2, effect.n * MOST_TIMES), lambda n: shows(n, effect.seeds))
    if effect.seeds == 1:
        return items, None
    return items, _first(range(2, MOST_SEEDS + 1), lambda seeds: shows(effect.n, seeds))


def _first(numbers: range, holds: Callable[[int], bool]) -> int | None:
    """The first number for which a condition holds that stays true once it is true."""
    return numbers[bisect_left(numbers, True, key=holds)] if holds(numbers[-1]) else None
