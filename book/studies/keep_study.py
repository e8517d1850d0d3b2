"""Keep what chapters 1 to 5 and the appendices of a run found, as a small artefact to commit.

`python book/studies/keep_study.py --run runs/two-cores` renews book/measured/found, from which the
page *What we found* is made whenever the book is built.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from selfprompt_lib.cli import run_command
from selfprompt_lib.errors import require
from selfprompt_lib.evaluate import save_items
from selfprompt_lib.files import write_json

TEXTS = ["question", "reply", "role"]  # the benchmarks have licences of their own
STAGES = ("annotate", "sft", "infer", "evaluate")
APPENDICES = ("judge", "robustness")  # kept where they have run
ABOUT = """\
Keep what chapters 1 to 5 and the appendices of a run found: the table of items without texts, as
Parquet, and metrics with their provenance, as JSON. The book's page "What we found" is made from
this folder.
Exit status: 0 kept, 2 bad input."""


def keep(run: Path, out: Path) -> Path:
    """Write `items.parquet` and `record.json` of the run folder `<out>/<profile>` into `out`.

    Raises:
        UserError: a chapter that has not run, or an `out` that holds a study of another profile.
    """
    items, record = run / "evaluate" / "items.parquet", out / "record.json"
    require(items.is_file(), f"--run {run}: no evaluate/items.parquet; run chapter 5 there first")
    appendices = [name for name in APPENDICES if (run / name / "stage.json").is_file()]
    stages = {name: _stage(run / name / "stage.json") for name in (*STAGES, *appendices)}
    trained = _training_seconds(run / "sft" / "training.json")
    stages["sft"]["seconds"] = max(stages["sft"]["seconds"], trained)
    profile = stages["evaluate"]["provenance"]["profile"]["name"]
    if record.is_file():
        before = json.loads(record.read_text(encoding="utf-8"))["profile"]
        require(before == profile,
                f"--out {out}: holds a study of profile {before}; give another folder")
    table = pd.read_parquet(items)
    kept = table.assign(wrote_role=table.role.notna()).drop(columns=TEXTS)
    save_items(kept, out / "items.parquet")
    return write_json(record, {"profile": profile, "stages": stages})


def _stage(path: Path) -> dict[str, Any]:
    require(path.is_file(), f"{path}: missing; run that chapter first")
    record = json.loads(path.read_text(encoding="utf-8"))
    data = record["provenance"]["profile"]["data"]
    if data["mirror"]:
        data["mirror"] = "FOLDER"  # a path of this machine is not committed
    return {name: record[name] for name in ("metrics", "seconds", "finished", "provenance")}


def _training_seconds(path: Path) -> float:
    """Seconds of all trainings. Chapter 3's own are fewer where an earlier run had begun it."""
    first_seed = json.loads(path.read_text(encoding="utf-8"))
    other_seeds = [one for same in first_seed.pop("other seeds").values() for one in same]
    return sum(one["seconds"] for one in [*first_seed.values(), *other_seeds])


def main(arguments: list[str] | None = None) -> None:
    """The command; raises UserError on bad input."""
    parser = argparse.ArgumentParser(description=ABOUT,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, metavar="FOLDER",
                        help="a run's folder, such as runs/two-cores")
    parser.add_argument("--out", type=Path, default=Path("book/measured/found"), metavar="FOLDER",
                        help="where it is kept (default: %(default)s)")
    given = parser.parse_args(arguments)
    print(keep(given.run, given.out))


if __name__ == "__main__":
    sys.exit(run_command(main))
