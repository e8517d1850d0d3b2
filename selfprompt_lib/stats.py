"""Statistics from statsmodels and SciPy, named as the book uses them (chapters 4 to 6)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

Z = float(norm.ppf(0.975))
ROUNDING = 1e-24  # a variance below is that of values which are all alike
MINUS = "\N{MINUS SIGN}"  # in texts, where Python writes a hyphen


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval, all between -1 and 1, from `n` items."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        text = f"{100 * self.value:.0f}% [{100 * self.low:.0f}, {100 * self.high:.0f}]"
        return text.replace("-", MINUS)

    def columns(self, name: str) -> dict[str, float]:
        """As columns of a table: the value under a name of its own, and low, high and n."""
        return {name: self.value, "low": self.low, "high": self.high, "n": self.n}


def signed(value: float, form: str = ".3f") -> str:
    """A number with its sign, in one of Python's formats; by default nats, to a thousandth."""
    return f"{value:+{form}}".replace("-", MINUS)


def points_text(value: float, decimals: int = 0) -> str:
    """A difference in points with its sign: 0.05 is +5."""
    return signed(100 * value, f".{decimals}f")


def points_with_interval(value: float, low: float, high: float, decimals: int = 0) -> str:
    """A difference in points with its interval, which no line break parts: +5 [+1, +9]."""
    value, low, high = (points_text(part, decimals) for part in (value, low, high))
    return f"{value} [{low}, {high}]".replace(" ", "\N{NO-BREAK SPACE}")


def rate(hits: Sequence[bool]) -> Estimate:
    """A proportion with its Wilson interval (chapter 4)."""
    hits = np.asarray(hits, dtype=bool)
    low, high = proportion_confint(int(hits.sum()), len(hits), method="wilson")
    return Estimate(float(hits.mean()), float(low), float(high), len(hits))


def mcnemar_p(new: Sequence[bool], old: Sequence[bool]) -> float:
    """Exact McNemar p-value for two greedy runs on the same items (chapter 5)."""
    new, old = np.asarray(new, dtype=bool), np.asarray(old, dtype=bool)
    if new.shape != old.shape:
        raise ValueError(f"not paired: lengths {len(new)} and {len(old)}")
    return mcnemar_p_of(wins=int((new & ~old).sum()), losses=int((old & ~new).sum()))


def mcnemar_p_of(wins: int, losses: int) -> float:
    """The same from counts: items that only the new run has right, and only the old one.

    Items that both have right, or neither, are not in the test.
    """
    return float(mcnemar([[0, wins], [losses, 0]], exact=True).pvalue)


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
    smallest_first = pd.Series(list(p_values), dtype=float).sort_values()
    multiplied = smallest_first * np.arange(len(smallest_first), 0, -1)
    adjusted = multiplied.cummax().clip(upper=1)
    return adjusted.sort_index().tolist()
