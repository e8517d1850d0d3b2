"""What the tables of chapter 5 say: as metrics for the record, as narrow tables, as plain words."""

from typing import Any

import pandas as pd

from .. import stats
from ..profiles import Profile
from .benchmarks import chance
from .compare import ALL, above_chance
from .results import BASELINE, OWN, UNTUNED, readings


def summarize(profile: Profile, items: pd.DataFrame, tasks: dict[str, Any],
              difference: pd.DataFrame, roles: pd.DataFrame, arms: pd.DataFrame,
              open_questions: pd.DataFrame, likelihoods: dict[str, pd.DataFrame]
              ) -> dict[str, Any]:
    """The metrics that chapter 5 records, for pages and the README.

    `accuracy` is that of the first training seed, as Wilson's interval does not know how much
    trainings differ.

    Args:
        tasks: of `load_tasks`.
        difference: of `differences`, self-prompt model minus baseline.
        roles, arms: of `role_contrasts` and `arm_contrasts`.
        open_questions: of `open_ended.mean_changes`.
        likelihoods: tables by name: `contrasts`, `gate` and `fit`.
    """
    first = items[items.seed.isin([UNTUNED, profile.seed])]
    overall = difference.iloc[-1].drop("task").to_dict()
    return {
        "tasks": list(items.task.unique()), "items": int(overall["n"]),
        "seeds": int(overall["seeds"]),
        "data": profile.data.benchmarks, "mirror": profile.data.mirror is not None,
        "accuracy": {arm: stats.rate(part.correct)
                     for arm, part in first.groupby("arm", sort=False)},
        "difference": overall, "differences": difference.to_dict("records"),
        "readings": readings(items).to_dict("records"),
        "causes": roles.to_dict("records"), "contrasts": arms.to_dict("records"),
        "wrote_role": stats.rate(first[first.arm == OWN].role.notna()),
        "chance": chance(tasks), "open_questions": open_questions.to_dict("records"),
        "likelihoods": {name: records(table) for name, table in likelihoods.items()},
    }


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table's rows for a record; None where a cell is empty."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def difference_table(table: pd.DataFrame):
    """Differences as a page shows them: points with their interval in one column (chapter 5)."""
    label = next(name for name in ("contrast", "design", "task") if name in table)
    shown = table.assign(**{
        "points [95% interval]": list(map(
            stats.points_with_interval, table.difference, table.low, table.high)),
        "won, lost": [f"{row.wins}, {row.losses}" for row in table.itertuples()]})
    columns = [label, "points [95% interval]", "won, lost", "seeds", "p", "p_holm", "smallest"]
    formats = {"p": "{:.3f}", "p_holm": "{:.3f}",
               "smallest": lambda value: f"{100 * value:.0f} points" if value < 1 else "none"}
    return shown[columns].style.format(formats).hide(axis="index")


def points(value: float) -> str:
    """A difference in points to a tenth where it has one: 0.05 is +5, 0.052 is +5.2."""
    return stats.points_text(value, 1).removesuffix(".0")


def report_text(differences: pd.DataFrame, roles: pd.DataFrame, needed: pd.DataFrame) -> str:
    """Did self-prompting help, where, how sure is that, and what would show more? (chapter 5)

    Args:
        differences: of `differences`, self-prompt model minus baseline.
        roles: of `role_contrasts`; may be empty.
        needed: of `needed_sizes`, for the same arms.
    """
    tasks, overall = differences.iloc[:-1], differences.iloc[-1]
    sentences = [overall_text(overall, len(tasks)), _tasks(tasks), _roles(roles),
                 _needed(needed.iloc[-1])]
    return " ".join(filter(None, sentences))


def overall_text(row: pd.Series, tasks: int) -> str:
    """The last row of `differences`, over that many tasks, in words (chapter 5, front page)."""
    pairs = f"{int(row.seeds)} pairs of models, one pair for each training seed"
    asked = f"{int(row.n):,} item{'s' if row.n > 1 else ''}"
    among = f"{tasks} tasks, each task counting the same," if tasks > 1 else "one task,"
    text = (f"Over {asked} in {among} and with "
            f"{'one pair of models' if row.seeds == 1 else pairs}, the self-prompt model differs "
            f"from the baseline by **{points(row.difference)} points** (95% interval "
            f"{points(row.low)} to {points(row.high)}, p = {row.p:.2f}). ")
    if row.smallest >= 1:
        return text + "So small a sample could not have shown any effect."
    if row.low <= 0 <= row.high:
        return text + ("The interval includes zero: an effect of either sign was not seen. One of "
                       f"{100 * row.smallest:.0f} points or more would have been seen four times "
                       "in five; a smaller one can be there.")
    kind = "gain" if row.difference > 0 else "loss"
    one_pair = " for this one pair of models; other training seeds may differ"
    limit = one_pair if row.seeds == 1 else ""
    return text + f"The interval leaves out zero: a {kind}{limit}."


def _tasks(tasks: pd.DataFrame) -> str:
    seen = tasks[tasks.p_holm < 0.05]
    if seen.empty:
        return ("In none of the tasks does a difference remain after Holm's correction (smallest "
                f"corrected p {tasks.p_holm.min():.2f})." if len(tasks) > 1 else "")
    listed = ", ".join(f"{row.task} ({points(row.difference)} points, p = {row.p_holm:.3f})"
                       for row in seen.itertuples())
    return (f"After Holm's correction a difference remains in {len(seen)} of {len(tasks)} tasks: "
            f"{listed}.")


def _roles(contrasts: pd.DataFrame) -> str:
    if contrasts.empty:
        return ""
    seen = contrasts[contrasts.p_holm < 0.05]
    if seen.empty:
        return ("Given another role, or none, the same model answers no worse and no better as far "
                "as this sample can tell: that its own role makes a difference was not seen.")
    listed = ", ".join(f"{row.contrast} ({points(row.difference)} points)"
                       for row in seen.itertuples())
    return f"Which role stands before the answer makes a difference: {listed}."


def _needed(row: pd.Series) -> str:
    if pd.notna(row.items_needed):
        items = f"{int(row.items_needed):,} items"
        if row.seeds == 1:
            return ("A difference of two points between these two models would take about "
                    f"{items}; to speak of the method it takes several training seeds too.")
        return (f"To see a difference of two points one would need about {items} with as many "
                "training seeds.")
    if pd.notna(row.seeds_needed):
        return ("More items alone would not show a difference of two points: trainings differ too "
                f"much. About {int(row.seeds_needed):,} training seeds would.")
    return ("Neither more items alone nor more training seeds alone would show a difference of two "
            "points: it takes both.")


def vs_chance(items: pd.DataFrame, chance: dict[str, float]) -> str:
    """How often the self-prompt model and the baseline are right, beside guessing (chapter 5)."""
    above = {"the baseline": above_chance(items, BASELINE, chance),
             "the self-prompt model": above_chance(items, OWN, chance)}
    plain, own = (f"{100 * (chance[ALL] + gain.value):.1f}%" for gain in above.values())
    better = [name for name, gain in above.items() if gain.low > 0]
    verdict = {
        0: "Neither is seen to be better than guessing; where answers are no better than guesses, "
           "a role has little to work on.",
        1: f"Of the two only {''.join(better)} is seen to be better than guessing.",
        2: "Both are seen to be better than guessing.",
    }[len(better)]
    return (f"The baseline is right on {plain} of the items and the self-prompt model on {own} "
            f"(mean of the tasks); guessing would be right on {100 * chance[ALL]:.1f}%. {verdict}")
