"""The chapters: in which order they run, what each reads, and what it left behind."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..digests import file_digest, text_digest
from ..errors import require
from ..provenance import PROJECT
from ..reading import user_path


@dataclass(frozen=True)
class Chapter:
    """A chapter: its label for --only and --from, the chapters it reads, its own parameters."""

    label: str
    name: str
    title: str
    reads: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()  # such as are not those of every notebook

    @property
    def notebook(self) -> Path:
        return PROJECT / "nbs" / f"{self.label.zfill(2)}_{self.name}.ipynb"

    def executed_notebook(self, root: Path) -> Path:
        """Where the executed copy of the notebook lies in a run's folder."""
        return root / "nbs" / self.notebook.name


CHAPTERS = {
    chapter.name: chapter
    for chapter in (
        Chapter("1", "annotate", "Annotate"),
        Chapter("2", "roles", "Inspect roles", reads=("annotate",)),
        Chapter("3", "sft", "Fine-tune", reads=("annotate",)),
        Chapter("4", "infer", "Infer", reads=("sft",), parameters=("question",)),
        Chapter("5", "evaluate", "Evaluate", reads=("annotate", "sft", "infer")),
        Chapter("6", "ablate", "Ablate", reads=("annotate",)),
        Chapter("7", "compare", "Compare runs", parameters=("runs", "field", "measure")),
        Chapter("a1", "judge", "The judge", reads=("infer",)),
        Chapter("a2", "robustness", "Robustness", reads=("sft",)),
    )
}


def read_record(root: Path, name: str) -> dict[str, Any] | None:
    """The `stage.json` of a chapter in a run's folder, or None where it has not finished."""
    return read_json(root / name / "stage.json")


def read_records(root: Path) -> dict[str, dict[str, Any]]:
    """Those of all chapters that have finished in a run's folder."""
    return {name: record for name in CHAPTERS if (record := read_record(root, name))}


def page_record(page: Path) -> dict[str, Any] | None:
    """What papermill noted in an executed notebook, such as `end_time`; None where none is."""
    notebook = read_json(page)
    return notebook and notebook["metadata"].get("papermill", {})


def read_json(path: Path) -> dict[str, Any] | None:
    """None for a file that is missing or was not copied whole."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def find_folder(name: str) -> Path | None:
    """A folder as a person writes it; those of the book are found from anywhere."""
    return next((place for place in (user_path(name), PROJECT / name) if place.is_dir()), None)


def other_run_folder(name: str) -> Path:
    """The folder of another run, or of a sweep.

    Raises:
        UserError: no such folder.
    """
    found = find_folder(name)
    require(found, f"runs: {name}: no such folder; give a run's, such as runs/cpu, or a sweep's")
    return found


def run_digest(name: str) -> str | None:
    """What a run or a sweep measured, by content; None where it is not there."""
    root = find_folder(name)
    if root is None:
        return None
    made = {chapter: record["outputs"] for chapter, record in read_records(root).items()
            if chapter != "compare"}
    kept = {path.name: file_digest(path) for path in
            (root / "cells.json", root / "sweep.parquet") if path.is_file()}
    return text_digest([made, kept])
