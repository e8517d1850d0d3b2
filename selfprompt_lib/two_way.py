"""Differences over items and training seeds: the interval and the test (chapter 5).

Items and seeds are two crossed random factors: each seed's pair of models answers each item. SciPy
and statsmodels have no interval for the mean that holds with three seeds: the page "How sure can
one be?" measures this one and theirs. What a sample can show, and how large one must be, is in
`sample_size`.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import stdtr
from scipy.stats import chi2, t

from .stats import ROUNDING, Estimate, Z, mcnemar_p_of, tango

DRAWS = 80  # true variances between seeds that a p-value is averaged over


@dataclass(frozen=True)
class VarianceComponents:
    """What the variance of a mean difference over n items and k seeds is made of.

    All are variances of means, in squared units of the differences (shares, or nats a token). They
    are floats, or arrays with one entry a repeat of a simulation.

    Attributes:
        items: variance of the items' means (over seeds), divided by n.
        seeds: variance of the seeds' means (over items), divided by k.
        residual: the noise of single cells, divided by nk; `items` and `seeds` contain it, too.
        df_items: degrees of freedom of `items`.
        df_residual: degrees of freedom of `residual`.
        n_seeds: k, the number of training seeds.
    """

    items: np.ndarray
    seeds: np.ndarray
    residual: np.ndarray
    df_items: np.ndarray
    df_residual: np.ndarray
    n_seeds: int

    @property
    def between_seeds(self) -> np.ndarray:
        """What the seeds vary beyond noise, never below zero: max(0, seeds - residual)."""
        return np.maximum(0.0, self.seeds - self.residual)

    @property
    def variance(self) -> np.ndarray:
        """Of the mean over items and seeds: items + between_seeds."""
        return self.items + self.between_seeds

    @property
    def df(self) -> np.ndarray:
        """Degrees of freedom of `variance`.

        Notes:
            Satterthwaite's (Biometrics Bulletin 2, 1946) of a sum of independent mean squares:

                variance² / (items² / df_items + seeds² / (k - 1) + residual² / df_residual),

            whose last two terms count only where the seeds vary beyond noise.
        """
        from_seeds = self.seeds**2 / max(1, self.n_seeds - 1) + self.residual**2 / self.df_residual
        from_seeds = np.where(self.between_seeds > 0, from_seeds, 0.0)
        return self.variance**2 / (self.items**2 / self.df_items + from_seeds)


@dataclass(frozen=True)
class Effect(Estimate):
    """A paired difference with its 95% interval, from `n` items and `seeds` pairs of models.

    Attributes:
        p: two-sided p-value of no difference.
        df: degrees of freedom of the t interval; NaN where there is none.
        components: what its variance is made of.
    """

    seeds: int
    p: float
    df: float
    components: VarianceComponents


def two_way_interval(*tasks: np.ndarray, shares: bool = True) -> Effect:
    """The paired difference over items and training seeds, each task counting the same (chapter 5).

    With one seed it is about these two models: for one task of shares Tango's interval with the
    exact McNemar test, for any other measure that of the paired t test. Where all differences of
    another measure are the same there is no interval (NaN), and p is 1.

    Args:
        tasks: one table a task, shape (items, seeds): 1 where only the new arm was right, -1 where
            only the old one was, else 0. Column s is the same pair of models in every task; tasks
            may have different numbers of items.
        shares: False for differences of another measure, such as nats, of any size.

    Returns:
        The mean of the tasks' means, in the units of the tables, with `t_interval` and `p_value`;
        `n` counts the items of all tasks.
    """
    tables = [np.asarray(task, dtype=float) for task in tasks]
    value = float(np.mean([table.mean() for table in tables]))
    components = variance_components(*tables, shares=shares)
    low, high, p, df = np.nan, np.nan, 1.0, np.nan
    if components.variance > ROUNDING:
        low, high = t_interval(value, components, 1 if shares else np.inf)
        p, df = p_value(value, components), components.df
    if shares and components.n_seeds == 1 and len(tables) == 1:
        wins, losses = int((tables[0] > 0).sum()), int((tables[0] < 0).sum())
        low, high = tango(wins, losses, len(tables[0]))
        p = mcnemar_p_of(wins, losses)
    return Effect(value, float(low), float(high), n=sum(map(len, tables)), seeds=components.n_seeds,
                  p=float(p), df=float(df), components=components)


def variance_components(*tasks: np.ndarray, shares: bool = True) -> VarianceComponents:
    """The components of a mean over tasks that each count the same.

    Where all items are alike no variance is seen. Of `shares` it is then taken as (Z / n)², about
    as in Tango's interval; other measures have no size that one could expect.

    Args:
        tasks: one table a task, shape (..., items, seeds); leading axes are repeats.
        shares: as in `two_way_interval`.

    Returns:
        Components of shape (...).

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
    n_seeds = tasks[0].shape[-1]
    of_tasks = []
    for table in tasks:
        n = table.shape[-2]
        of_items, of_residual = _item_and_residual(table, (Z / n) ** 2 if shares else 0.0)
        of_tasks.append((of_items, of_residual, np.full(of_items.shape, max(1, n - 1))))
    items, residual, df_items = map(np.stack, zip(*of_tasks, strict=True))  # shape (tasks, ...)
    weight = len(tasks) ** -2  # of a task's variance in that of the mean
    items, residual = weight * items, weight * residual
    df_residual = df_items * max(1, n_seeds - 1)
    seed_means = sum(table.mean(axis=-2) for table in tasks) / len(tasks)  # shape (..., seeds)
    return VarianceComponents(
        items=items.sum(axis=0), seeds=_variance_of_mean(seed_means), residual=residual.sum(axis=0),
        df_items=_df_of_sum(items, df_items), df_residual=_df_of_sum(residual, df_residual),
        n_seeds=n_seeds)


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


def _df_of_sum(variances: np.ndarray, df: np.ndarray) -> np.ndarray:
    """Satterthwaite's degrees of freedom of a sum Σ v over the first axis: (Σ v)² / Σ (v² / df)."""
    total, squares = variances.sum(axis=0), (variances**2 / df).sum(axis=0)
    return np.divide(total**2, squares, out=np.ones_like(total), where=squares > 0)


def t_interval(value: np.ndarray, components: VarianceComponents,
               limit: float = 1) -> tuple[np.ndarray, np.ndarray]:
    """95% interval: value ± t(0.975, df) √variance, in the units of `value`.

    Args:
        value: mean differences, shape (...).
        components: of the same shape.
        limit: no end lies beyond ±`limit`: 1 for shares.
    """
    reach = t.ppf(0.975, components.df) * np.sqrt(components.variance)
    return np.maximum(-limit, value - reach), np.minimum(limit, value + reach)


def p_value(value: np.ndarray, components: VarianceComponents) -> np.ndarray:
    """Two-sided p-value of no difference; with several seeds a generalised one.

    Satterthwaite's t would be too bold in the far tail, where Holm's correction looks. So this is
    averaged over the variances between seeds that the few seeds seen leave possible.

    Args:
        value: mean differences, shape (...).
        components: of the same shape.

    Notes:
        With k seeds, R = χ²(k-1) / (k-1) is the ratio of the variance that they show to the true
        one, and

            p = E_R[ 2 F(-|value| / √(items + max(0, seeds / R - residual))) ],

        F being Student's distribution with the items' degrees of freedom (generalised p-values:
        Weerahandi, Exact Statistical Methods for Data Analysis, 1995). The mean over R is a sum
        over `DRAWS` quantiles. With one seed it is the t test of the items' differences.
    """
    if components.n_seeds == 1:
        return 2 * t.sf(np.abs(value) / np.sqrt(components.items), components.df_items)
    ratios, weights = variance_ratios(components.n_seeds - 1, DRAWS)  # each of shape (draws,)
    parts = (components.items, components.seeds, components.residual, components.df_items)
    items, seeds, residual, df = (np.asarray(part)[..., None] for part in parts)  # (..., 1)
    variances = items + np.maximum(0, seeds / ratios - residual)  # shape (..., draws)
    return 2 * stdtr(df, -np.abs(value)[..., None] / np.sqrt(variances)) @ weights


@cache
def variance_ratios(df: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """χ²(df) / df as some of its quantiles and their weights, each of shape (draws,).

    Quantile i is that at the middle of [((i - 1) / draws)³, (i / draws)³], and its weight the
    width of this interval: small ratios, which count most, lie dense.
    """
    edges = np.linspace(0, 1, draws + 1) ** 3
    return chi2.ppf((edges[1:] + edges[:-1]) / 2, df) / df, np.diff(edges)
