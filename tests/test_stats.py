"""Statistics against published values, SciPy and their own definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

from selfprompt_lib.stats import Estimate, holm, mcnemar_p, rate, signed
from selfprompt_lib.two_way import two_way_interval

pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30)


def paired_difference(new, old):
    """Of two runs on the same items, one pair of models: Tango's score interval."""
    return two_way_interval((np.asarray(new, dtype=float) - np.asarray(old, dtype=float))[:, None])


def hits(right, n):
    return [True] * right + [False] * (n - right)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [  # Newcombe (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_rate_is_wilsons(right, n, low, high):
    estimate = rate(hits(right, n))
    assert estimate.value == pytest.approx(right / n)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)
    assert estimate.n == n


def test_rate_of_all_mirrors_rate_of_none():
    every, none = rate(hits(50, 50)), rate(hits(0, 50))
    assert (every.value, every.high) == pytest.approx((1, 1))
    assert every.low == pytest.approx(1 - none.high)
    assert 0.92 < every.low < 0.94


def test_an_estimate_reads_as_percentages():
    assert str(Estimate(0.5, 0.236, 0.764, 10)) == "50% [24, 76]"
    assert str(Estimate(-0.5, -0.6, 0.04, 10)) == "−50% [−60, 4]"


def test_a_signed_number_has_a_minus_sign():
    assert (signed(0.0123), signed(-0.5), signed(-2.25, ".1f")) == ("+0.012", "−0.500", "−2.2")


@pytest.mark.parametrize(
    ("new", "old", "value"), [(1, 0, 1.0), (0, 1, -1.0), (1, 1, 0.0), (0, 0, 0.0)]
)
def test_a_difference_that_never_varies_still_has_a_width(new, old, value):
    estimate = paired_difference([new] * 20, [old] * 20)
    reach = rate(hits(0, 20)).high * (1 + abs(value))  # a win that turns into a loss counts twice
    assert estimate.value == value
    assert estimate.low == pytest.approx(max(-1, value - reach))
    assert estimate.high == pytest.approx(min(1, value + reach))


def test_an_ordinary_difference_is_near_its_normal_interval():
    rng = np.random.default_rng(3)
    new, old = rng.random(400) < 0.6, rng.random(400) < 0.45
    change = new.astype(float) - old
    half = 1.96 * change.std(ddof=1) / 20
    estimate = paired_difference(new, old)
    assert estimate.value == pytest.approx(new.mean() - old.mean())
    assert (estimate.low, estimate.high) == pytest.approx(
        (estimate.value - half, estimate.value + half), abs=0.012
    )


def test_pairing_matters():
    right = np.arange(60) % 2 == 0
    nearly = right.copy()
    nearly[0] = False
    together, apart = paired_difference(right, nearly), paired_difference(right, np.roll(nearly, 1))
    assert together.value == pytest.approx(apart.value)
    assert together.high - together.low < 0.3 * (apart.high - apart.low)


def score_test(wins, losses, n, difference):
    """The chi-square of a score test of this difference, with the likeliest shares found by a search."""

    def unlikely(lost):
        shares = np.clip([lost + difference, lost, 1 - difference - 2 * lost], 1e-300, None)
        return -np.dot([wins, losses, n - wins - losses], np.log(shares))

    lowest, highest = max(0, -difference), (1 - difference) / 2
    lost = minimize_scalar(
        unlikely, bounds=(lowest, highest), method="bounded", options={"xatol": 1e-12}
    ).x
    return (wins - losses - n * difference) ** 2 / (n * (2 * lost + difference - difference**2))


@pytest.mark.parametrize(
    ("wins", "losses", "n"),
    [(9, 2, 30), (1, 0, 25), (40, 55, 250), (12, 0, 25), (3, 3, 10), (0, 7, 1300)],
)
def test_a_difference_has_the_interval_that_a_score_test_does_not_reject(wins, losses, n):
    change = np.repeat([1, -1, 0], [wins, losses, n - wins - losses])
    estimate = paired_difference(change > 0, change < 0)
    for end in (estimate.low, estimate.high):
        assert score_test(wins, losses, n, end) == pytest.approx(3.8415, rel=2e-3)


def test_swapping_the_arms_mirrors_the_interval():
    new, old = hits(30, 50), hits(9, 50)[::-1]
    one, other = paired_difference(new, old), paired_difference(old, new)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-9)


@settings(max_examples=40)
@given(pairs)
def test_a_difference_lies_in_its_interval(items):
    new, old = zip(*items, strict=True)
    estimate = paired_difference(new, old)
    assert -1 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.value == pytest.approx(np.mean(new) - np.mean(old))


@given(pairs)
def test_mcnemar_is_a_sign_test_on_the_discordant_pairs(items):
    new, old = zip(*items, strict=True)
    wins = sum(n and not o for n, o in items)
    losses = sum(o and not n for n, o in items)
    expected = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert mcnemar_p(new, old) == pytest.approx(expected)
    assert mcnemar_p(old, new) == pytest.approx(expected)


def test_mcnemar_known_value():
    assert mcnemar_p([1] * 6 + [0] * 14, [0] * 20) == pytest.approx(2 / 2**6)


one_item = [True]


@pytest.mark.parametrize("old", [[True, False], one_item])
def test_only_runs_on_the_same_items_can_be_compared(old):
    with pytest.raises(ValueError, match="length"):
        mcnemar_p([True, False, True], old)


def test_holm_known_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4]) == [0.4]
    assert max(holm([0.6, 0.9, 0.8])) == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
@settings(max_examples=3)
def test_holm_is_that_of_statsmodels(p_values):
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


@settings(max_examples=15)  # statsmodels takes 50 ms a call
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_between_raw_and_bonferroni_and_keeps_the_order(raw):
    adjusted = holm(raw)
    assert all(p <= a <= min(1, len(raw) * p) + 1e-12 for p, a in zip(raw, adjusted, strict=True))
    assert [a for _, a in sorted(zip(raw, adjusted, strict=True))] == sorted(adjusted)
