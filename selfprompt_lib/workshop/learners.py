"""`selfprompt workshop`: notebooks for learners and solutions for teachers, in a folder."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..digests import text_digest
from ..files import make_writable
from ..pipeline.chapters import CHAPTERS
from ..reading import user_path
from .exercises import chapters_with_exercises, exercise_notebook

MARK = "selfprompt_sha256"  # in a notebook's metadata: the digest of its cells as written here


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add `selfprompt workshop`."""
    parser = commands.add_parser(
        "workshop", help="write the learners' notebooks and the teacher's",
        description="Write learner/ (the chapters, and exercises without their solutions) and "
                    "teacher/ (the exercises solved). A file that was changed since is kept.")
    parser.add_argument("--out", type=user_path, default=Path("workshop"), metavar="FOLDER",
                        help="where to (default: %(default)s)")


def command(given: argparse.Namespace) -> None:
    """Write both folders; say how many notebooks there are, and which of a learner's were kept."""
    from .versions import learner_version, teacher_version  # nbformat takes time to load

    learner, teacher = given.out / "learner", given.out / "teacher"
    kept = []
    for chapter in CHAPTERS.values():
        kept += write(chapter.notebook, learner / chapter.notebook.name)
    for chapter in chapters_with_exercises():
        solved, name = exercise_notebook(chapter), f"exercises/{chapter.notebook.name}"
        kept += write(solved, learner / name, learner_version)
        kept += write(solved, teacher / name, teacher_version)
    for line in kept:
        print(line)
    count = len(list(chapters_with_exercises()))
    print(f"{learner}: {len(CHAPTERS)} chapters, and exercises of {count} without solutions\n"
          f"{teacher}: the exercises solved; keep it from the learners")


def write(source: Path, target: Path, version: Callable = lambda notebook: notebook) -> list[str]:
    """Write a version of a notebook, beside the one that is there if that was changed since.

    Returns:
        What was kept, if anything, in a sentence.

    Raises:
        UserError: a folder that cannot be written.
    """
    import nbformat  # as above

    notebook = version(nbformat.read(source, 4))
    notebook.metadata[MARK] = _digest(notebook)
    there = _read(target)
    if target.exists() and (there is None or there.metadata.get(MARK) != _digest(there)):
        if there is not None and _sources(there) == _sources(notebook):
            return []  # it was run, and is the newest
        beside = target.with_suffix(".new.ipynb")
        return [f"{target}: changed since it was written, and kept; the new one is {beside.name}",
                *write(source, beside, version)]
    make_writable(target.parent)
    nbformat.write(notebook, target)
    return []


def _read(path: Path) -> Any | None:
    """A notebook; None for one that is missing, was cut off, or is none."""
    import nbformat  # as above

    try:
        return nbformat.read(path, 4)
    except (OSError, ValueError, nbformat.ValidationError):
        return None


def _sources(notebook: Any) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def _digest(notebook: Any) -> str:
    """Of what a person sees: cells and their outputs."""
    return text_digest([_sources(notebook), [cell.get("outputs") for cell in notebook.cells]])
