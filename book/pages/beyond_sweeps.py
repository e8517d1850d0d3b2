"""How much data, how varied, how good? From kept sweeps, by chapter 7's functions.

`book/studies/keep_sweep.py` makes the folders that are read here.
"""

import json
import math
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from measurements import difference_text

from selfprompt_lib import compare_runs, plots, profiles, sources, stats
from selfprompt_lib.compare_runs.curves import GAIN
from selfprompt_lib.compare_runs.summary import HOLDS
from selfprompt_lib.evaluate.results import BASELINE
from selfprompt_lib.pipeline.sweep_grid import value_text
from selfprompt_lib.pipeline.sweep_results import ROLE
from selfprompt_lib.stats import signed

WITHOUT_ROLE = "without-role"
SWEEPS = {  # name of the folder → title, and what was changed
    "rows": ("How many samples", "More samples, in one epoch: more steps, too."),
    "lima": ("How many samples of LIMA",
             "More of LIMA's samples, with roles of ours, in one epoch: more steps, too. The "
             "reference answers were written for this project, as the roles were, and LIMA's "
             "answers were not. So part of what a role brings here may be that its model has read "
             "this project's style, and the baseline has not."),
    "domains": ("How many domains", "As many samples, from fewer or more of the ten domains."),
    "duplicates": ("Reworded copies", "As many samples, of which a share are others, reworded."),
    "experts": ("How many experts", "The same questions and answers, with fewer different experts "
                "(`null`: as many as there are)."),
    "shuffled": ("Wrong roles", "The same samples, of which a share have the role of another "
                 "question."),
    WITHOUT_ROLE: ("Samples without a role", "The same samples, of which a share begin with "
                   "the answer."),
}
UNIT = "nats a token"
WORDS = {"data.train_rows": "samples", "data.domains": "domains", "data.experts": "experts",
         "data.duplicates": "reworded copies", "data.shuffled_roles": "wrong roles",
         "data.without_role": "samples without a role"}
SHARES = ("data.duplicates", "data.shuffled_roles", "data.without_role")
FEW = 0.5  # below this share of questions a model is said to write no roles
LEARNED = 0.9  # of the questions that a role is written for


def facts(folder: Path) -> dict[str, Any]:
    """What a sweep's part of the page says: table, sentences, command; and what is drawn."""
    record = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    runs = compare_runs.read_runs([str(folder)])
    rows = compare_runs.comparable_rows(runs.pooled())
    model = compare_runs.own_models(rows)[0]
    roles, curve = (part[part.model == model] for part in (
        compare_runs.role_curve(rows), compare_runs.contrast_curve(rows)))
    contrasts, overview = compare_runs.cell_contrasts(rows), compare_runs.run_overview(runs)
    drawn = curve[curve.curve == f"minus {BASELINE}"]
    profile, field = next(iter(runs.records.values()))["provenance"], runs.axis()
    title, changed = SWEEPS[folder.name]
    if field == "data.domains":
        changed += f" {chosen_domains(record)}"
    if longest := record["settings"].get("data.longest"):
        changed += f" Only samples of at most {longest:,} characters."
    return {
        "name": folder.name, "title": title, "changed": changed, "field": field,
        "rows": _table(roles, curve, contrasts, field),
        "answer": compare_runs.cells_text(contrasts, overview, UNIT),
        "short": short_text(roles, contrasts, field) + side_text(drawn),
        "questions": rows[rows.nats.notna()].item.nunique(), "seeds": int(curve.seeds.max()),
        "set": "unseen" if "unseen" in profile["profile"]["data"]["questions"] else "held-out",
        "sizes": _sizes(runs.records), "minutes": overview.minutes.sum(),
        "base": profile["profile"]["model"], "precision": precisions(runs.records, field),
        "machine": profile["machine"], "command": command(record),
        "domains": domain_rates(rows[rows.model == model], field),
        "drawn": drawn,
    }


def chosen_domains(record: dict[str, Any]) -> str:
    """Which domains the samples of each cell are from."""
    told = []
    for value in record["grid"]["data.domains"]:
        settings = record["settings"] | {"data.domains": value}
        samples = sources.training_samples(profiles.load(record["profile"], settings))
        names = ", ".join(dict.fromkeys(sample.domain for sample in samples))
        told.append(f"`{value_text(value)}`: {'all' if value is None else names}")
    return f"{'; '.join(told)}."


def short_text(roles: pd.DataFrame, contrasts: pd.DataFrame, field: str) -> str:
    """The sweep in a sentence or two, for the top of the page."""
    text = ""
    if field == "data.train_rows":
        few = roles[roles.value < LEARNED][field].max()  # the most samples that did not do
        enough = roles[roles[field] > few][field].min() if pd.notna(few) else roles[field].min()
        if pd.notna(enough):
            text = (f"A role is written for at least {LEARNED:.0%} of the questions from {enough} "
                    "samples on. ")
    if field == "data.without_role":
        text = (f"A model that is shown bare answers, too, still writes a role for "
                f"{roles.value.min():.0%} of the questions or more. ")
    gains = contrasts[contrasts.quantity == GAIN]
    if roles.set_index("group").value[gains.reference.iloc[0]] < FEW:
        return text.strip()  # without roles there is nothing that the others could be compared with
    seen, values = gains[gains.p_holm < HOLDS], roles.set_index("group")[field]
    if len(seen):
        told = [f"{'more' if row.difference > 0 else 'less'} with "
                f"{cell_words(field, values[row.group])} ({signed(row.difference)} {UNIT})"
                for row in seen.itertuples()]
        reference = cell_words(field, values[gains.reference.iloc[0]])
        return f"{text}A role brings {', '.join(told)} than with {reference}."
    text += "No difference was seen in what a role brings"
    if pd.notna(smallest := gains.smallest.median()):
        text += f"; {smallest:.2g} {UNIT} would have been seen four times in five"
    return text + "."


def side_text(drawn: pd.DataFrame) -> str:
    """On which side of zero a role is with every value that was swept; nothing where they differ.

    Args:
        drawn: for each value what the role brings over the baseline, with its interval.
    """
    for side, there in (("above", drawn.low > 0), ("below", drawn.high < 0)):
        if there.all():
            return (f" With each, the interval of role minus baseline lies {side} zero "
                    f"({signed(drawn.value.min())} to {signed(drawn.value.max())} {UNIT}).")
    return ""


def cell_words(field: str, value: Any) -> str:
    """A value of a swept field as a sentence has it: `30% wrong roles`."""
    if value == value_text(None):
        return f"all {WORDS[field]}"
    unit = WORDS[field].removesuffix("s") if value == 1 and field not in SHARES else WORDS[field]
    return f"{value:.0%} {unit}" if field in SHARES else f"{value} {unit}"


def _table(roles: pd.DataFrame, curve: pd.DataFrame, contrasts: pd.DataFrame,
           field: str) -> list[dict[str, Any]]:
    """One row a cell: roles written, what the role brings, and how that differs from the first."""
    gains = contrasts[contrasts.quantity == GAIN].set_index("group")
    table = []
    for row in roles.itertuples():
        mine = curve[curve.group == row.group].set_index("curve")
        told = {name: difference_text(part.value, part.low, part.high)
                for name, part in mine.iterrows()}
        value = roles.loc[row.Index, field]
        table.append({"value": value, "words": cell_words(field, value), "told": told,
                      "rate": str(stats.Estimate(row.value, row.low, row.high, row.n)),
                      "p": gains.p_holm.get(row.group)})
    return table


def _sizes(records: dict[str, dict[str, Any]]) -> list[str]:
    """Samples and steps of the trainings, each size once."""
    sizes = {}
    for record in records.values():
        fields = compare_runs.run_sets.flat_fields(record)
        if samples := fields["data.train_rows"]:  # without it: all that there are
            steps = math.ceil(samples / fields["sft.batch_size"]) * fields["sft.epochs"]
            sizes[f"{samples} samples in {steps:.0f} steps"] = None
    return [*sizes]


def precisions(records: dict[str, dict[str, Any]], field: str) -> str:
    """The precision of a sweep's cells; where they differ, which values of the field had which."""
    values: dict[str, list[str]] = {}
    for record in records.values():
        value = value_text(record["fields"].get(field))
        cells = values.setdefault(record["provenance"]["precision"], [])
        if value not in cells:
            cells.append(value)
    if len(values) == 1:
        return next(iter(values))
    return "; ".join(f"{precision} for {', '.join(cells)}" for precision, cells in values.items())


def domain_rates(rows: pd.DataFrame, field: str) -> list[dict[str, Any]]:
    """How often the model wrote a role, by domain of the question and value of the swept field."""
    written, found = rows[rows.form == ROLE], []
    for domain, of_domain in written.groupby("stratum"):
        rates = {value: stats.rate(part.right.astype(bool))
                 for value, part in of_domain.groupby(field, sort=False)}
        found.append({"domain": domain or "benchmarks", "n": max(one.n for one in rates.values()),
                      "rates": {value: str(one) for value, one in rates.items()}})
    return found


def command(record: dict[str, Any]) -> str:
    """The command that makes such a sweep."""
    grid = [f"--grid {shlex.quote(f'{field}={_values(values)}')}"
            for field, values in record["grid"].items()]
    settings = [f"--set {shlex.quote(f'{field}={_value(value)}')}"
                for field, value in record["settings"].items()]
    return " ".join([f"python -m selfprompt_lib sweep --profile {record['profile']} --chapters "
                     f"{','.join(record['chapters'])}", *settings, *grid, "--out FOLDER"])


def _values(values: list[Any]) -> str:
    return ",".join(map(_value, values))


def _value(value: Any) -> str:
    return f"[{_values(value)}]" if isinstance(value, list) else value_text(value)


def figures(found: dict[str, Any]) -> dict[str, Axes]:
    """What the role brings over the baseline, along the swept field."""
    field = found["field"]
    curve = found["drawn"].replace({field: {value_text(None): "all"}})
    drawn = plots.sweep_plot(curve, field, f"minus the baseline, {UNIT}", zero=True)
    drawn.set_title("")  # the caption says it
    drawn.set_xlabel(f"{WORDS[field]} ({field})")
    return {f"beyond-{found['name']}": drawn}
