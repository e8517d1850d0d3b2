"""Keep the results of a finished sweep, as a small artefact to commit.

`python book/studies/keep_sweep.py runs/rows --name rows` renews book/measured/sweeps/rows, from
which the page *Answers to the paper's open questions* (book/beyond.md) draws its curve whenever the
book is built. Chapter 7 reads such a folder, too.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from kept_paths import without_paths

from selfprompt_lib.cli import run_command
from selfprompt_lib.errors import require
from selfprompt_lib.evaluate import save_items
from selfprompt_lib.files import write_json
from selfprompt_lib.pipeline.chapters import CHAPTERS, read_json
from selfprompt_lib.pipeline.sweep_results import COLUMNS, field_columns

ABOUT = """\
Keep the results of a finished sweep: its table, and what each cell was made with, without texts and
without paths of this machine. The book's page "Answers to the paper's open questions" is made from
it; the names that it knows are rows, lima, domains, duplicates, experts, shuffled and without-role.
Cells that are kept there already and that this sweep does not have stay.
Exit status: 0 kept, 2 bad input."""


def keep(sweep: Path, out: Path) -> Path:
    """Write `sweep.json`, `cells.json` and `sweep.parquet` of a sweep's folder into `out`.

    Raises:
        UserError: no sweep, one with unfinished cells, or an `out` that holds another sweep.
    """
    record, cells = (read_json(sweep / name) for name in ("sweep.json", "cells.json"))
    table = sweep / "sweep.parquet"
    require(record and cells and table.is_file(),
            f"{sweep}: no sweep has finished there; give the folder of --out")
    _require_finished(sweep, record, cells)
    record = without_paths(record)
    _require_own(out, record)
    rows, fields = pd.read_parquet(table), next(iter(record["cells"].values()))
    kept = ["cell", *field_columns(fields), *COLUMNS]
    rows = rows[[name for name in rows if name in kept]].map(without_paths)
    if before := read_json(out / "sweep.json"):
        others = [name for name in before["cells"] if name not in record["cells"]]
        old_rows = pd.read_parquet(out / "sweep.parquet")
        rows = pd.concat([old_rows[old_rows.cell.isin(others)], rows], ignore_index=True)
        old_cells = read_json(out / "cells.json")
        cells = {name: old_cells[name] for name in others} | cells
        record = _joined(before, record)
    save_items(rows, out / "sweep.parquet")
    write_json(out / "cells.json", without_paths(cells))
    return write_json(out / "sweep.json", record)


def _joined(before: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """The record of both sweeps' cells, with every value of either grid once."""
    grid = {}
    for field, values in record["grid"].items():
        old = before["grid"][field]
        grid[field] = old + [value for value in values if value not in old]
    return record | {"grid": grid, "cells": before["cells"] | record["cells"]}


def _require_finished(sweep: Path, record: dict[str, Any], cells: dict[str, Any]) -> None:
    """Every cell has run all chapters of the sweep."""
    names = [name for name, chapter in CHAPTERS.items() if chapter.label in record["chapters"]]
    left = [cell for cell in record["cells"]
            if not {*names} <= {*cells.get(cell, {}).get("seconds", {})}]
    require(not left, f"{sweep}: {len(left)} of {len(record['cells'])} cells have not finished, "
            f"such as {''.join(left[:1])}; run the sweep's command again first")


def _require_own(out: Path, record: dict[str, Any]) -> None:
    """What is there already is the same sweep, perhaps with other values."""
    before = read_json(out / "sweep.json")
    require(not out.exists() or before, f"{out}: is no sweep's folder; give another --name")
    for part in ("profile", "settings") if before else ():
        require(before[part] == record[part],
                f"{out}: holds a sweep with another {part}; give another --name")
    require(not before or list(before["grid"]) == list(record["grid"]),
            f"{out}: holds a sweep over other fields; give another --name")


def main(arguments: list[str] | None = None) -> None:
    """The command; raises UserError on bad input."""
    parser = argparse.ArgumentParser(description=ABOUT,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, metavar="SWEEP_FOLDER", help="such as runs/rows")
    parser.add_argument("--name", required=True, help="such as rows")
    parser.add_argument("--out", type=Path, default=Path("book/measured/sweeps"),
                        metavar="FOLDER", help="where sweeps are kept (default: %(default)s)")
    given = parser.parse_args(arguments)
    require(re.fullmatch(r"[a-z][a-z-]*", given.name),
            f"--name {given.name}: write small letters and hyphens, such as without-role")
    print(keep(given.sweep, given.out / given.name))


if __name__ == "__main__":
    sys.exit(run_command(main))
