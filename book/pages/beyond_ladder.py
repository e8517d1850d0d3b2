"""Which model? What each can do before it is tuned, and what roles do to it after.

`book/studies/model_ladder.py` makes the file that is read here.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from measurements import difference_text

from selfprompt_lib import plots
from selfprompt_lib.estimates import parameters_from_name
from selfprompt_lib.stats import Estimate

FORMS = {"cloze": "by the options' texts", "letters": "by their letters"}


def facts(path: Path) -> dict[str, Any]:
    """What the section says, from the file.

    Returns:
        `gate`: a row a model and task: model, parameters, task, chance, precision, and for each
        form `cloze`, `letters` (accuracy with its Wilson interval, in words) and `cloze_better`,
        `letters_better` (whether the whole interval lies above chance). `said`: which is the
        smallest model whose letters are better than guessing in every task, in a sentence.
        `trained`: a row a model with training, if any: model, samples, precision, rate (Estimate,
        in words), and `contrasts`, each with design, against, `told` and p_holm. `models`: how
        many; `asked`: items of a task, at most; `minutes` and `machine` of the measurement; and
        what is drawn.
    """
    found = json.loads(path.read_text(encoding="utf-8"))["models"]
    order = sorted(found, key=parameters_from_name)
    gate = [row for name in order for row in _gate_rows(name, found[name])]
    able = [name for name in order if all(row["letters_better"] for row in gate
                                          if row["model"] == name)]
    shown = [row | {"label": f"{name}, {row['task']}", "form": FORMS[row["form"]]}
             for name in order for row in found[name]["gate"] if row["form"] in FORMS]
    return {"models": len(found), "gate": gate, "said": _said(able, order),
            "trained": [_trained(name, found[name]["trained"]) for name in order
                        if found[name].get("trained")],
            "asked": max(row["n"] for row in gate),
            "minutes": sum(model["seconds"] for model in found.values()) / 60,
            "machine": next(iter(found.values()))["provenance"]["machine"],
            "drawn": pd.DataFrame(shown)}


def _gate_rows(name: str, of_model: dict[str, Any]) -> list[dict[str, Any]]:
    rows = {(row["task"], row["form"]): row for row in of_model["gate"]}
    found = []
    for task in dict.fromkeys(task for task, _ in rows):
        row = {"model": name, "parameters": parameters_from_name(name), "task": task,
               "precision": of_model["provenance"]["precision"]}
        for form in FORMS:
            part = rows[task, form]
            told = str(Estimate(part["accuracy"], part["low"], part["high"], part["n"]))
            row |= {form: told, f"{form}_better": part["low"] > part["chance"],
                    "chance": part["chance"], "n": part["n"]}
        found.append(row)
    return found


def _said(able: list[str], order: list[str]) -> str:
    if not able:
        return (f"None of the {len(order)} models that were measured, up to {order[-1]}, is seen "
                "to be better than guessing by letters in every task.")
    return f"The smallest model that is better than guessing by letters in every task: {able[0]}."


def _trained(name: str, trained: dict[str, Any]) -> dict[str, Any]:
    """One model tuned with roles, without, and with a neutral paragraph."""
    rate = next(row for row in trained["role_rates"] if row["design"] == trained["design"])
    contrasts = [row | {"told": difference_text(row["difference"], row["low"], row["high"])}
                 for row in trained["contrasts"]]
    return {"model": name, "samples": trained["samples"], "contrasts": contrasts,
            "questions": trained["questions"], "precision": trained["provenance"]["precision"],
            "rate": str(Estimate(rate["rate"], rate["low"], rate["high"], rate["n"]))}


def figures(found: dict[str, Any]) -> dict[str, Axes]:
    """Right answers of the untuned models, in both forms, beside guessing."""
    plots.set_style()
    drawn = found["drawn"]
    axes = plots.interval_plot(drawn, "accuracy", "label", group="form",
                               axis="right answers, untuned")
    for place, chance in enumerate(drawn.drop_duplicates("label").chance):  # a line a label
        axes.vlines(chance, place - 0.4, place + 0.4, color="black", linestyle=":")
    return {"beyond-ladder": axes}
