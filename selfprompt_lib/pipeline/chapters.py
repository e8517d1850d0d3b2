"""The chapters: in which order they run, what each reads, and what it left behind."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..provenance import PROJECT


@dataclass(frozen=True)
class Chapter:
    """A chapter: its label for --only and --from, the chapters it reads, its own parameters."""

    label: str
    name: str
    title: str
    reads: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()

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
        Chapter("a1", "judge", "The judge", reads=("infer",)),
        Chapter("a2", "robustness", "Robustness", reads=("sft",)),
    )
}


def read_record(root: Path, name: str) -> dict[str, Any] | None:
    """The `stage.json` of a chapter in a run's folder, or None where it has not finished."""
    return read_json(root / name / "stage.json")


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
