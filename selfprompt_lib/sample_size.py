"""What a sample of items and training seeds can show, and how large one must be (chapter 5).

From the variance components of a difference, see `two_way`: the smallest difference that would be
seen, and the numbers of items or seeds that would show one of a given size.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, t
from statsmodels.stats.power import TTestPower

from .two_way import Effect, VarianceComponents, p_value, variance_ratios

LEVEL, POWER = 0.05, 0.8  # of a two-sided test, as is usual
DRAWS = 25  # spreads between seeds that a sample may show, which power is averaged over
HALVINGS = 16  # of the interval in which a critical difference lies
MOST_SEEDS, MOST_TIMES = 200, 10**6  # seeds, and times as many items, beyond which nobody looks


def minimum_detectable_effect(components: VarianceComponents) -> float:
    """The smallest difference that such a sample shows with 80% power at 5% (chapter 5).

    If it is true, the two-sided p-value is below 0.05 in 80% of such samples.

    Args:
        components: of one difference (floats).

    Returns:
        The difference d, in the units of the differences that the components come from.

    Notes:
        With one seed and n items, d / √(n items) is the effect size of a t test with 80% power.
        With k seeds the mean is about normal around d with the standard error √variance. How much
        k seeds will be seen to vary is chance, and the critical difference c depends on it, so d
        solves

            E_R[ Φ((d - c(R)) / √variance) ] = 0.8,

        with R as in `two_way.p_value`, and c(R) for seeds that show R (residual + between_seeds).
    """
    if components.n_seeds == 1:
        n = float(components.df_items) + 1
        effect_size = np.squeeze(TTestPower().solve_power(nobs=n, alpha=LEVEL, power=POWER))
        spread = np.sqrt(n * components.items)  # of the items' differences
        return float(effect_size * spread)
    ratios, weights = variance_ratios(components.n_seeds - 1, DRAWS)  # each of shape (draws,)
    seen = (components.residual + components.between_seeds) * ratios
    critical = critical_difference(replace(components, seeds=seen), LEVEL)  # shape (draws,)
    error = np.sqrt(components.variance)

    def missing_power(difference: float) -> float:
        return norm.cdf((difference - critical) / error) @ weights - POWER

    return float(brentq(missing_power, 0, critical.max() + 5 * error))


def critical_difference(components: VarianceComponents, alpha: float) -> np.ndarray:
    """The differences whose p-values are `alpha`, one for each entry of `components.seeds`.

    Found by bisection between 0 and 1.5 t(1 - alpha/2, k - 1) √(items + seeds), which is far out.
    """
    low = np.zeros_like(components.seeds)
    quantile = t.ppf(1 - alpha / 2, components.n_seeds - 1)
    high = 1.5 * quantile * np.sqrt(components.items + components.seeds)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = p_value(middle, components) > alpha
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return high


def required_sample_size(effect: Effect, target: float) -> tuple[int | None, int | None]:
    """How many items, or how many seeds, would show a difference of `target`: 80% power at 5%.

    Args:
        effect: of a sample like the one that is planned.
        target: a difference above 0, in the units of the effect.

    Returns:
        Items at these seeds, and seeds at these items. None where none up to `MOST_TIMES` as many
        items, or `MOST_SEEDS`, would. One seed does not tell how much seeds vary, so then the
        second is None.
    """
    def shows(items: int, seeds: int) -> bool:
        expected = scaled_components(effect.components, items / effect.n, seeds)
        return minimum_detectable_effect(expected) <= target

    items = _first(range(2, effect.n * MOST_TIMES), lambda n: shows(n, effect.seeds))
    if effect.seeds == 1:
        return items, None
    return items, _first(range(2, MOST_SEEDS + 1), lambda seeds: shows(effect.n, seeds))


def scaled_components(components: VarianceComponents, times: float = 1,
                      seeds: int | None = None) -> VarianceComponents:
    """The components to expect with `times` as many items, and another number of seeds.

    Notes:
        With r times as many seeds, the residual is divided by `times` r, what the seeds vary beyond
        it by r, and what the items vary beyond it by `times`; the degrees of freedom grow as n - 1
        and (n - 1)(k - 1) do for many items.
    """
    before, seeds = components.n_seeds, seeds or components.n_seeds
    residual = components.residual * before / (times * seeds)
    between_seeds = components.between_seeds * before / seeds
    between_items = np.maximum(0, components.items - components.residual) / times
    df_residual = components.df_residual * times * max(1, seeds - 1) / max(1, before - 1)
    return VarianceComponents(
        items=between_items + residual, seeds=between_seeds + residual, residual=residual,
        df_items=components.df_items * times, df_residual=df_residual, n_seeds=seeds)


def _first(numbers: range, holds: Callable[[int], bool]) -> int | None:
    """The first number for which a condition holds that stays true once it is true."""
    return numbers[bisect_left(numbers, True, key=holds)] if holds(numbers[-1]) else None
