"""The studies of likelihoods on the page *What we found*: of open questions, of benchmarks.

`likelihood_study.py` and `benchmark_study.py` of book/studies make their folders in book/measured.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from measurements import difference_text, is_kept, read_record

from selfprompt_lib import plots, stats
from selfprompt_lib.evaluate import (
    differences,
    gate,
    likelihood_contrasts,
    likelihood_plan,
    likelihood_sizes,
    likelihood_text,
)
from selfprompt_lib.evaluate.compare import ALL
from selfprompt_lib.evaluate.contrasts import MEASURES, TEXT
from selfprompt_lib.evaluate.likelihood_measure import OPEN as TRIED
from selfprompt_lib.evaluate.likelihood_report import AGAINST_NEUTRAL, ANOTHER, PRIMARY
from selfprompt_lib.evaluate.prefixes import NEUTRAL, NEUTRAL_TEXT, NOTHING, OWN_ROLE
from selfprompt_lib.evaluate.results import BASELINE, OWN
from selfprompt_lib.roles import fit_text

UNSEEN = "unseen questions"
ODDS = "log_odds"
UNDECIDED = "no difference seen"


def facts(folder: Path, out: Path) -> dict[str, Any] | None:
    """What the page says: tables as lists of rows, sentences, the record; None where none is.

    The figures are drawn into `out`.
    """
    if not is_kept(folder):
        return None
    table, record = pd.read_parquet(folder / "likelihoods.parquet"), read_record(folder)
    every, unseen = pd.DataFrame(record["contrasts"]), _of_set(table, UNSEEN)
    _draw(unseen, every, out)
    sizes, seeds = likelihood_sizes(table[table.task == UNSEEN]), record["seeds"]
    return _choices(table, every) | {
        "record": record, "profile": record["provenance"]["profile"], "seeds": seeds,
        "training": next(iter(seeds.values()))["trainings"]["self-prompt"],
        "fits": {seed: fit_text(pd.DataFrame(part["fit"])) for seed, part in seeds.items()},
        "plans": ["none" if not plan else "full" if len(plan) == len(likelihood_plan(full=True))
                  else "short" for plan in record["settings"]["plans"]],
        "minutes": sum(seed["minutes"] for seed in seeds.values()),
        "asked": table.groupby("task", sort=False).item.nunique().to_dict(),
        "verdicts": verdicts(unseen),
        "answer": likelihood_text(unseen, sizes).replace("**Open questions**",
                                                         "**Unseen questions**"),
        "both": _both_sets(table, unseen),
        "needed": sizes.merge(unseen[["contrast", "smallest"]]).to_dict("records"),
    }


def benchmark_facts(folder: Path, out: Path) -> dict[str, Any] | None:
    """What the page says of the real benchmarks and of LIMA's prompts; as `facts`.

    The figure has the folder's name.
    """
    if not is_kept(folder):
        return None
    table, record = pd.read_parquet(folder / "likelihoods.parquet"), read_record(folder)
    every, seeds = pd.DataFrame(record["contrasts"]), record["seeds"]
    plots.save_figures(_odds_figure(folder.name, every), out)
    return _choices(table, every) | {
        "record": record, "profile": record["provenance"]["profile"], "seeds": seeds,
        "fits": {seed: fit_text(pd.DataFrame(part["prompts"]["fit"]))
                 for seed, part in seeds.items()},
        "asked": table.groupby("task").item.nunique().sum(), "right": right_options(table),
        "minutes": sum(seed["minutes"] for seed in seeds.values())}


def _choices(table: pd.DataFrame, every: pd.DataFrame) -> dict[str, Any]:
    """What is said of tasks with options: which are interpreted, sentences, and a table."""
    gates, odds = gate(table), _primary_odds(every)
    return {"gate": gates.to_dict("records"), "odds": odds, "disagree": measures_disagree(odds),
            "choices": likelihood_text(every[every.measure == ODDS],
                                       likelihood_sizes(table, ODDS, gates), gates)}


def verdicts(contrasts: pd.DataFrame) -> list[str]:
    """Whether good answers are likelier, in each of the three main contrasts, after Holm."""
    rows = contrasts.set_index("contrast").loc[[PRIMARY, AGAINST_NEUTRAL, ANOTHER]]
    return [UNDECIDED if row.p_holm >= 0.05
            else "**likelier**" if row.difference > 0 else "**less likely**"
            for row in rows.itertuples()]


def _of_set(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """The contrasts on one set of open questions, Holm's correction over these alone."""
    found = likelihood_contrasts(table[table.task == task])
    return found[found.task == ALL]


def _both_sets(table: pd.DataFrame, unseen: pd.DataFrame) -> list[dict[str, Any]]:
    """Contrasts on the unseen questions beside those on which settings were tried."""
    new, tried = (rows.assign(told=_told).set_index("contrast")
                  for rows in (unseen, _of_set(table, TRIED)))
    return new.join(tried[["told", "p_holm"]], rsuffix="_tried").reset_index().to_dict("records")


def _primary_odds(every: pd.DataFrame) -> list[dict[str, Any]]:
    """The primary contrasts of choices over the tasks that are interpreted, by form and measure."""
    rows = every[(every.form != TEXT) & every.primary & (every.task == ALL)]
    return rows.assign(told=_told, words=rows.measure.map(MEASURES)).to_dict("records")


def _told(rows: pd.DataFrame) -> list[str]:
    return [difference_text(row.difference, row.low, row.high) for row in rows.itertuples()]


def right_options(table: pd.DataFrame) -> list[dict[str, Any]]:
    """How often the likeliest option is the right one, in cloze form, paired by item.

    Returns:
        For each measure and model that the self-prompt model is set against: `measure`, `against`,
        `ours` and `theirs` (shares right), `told` (the difference in points, with its interval),
        and p.
    """
    arms = {BASELINE: NOTHING, NEUTRAL: NEUTRAL_TEXT, OWN: OWN_ROLE}
    cloze = table[(table.form == "cloze") & (table.prefix == table.model.map(arms))]
    found = []
    for column, measure in (("right", "nats a token"), ("right_pmi", "PMI")):
        items = cloze.assign(arm=cloze.model, correct=cloze[column].astype(bool))
        share = items.groupby(["arm", "task"]).correct.mean().groupby("arm").mean()
        for against in (BASELINE, NEUTRAL):
            row = differences(items, OWN, against).iloc[-1]  # the mean of the tasks
            told = stats.points_with_interval(row.difference, row.low, row.high, decimals=1)
            found.append({"measure": measure, "against": against, "ours": share[OWN],
                          "theirs": share[against], "told": told, "p": row.p})
    return found


def measures_disagree(odds: list[dict[str, Any]]) -> list[str]:
    """The contrasts that one measure finds above zero and the other below, not both by chance.

    Args:
        odds: of `_primary_odds`, a row a contrast, form and measure.
    """
    found = []
    for contrast in dict.fromkeys(row["contrast"] for row in odds):
        rows = [row for row in odds if row["contrast"] == contrast]
        signs = {row["difference"] > 0 for row in rows}
        if len(signs) == 2 and any(row["p_holm"] < 0.05 for row in rows):
            found.append(contrast)
    return found


def _draw(unseen: pd.DataFrame, every: pd.DataFrame, out: Path) -> None:
    """Figures of the study of open questions, whose choices are of mini benchmarks."""
    primary, words = every[every.contrast == PRIMARY], MEASURES
    drawn = {
        "likelihood-unseen": plots.contrast_plot(
            unseen, words["nats"], "Unseen questions"),
        "likelihood-sets": plots.contrast_by_task_plot(
            primary[primary.form == TEXT].replace({"task": {TRIED: "held-out questions"}}),
            words["nats"], PRIMARY, "mean of both sets"),
    }
    plots.save_figures(drawn | _odds_figure("likelihood-choices", every), out)


def _odds_figure(name: str, every: pd.DataFrame) -> dict[str, Axes]:
    """The first primary contrast of choices by task, where any were measured."""
    odds = every[(every.contrast == PRIMARY) & (every.measure == ODDS)]
    return {name: plots.contrast_by_task_plot(odds, MEASURES[ODDS], PRIMARY)} if len(odds) else {}
