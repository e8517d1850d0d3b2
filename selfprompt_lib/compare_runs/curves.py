"""Curves over a swept field with their intervals, and cells paired with each other (chapter 7).

All takes the rows of `RunSet.pooled`, in which a `group` is a cell, or several that differ in
nothing but the seed. Chapter 6 calls its models by their designs; its baseline is `none`.
"""

import numpy as np
import pandas as pd

from .. import stats
from ..errors import require
from ..evaluate.compare import ALL, effects, rows_of_both
from ..evaluate.contrasts import (
    CONTRASTS,
    MEASURES,
    TEXT,
    gate,
    likelihood_contrasts,
    measured_difference,
)
from ..evaluate.prefixes import NEUTRAL, NEUTRAL_TEXT, NOTHING, OWN_ROLE
from ..evaluate.results import BASE, BASELINE, OWN
from ..pipeline.sweep_results import COLUMNS, ROLE, WRITTEN

PRIMARY = {each.label: each for each in CONTRASTS if each.primary}
BESIDE = (BASE, BASELINE, NEUTRAL)  # models that write no role of their own
KEY = ["seed", "task", "form", "item"]
CURVE_COLUMNS = ["group", "model", "curve", "value", "low", "high", "n", "seeds"]
LEVEL, GAIN = "behind its own role", "gain over the baseline"


def comparable_rows(rows: pd.DataFrame, measure: str = "nats") -> pd.DataFrame:
    """The rows that all groups can be compared on, with one name for the baseline (chapter 7).

    They are those of chapters 4 and 5 where every group has these, else those of chapter 6, which
    trains every design anew.

    Raises:
        UserError: some groups have one chapter, some the other; an unknown measure, or one that no
            model behind its own role has.
    """
    require(measure in MEASURES, f"measure: no {measure!r}; choose one of {', '.join(MEASURES)}")
    there = [name for name in MEASURES if rows[rows.prefix == OWN_ROLE][name].notna().any()]
    require(measure in there, f"measure: {measure} was not measured behind an own role in these "
            f"runs; there are: {', '.join(there) or 'none: run chapter 5 or 6 in them'}")
    asked, designs = rows[rows.chapter != "ablate"], rows[rows.chapter == "ablate"]
    if asked.group.nunique() == rows.group.nunique():
        return asked
    without = rows.group[~rows.group.isin(asked.group)].iloc[0]
    require(designs.group.nunique() == rows.group.nunique(),
            f"runs: {without} has rows of ablate alone, others have not; run the same chapters, 5 "
            "or 6, in all of them")
    return _as_chapter_5(designs)


def _as_chapter_5(rows: pd.DataFrame) -> pd.DataFrame:
    """Chapter 6's rows under chapter 5's names: there every model has a text of its own."""
    own = rows.prefix == OWN_ROLE
    rows = rows.replace({"model": {"none": BASELINE}})
    names = {BASELINE: NOTHING, NEUTRAL: NEUTRAL_TEXT}
    return rows.assign(prefix=rows.prefix.mask(own, rows.model.map(names).fillna(rows.prefix)))


def own_models(rows: pd.DataFrame) -> list[str]:
    """The models that were trained to write something first: `self-prompt`, or designs."""
    wrote = (rows.model == OWN) | ((rows.chapter == "ablate") & ~rows.model.isin(BESIDE))
    return list(rows[wrote].model.unique())


def role_curve(rows: pd.DataFrame) -> pd.DataFrame:
    """How often a role was written: `CURVE_COLUMNS` and the swept fields, Wilson's interval."""
    replies = rows[(rows.form == ROLE) & rows.model.isin(own_models(rows))]
    found = []
    for (group, model), part in replies.groupby(["group", "model"], sort=False):
        found.append({"group": group, "model": model, "curve": "roles written",
                      **stats.rate(part.right.astype(bool)).columns("value"),
                      "seeds": part.seed.nunique()})
    return with_fields(pd.DataFrame(found, columns=CURVE_COLUMNS), rows)


def contrast_curve(rows: pd.DataFrame, measure: str = "nats") -> pd.DataFrame:
    """The two primary contrasts of chapter 5 in every group, over items and seeds (chapter 7).

    The curves are named by what the model behind its own role is compared with. Choices are those
    in cloze form, on the tasks that the untuned model is seen to be able to do there.

    Raises:
        UserError: as `likelihood_contrasts`.
    """
    found = []
    for group, part in rows.groupby("group", sort=False):
        for model in own_models(part):
            arms = part[part.model.isin([model, *BESIDE])].replace({"model": {model: OWN}})
            table = measured_rows(arms, measure)
            gates = gate(table[table.right.notna()])
            whole = likelihood_contrasts(_of_primary(table), measure, gates)
            for row in whole[whole.primary & (whole.task == ALL)].itertuples():
                against, _ = PRIMARY[row.contrast].old
                found.append({"group": group, "model": model, "curve": f"minus {against}",
                              "value": row.difference, "low": row.low, "high": row.high,
                              "n": row.n, "seeds": row.seeds})
    return with_fields(pd.DataFrame(found, columns=CURVE_COLUMNS), rows)


def _of_primary(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that the primary contrasts take; all others would only be computed for nothing."""
    pairs = {pair for each in PRIMARY.values() for pair in (each.new, each.old)}
    chosen = [pair in pairs for pair in zip(table.model, table.prefix, strict=True)]
    return table[np.array(chosen, dtype=bool)]  # an empty list would choose columns


def written_curve(rows: pd.DataFrame) -> pd.DataFrame:
    """Right answers, each model minus the baseline, paired by item, the tasks counting the same."""
    # Answers of the baseline, and of models that wrote their own role before them.
    own = rows.model.isin(own_models(rows)) & (rows.prefix == OWN_ROLE)
    plain = (rows.model == BASELINE) & (rows.prefix == NOTHING)
    written = rows[(rows.form == WRITTEN) & (own | plain)]
    items = written.assign(arm=written.model, value=written.right.astype(float))
    found = []
    for group, part in items.groupby("group", sort=False):
        for model in own_models(part):
            both = rows_of_both(part, model, BASELINE)
            if len(both):
                row = effects(both, model, BASELINE, "value")[ALL]
                found.append({"group": group, "model": model, "curve": f"minus {BASELINE}",
                              **row.columns("value"), "seeds": row.seeds})
    return with_fields(pd.DataFrame(found, columns=CURVE_COLUMNS), rows)


def with_fields(curve: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """A curve with the columns of the swept fields, by group, in their order."""
    known = rows.drop_duplicates("group").set_index("group")
    swept = [name for name in rows if name not in {*COLUMNS, "cell", "group"}]
    return curve.join(known[swept], on="group").sort_values(
        swept, key=_in_order, kind="stable", ignore_index=True) if swept else curve


def _in_order(values: pd.Series) -> pd.Series:
    """Numbers by size, texts as they come."""
    numbers = pd.to_numeric(values, errors="coerce")
    return numbers if numbers.notna().all() else pd.Series(pd.factorize(values)[0], values.index)


def cell_contrasts(rows: pd.DataFrame, reference: str = "",
                   measure: str = "nats") -> pd.DataFrame:
    """Each group minus a reference, paired by item and seed, with Holm over the groups (chapter 7).

    Two quantities of the first of `own_models`: the likelihood behind its own role, and its gain
    over the baseline of the same group, which leaves out what the swept field does to both.

    Args:
        reference: a group; by default the first.

    Returns:
        Columns quantity, group, reference, difference, low, high (95%), n (items), seeds, p, p_holm
        (over the groups), smallest (what such a sample shows with 80% power at 5%).

    Raises:
        UserError: one group alone, an unknown reference, two groups without an item or a seed in
            common, or with a task that not all seeds have.
    """
    groups = list(rows.group.unique())
    require(len(groups) > 1, f"runs: {groups[0]} is one cell alone; a contrast takes two")
    reference = reference or groups[0]
    require(reference in groups, f"reference: no cell {reference!r}; there are {', '.join(groups)}")
    table = measured_rows(rows, measure)
    level = _quantity(table, measure, own_models(rows)[0], OWN_ROLE)
    gain = level.sub(_quantity(table, measure, BASELINE, NOTHING)).dropna()
    found = [row for quantity, values in ((LEVEL, level), (GAIN, gain))
             for row in _against(values, reference, quantity)]
    return pd.DataFrame(found)


def measured_rows(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The rows that have the measure: open questions for nats, choices in cloze form for others."""
    return rows[rows.form == (TEXT if measure == "nats" else "cloze")].dropna(subset=[measure])


def _quantity(table: pd.DataFrame, measure: str, model: str, prefix: str) -> pd.Series:
    """A measure by group, seed, task, form and item."""
    part = table[(table.model == model) & (table.prefix == prefix)]
    return part.set_index(["group", *KEY])[measure]


def _against(values: pd.Series, reference: str, quantity: str) -> list[dict]:
    """A row a group: it minus the reference, with Holm's correction over the groups."""
    found = []
    for group in values.index.unique("group"):
        if group != reference:
            about = {"quantity": quantity, "group": group, "reference": reference}
            found.append(about | measured_difference(_paired(values, group, reference)))
    adjusted = stats.holm([row["p"] for row in found])
    return [row | {"p_holm": p} for row, p in zip(found, adjusted, strict=True)]


def _paired(values: pd.Series, new: str, old: str) -> list[np.ndarray]:
    """Each task's differences of two groups, shape (items, seeds), on what both have.

    Pandas pairs by seed, task, form and item; items that one of the seeds lacks are left out.

    Raises:
        UserError: no seed or no item in common, or a task that not all common seeds have.
    """
    first, second = (values[values.index.get_level_values("group") == name].droplevel("group")
                     for name in (new, old))
    common = first.index.unique("seed").intersection(second.index.unique("seed"))
    require(len(common), f"runs: {new} and {old} have no training seed in common; train both with "
            "the same")
    by_seed = first.sub(second).dropna().unstack("seed")
    whole = by_seed.dropna()
    require(len(whole), f"runs: {new} and {old} have no item in common; measure both on the same "
            "questions")
    lost = by_seed.index.unique("task").difference(whole.index.unique("task"))
    require(lost.empty, f"runs: {new} and {old} have no item of {list(lost[:1])} with all training "
            "seeds that they have in common; measure every task with the same seeds")
    return [part.to_numpy() for _, part in whole.groupby("task", sort=False)]
