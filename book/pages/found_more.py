"""The study of likelihoods with more training samples, on the page *What we found*.

`likelihood_study.py --set data.train_rows=200 --out book/measured/likelihood-200` keeps one.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from found_likelihood import UNSEEN
from measurements import difference_text, is_kept, read_record

from selfprompt_lib import plots
from selfprompt_lib.compare_runs.curves import GAIN, LEVEL, cell_contrasts
from selfprompt_lib.evaluate import likelihood_contrasts
from selfprompt_lib.evaluate.compare import ALL
from selfprompt_lib.evaluate.contrasts import MEASURES
from selfprompt_lib.evaluate.likelihood_report import AGAINST_NEUTRAL, ANOTHER, PRIMARY
from selfprompt_lib.evaluate.prefixes import NEUTRAL, NEUTRAL_TEXT, NOTHING
from selfprompt_lib.evaluate.results import BASELINE

SHOWN = [PRIMARY, AGAINST_NEUTRAL, ANOTHER]


def facts(measured: Path, out: Path) -> dict[str, Any] | None:
    """Studies that differ in the number of samples, on the unseen questions; None of one alone.

    The figure is drawn into `out`.
    """
    folders = [measured / "likelihood", *sorted(measured.glob("likelihood-*"))]
    studies = sorted((read_study(folder) for folder in folders if is_kept(folder)),
                     key=lambda study: study["samples"])
    if len(studies) < 2:
        return None
    drawn = pd.concat([study["contrasts"] for study in studies]).set_index("contrast").loc[SHOWN]
    plots.set_style()
    plots.save_figures({"likelihood-samples": plots.interval_plot(
        drawn.reset_index(), "difference", "contrast", group="trained on", zero=True, shares=False,
        axis=MEASURES["nats"])}, out)
    return {"studies": studies, "against": [_against(studies[0], more) for more in studies[1:]]}


def read_study(folder: Path) -> dict[str, Any]:
    """What is said of one study: its size, its seeds, and the contrasts that are shown."""
    table, record = pd.read_parquet(folder / "likelihoods.parquet"), read_record(folder)
    training = next(iter(record["seeds"].values()))["trainings"]["self-prompt"]
    rows, label = table[table.task == UNSEEN], f"{training['samples']} samples"
    found = likelihood_contrasts(rows)
    found = found[(found.task == ALL) & found.contrast.isin(SHOWN)].assign(**{"trained on": label})
    told = found.set_index("contrast").loc[SHOWN].itertuples()
    seeds = {seed: each["trainings"]["self-prompt"] for seed, each in record["seeds"].items()}
    return {"samples": training["samples"], "steps": training["steps"], "label": label,
            "record": record, "seeds": seeds, "rows": rows, "contrasts": found,
            "minutes": sum(each["minutes"] for each in record["seeds"].values()),
            "wrote": min(each["wrote_role"][UNSEEN] for each in record["seeds"].values()),
            "told": [difference_text(row.difference, row.low, row.high, row.p_holm)
                     for row in told]}


def _against(few: dict[str, Any], many: dict[str, Any]) -> dict[str, Any]:
    """What more samples change, on the seeds that both studies have."""
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
        return f"The gain over {over} changes by {told}, p = {gain.p:.3f}."
    return (f"That the gain over {over} changes was not seen: {told}; a change of "
            f"{gain.smallest:.3f} would have been, four times in five.")
