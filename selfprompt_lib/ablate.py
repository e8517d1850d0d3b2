"""Chapter 6: prompt designs compared at equal data and budget."""

from typing import Any

import pandas as pd

from . import evaluate, infer, stats
from .ablate_measure import measured_before, train_and_measure
from .profiles import Profile

__all__ = ["design_accuracy", "design_differences", "measured_before", "rate_table", "report_text",
           "role_rates", "summarize", "train_and_measure"]


def role_rates(replies: pd.DataFrame) -> pd.DataFrame:
    """By design, how often a role was written, with its interval, and what it costs in tokens."""
    rows = []
    for name, part in replies.groupby("design", sort=False):
        rate = stats.rate([infer.wrote_role(row) for row in part.to_dict("records")])
        rows.append({"design": name, "rate": rate.value, "low": rate.low, "high": rate.high,
                     "n": rate.n, "role tokens": part.role_tokens.mean(),
                     "answer tokens": part.answer_tokens.mean()})
    return pd.DataFrame(rows)


def rate_table(rates: pd.DataFrame):
    """The rates of `role_rates` as a page shows them."""
    percent = dict.fromkeys(["rate", "low", "high"], "{:.0%}")
    tokens = dict.fromkeys(["role tokens", "answer tokens"], "{:.0f}")
    return rates.style.format(percent | tokens).hide(axis="index")


def design_accuracy(items: pd.DataFrame) -> pd.DataFrame:
    """Accuracy over all items for each design, with Wilson intervals."""
    return evaluate.accuracy(items, by=("arm",)).rename(columns={"arm": "design"})


def design_differences(items: pd.DataFrame, other: str = "none") -> pd.DataFrame:
    """Each design minus `other`, paired by item, the tasks counted alike; Holm over the designs."""
    rows = [{"design": name, **evaluate.differences(items, name, other).iloc[-1]}
            for name in items.arm.unique() if name != other]
    table = pd.DataFrame(rows)
    return table.assign(p_holm=stats.holm(table.p))


def summarize(profile: Profile, rates: pd.DataFrame, accuracy: pd.DataFrame,
              differences: pd.DataFrame, trainings: dict[str, dict]) -> dict[str, Any]:
    """The metrics that chapter 6 records, for pages; `trainings` are the records of `sft.train`."""
    return {
        "designs": list(profile.ablate.designs), "role_rates": rates.to_dict("records"),
        "accuracy": accuracy.to_dict("records"), "effects": differences.to_dict("records"),
        "training_seconds": {name: run["seconds"] for name, run in trainings.items()},
    }


def report_text(rates: pd.DataFrame, accuracy: pd.DataFrame, differences: pd.DataFrame) -> str:
    """Is the role written, and does the wording make a difference? (chapter 6)"""
    with_role = rates[~rates.design.isin(["none", "neutral"])].rate
    seen, smallest = int((differences.p_holm < 0.05).sum()), differences.smallest.median()
    power = ("with so few items only differences of about "
             f"{smallest:.0%} and more could have been seen" if smallest < 1 else
             "so few items could not have shown any")
    return (
        f"With equal data and budget, {(with_role >= 0.9).sum()} of {len(with_role)} designs with "
        "roles were written for at least 90% of the questions. Accuracies lie between "
        f"{accuracy.accuracy.min():.0%} and {accuracy.accuracy.max():.0%} on "
        f"{int(accuracy.n.max())} items each. Of {len(differences)} differences from the design "
        f"without a role, {seen} are significant after Holm's correction; {power}. "
        "Absence of evidence is what this page reports, not evidence of absence.")
