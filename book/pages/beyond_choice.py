"""When not to write a role: what four rules bring, task by task.

`book/studies/role_choice_study.py` makes the folder that is read here.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from measurements import difference_text, read_record
from role_choice import ALWAYS, GAP_RULE, MODEL, NEVER, choice_gains

from selfprompt_lib import plots, stats
from selfprompt_lib.evaluate.compare import ALL
from selfprompt_lib.evaluate.contrasts import MEASURES, TEXT

OVER = {NEVER: [ALWAYS, MODEL, GAP_RULE], ALWAYS: [MODEL, GAP_RULE]}  # the rules beside each
OTHER_WORDS = {NEVER: "never to write one", ALWAYS: "always to write one"}


def facts(folder: Path) -> dict[str, Any]:
    """What the section says: one row a share, task and rule, and sentences."""
    record = read_record(folder)
    parts = [_gains(folder, name).assign(without=float(name)) for name in record]
    gains = pd.concat(parts, ignore_index=True)
    tests = _tests(gains)
    first = next(iter(record.values()))
    return {
        "profile": first["provenance"]["profile"],
        "precision": first["provenance"]["precision"], "machine": first["provenance"]["machine"],
        "shares": [float(name) for name in record], "seeds": int(gains.seeds.max()),
        "minutes": sum(part["minutes"] for part in record.values()),
        "rows": _table(gains, tests), "tests": len(tests), "answer": choice_text(tests),
        "tasks": gains[gains.task != ALL].drop_duplicates("task").set_index("task").n.to_dict(),
        "measures": list(dict.fromkeys(gains.measure)), "drawn": gains,
    }


def _gains(folder: Path, name: str) -> pd.DataFrame:
    return choice_gains(pd.read_parquet(folder / f"likelihoods-{name}.parquet"),
                        pd.read_parquet(folder / f"gaps-{name}.parquet"))


def _tests(gains: pd.DataFrame) -> pd.DataFrame:
    """Each rule against always and never: differences with p after Holm's correction over all.

    Columns without, task, form, measure, rule, against, difference, low, high, p, p_holm.
    """
    rows = []
    for against, rules in OVER.items():
        for row in gains[gains.rule.isin(rules)].to_dict("records"):
            names = {"difference": "", "low": "_low", "high": "_high", "p": "_p"}
            rows.append({name: row[name] for name in ("without", "task", "form", "measure", "rule")}
                        | {"against": against}
                        | {name: row[f"over_{against}{end}"] for name, end in names.items()})
    found = pd.DataFrame(rows)
    counts = found.low.notna()  # where a rule does the same as the other, nothing is tested
    found["p_holm"] = 1.0
    if counts.any():
        found.loc[counts, "p_holm"] = stats.holm(found.p[counts])
    return found


def _table(gains: pd.DataFrame, tests: pd.DataFrame) -> list[dict[str, Any]]:
    """One row a share, task and rule but never: roles given, and what that brings."""
    known = tests.set_index(["without", "task", "form", "rule", "against"])
    rows = []
    for row in gains[gains.rule != NEVER].to_dict("records"):
        key = (row["without"], row["task"], row["form"])
        told = [_told(known.loc[(*key, row["rule"], against)]) if row["rule"] in OVER[against]
                else "–" for against in (NEVER, ALWAYS)]
        rows.append({"without": row["without"], "task": _task(row), "rule": row["rule"],
                     "given": row["share"], "told": told})
    return rows


def _task(row: dict[str, Any]) -> str:
    name = "mean of the tasks" if row["task"] == ALL else row["task"]
    return name if row["form"] == TEXT else f"{name} ({row['form']})"


def _told(row: pd.Series) -> str:
    return difference_text(row.difference, row.low, row.high, row.p_holm)


def choice_text(tests: pd.DataFrame) -> str:
    """Does always, the model's choice, or the gap pay? What counts after Holm's correction."""
    if (tests.p_holm >= 0.05).all():
        return "No rule is seen to be better or worse than another on any task."
    sentences = []
    words = {ALWAYS: "Always to write a role", MODEL: "To let the model choose",
             GAP_RULE: "To choose by the gap"}
    for against, rule in ((against, rule) for against, rules in OVER.items() for rule in rules):
        rows = tests[(tests.rule == rule) & (tests.against == against)]
        better, worse = (((rows.p_holm < 0.05) & (sign * rows.difference > 0)).sum()
                         for sign in (1, -1))
        sentences.append(f"{words[rule]} is better than {OTHER_WORDS[against]} in {better} of "
                         f"{len(rows)} comparisons, and worse in {worse}.")
    return " ".join(sentences)


def figures(found: dict[str, Any]) -> dict[str, Axes]:
    """Each rule minus never to write a role, by task: one figure a measure."""
    gains, drawn = found["drawn"], {}
    for measure, rows in gains[gains.rule != NEVER].groupby("measure", sort=False):
        rows = rows.rename(columns={f"over_{NEVER}_low": "low", f"over_{NEVER}_high": "high"})
        tasks = pd.Series(map(_task, rows.to_dict("records")), index=rows.index)
        labels = tasks + rows.without.map(", {:.0%}".format)
        plots.set_style()
        drawn[f"beyond-choice-{measure.replace('_', '-')}"] = plots.interval_plot(
            rows.assign(label=labels), f"over_{NEVER}", "label", group="rule", zero=True,
            shares=False, axis=f"minus no role at all,\n{MEASURES[measure]}")
    return drawn
