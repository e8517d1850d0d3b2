"""Statistics from statsmodels and SciPy, named as the book uses them (chapters 4 to 6)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

Z = float(norm.ppf(0.975))


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval, all between -1 and 1, from `n` items."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{100 * self.value:.0f}% [{100 * self.low:.0f}, {100 * self.high:.0f}]"


def rate(hits: Sequence[bool]) -> Estimate:
    """A proportion with its Wilson interval (chapter 4)."""
    hits = np.asarray(hits, dtype=bool)
    low, high = proportion_confint(int(hits.sum()), len(hits), method="wilson")
    return Estimate(float(hits.mean()), float(low), float(high), len(hits))


def paired_difference(new: Sequence[bool], old: Sequence[bool]) -> Estimate:
    """Mean of `new - old` over the same items, with Tango's score interval (chapter 5)."""
    new, old = _pair(new, old)
    wins, losses = int((new & ~old).sum()), int((~new & old).sum())
    low, high = tango(wins, losses, len(new))
    return Estimate((wins - losses) / len(new), float(low), float(high), len(new))


def _pair(new: Sequence[bool], old: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
    new, old = np.asarray(new, dtype=bool), np.asarray(old, dtype=bool)
    if new.shape != old.shape:
        raise ValueError(f"not paired: lengths {len(new)} and {len(old)}")
    return new, old


def tango(wins: np.ndarray, losses: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """95% score interval of a paired difference of proportions, from counts or arrays of counts.

    It holds each difference that a score test would not reject (Tango, Statistics in Medicine 17, 1998).
    """
    wins, losses = np.asarray(wins, dtype=float), np.asarray(losses, dtype=float)

    def far(difference: np.ndarray) -> np.ndarray:
        b = 2 * n * difference - (wins + losses) - (wins - losses) * difference
        share = (np.sqrt(np.maximum(0, b**2 + 8 * n * losses * difference * (1 - difference))) - b) / (4 * n)
        variance = n * (2 * share + difference * (1 - difference))
        return np.abs(wins - losses - n * difference) > Z * np.sqrt(np.maximum(0, variance))

    ends = []
    for end in (-1.0, 1.0):
        inside, outside = (wins - losses) / n, np.full_like(wins, end)
        for _ in range(50):  # bisection
            middle = (inside + outside) / 2
            rejected = far(middle)
            inside, outside = np.where(rejected, inside, middle), np.where(rejected, middle, outside)
        ends.append(inside)
    return ends[0], ends[1]


def mcnemar_p(new: Sequence[bool], old: Sequence[bool]) -> float:
    """Exact McNemar p-value for two greedy runs on the same items (chapter 5)."""
    new, old = _pair(new, old)
    table = [[int((new & old).sum()), int((new & ~old).sum())], [int((~new & old).sum()), int((~new & ~old).sum())]]
    return float(mcnemar(table, exact=True).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values for a family of tests (chapter 5)."""
    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


@dataclass(frozen=True)
class Pooled:
    """Several estimates seen as a sample of their kind: mean with its interval, `between` (τ²) and `i2` (0 to 1)."""

    value: float
    low: float
    high: float
    between: float
    i2: float


def pooled(values: Sequence[float], variances: Sequence[float]) -> Pooled:
    """Random-effects mean and heterogeneity of two or more estimates (statsmodels, with Paule and Mandel's τ²)."""
    result = combine_effects(np.asarray(values), np.asarray(variances), method_re="iterated")
    low, high = result.conf_int(use_t=True)[1]
    return Pooled(float(result.mean_effect_re), float(low), float(high), max(0.0, float(result.tau2)), max(0.0, float(result.i2)))
