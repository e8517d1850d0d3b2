"""What was measured on the ladder of models, as a page tells it (book/measured/ladder.json).

`book/studies/model_ladder.py` makes that file.
"""

import json
from pathlib import Path
from typing import Any

from ..estimates import parameters_from_name
from ..stats import Estimate
from .likelihood_report import signed

FORMS = ("cloze", "letters")


def ladder_facts(path: Path) -> dict[str, Any]:
    """What the page says, from the file.

    Returns:
        `gate`: a row a model and task: model, parameters, task, chance, precision, and for each
        form `cloze`, `letters` (accuracy with its Wilson interval, in words) and `cloze_better`,
        `letters_better` (whether the whole interval lies above chance). `letters_from`: the
        smallest model whose letters are better than guessing in every task, None where there is
        none; `said`: that in a sentence. `trained`: a row a model with training, if any:
        model, samples, rate (Estimate, in words), seconds and peak_gb, and `contrasts`, each with
        design, against, `told` and p_holm. `record`: the file.
    """
    record = json.loads(path.read_text(encoding="utf-8"))
    found = record["models"]
    order = sorted(found, key=parameters_from_name)
    gate = [row for name in order for row in _gate_rows(name, found[name])]
    able = [name for name in order if all(row["letters_better"] for row in gate
                                          if row["model"] == name)]
    return {"record": record, "gate": gate, "letters_from": able[0] if able else None,
            "said": _said(able, order),
            "trained": [_trained(name, found[name]["trained"]) for name in order
                        if found[name].get("trained")]}


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
        return (f"Letters are not seen to work in every task for any of the {len(order)} models "
                f"that were measured, up to {order[-1]}.")
    return f"The smallest model that is better than guessing by letters in every task: {able[0]}."


def _trained(name: str, trained: dict[str, Any]) -> dict[str, Any]:
    """One model tuned with roles, without, and with a neutral paragraph."""
    rate = next(row for row in trained["role_rates"] if row["design"] == trained["design"])
    contrasts = [row | {"told": f"{signed(row['difference'])} "
                                f"[{signed(row['low'])}, {signed(row['high'])}]"}
                 for row in trained["contrasts"]]
    return {"model": name, "samples": trained["samples"], "contrasts": contrasts,
            "rate": str(Estimate(rate["rate"], rate["low"], rate["high"], rate["n"])),
            "seconds": trained["seconds"], "peak_gb": trained["peak_gb"]}
