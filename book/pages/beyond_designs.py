"""Does the wording matter, and can other strategies be tuned in? From chapter 6's measurement.

`book/studies/keep_designs.py` makes the folders that are read here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from beyond_spread import MATTERS, USUAL, seeds_text, spread_text, wording_matters
from matplotlib.axes import Axes
from measurements import difference_text, is_kept, read_record

from selfprompt_lib import ablate, plots, stats
from selfprompt_lib.ablate_measure import TUNED_WITHOUT
from selfprompt_lib.designs import get_design
from selfprompt_lib.evaluate.contrasts import MEASURES
from selfprompt_lib.evaluate.likelihood_measure import OPEN
from selfprompt_lib.evaluate.prefixes import NEUTRAL
from selfprompt_lib.evaluate.results import BASE
from selfprompt_lib.roles.fit import WHOLE, WITHOUT_TASK
from selfprompt_lib.rows import ROLE
from selfprompt_lib.stats import signed

BESIDE = [NEUTRAL, TUNED_WITHOUT]
AGAINST = (ablate.AGAINST_NONE, ablate.AGAINST_NEUTRAL, ablate.AGAINST_OTHER)


@dataclass
class Section:
    """The measurement that one section of the page tells of."""

    record: dict[str, Any]
    names: list[str]  # of the section's designs
    beside: list[str]  # designs that stand below them, to compare
    table: pd.DataFrame  # likelihoods
    rates: pd.DataFrame
    contrasts: pd.DataFrame  # of open questions

    @property
    def order(self) -> list[str]:
        """In which order designs are drawn and told; the model tuned without is no row."""
        return [*self.names, *(name for name in self.beside if name != TUNED_WITHOUT)]


def read_section(folder: Path, of_strategies: bool = False) -> Section | None:
    """The measurement kept in `folder`; None where it has none of the section's designs.

    Args:
        of_strategies: of the other strategies and not of the roles' wordings.
    """
    if not is_kept(folder):
        return None
    record = read_record(folder)
    table = pd.read_parquet(folder / "likelihoods.parquet")
    roles = pd.read_parquet(folder / "roles.parquet")
    there = [name for name in dict.fromkeys(roles.design) if name not in BESIDE]
    names = [name for name in there if (get_design(name).strategy != ROLE) == of_strategies]
    if not names:
        return None
    beside = [name for name in ([USUAL] if of_strategies else []) if name in there] + BESIDE
    table = table[table.model.isin([*names, *beside, BASE])]
    return Section(record, names, beside, table,
                   written_rates(roles[roles.design.isin([*names, *beside])]),
                   ablate.design_contrasts(table))


def correct_together(sections: Sequence[Section]) -> None:
    """Holm's correction over the tests of all sections, as if they were one table.

    Those with `none` and `neutral` are one family, those with another question's text another one,
    as in `ablate.design_contrasts`.
    """
    if not sections:
        return
    tests = pd.concat([section.contrasts for section in sections], keys=range(len(sections)))
    adjusted = tests.groupby("primary").p.transform(stats.holm)
    for number, section in enumerate(sections):
        section.contrasts["p_holm"] = adjusted.loc[number]


def facts(section: Section) -> dict[str, Any]:
    """What a section says: record, rows of its table, sentences; and what is drawn."""
    record, names, beside = section.record, section.names, section.beside
    rates, text, spread = section.rates, section.contrasts, ablate.design_spread(section.table)
    fit = pd.DataFrame(record["metrics"]["fit"], columns=["design", "part", "found"])
    rows = {name: _row(name, rates, text, fit, record) for name in rates.design}
    of_strategies = get_design(names[0]).strategy != ROLE
    return {
        "record": record, "profile": record["settings"], "names": names,
        "questions": section.table[section.table.task == OPEN].item.nunique(),
        "seeds": record["metrics"]["seeds"],
        "samples": max(record["metrics"]["samples"].values()), "steps": _steps(record),
        "minutes": sum(record["metrics"]["training_seconds"].values()) / 60,
        "tests": int(text.primary.sum()),
        "rows": [rows[name] for name in [*names, *beside] if name in rows],
        "answer": ablate.report_text(*_of(names, rates, text), spread.head(0)),
        "short": short_text(names, rates, text, spread),
        "heeded": heeded_text(_of(names, text)[0]), "sensitive": spread_text(spread, record),
        "seeds_differ": seeds_text(spread),
        "figure": "beyond-strategies" if of_strategies else "beyond-wordings",
        "axis": MEASURES["nats"],
        "order": section.order, "drawn": text,
    }


def written_rates(roles: pd.DataFrame) -> pd.DataFrame:
    """How often each design was written to open questions, with Wilson's interval, and its tokens.

    Columns as of `ablate.role_rates`, which has the texts.
    """
    rows = []
    for name, part in roles[roles.task == OPEN].groupby("design", sort=False):
        rate, tokens = stats.rate(part.wrote), part.tokens[part.wrote]
        rows.append({"design": name, "rate": rate.value, "low": rate.low, "high": rate.high,
                     "n": rate.n, "tokens": tokens.mean() if len(tokens) else 0.0})
    return pd.DataFrame(rows)


def _of(names: list[str], *tables: pd.DataFrame) -> list[pd.DataFrame]:
    return [table[table.design.isin(names)] for table in tables]


def _steps(record: dict[str, Any]) -> int:
    """Optimizer steps of a training."""
    settings, samples = record["settings"]["sft"], max(record["metrics"]["samples"].values())
    return round(math.ceil(samples / settings["batch_size"]) * settings["epochs"])


def _row(name: str, rates: pd.DataFrame, text: pd.DataFrame, fit: pd.DataFrame,
         record: dict[str, Any]) -> dict[str, Any]:
    """One design in the page's table: rate, tokens, fit, and three differences with their p."""
    rate = rates.set_index("design").loc[name]
    found = fit[fit.design == name].set_index("part").found
    mine = text[text.design == name].set_index("against")
    writes = name != TUNED_WITHOUT
    return {
        "name": name, "n": int(rate.n), "tokens": rate.tokens,
        "rate": str(stats.Estimate(rate.rate, rate.low, rate.high, rate.n)) if writes else "–",
        "fit": [found.get(part) for part in (WHOLE, WITHOUT_TASK)],
        "trained": record["metrics"]["training_tokens"][name],
        "told": [told(mine.loc[against]) if against in mine.index else "–"
                 for against in AGAINST],
    }


def told(row: Any) -> str:
    """A row of `Section.contrasts` in words."""
    return difference_text(row.difference, row.low, row.high, row.p_holm)


def short_text(names: list[str], rates: pd.DataFrame, contrasts: pd.DataFrame,
               spread: pd.DataFrame) -> str:
    """The section in two or three sentences, for the top of the page."""
    what = "wordings" if get_design(names[0]).strategy == ROLE else "strategies"
    learned = (rates[rates.design.isin(names)].rate >= 0.9).sum()
    rows = contrasts[contrasts.design.isin(names) & (contrasts.against == ablate.AGAINST_NONE)]
    better, worse = ablate.count_differences(rows)
    text = (f"{learned} of {len(names)} {what} are written for at least 90% of the questions. "
            "Against a model tuned without any text, good answers are seen to be likelier with "
            f"{better} of them and less likely with {worse}.")
    tuned = spread[spread.what == ablate.TUNED]
    if what == "wordings" and len(tuned):
        text += f" {MATTERS[wording_matters(spread)]}"
        text += f" Tuned models differ by {tuned.spread.iloc[0]:.3f} nats a token."
    return text


def heeded_text(contrasts: pd.DataFrame) -> str:
    """Whether models heed what their text says: behind it, or behind another question's."""
    rows = contrasts[contrasts.against == ablate.AGAINST_OTHER]
    if rows.empty:
        return ""
    better, _ = ablate.count_differences(rows)
    return (f"Behind the text for this question, and not for another, answers are likelier with "
            f"{better} of {len(rows)} designs ({signed(rows.difference.min())} to "
            f"{signed(rows.difference.max())}), so "
            + ("models heed what it says." if better == len(rows) else
               "that models heed what it says was not seen." if not better else
               "not all are seen to heed what it says."))


def figures(found: dict[str, Any]) -> dict[str, Axes]:
    """Differences behind a design's own text, in the section's figure."""
    shown = found["drawn"][found["drawn"].against != ablate.AGAINST_OTHER]
    place = found["order"].index
    rows = shown.sort_values("design", key=lambda names: names.map(place), kind="stable")
    plots.set_style()
    return {found["figure"]: plots.interval_plot(
        rows, "difference", "design", group="against", zero=True, shares=False,
        axis=found["axis"])}
