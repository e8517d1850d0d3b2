"""The study of likelihoods with other training samples, on the page *What we found*.

`likelihood_study.py --set data.train_rows=200 --out book/measured/likelihood-200` keeps one with
more of the starter samples, and `--train lima-role --out book/measured/likelihood-lima` one with
LIMA's.
"""

from pathlib import Path
from typing import Any

import found_writers
import pandas as pd
from found_likelihood import UNSEEN, verdicts
from found_writers import SHOWN
from measurements import difference_text, is_kept, read_record

from selfprompt_lib import plots
from selfprompt_lib.compare_runs.curves import GAIN, LEVEL, cell_contrasts
from selfprompt_lib.evaluate import likelihood_contrasts
from selfprompt_lib.evaluate.compare import ALL
from selfprompt_lib.evaluate.contrasts import MEASURES
from selfprompt_lib.evaluate.prefixes import NEUTRAL, NEUTRAL_TEXT, NOTHING
from selfprompt_lib.evaluate.results import BASELINE
from selfprompt_lib.lima_role import NAME as LIMA_ROLE


def facts(measured: Path, out: Path) -> dict[str, Any] | None:
    """Studies that differ in their training samples, on the unseen questions; None of one alone.

    The figure is drawn into `out`.
    """
    folders = [measured / "likelihood", *sorted(measured.glob("likelihood-*"))]
    studies = sorted((read_study(folder) for folder in folders if is_kept(folder)),
                     key=lambda study: (study["lima"], study["samples"]))
    if len(studies) < 2:
        return None
    drawn = pd.concat([study["contrasts"] for study in studies]).set_index("contrast").loc[SHOWN]
    answers = found_writers.facts({study["label"]: (study["table"], study["lima"])
                                   for study in studies})
    plots.set_style()
    figures = found_writers.figure(answers["drawn"]) if answers else {}
    plots.save_figures(figures | {"likelihood-samples": plots.interval_plot(
        drawn.reset_index(), "difference", "contrast", group="trained on", zero=True, shares=False,
        axis=MEASURES["nats"])}, out)
    return {"studies": studies, "answers": answers,
            "against": [_against(_reference(studies, more), more) for more in studies[1:]]}


def read_study(folder: Path) -> dict[str, Any]:
    """What is said of one study: its size, its seeds, and the contrasts that are shown."""
    table, record = pd.read_parquet(folder / "likelihoods.parquet"), read_record(folder)
    training = next(iter(record["seeds"].values()))["trainings"]["self-prompt"]
    data = record["settings"]["profile"]["data"]
    lima, rows = data["train"] == LIMA_ROLE, table[table.task == UNSEEN]
    label = f"{training['samples']} samples{' of LIMA' if lima else ''}"
    found = likelihood_contrasts(rows)
    found = found[(found.task == ALL) & found.contrast.isin(SHOWN)].assign(**{"trained on": label})
    told = found.set_index("contrast").loc[SHOWN].itertuples()
    seeds = {seed: each["trainings"]["self-prompt"] for seed, each in record["seeds"].items()}
    asked_lima = found_writers.LIMA_QUESTIONS in set(table.task)
    return {"samples": training["samples"], "steps": training["steps"], "label": label,
            "lima": lima, "verdicts": verdicts(found), "longest": data.get("longest"),
            "tokens": training["tokens"],
            "command": command(folder.name, data, list(seeds), asked_lima), "record": record,
            "seeds": seeds, "table": table, "rows": rows, "contrasts": found,
            "precisions": precisions(record),
            "minutes": sum(each["minutes"] for each in record["seeds"].values()),
            "wrote": min(each["wrote_role"][UNSEEN] for each in record["seeds"].values()),
            "told": [difference_text(row.difference, row.low, row.high, row.p_holm)
                     for row in told]}


def precisions(record: dict[str, Any]) -> list[str]:
    """The precisions in which its seeds were measured; early seeds have that of the record."""
    return sorted({each.get("precision", record["provenance"]["precision"])
                   for each in record["seeds"].values()})


def command(name: str, data: dict[str, Any], seeds: list[str], lima_answers: bool) -> str:
    """The command that makes such a study."""
    options = (f"--train {LIMA_ROLE}" if data["train"] == LIMA_ROLE
               else f"--set data.train_rows={data['train_rows']}")
    options += " --lima-answers" if lima_answers else ""
    return (f"python book/studies/likelihood_study.py {options} --seeds {','.join(seeds)} "
            f"--plan short --choices none --out book/measured/{name}")


def _reference(studies: list[dict[str, Any]], more: dict[str, Any]) -> dict[str, Any]:
    """What a study is set against: as many starter samples where it is LIMA's, or the fewest."""
    alike = [study for study in studies if more["lima"] and not study["lima"]
             and study["samples"] == more["samples"]]
    return [*alike, studies[0]][0]


def _against(few: dict[str, Any], many: dict[str, Any]) -> dict[str, Any]:
    """What other samples change, on the seeds that both studies have."""
    both = pd.concat([study["rows"].assign(group=study["label"], chapter="evaluate")
                      for study in (few, many)])
    common = set(few["seeds"]) & set(many["seeds"])
    both = both[both.seed.isin(map(int, common))]
    rows = cell_contrasts(both).set_index("quantity")
    # The same over the model with a neutral paragraph, which takes the place of the baseline.
    neutral = both[both.model != BASELINE].replace(
        {"model": {NEUTRAL: BASELINE}, "prefix": {NEUTRAL_TEXT: NOTHING}})
    over_neutral = cell_contrasts(neutral).set_index("quantity").loc[GAIN]
    level = rows.loc[LEVEL]
    return {"label": many["label"], "reference": few["label"], "seeds": len(common),
            "level": difference_text(level.difference, level.low, level.high),
            "gains": [_gain_text(name, row) for name, row in (
                ("the baseline", rows.loc[GAIN]), ("the neutral paragraph", over_neutral))]}


def _gain_text(over: str, gain: pd.Series) -> str:
    told = difference_text(gain.difference, gain.low, gain.high)
    if gain.p < 0.05:
        p = f"= {gain.p:.3f}" if gain.p >= 0.001 else "< 0.001"
        return f"The gain over {over} changes by {told}, p {p}."
    if gain.low > 0 or gain.high < 0:
        return (f"Whether the gain over {over} changes is not sure: {told} leaves out zero, and "
                f"the test, which allows more for the luck of {gain.seeds} seeds, does not let it "
                f"count (p = {gain.p:.3f}).")
    return (f"That the gain over {over} changes was not seen: {told}; a change of "
            f"{gain.smallest:.3f} would have been, four times in five.")
