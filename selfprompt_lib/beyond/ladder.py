"""Which model? What each can do before it is tuned, and what roles do to it after.

`book/studies/model_ladder.py` makes the file; `evaluate.committed_ladder` reads it.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from .. import plots
from ..evaluate.committed_ladder import FORMS, ladder_facts

WORDS = {"cloze": "by the options' texts", "letters": "by their letters"}


def facts(path: Path) -> dict[str, Any]:
    """What the section says: `ladder_facts`, the items asked of a task, and how long it took."""
    found = ladder_facts(path)
    models = found["record"]["models"].values()
    provenance = next(iter(models))["provenance"]
    return found | {"machine": provenance["machine"],
                    "asked": max(row["n"] for row in found["gate"]),
                    "minutes": sum(model["seconds"] for model in models) / 60}


def figures(found: dict[str, Any]) -> dict[str, Axes]:
    """Right answers of the untuned models, in both forms, beside guessing."""
    rows = pd.DataFrame([
        {"label": f"{name}, {row['task']}", "form": WORDS[row["form"]], "accuracy": row["accuracy"],
         "low": row["low"], "high": row["high"]}
        for name in dict.fromkeys(row["model"] for row in found["gate"])
        for row in found["record"]["models"][name]["gate"] if row["form"] in FORMS])
    plots.set_style()
    return {"beyond-ladder": plots.interval_plot(rows, "accuracy", "label", group="form",
                                                 axis="right answers, untuned")}
