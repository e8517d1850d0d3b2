"""The cells of a sweep: a profile's settings, once with each combination of a grid's values."""

import json
import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from .. import profiles
from ..digests import text_digest
from ..errors import UserError, require
from ..files import run_folder
from ..profiles import Profile
from .chapters import CHAPTERS, Chapter, read_json

Grid = dict[str, list[Any]]  # the values of each field
LONGEST_NAME = 120  # characters of a cell's name, which is a folder's


@dataclass(frozen=True)
class Cell:
    """One combination of values: an ordinary run, in a folder of its own.

    `fields` are those of the grid, `settings` all that are changed of the profile.
    """

    name: str
    fields: dict[str, Any]
    settings: dict[str, Any]
    profile: Profile
    out: Path

    @property
    def root(self) -> Path:
        """The run's folder, in which its chapters lie."""
        return run_folder(self.out, self.profile.name)

    @property
    def parameters(self) -> dict[str, Any]:
        """What papermill passes to each notebook."""
        return {"profile": self.profile.name, "seed": -1, "out": str(self.out),
                "settings": self.settings}


def parse_grid(pairs: list[str]) -> Grid:
    """`["sft.epochs=1,2", …]` as lists of values, which are read as YAML.

    Values that are lists themselves have brackets, or semicolons between them.

    Raises:
        UserError: no values, the same one twice, a field that is named twice.
    """
    grid: Grid = {}
    for pair in pairs:
        field, _, text = pair.partition("=")
        require(field and text.strip(), f"--grid {pair}: write it as field=value,value, for "
                                        "example seed=0,1,2")
        require(field not in grid, f"--grid {field}: named twice; give all its values at once")
        try:
            if ";" in text:  # values that are lists
                found = [yaml.safe_load(part) for part in text.split(";")]
            else:
                found = yaml.safe_load(f"[{text}]")
        except (yaml.YAMLError, ValueError, RecursionError):
            raise UserError(f"--grid {field}: cannot read {text!r:.200} as YAML values") from None
        texts = [json.dumps(value, default=str) for value in found]
        twice = [text for text in texts if texts.count(text) > 1]
        if twice:
            raise UserError(f"--grid {field}: {twice[0]} stands twice; give it once")
        grid[field] = found
    require(grid, "sweep: no grid; give at least one, for example --grid seed=0,1,2")
    return grid


def make_cells(profile: str, settings: dict[str, Any], grid: Grid, out: Path) -> list[Cell]:
    """A cell for each combination of the grid's values, the last field changing fastest.

    Raises:
        UserError: all faults at once: a field that no profile has or that is also in `settings`, a
            value that does not fit, with its cell.
    """
    for field in grid:
        require(field not in settings, f"--grid {field}: also in --set; take it out of one of them")
    cells, faults, seen = [], {}, {}
    for values in product(*grid.values()):
        fields = dict(zip(grid, values, strict=True))
        name = cell_name(fields)
        try:
            loaded = profiles.load(profile, settings | fields)
        except UserError as error:
            fault = str(error).replace("--set ", "--grid ").removeprefix(f"profile {profile}: ")
            hidden = any(field.endswith("base_url") for field in fields)
            faults.setdefault(fault, "…" if hidden else name)  # an address may hold a password
            continue
        same = json.dumps(profiles.flatten(loaded), sort_keys=True)
        if same in seen:
            faults.setdefault(f"is the same run as cell {seen[same]}; give it once", name)
        seen[same] = name
        cells.append(Cell(name, fields, settings | fields, loaded, out / "cells" / name))
    tell_faults(faults)
    return cells


def tell_faults(faults: dict[str, str]) -> None:
    """Stop where there are faults; each with the first cell that has it."""
    told = " | ".join(f"cell {name}: {fault}" for fault, name in faults.items())
    require(not faults, f"sweep: {told}")


def cell_name(fields: dict[str, Any]) -> str:
    """A cell's folder, such as `train_rows=16,seed=0`; the same wherever the sweep runs."""
    short = [field.rpartition(".")[2] for field in fields]
    keys = short if len(set(short)) == len(short) else list(fields)
    parts = [f"{key}={value_text(value)}" for key, value in zip(keys, fields.values(), strict=True)]
    name = ",".join(re.sub(r"[^\w.+=-]+", "-", part).strip("-") for part in parts)
    whole = ",".join(parts)  # a name that lost something gets a digest, so that no two are the same
    if name == whole and len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}-{text_digest(whole)[:8]}"


def value_text(value: Any) -> str:
    """A value as names and tables have it: `true`, `null`, `1e-05`, `none+plan`."""
    if isinstance(value, list):
        return "+".join(map(value_text, value))
    return value if isinstance(value, str) else json.dumps(value, default=str)


def chosen_chapters(labels: str) -> list[Chapter]:
    """The chapters of `--chapters 1,3`, in the order in which they run.

    Raises:
        UserError: no such chapter, one that reads another that is not among them, or chapter 7,
            which compares finished runs.
    """
    by_label = {chapter.label: chapter for chapter in CHAPTERS.values()
                if chapter.name != "compare"}
    wanted = [label.strip() for label in labels.split(",")]
    unknown = [label for label in wanted if label not in by_label]
    require("7" not in unknown, "--chapters: 7 compares finished runs and is no part of a cell; "
            "run the sweep without it, then: "
            "papermill nbs/07_compare.ipynb out.ipynb -y 'runs: [FOLDER]'")
    require(not unknown, f"--chapters: no such chapter: {', '.join(unknown)}; there are "
                         f"{', '.join(by_label)}")
    chapters = [chapter for chapter in CHAPTERS.values() if chapter.label in wanted]
    needed = {*wanted}
    for chapter in reversed(CHAPTERS.values()):  # each reads earlier ones
        if chapter.label in needed:
            needed |= {CHAPTERS[name].label for name in chapter.reads}
    lacking = needed - {*wanted}
    whole = ",".join(label for label in by_label if label in needed)
    require(not lacking, f"--chapters {labels}: they read chapter {', '.join(sorted(lacking))}; "
                         f"give --chapters {whole}")
    return chapters


def record_sweep(out: Path, asked: dict[str, Any], sharded: bool) -> dict[str, Any]:
    """What `sweep.json` says of all cells, with those that are `asked` for now.

    Further values of the same fields, and further chapters, are added to what is there.

    Args:
        asked: profile, settings, grid, chapters (labels) and cells (name → fields).

    Raises:
        UserError: another sweep lies in the folder; a shard of another grid.
    """
    path = out / "sweep.json"
    there = read_json(path)
    require(there or not path.exists(), f"{path}: half-written; delete it and run again")
    if there is None:
        return asked
    mend = "give another --out"
    for part in ("profile", "settings"):
        require(there[part] == asked[part], f"{path}: a sweep with {part} {there[part]!r:.200}, "
                                            f"not {asked[part]!r:.200}; {mend}")
    require(list(there["grid"]) == list(asked["grid"]),
            f"{path}: a sweep over {', '.join(there['grid'])}, not over "
            f"{', '.join(asked['grid'])}; {mend}, or name the same fields in the same order")
    require(not sharded or there["grid"] == asked["grid"],
            f"{path}: a shard of another grid, {there['grid']!r:.200}; {mend}, or leave out "
            "--shard to add values")
    grid = {field: [*old, *(new for new in asked["grid"][field] if new not in old)]
            for field, old in there["grid"].items()}
    labels = {*there["chapters"], *asked["chapters"]}
    chapters = [chapter.label for chapter in CHAPTERS.values() if chapter.label in labels]
    return asked | {"grid": grid, "chapters": chapters, "cells": there["cells"] | asked["cells"]}


def read_shard(text: str | None) -> tuple[int, int]:
    """`2/5` as (2, 5): every fifth cell from the second one.

    Raises:
        UserError: other text, or a number outside 1 to N.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", "1/1" if text is None else text)
    shard = (int(found[1]), int(found[2])) if found else (0, 0)
    require(1 <= shard[0] <= shard[1], f"--shard {text!r}: write it as K/N with K from 1 to N, "
                                       "for example 2/5")
    return shard
