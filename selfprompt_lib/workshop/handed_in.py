"""What laptops hand in for the board: runs, packed or as folders, read and checked.

A run counts if it has measured the same items with the same settings, but for its seed.
"""

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import UserError, require
from ..evaluate.likelihood_measure import COLUMNS
from ..evaluate.prefixes import NOTHING
from ..evaluate.results import BASE, UNTUNED, check_items
from ..profiles import flat_fields
from ..reading import one_line

RECORD = "evaluate/stage.json"
FILES = (RECORD, "evaluate/likelihoods.parquet", "evaluate/items.parquet")
# What decides a measurement, and of that what only saves memory or names another chapter's.
SECTIONS = ("model", "design", "data", "sft", "infer", "evaluate")
FREE = {"data.mirror", "sft.micro_batch_size", "sft.gradient_checkpointing", "sft.attention",
        "sft.checkpoints", "infer.batch_size", "evaluate.batch_size", "evaluate.probes"}


@dataclass(frozen=True)
class Run:
    """What one laptop hands in: chapter 5's record, its likelihoods and its items."""

    name: str
    record: dict[str, Any]
    likelihoods: pd.DataFrame
    items: pd.DataFrame

    @property
    def seeds(self) -> set[int]:
        """The training seeds of its models."""
        return set(self.likelihoods.seed) - {UNTUNED}

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of its profile that decide what is measured."""
        profile = self.record["provenance"]["profile"]
        flat = flat_fields({name: profile[name] for name in SECTIONS})
        return {name: value for name, value in flat.items() if name not in FREE}

    @property
    def made_with(self) -> dict[str, str]:
        """What may differ, and is marked where it does."""
        about = self.record["provenance"]
        return {"version": about["selfprompt_lib"], "torch": about["libraries"]["torch"],
                "precision": about.get("precision", "unknown")}  # older runs do not tell

    def unlike(self, other: "Run") -> list[str]:
        """What makes two runs no pair: settings that both know, or the items."""
        ours, theirs = self.settings, other.settings
        found = [name for name in ours if name in theirs and ours[name] != theirs[name]]
        return found or ([] if self._asked() == other._asked() else ["items"])

    def _asked(self) -> frozenset[tuple]:
        bare = self.likelihoods[(self.likelihoods.model == BASE)
                                & (self.likelihoods.prefix == NOTHING)]
        parts = (bare[["task", "form", "item"]], self.items[["task", "item"]])
        return frozenset(row for part in parts for row in part.itertuples(index=False, name=None))


def packed(root: Path | zipfile.Path) -> bytes:
    """The small files of a run in `root` that the board needs, as one zip file.

    Raises:
        UserError: as `read_run`.
    """
    read_run(root, str(root))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name in FILES:
            file.writestr(name, (root / name).read_bytes())
    return content.getvalue()


def read_run(place: Path | zipfile.Path, name: str) -> Run:
    """A run from its folder or its packed file.

    Raises:
        UserError: chapter 5 has not finished there, or a file is damaged.
    """
    require(isinstance(place, zipfile.Path) or place.is_dir(),
            f"{name}: damaged, or no packed run; copy it again")
    require((place / RECORD).is_file(), f"{name}: no {RECORD}; run chapter 5 there")
    try:
        record = json.loads((place / RECORD).read_text(encoding="utf-8"))
        likelihoods, items = (pd.read_parquet(io.BytesIO((place / file).read_bytes()))
                              for file in FILES[1:])
        run = Run(name, record, likelihoods[COLUMNS], check_items(items, name))
        _ = run.settings, run.made_with  # an error now, where the record lacks what they need
    except UserError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError,
            zipfile.BadZipFile) as error:
        raise UserError(f"{name}: damaged ({one_line(error)}); copy it again") from None
    return run


def places(path: Path) -> Iterator[tuple[str, Path | zipfile.Path]]:
    """The runs that a path holds, with their names: a packed file, a run, or a folder of both.

    Raises:
        UserError: there is no such path, or none in it.
    """
    require(path.exists(), f"{path}: no such file or folder")
    folders = sorted({file.parents[1] for file in path.rglob("stage.json")})
    files = [path] if path.is_file() else sorted(path.rglob("*.zip"))
    require(folders or files, f"{path}: no run in it")
    yield from (("/".join(folder.parts[-2:]), folder) for folder in folders)
    for file in files:
        whole = zipfile.is_zipfile(file)
        yield (file.stem, zipfile.Path(file)) if whole else (file.name, file)


def gather(paths: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """The runs that can be compared, and what was left out, with the reason.

    Where settings differ, those count that most runs have.

    Raises:
        UserError: no run is left.
    """
    runs, told = [], []
    for path in paths:
        try:
            found = list(places(path))
        except (UserError, zipfile.BadZipFile) as error:
            found = []
            told.append(f"left out: {error}")
        for name, place in found:
            try:
                runs.append(read_run(place, name))
            except UserError as error:
                told.append(f"left out: {error}")
    require(runs, " | ".join(["board: no finished run", *told]))
    standard = max(runs, key=lambda run: sum(not run.unlike(other) for other in runs))
    kept, holders = [], {}
    for run in runs:
        unlike, again = run.unlike(standard), sorted(run.seeds & set(holders))
        if unlike:
            told.append(f"left out: {run.name}: other {', '.join(unlike[:4])} than most runs have")
        elif again:
            told.append(f"left out: {run.name}: seed {again[0]} is there already, from "
                        f"{holders[again[0]]}")
        else:
            kept.append(run)
            holders |= dict.fromkeys(run.seeds, run.name)
    return kept, told
