"""Statistics from statsmodels and SciPy, named as the book uses them (chapters 4 to 6)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

Z = float(norm.ppf(0.975))
ROUNDING = 1e-24  # a variance below is that of values which are all alike


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval, all between -1 and 1, from `n` items."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        text = f"{100 * self.value:.0f}% [{100 * self.low:.0f}, {100 * self.high:.0f}]"
        return text.replace("-", "\N{MINUS SIGN}")

    def columns(self, name: str) -> dict[str, float]:
        """As columns of a table: the value under a name of its own, and low, high and n."""
        return {name: self.value, "low": self.low, "high": self.high, "n": self.n}


def points_text(value: float, decimals: int = 0) -> str:
    """A difference in points with its sign: 0.05 is +5."""
    return f"{100 * value:+.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def points_with_interval(value: float, low: float, high: float, decimals: int = 0) -> str:
    """A difference in points with its interval, which no line break parts: +5 [+1, +9]."""
    value, low, high = (points_text(part, decimals) for part in (value, low, high))
    return f"{value} [{low}, {high}]".replace(" ", "\N{NO-BREAK SPACE}")


def rate(hits: Sequence[bool]) -> Estimate:
    """A proportion with its Wilson interval (chapter 4)."""
    hits = np.asarray(hits, dtype=bool)
    low, high = proportion_confint(int(hits.sum()), len(hits), method="wilson")
    return Estimate(float(hits.mean()), float(low), float(high), len(hits))


def paired_difference(new: Sequence[bool], old: Sequence[bool]) -> Estimate:
    """Mean of `new - old` over the same items, with Tango's score interval (chapter 5)."""
    (_, wins), (losses, _) = _paired_counts(new, old)
    n = len(new)
    low, high = tango(wins, losses, n)
    return Estimate((wins - losses) / n, float(low), float(high), n)


def mcnemar_p(new: Sequence[bool], old: Sequence[bool]) -> float:
    """Exact McNemar p-value for two greedy runs on the same items (chapter 5)."""
    return float(mcnemar(_paired_counts(new, old), exact=True).pvalue)


def _paired_counts(new: Sequence[bool], old: Sequence[bool]) -> list[list[int]]:
    """How often both are right and only the new one; only the old one and neither."""
    new, old = np.asarray(new, dtype=bool), np.asarray(old, dtype=bool)
    if new.shape != old.shape:
        raise ValueError(f"not paired: lengths {len(new)} and {len(old)}")
    return [[int((new & old).sum()), int((new & ~old).sum())],
            [int((~new & old).sum()), int((~new & ~old).sum())]]


def tango(wins: np.ndarray, losses: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """95% score interval of a paired difference of proportions, from counts or arrays of counts.

    Notes:
        It holds each difference d that a score test would not reject (Tango, Statistics in Medicine
        17, 1998): |wins - losses - n d| <= Z √(n (2 q + d (1 - d))), with q the likeliest share
        of losses if d is true, the larger root of 2 n q² + b q - losses d (1 - d) = 0 with
        b = 2 n d - (wins + losses) - (wins - losses) d.
    """
    wins, losses = np.asarray(wins, dtype=float), np.asarray(losses, dtype=float)

    def rejected(d: np.ndarray) -> np.ndarray:
        b = 2 * n * d - (wins + losses) - (wins - losses) * d
        q = (np.sqrt(np.maximum(0, b**2 + 8 * n * losses * d * (1 - d))) - b) / (4 * n)
        variance = n * (2 * q + d * (1 - d))
        return np.abs(wins - losses - n * d) > Z * np.sqrt(np.maximum(0, variance))

    ends = []
    for end in (-1.0, 1.0):
        inside, outside = (wins - losses) / n, np.full_like(wins, end)
        for _ in range(50):  # bisection
            middle = (inside + outside) / 2
            beyond = rejected(middle)
            inside, outside = np.where(beyond, inside, middle), np.where(beyond, middle, outside)
        ends.append(inside)
    return ends[0], ends[1]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values for a family of tests (chapter 5).

    Notes:
        The smallest of n p-values is multiplied by n, the next by n - 1, and so on; none may come
        out below the one before (Holm, Scandinavian Journal of Statistics 6, 1979). statsmodels'
        `multipletests` gives the same, but collects garbage at each call: a fifth of a second
        beside loaded models.
    """
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values)
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted.tolist()
