"""The study that is committed in book/measured/found, as the page "What we found" tells and draws it.

`book/studies/keep_study.py` makes that folder from a run; `selfprompt_lib.book` makes the page.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from .. import plots
from . import gallery
from .compare import (
    ALL,
    arm_contrasts,
    differences,
    needed_sizes,
    role_contrasts,
    seed_differences,
)
from .report import report_text, vs_chance
from .results import accuracy_of_seed, readings

PAIR = "self-prompt", "baseline"


def facts(folder: Path) -> dict[str, Any]:
    """What the page says: tables as lists of rows, sentences, and the record; all from that folder."""
    items, record, main, other = _kept(folder)
    more = needed_sizes(items, *PAIR)
    metrics = record["stages"]["evaluate"]["metrics"]
    tasks = items[items.arm == "self-prompt"].groupby(["task", "arm"], sort=False).item.nunique().droplevel(1)
    return {
        "record": record, "metrics": metrics,
        "profile": record["stages"]["evaluate"]["provenance"]["profile"],
        "level": vs_chance(items, metrics["chance"]), "right": _right(items),
        "arms": list(dict.fromkeys(items.arm)), "tasks": tasks.to_dict(),
        "answer": report_text(main, other[other.contrast.str.startswith("its own")], more),
        "differences": main.to_dict("records"), "others": other.to_dict("records"),
        "needed": more.to_dict("records"),
        "readings": {(row.arm, row.reader): row for row in readings(items).itertuples()},
        "roles": items[items.arm == "self-prompt"].groupby("seed").wrote_role.mean().to_dict(),
        "minutes": sum(stage["seconds"] for stage in record["stages"].values()) / 60,
    }


def _right(items: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Accuracy by arm and task, and over `all` tasks, which count the same."""
    share = items.groupby(["arm", "task"]).correct.mean()
    return share.to_dict() | {(str(arm), ALL): float(mean) for arm, mean in share.groupby("arm").mean().items()}


def draw(folder: Path, out: Path) -> None:
    """The page's figures as PNG files in `out`."""
    items, record, main, other = _kept(folder)
    metrics = record["stages"]["evaluate"]["metrics"]
    sides = "self-prompt better", "baseline better"
    plots.set_style()
    drawn = {
        "found-accuracy": plots.accuracy_by_task(accuracy_of_seed(items, record["stages"]["evaluate"]["provenance"]["seed"])),
        "found-tasks": plots.forest_plot(main, *sides, "Self-prompt minus baseline"),
        "found-seeds": plots.seed_plot(seed_differences(items, *PAIR), main, *sides, "Each pair of models"),
        "found-others": plots.interval_plot(
            other, "difference", "contrast", zero=True, axis="difference in accuracy, 95% intervals",
            title="Other arms, and other roles"),
        "found-probes": gallery.rates(pd.DataFrame(metrics["robustness"]), "role"),
    }
    for name, axes in drawn.items():
        axes.get_figure().savefig(out / f"{name}.png", dpi=150)
        plt.close(axes.get_figure())


@cache
def _kept(folder: Path) -> tuple[pd.DataFrame, dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Items and record of the folder, and the tables that words and figures need, which take seconds."""
    items = pd.read_parquet(folder / "items.parquet")
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    others = pd.concat([role_contrasts(items), arm_contrasts(items)], ignore_index=True)
    return items, record, differences(items, *PAIR), others
