"""Win rates from a judge's verdicts: with intervals, by domain, at equal length (appendix A1)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy.special import expit
from scipy.stats import dirichlet
from scipy.stats import t as student

from ..stats import Estimate

SCORE = {"one": 1.0, "tie": 0.5, "other": 0.0}
DRAWS = 20_000
FEWEST = 20  # verdicts for a regression on length: with fewer, its interval is too short
COLUMNS = ["pairs", "win rate", "low", "high", "wins", "ties", "losses", "unread", "note"]


def mean_score(wins: int, ties: int, losses: int) -> Estimate:
    """The mean of wins (1), ties (1/2) and losses (0), with a 95% interval.

    The interval is that of the posterior of (wins + ties / 2) under Jeffreys' prior, a Dirichlet
    with a half for each outcome, drawn by SciPy. It keeps its 95% at ten pairs and where all pairs
    end alike, where a t or bootstrap interval has no width; Wilson's, which knows no ties, is up
    to twice too wide with many.
    """
    n = wins + ties + losses
    if n == 0:
        return Estimate(float("nan"), 0.0, 1.0, 0)
    value = (wins + ties / 2) / n
    draws = dirichlet.rvs([wins + 0.5, ties + 0.5, losses + 0.5], DRAWS, random_state=0)
    low, high = np.quantile(draws @ [1, 0.5, 0], [0.025, 0.975])
    return Estimate(value, float(min(low, value)), float(max(high, value)), n)


def win_rate(rows: Sequence[dict[str, Any]]) -> Estimate:
    """How often `one` is preferred, ties counted half; pairs without a verdict are left out."""
    return mean_score(*_counts(rows))


def at_equal_length(rows: Sequence[dict[str, Any]]) -> tuple[Estimate | None, str]:
    """The win rate adjusted for length, as in length-controlled AlpacaEval (arXiv 2404.04475).

    A logistic regression of the preference on tanh(d / sd(d)), d the difference of the lengths in
    characters; the rate is the prediction at d = 0. Their further term, the difficulty of a
    question, needs many models and is left out. The interval is Wald's on the log odds, with
    Student's quantile and a robust (HC1) error, which ties need.

    Returns:
        The rate, and a note if it is extrapolated; or None, and why there is none.
    """
    judged = [row for row in rows if row["verdict"]]
    score = np.array([SCORE[row["verdict"]] for row in judged])
    difference = np.array([row["lengths"][0] - row["lengths"][1] for row in judged], dtype=float)
    if len(judged) < FEWEST:
        return None, f"{len(judged)} verdicts are too few to adjust for length; it takes {FEWEST}"
    if difference.std() == 0:
        return None, ("all pairs differ in length by the same, so length cannot be told from the "
                      "rest")
    length = np.tanh(difference / difference.std())
    if _separated(length, score):
        return None, ("no regression: all pairs end alike, or length parts the wins from the "
                      "losses")
    model = sm.GLM(score, sm.add_constant(length), family=sm.families.Binomial())
    fitted = model.fit(cov_type="HC1")
    reach = student.ppf(0.975, len(judged) - 2) * fitted.bse[0]
    middle, low, high = expit(fitted.params[0] + np.array([0, -reach, reach]))
    estimate = Estimate(float(middle), float(low), float(high), len(judged))
    one_sided = (difference >= 0).all() or (difference <= 0).all()
    note = ("one side is never the shorter one: what is said of equal lengths is extrapolated"
            if one_sided else "")
    return estimate, note


def _separated(length: np.ndarray, score: np.ndarray) -> bool:
    """Whether a threshold of length parts all wins from all losses, or one of them lacks.

    Then no regression can be fitted.
    """
    won, lost = length[score > 0], length[score < 1]  # a tie is half of each
    if not (len(won) and len(lost)):
        return True
    return bool(won.min() >= lost.max() or won.max() <= lost.min())


def win_rates(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """One row for all pairs, one at equal length, and one a domain (appendix A1).

    Columns: pairs, win rate, low and high (95%), wins, ties, losses, unread, note.
    """
    estimate, note = at_equal_length(rows)
    equal_length = {"pairs": "all, at equal length", "note": note}
    if estimate:
        equal_length |= estimate.columns("win rate")
    by_domain = pd.DataFrame(rows).groupby("domain", sort=False)
    domains = [_row(str(domain), part.to_dict("records")) for domain, part in by_domain]
    return pd.DataFrame([_row("all", rows), equal_length, *domains], columns=COLUMNS)


def _counts(rows: Sequence[dict[str, Any]]) -> tuple[int, int, int]:
    said = [row["verdict"] for row in rows]
    return said.count("one"), said.count("tie"), said.count("other")


def _row(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    wins, ties, losses = _counts(rows)
    unread = len(rows) - wins - ties - losses
    return {"pairs": name, **win_rate(rows).columns("win rate"), "wins": wins, "ties": ties,
            "losses": losses, "unread": unread, "note": ""}
