"""Other intervals that one might take for a paired difference, for `interval_coverage.py`.

Each takes paired differences in {-1, 0, 1} of shape (repeats, items, seeds) and returns the ends of
95% intervals, one a repeat.
"""

from functools import cache
from itertools import combinations_with_replacement

import numpy as np
from scipy.stats import bootstrap, multinomial, t
from statsmodels.stats.proportion import proportion_confint

from selfprompt_lib.stats import Z, tango
from selfprompt_lib.two_way import t_interval, variance_components

Ends = tuple[np.ndarray, np.ndarray]


def counts(change: np.ndarray) -> Ends:
    """Wins and losses of the first seed."""
    return (change[..., 0] > 0).sum(axis=1), (change[..., 0] < 0).sum(axis=1)


def score(change: np.ndarray) -> Ends:
    """One seed: Tango's score interval, which the book takes."""
    return tango(*counts(change), change.shape[1])


def plain(change: np.ndarray) -> Ends:
    """One seed: mean plus and minus 1.96 standard errors."""
    first = change[..., 0]
    mean, error = first.mean(axis=1), first.std(axis=1, ddof=1) / np.sqrt(first.shape[1])
    return mean - Z * error, mean + Z * error


def bonett_price(change: np.ndarray) -> Ends:
    """One seed: the plain interval with one win and one loss more (Bonett and Price, 2012)."""
    n = change.shape[1] + 2
    wins, losses = ((count + 1) / n for count in counts(change))
    error = np.sqrt((wins + losses - (wins - losses) ** 2) / n)
    return wins - losses - Z * error, wins - losses + Z * error


def newcombe(new: np.ndarray, old: np.ndarray) -> Ends:
    """One seed: Newcombe's hybrid score interval, from both arms' answers (1998, method 10)."""
    n, new, old = new.shape[1], new[..., 0], old[..., 0]
    both, wins, losses = (new & old).sum(axis=1), (new & ~old).sum(axis=1), (~new & old).sum(axis=1)
    neither = n - both - wins - losses
    first, second = (both + wins) / n, (both + losses) / n
    low_first, high_first = proportion_confint(both + wins, n, method="wilson")
    low_second, high_second = proportion_confint(both + losses, n, method="wilson")
    product = (both + wins) * (losses + neither) * (both + losses) * (wins + neither)
    agree = both * neither - wins * losses
    # his continuity correction
    agree = np.where(agree > n / 2, agree - n / 2, np.minimum(agree, 0))
    phi = agree / np.sqrt(np.where(product > 0, product, np.inf))

    def reach(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(0, one**2 - 2 * phi * one * other + other**2))

    return (first - second - reach(first - low_first, high_second - second),
            first - second + reach(high_first - first, second - low_second))


def bca(change: np.ndarray) -> Ends:
    """One seed: SciPy's BCa bootstrap of the mean."""
    n = change.shape[1]
    ends = [_bca(int(wins), int(losses), n) for wins, losses in zip(*counts(change), strict=True)]
    return np.array([low for low, _ in ends]), np.array([high for _, high in ends])


@cache  # few tables differ
def _bca(wins: int, losses: int, n: int) -> tuple[float, float]:
    change = np.repeat([1.0, -1.0, 0.0], [wins, losses, n - wins - losses])
    if len(set(change)) == 1:
        return change[0], change[0]
    rng = np.random.default_rng(0)
    ends = bootstrap((change,), np.mean, n_resamples=1999, batch=500, rng=rng).confidence_interval
    return float(ends.low), float(ends.high)


def chosen(change: np.ndarray) -> Ends:
    """Several seeds: crossed random items and seeds, which the book takes."""
    return t_interval(change.mean(axis=(1, 2)), variance_components(change))


def independent(change: np.ndarray) -> Ends:
    """Several seeds: as if every item of every seed were an item of its own."""
    return plain(change.reshape(len(change), -1, 1))


def seed_bootstrap(change: np.ndarray) -> Ends:
    """Several seeds: percentile bootstrap of whole seeds. All draws are counted: no noise."""
    means = change.mean(axis=1)
    size = means.shape[1]
    every_draw = combinations_with_replacement(range(size), size)
    draws = np.array([np.bincount(draw, minlength=size) for draw in every_draw])
    chances = multinomial.pmf(draws, size, np.full(size, 1 / size))
    values = means @ draws.T / size
    order = np.argsort(values, axis=1)
    values = np.take_along_axis(values, order, axis=1)
    reached = np.cumsum(chances[order], axis=1)
    low, high = ((reached >= level - 1e-9).argmax(axis=1)[:, None] for level in (0.025, 0.975))
    return tuple(np.take_along_axis(values, place, axis=1)[:, 0] for place in (low, high))


def two_way_cluster(change: np.ndarray) -> Ends:
    """Several seeds: statsmodels' OLS with errors clustered by item and by seed, in closed form.

    Its small-sample factors, and t with the seeds' degrees of freedom. No width where its variance
    is negative.
    """
    _, n, seeds = change.shape
    left = change - change.mean(axis=(1, 2), keepdims=True)
    total = n * seeds
    by_item = (left.sum(axis=2) ** 2).sum(axis=1) * n / (n - 1)
    by_seed = (left.sum(axis=1) ** 2).sum(axis=1) * seeds / (seeds - 1)
    both = (left**2).sum(axis=(1, 2)) * total / (total - 1)
    error = np.sqrt(np.maximum(0, by_item + by_seed - both)) / total
    reach = t.ppf(0.975, min(n, seeds) - 1) * error
    mean = change.mean(axis=(1, 2))
    return mean - reach, mean + reach
