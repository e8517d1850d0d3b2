"""A finished run as a small artefact to commit, and as the page "What we found"."""

import argparse
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from .. import plots
from ..errors import UserError, require
from ..files import write_json
from . import figures, gallery
from .contrasts import causes, contrasts
from .effects import ALL, differences, needed, seeds
from .items import readings
from .measure import save
from .words import found, level

TEXTS = ["question", "reply", "role"]  # the benchmarks have licences of their own
PAIR = "self-prompt", "baseline"
STAGES = ("annotate", "sft", "infer", "evaluate")
ABOUT = """\
Keep what chapters 1 to 5 of a run found: the table of items without texts, as Parquet, and metrics with their
provenance, as JSON. The book's page "What we found" is made from this folder.
Exit status: 0 kept, 2 bad input."""


def keep(run: Path, out: Path) -> Path:
    """Write `items.parquet` and `record.json` of the run folder `<out>/<profile>` into `out` (chapter 5).

    Raises:
        UserError: a chapter that has not run, or an `out` that holds a study of another profile.
    """
    items, record = run / "evaluate" / "items.parquet", out / "record.json"
    require(items.is_file(), f"--run {run}: no evaluate/items.parquet; run chapter 5 there first")
    stages = {name: _stage(run / name / "stage.json") for name in STAGES}
    stages["sft"]["seconds"] = max(stages["sft"]["seconds"], _trained(run / "sft" / "training.json"))
    profile = stages["evaluate"]["provenance"]["profile"]
    before = json.loads(record.read_text(encoding="utf-8"))["profile"] if record.is_file() else profile["name"]
    require(before == profile["name"], f"--out {out}: holds a study of profile {before}; give another folder")
    table = pd.read_parquet(items)
    save(table.assign(wrote_role=table.role.notna()).drop(columns=TEXTS), out / "items.parquet")
    return write_json(record, {"profile": profile["name"], "stages": stages})


def _stage(path: Path) -> dict[str, Any]:
    require(path.is_file(), f"{path}: missing; run that chapter first")
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["provenance"]["profile"]["data"]["mirror"]:
        record["provenance"]["profile"]["data"]["mirror"] = "FOLDER"  # where it lies is nobody's business
    return {name: record[name] for name in ("metrics", "seconds", "finished", "provenance")}


def _trained(path: Path) -> float:
    """Seconds of all trainings; chapter 3's own are fewer where it took up what an earlier run had finished."""
    runs = json.loads(path.read_text(encoding="utf-8"))
    others = runs.pop("other seeds")
    return sum(one["seconds"] for one in [*runs.values(), *(one for same in others.values() for one in same)])


def facts(folder: Path) -> dict[str, Any]:
    """What the page says: tables as lists of rows, sentences, and the record; all from the folder of `keep`."""
    items, record, main, other = _kept(folder)
    more = needed(items, *PAIR)
    metrics = record["stages"]["evaluate"]["metrics"]
    tasks = items[items.arm == "self-prompt"].groupby(["task", "arm"], sort=False).item.nunique().droplevel(1)
    return {
        "record": record, "metrics": metrics, "profile": record["stages"]["evaluate"]["provenance"]["profile"],
        "level": level(items, metrics["chance"]), "right": _right(items), "arms": list(dict.fromkeys(items.arm)),
        "answer": found(main, other[other.contrast.str.startswith("its own")], more),
        "differences": main.to_dict("records"), "others": other.to_dict("records"), "needed": more.to_dict("records"),
        "readings": {(row.arm, row.reader): row for row in readings(items).itertuples()}, "tasks": tasks.to_dict(),
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
    plots.style()
    drawn = {
        "found-accuracy": figures.by_task(items, record["stages"]["evaluate"]["provenance"]["seed"]),
        "found-tasks": figures.forest(main, *sides, "Self-prompt minus baseline"),
        "found-seeds": figures.by_seed(seeds(items, *PAIR), main, *sides, "Each pair of models"),
        "found-others": plots.intervals(other, "difference", "contrast", zero=True, axis="difference in accuracy, 95% intervals",
                                        title="Other arms, and other roles"),
        "found-probes": gallery.rates(pd.DataFrame(metrics["robustness"]), "role"),
    }
    for name, axes in drawn.items():
        axes.get_figure().savefig(out / f"{name}.png", dpi=150)
        plt.close(axes.get_figure())


@cache
def _kept(folder: Path) -> tuple[pd.DataFrame, dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Items and record of the folder, and the tables that both words and figures need, which take seconds."""
    items, record = pd.read_parquet(folder / "items.parquet"), json.loads((folder / "record.json").read_text(encoding="utf-8"))
    return items, record, differences(items, *PAIR), pd.concat([causes(items), contrasts(items)], ignore_index=True)


def main(arguments: list[str] | None = None) -> int:
    """`python -m selfprompt_lib.evaluate.study`; returns the exit status."""
    top = argparse.ArgumentParser(prog="python -m selfprompt_lib.evaluate.study", description=ABOUT,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="a run's folder, such as runs/two-cores")
    top.add_argument("--out", type=Path, default=Path("book/measured/found"), metavar="FOLDER",
                     help="where it is kept (default: book/measured/found)")
    given = top.parse_args(arguments)
    try:
        print(keep(given.run, given.out))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
