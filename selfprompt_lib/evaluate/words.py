"""What a table of differences says, in plain words, made from its numbers."""

from typing import Any

import pandas as pd

from .. import stats
from ..profiles import Profile
from .effects import ALL, above_chance


def summary(profile: Profile, items: pd.DataFrame, difference: pd.DataFrame, causes: pd.DataFrame, contrasts: pd.DataFrame,
            readings: pd.DataFrame) -> dict[str, Any]:
    """The metrics of the benchmarks that chapter 5 records, for pages and the README (chapter 5).

    The tables are what the functions of these names made of the items.
    `accuracy` is that of the first training seed, whose Wilson interval knows no luck of training.
    """
    first = items[items.seed.isin([-1, profile.seed])]
    overall = difference.iloc[-1].drop("task").to_dict()
    return {
        "tasks": list(items.task.unique()), "items": int(overall["n"]), "seeds": int(overall["seeds"]),
        "data": profile.data.benchmarks, "mirror": profile.data.mirror is not None,
        "accuracy": {arm: stats.rate(part.correct) for arm, part in first.groupby("arm", sort=False)},
        "difference": overall, "differences": difference.to_dict("records"), "readings": readings.to_dict("records"),
        "causes": causes.to_dict("records"), "contrasts": contrasts.to_dict("records"),
        "wrote_role": stats.rate(first[first.arm == "self-prompt"].role.notna()),
    }


def found(differences: pd.DataFrame, causes: pd.DataFrame, needed: pd.DataFrame) -> str:
    """Did self-prompting help, where, how sure is that, and what would it take to know better? (chapter 5)

    Args:
        differences: of `effects.differences`, self-prompt model minus baseline.
        causes: of `contrasts.causes`; may be empty.
        needed: of `effects.needed`, for the same arms.
    """
    parts = [_overall(differences.iloc[-1], len(differences) - 1), _where(differences.iloc[:-1]), _causes(causes)]
    return " ".join([*filter(None, parts), _more(needed.iloc[-1])])


def level(items: pd.DataFrame, chance: dict[str, float]) -> str:
    """How often the self-prompt model and the baseline are right, beside guessing (chapter 5)."""
    arms = {"the baseline": "baseline", "the self-prompt model": "self-prompt"}
    above = {name: above_chance(items, arm, chance) for name, arm in arms.items()}
    plain, own = (f"{100 * (chance[ALL] + found.value):.1f}%" for found in above.values())
    better = [name for name, found in above.items() if found.low > 0]
    text = {0: "Neither is seen to be better than guessing; where answers are no better than guesses, a role has little to "
               "work on.",
            1: f"Of the two only {''.join(better)} is seen to be better than guessing.",
            2: "Both are seen to be better than guessing."}[len(better)]
    return (f"The baseline is right on {plain} of the items and the self-prompt model on {own} (mean of the tasks); guessing "
            f"would be right on {100 * chance[ALL]:.1f}%. {text}")


def _overall(row: pd.Series, tasks: int) -> str:
    seeds = "one pair of models" if row.seeds == 1 else f"{int(row.seeds)} pairs of models, one a training seed"
    text = (f"Over {int(row.n):,} items in {tasks} tasks, each task counting the same, and with {seeds}, the self-prompt model "
            f"differs from the baseline by **{points(row.difference)} points** (95% interval {points(row.low)} to "
            f"{points(row.high)}, p = {row.p:.2f}). ")
    if row.smallest >= 1:
        return text + "So small a sample could not have shown any effect."
    if row.low <= 0 <= row.high:
        return text + ("The interval includes zero: an effect of either sign was not seen. One of "
                       f"{100 * row.smallest:.0f} points or more would have been seen four times in five; a smaller one can be "
                       "there.")
    kind = "gain" if row.difference > 0 else "loss"
    luck = " for this one pair of models; other training seeds may differ" if row.seeds == 1 else ""
    return text + f"The interval leaves out zero: a {kind}{luck}."


def _where(tasks: pd.DataFrame) -> str:
    seen = tasks[tasks.p_holm < 0.05]
    if seen.empty:
        return ("In none of the tasks does a difference remain after Holm's correction (smallest corrected p "
                f"{tasks.p_holm.min():.2f}).")
    listed = ", ".join(f"{row.task} ({points(row.difference)} points, p = {row.p_holm:.3f})" for row in seen.itertuples())
    return f"After Holm's correction a difference remains in {len(seen)} of {len(tasks)} tasks: {listed}."


def _causes(causes: pd.DataFrame) -> str:
    if causes.empty:
        return ""
    seen = causes[causes.p_holm < 0.05]
    if seen.empty:
        return ("Given another role, or none, the same model answers no worse and no better as far as this sample can tell: "
                "that the role causes anything was not seen.")
    listed = ", ".join(f"{row.contrast} ({points(row.difference)} points)" for row in seen.itertuples())
    return f"Which role stands before the answer makes a difference: {listed}."


def _more(row: pd.Series) -> str:
    if row.seeds == 1 and pd.notna(row.items_needed):
        return (f"A difference of two points between these two models would take about {int(row.items_needed):,} items; to "
                "speak of the method it takes several training seeds too.")
    if pd.notna(row.items_needed):
        return (f"To see a difference of two points one would need about {int(row.items_needed):,} items with as many training "
                "seeds.")
    if pd.notna(row.seeds_needed):
        return (f"More items alone would not show a difference of two points: the luck of training hides it. About "
                f"{int(row.seeds_needed):,} training seeds would.")
    return "Neither more items alone nor more training seeds alone would show a difference of two points: it takes both."


def points(value: float) -> str:
    """A difference in points with its sign: 0.05 is +5."""
    return f"{100 * value:+.1f}".removesuffix(".0")
