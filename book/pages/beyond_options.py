"""The right option of real benchmarks behind each wording: a part of *Does the wording matter?*

`keep_designs.py RUN --out book/measured/designs-options` keeps a run with `ablate.tasks`.
"""

from pathlib import Path
from typing import Any

import beyond_designs
import pandas as pd
from measurements import is_kept, read_record

from selfprompt_lib import ablate, stats
from selfprompt_lib.evaluate import differences, gate
from selfprompt_lib.evaluate.contrasts import MEASURES
from selfprompt_lib.evaluate.prefixes import NEUTRAL, OWN_ROLE
from selfprompt_lib.evaluate.results import BASE

ODDS, PMI = "log_odds", "log_odds_pmi"


def facts(folder: Path) -> dict[str, Any] | None:
    """What is said of the designs' right options; None where none are kept, or none interpreted."""
    if not is_kept(folder):
        return None
    record, table = read_record(folder), pd.read_parquet(folder / "likelihoods.parquet")
    table = table[table.form == "cloze"]
    gates = gate(table)
    can = list(gates[gates.interpreted].task)
    if not can:
        return None
    rates = ablate.design_accuracy(table[table.task.isin(can)]).set_index("design")
    contrasts, by_pmi = (ablate.design_contrasts(table, measure, gates) for measure in (ODDS, PMI))
    counted = right_differences(table[table.task.isin(can)])
    names = [name for name in counted.index if name != NEUTRAL]
    rows = [_row(name, rates, counted, contrasts) for name in [*names, NEUTRAL]
            if name in counted.index]
    return {
        "record": record, "seeds": record["metrics"]["seeds"], "gates": gates.to_dict("records"),
        "rows": rows, "items": int(rates.n.iloc[0] / record["metrics"]["seeds"]),
        "none": rates.accuracy[ablate.TUNED_WITHOUT],
        "answer": answer(contrasts, by_pmi, counted), "short": short_text(contrasts, counted),
        "figure": "beyond-options", "axis": MEASURES[ODDS], "drawn": contrasts,
        "order": [row["name"] for row in rows]}


def right_differences(table: pd.DataFrame) -> pd.DataFrame:
    """By design, how much more often its likeliest option is right than with `none`.

    Columns: difference, low, high (95%), p, p_holm (over the designs), smallest; the mean of tasks,
    paired by item.
    """
    own = table[(table.prefix == OWN_ROLE) & (table.model != BASE)]
    items = own.assign(arm=own.model, correct=own.right.astype(bool))
    found = {name: differences(items, name, ablate.TUNED_WITHOUT).iloc[-1]
             for name in items.arm.unique() if name != ablate.TUNED_WITHOUT}
    rows = pd.DataFrame(found).T
    return rows.assign(p_holm=stats.holm(rows.p.astype(float)))


def _row(name: str, rates: pd.DataFrame, counted: pd.DataFrame,
         contrasts: pd.DataFrame) -> dict[str, Any]:
    mine, more = contrasts[contrasts.design == name].set_index("against"), counted.loc[name]
    told = stats.points_with_interval(more.difference, more.low, more.high, decimals=1)
    points, interval = told.split("[")
    star = "\\*" if more.p_holm < 0.05 else ""
    return {"name": name, "right": rates.accuracy[name],
            "points": f"{points[:-1]}{star}\N{NO-BREAK SPACE}[{interval}",
            "told": [beyond_designs.told(mine.loc[against]) if against in mine.index else "–"
                     for against in ablate.IN_WORDS]}


def answer(contrasts: pd.DataFrame, by_pmi: pd.DataFrame, counted: pd.DataFrame) -> str:
    """What the measurement says, in sentences."""
    parts = []
    for against, words in ablate.IN_WORDS.items():
        rows, pmi = (each[each.against == against] for each in (contrasts, by_pmi))
        parts.append(f"{words}, the right option is {_counts(rows)} designs, after Holm's "
                     f"correction ({stats.signed(rows.difference.min())} to "
                     f"{stats.signed(rows.difference.max())}); by PMI it is {_counts(pmi)}.")
    parts.append(_of_neutral(contrasts))
    smallest = f"{100 * counted.smallest.astype(float).median():.0f}"
    parts.append(f"That the likeliest option is right more or less often than with `none` is seen "
                 f"with {_seen(counted)} of {len(counted)}; a difference of about {smallest} "
                 "points would have been.")
    return " ".join(filter(None, parts))


def _of_neutral(contrasts: pd.DataFrame) -> str:
    """Whether the neutral paragraph costs something by itself, so that all gain against it."""
    rows = contrasts[contrasts.against == ablate.AGAINST_NONE].set_index("design")
    if NEUTRAL not in rows.index or rows.p_holm[NEUTRAL] >= 0.05 or rows.difference[NEUTRAL] > 0:
        return ""
    return (f"The neutral paragraph takes from the right option by itself "
            f"({beyond_designs.told(rows.loc[NEUTRAL])} against none), so what is likelier than "
            "behind it need not owe that to a role.")


def _counts(rows: pd.DataFrame) -> str:
    above, below = ablate.count_differences(rows)
    return f"likelier with {above} and less likely with {below} of {len(rows)}"


def _seen(counted: pd.DataFrame) -> int | str:
    return int((counted.p_holm < 0.05).sum()) or "none"


def short_text(contrasts: pd.DataFrame, counted: pd.DataFrame) -> str:
    """The same in one sentence, for the top of the page."""
    rows = contrasts[contrasts.against == ablate.AGAINST_NONE]
    return (f"On benchmarks the right option is {_counts(rows)} texts than with none, and how many "
            f"answers are right is seen to differ with {_seen(counted)}.")
