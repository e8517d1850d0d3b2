"""Any number of runs, or the cells of a sweep, side by side in one table (chapter 7)."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .. import profiles
from ..errors import require
from ..pipeline.chapters import other_run_folder, read_json
from ..pipeline.sweep_grid import cell_name, value_text
from ..pipeline.sweep_results import cell_rows, field_columns, run_record

RUN_SEED = "run seed"
COLUMN = {"seed": RUN_SEED, "model": "base model"}  # of fields whose names rows use otherwise
RUN = "run"  # stands for a field where runs are alike in all fields: other versions, say
KEYS = ["group", "chapter", "model", "seed", "prefix", "task", "form", "item"]
Cells = dict[str, tuple[pd.DataFrame, dict[str, Any], dict[str, Any]]]  # rows, record, swept


@dataclass(frozen=True)
class RunSet:
    """Runs to compare; a cell is one of them.

    Attributes:
        rows: those of `sweep_results.cell_rows` of every cell, with its name as `cell`.
        fields: by cell, the values of the swept fields: those in which the cells differ.
        records: by cell, its `run_record`.
    """

    rows: pd.DataFrame
    fields: dict[str, dict[str, Any]]
    records: dict[str, dict[str, Any]]

    @property
    def swept(self) -> list[str]:
        """The fields in which the cells differ."""
        return list(next(iter(self.fields.values())))

    def axis(self, field: str = "") -> str:
        """The swept field that figures go along: the one named, or `first`, which is no seed.

        Raises:
            UserError: it was not swept.
        """
        others = [name for name in self.swept if name != RUN_SEED] or self.swept
        field = "" if field == "first" else COLUMN.get(field, field)
        require(not field or field in self.swept, f"field: {field!r} does not differ between these "
                f"runs; those that do: {', '.join(self.swept)}")
        return field or others[0]

    def pooled(self, field: str = "") -> pd.DataFrame:
        """The rows with the column `group`: cells that differ in nothing but the seed are one.

        With `field="seed"`, or where nothing but the seed differs, each cell is a group of its own.
        Every swept field is a column, the seed as `run seed`.
        """
        axis = self.axis(field)
        names = [name for name in self.swept if name != RUN_SEED or axis == RUN_SEED]
        labels = {cell: cell if RUN in names else cell_name({name: values[name] for name in names})
                  for cell, values in self.fields.items()}
        values = pd.DataFrame.from_dict(self.fields, orient="index")[names]
        rows = self.rows.join(values, on="cell").assign(group=self.rows.cell.map(labels))
        if axis == RUN_SEED:  # a cell is one pair of models then, whatever its seed
            rows = rows.assign(seed=rows.seed.where(rows.seed < 0, 0))
        return rows.drop_duplicates(KEYS, ignore_index=True)


def read_runs(folders: Sequence[str]) -> RunSet:
    """The runs in these folders, each a run's or a sweep's (chapter 7).

    Raises:
        UserError: a folder that is neither, a run that measured nothing, or a single run.
    """
    is_list = isinstance(folders, list | tuple) and folders
    require(is_list and all(isinstance(name, str) and name.strip() for name in folders),
            f"runs: {folders!r} is no list of folders; write runs=[runs/cpu, other/runs/cpu], or "
            "the folder of a sweep")
    roots = [other_run_folder(name) for name in folders]
    parts = [_sweep(root) if (root / "sweep.json").is_file() else _run(root) for root in roots]
    found: Cells = {}
    for name, cells in zip(_short_names(roots), parts, strict=True):
        for inner, cell in cells.items():
            both = inner and len(parts) > 1  # which sweep, and which of its cells
            found[f"{name}/{inner}" if both else inner or name] = cell
    require(len(found) > 1, f"runs: {folders[0]} is one run alone; give two or more, or the folder "
            "of a sweep")
    records = {name: record for name, (_, record, _) in found.items()}
    fields = [swept for _, _, swept in found.values()]
    known = fields if len(parts) == 1 and all(fields) else _differing(records)
    known = [{COLUMN.get(name, name): value for name, value in one.items()} for one in known]
    if len({value_text([*one.values()]) for one in known}) < len(known):
        known = [{RUN: name} | one for name, one in zip(records, known, strict=True)]
    rows = pd.concat([rows.assign(cell=name) for name, (rows, *_) in found.items()],
                     ignore_index=True)
    return RunSet(rows, dict(zip(records, known, strict=True)), records)


def _run(root: Path) -> Cells:
    record, rows = run_record(root), cell_rows(root)
    require(len(rows), f"{root}: no finished chapter with items is there (finished: "
            f"{', '.join(record['seconds'])}); run chapter 4, 5 or 6 first")
    return {"": (rows, record, {})}


def _sweep(root: Path) -> Cells:
    """The cells of a sweep that have rows; `sweep.json` has the order of its fields."""
    table, cells = root / "sweep.parquet", read_json(root / "cells.json")
    require(cells and table.is_file(), f"{root}: the sweep has no cells.json with sweep.parquet; "
            "let it finish, or copy all three files")
    rows = pd.read_parquet(table)
    there = dict(list(rows.groupby("cell", sort=False)))
    require(there, f"{table}: holds no rows; let a cell of the sweep finish")
    return {name: (part.drop(columns=list(field_columns(cells[name]["fields"]))), cells[name],
                   {field: _plain(value) for field, value in cells[name]["fields"].items()})
            for name, part in there.items()}


def _short_names(roots: Sequence[Path]) -> list[str]:
    """The last parts of each path, as many as tell the paths apart."""
    parts = [Path(os.path.abspath(root)).parts for root in roots]
    for root, part in zip(roots, parts, strict=True):
        require(parts.count(part) == 1, f"runs: {root} is named twice; name it once")
    count = 1
    while len({part[-count:] for part in parts}) < len(parts):
        count += 1
    return ["/".join(part[-count:]) for part in parts]


def _differing(records: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each run the fields in which the runs differ, in the order of the profile.

    A field that some version of the package does not have yet is none of them.
    """
    flat = [flat_fields(record) for record in records.values()]
    names = [name for name in flat[0] if all(name in one for one in flat)]
    differ = [name for name in names if len({value_text(one[name]) for one in flat}) > 1]
    return [{name: _plain(one[name]) for name in differ} for one in flat]


def flat_fields(record: dict[str, Any]) -> dict[str, Any]:
    """How a run was made, as `{"sft.epochs": …}`, from its record."""
    made = profiles.flat_fields(record["provenance"].get("profile", {}))
    made |= record.get("settings", {})  # a chapter copied from another cell has its profile
    return {name: value for name, value in made.items() if name not in ("name", "about")}


def _plain(value: Any) -> Any:
    """A value that can stand on an axis: numbers and texts as they are, others as text."""
    plain = isinstance(value, int | float | str) and not isinstance(value, bool)
    return value if plain else value_text(value)
