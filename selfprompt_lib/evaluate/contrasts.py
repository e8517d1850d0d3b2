"""What a role does to the likelihood of good answers: contrasts of models and prefixes (chapter 5).

Everything here takes the table of likelihoods: one row a model, seed (-1: untuned), prefix, task,
form ("text": open questions, "cloze" or "letters": choices) and item, with `MEASURES`, all in nats,
the number of `options`, and whether the likeliest option is `right`. Two contrasts are primary:
they compare models that each begin as they were trained to. What differs between two prefixes of
one model holds, besides the prefix, the cost of a beginning that it was not trained on.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from .. import stats
from ..errors import require
from ..sample_size import minimum_detectable_effect, required_sample_size
from ..two_way import two_way_interval
from .compare import ALL, paired_tables, rows_of_both
from .prefixes import NEUTRAL, NEUTRAL_TEXT, NOTHING, OWN_ROLE, PREFIXES
from .results import BASE, BASELINE, OWN

TEXT = "text"  # the form of open questions
MEASURES = {  # column of the table → the words of a figure
    "nats": "nats a token of the reference answer",
    "log_odds": "log-odds of the right option (nats)",
    "log_odds_pmi": "log-odds of the right option, PMI (nats)",
}
COLUMNS = ["contrast", "primary", "within_model", "task", "form", "measure", "interpreted",
           "difference", "low", "high", "n", "seeds", "above", "p", "smallest", "p_holm"]
TARGETS = {"nats": 0.01, "log_odds": 0.1, "log_odds_pmi": 0.1}  # effects that one would like to see


class Contrast(NamedTuple):
    """A difference of two pairs of model and prefix, `new` minus `old`."""

    new: tuple[str, str]
    old: tuple[str, str]
    primary: bool = False

    @property
    def label(self) -> str:
        (model, prefix), (old_model, old_prefix) = self.new, self.old
        if model == old_model:
            return f"{model}: {prefix} − {old_prefix}"
        return f"{model}, {prefix} − {old_model}, {old_prefix}"


CONTRASTS = (
    Contrast((OWN, OWN_ROLE), (BASELINE, NOTHING), primary=True),
    Contrast((OWN, OWN_ROLE), (NEUTRAL, NEUTRAL_TEXT), primary=True),
    *(Contrast((OWN, OWN_ROLE), (OWN, prefix))
      for prefix in sorted(PREFIXES, key=lambda name: name == NOTHING) if prefix != OWN_ROLE),
    Contrast((BASELINE, OWN_ROLE), (BASELINE, NOTHING)),
    Contrast((NEUTRAL, NEUTRAL_TEXT), (BASELINE, NOTHING)),
    Contrast((BASELINE, NOTHING), (BASE, NOTHING)),
)


def gate(table: pd.DataFrame) -> pd.DataFrame:
    """Whether the untuned model can do a task in a form at all, and which form is better.

    Where it is not seen to be better than guessing, what likelihoods do there says nothing of
    answering: the task is not interpreted in that form. Small models often do not understand
    letters (arXiv 2401.07955), so both forms are measured, and `better` names the one in which the
    untuned model is right more often, as in OLMES (arXiv 2406.08446).

    Returns:
        Columns task, form, accuracy, low, high (Wilson, 95%), n, chance, interpreted, better.
    """
    bare = table[(table.model == BASE) & (table.prefix == NOTHING) & (table.form != TEXT)]
    rows = []
    for (task, form), part in bare.groupby(["task", "form"], sort=False):
        right, chance = stats.rate(part.right.astype(bool)), float((1 / part.options).mean())
        rows.append({"task": task, "form": form, **right.columns("accuracy"), "chance": chance,
                     "interpreted": right.low > chance})
    found = pd.DataFrame(rows, columns=["task", "form", "accuracy", "low", "high", "n", "chance",
                                        "interpreted"])
    best = found.groupby("task").accuracy.transform("max")
    return found.assign(better=found.accuracy == best)


def likelihood_contrasts(table: pd.DataFrame, measure: str = "nats",
                         gates: pd.DataFrame | None = None,
                         contrasts: Sequence[Contrast] = CONTRASTS) -> pd.DataFrame:
    """One row a contrast, form and task, and one over `all` tasks that are interpreted.

    Columns: contrast, primary, within_model (one model with two prefixes: it holds the cost of a
    beginning that the model was not trained on), task, form, measure, interpreted, difference, low,
    high (95%), n (items), seeds, above (share of items with a difference above zero), p, p_holm,
    smallest (the difference that such a sample shows with 80% power at 5%). Contrasts that were not
    measured are left out, and items that did not fit the model's context in one of the two. Holm's
    correction is over all primary contrasts or over all others, for `all` tasks and for single
    ones; tasks that are not interpreted are not among them.

    Args:
        measure: of `MEASURES`: `nats` for open questions, the others for choices.
        gates: of `gate`; without it every task is interpreted.
        contrasts: which to take; chapter 6 has some of its own.

    Raises:
        UserError: an unknown measure, or as `compare.paired_tables`.
    """
    require(measure in MEASURES, f"measure: no {measure!r}; choose one of {', '.join(MEASURES)}")
    rows = []
    for form, contrast, tables in _paired(table, measure, contrasts):
        closed = _closed(gates, form)
        every = [part for task, part in tables.items() if task not in closed]
        parts = {task: [part] for task, part in tables.items()} | ({ALL: every} if every else {})
        for task, of_task in parts.items():
            rows.append({"contrast": contrast.label, "primary": contrast.primary,
                         "within_model": contrast.new[0] == contrast.old[0], "task": task,
                         "form": form, "measure": measure, "interpreted": task not in closed,
                         **measured_difference(of_task)})
    found = pd.DataFrame(rows, columns=COLUMNS)
    if rows:
        family = [found.form, found.primary, found.task == ALL, found.interpreted]
        found["p_holm"] = found.groupby(family).p.transform(stats.holm).where(found.interpreted)
    return found


def all_contrasts(table: pd.DataFrame, gates: pd.DataFrame) -> pd.DataFrame:
    """`likelihood_contrasts` of every measure, one below the other (chapter 5)."""
    parts = [likelihood_contrasts(table, name, gates) for name in MEASURES]
    # An empty part would turn columns of booleans into objects.
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def all_sizes(table: pd.DataFrame, gates: pd.DataFrame) -> pd.DataFrame:
    """`likelihood_sizes` of every measure, one below the other (chapter 5)."""
    return pd.concat([likelihood_sizes(table, name, gates) for name in MEASURES],
                     ignore_index=True)


def _paired(table: pd.DataFrame, measure: str, contrasts: Sequence[Contrast] = CONTRASTS
            ) -> Iterator[tuple[str, Contrast, dict[str, np.ndarray]]]:
    """Each form, contrast that was measured, and its tasks' differences, shape (items, seeds)."""
    open_questions = measure == "nats"
    rows = table[((table.form == TEXT) == open_questions) & table[measure].notna()]
    rows = rows.assign(arm=rows.model + ", " + rows.prefix)
    for form, of_form in rows.groupby("form", sort=False):
        for contrast in contrasts:
            new, old = ", ".join(contrast.new), ", ".join(contrast.old)
            both = rows_of_both(of_form, new, old)
            whole = of_whole_items(both) if len(both) else both
            if len(whole):
                tables = paired_tables(whole, new, old, measure)
                yield form, contrast, {task: part.to_numpy() for task, part in tables.items()}


def of_whole_items(rows: pd.DataFrame) -> pd.DataFrame:
    """Those of items that stand in both arms and all seeds: behind a long text one may not fit."""
    models_asked = rows.drop_duplicates(["task", "arm", "seed"]).groupby("task").size()
    models_with_item = rows.groupby(["task", "item"])["arm"].transform("size")
    return rows[models_with_item >= rows.task.map(models_asked)]


def _closed(gates: pd.DataFrame | None, form: str) -> set[str]:
    """The tasks that are not interpreted in this form."""
    if gates is None:
        return set()
    return set(gates[(gates.form == form) & ~gates.interpreted].task)


def measured_difference(tables: list[np.ndarray]) -> dict[str, float]:
    """The columns of a row that come from its differences; where all are equal, no interval."""
    effect = two_way_interval(*tables, shares=False)
    means = np.concatenate([part.mean(axis=1) for part in tables])
    alike = np.isnan(effect.low)
    return {**effect.columns("difference"), "seeds": effect.seeds,
            "above": float((means > 0).mean()), "p": effect.p,
            "smallest": np.nan if alike else minimum_detectable_effect(effect.components)}


def likelihood_sizes(table: pd.DataFrame, measure: str = "nats",
                     gates: pd.DataFrame | None = None) -> pd.DataFrame:
    """How many items, or seeds, would show the primary contrasts' differences if they are a target.

    With 80% power at 5%, over all tasks that are interpreted (chapter 5). The targets are those of
    `TARGETS`: a hundredth of a nat a token is one percent of its probability. Columns: contrast,
    form, measure, target, items_needed (at these seeds), seeds_needed (at these items); empty where
    more of that kind alone would never do, and for seeds where one seed cannot tell.
    """
    target = TARGETS[measure]
    rows = []
    for form, contrast, tables in _paired(table, measure):
        every = [part for task, part in tables.items() if task not in _closed(gates, form)]
        if contrast.primary and every:
            effect = two_way_interval(*every, shares=False)
            alike = np.isnan(effect.low)
            items, seeds = (None, None) if alike else required_sample_size(effect, target)
            rows.append({"contrast": contrast.label, "form": form, "measure": measure,
                         "target": target, "items_needed": items, "seeds_needed": seeds})
    columns = ["contrast", "form", "measure", "target", "items_needed", "seeds_needed"]
    found = pd.DataFrame(rows, columns=columns)
    return found.astype({"items_needed": "Int64", "seeds_needed": "Int64"})
