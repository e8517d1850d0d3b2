"""The exercises of a chapter: where they lie, how their notebooks begin, how a run executes them.

They are written as solutions, `nbs/exercises/01_annotate.ipynb`. `versions` makes the learner's and
the teacher's of them, and `learners` writes a folder for a workshop; the book's pages are made in
`book/pages`.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..digests import PACKAGE, file_digest, folder_digests, text_digest
from ..errors import require
from ..files import make_writable
from ..pipeline.chapters import CHAPTERS, Chapter
from ..pipeline.inputs import DECIDES_NOTHING
from ..pipeline.stage import profile_and_folder, read_parameters
from ..profiles import Profile, flatten

NO_MATTER = (*DECIDES_NOTHING, "book.py", "workshop/")  # code that decides no output of an exercise
CELL_LIMIT = 600  # seconds; each takes a few, but on a slow machine or with a large model more


def exercise_notebook(chapter: Chapter) -> Path:
    """The solved exercises of a chapter."""
    return chapter.notebook.parent / "exercises" / chapter.notebook.name


def executed_exercises(chapter: Chapter, root: Path) -> Path:
    """Where the executed exercises of a chapter lie in a run's folder."""
    return root / "nbs" / "exercises" / chapter.notebook.name


def chapters_with_exercises() -> Iterator[Chapter]:
    """Those that have a notebook of exercises, in their order."""
    return (each for each in CHAPTERS.values() if exercise_notebook(each).is_file())


def shown_exercises(root: Path) -> list[Path]:
    """The notebooks that the book shows: as the run executed them, else as they are written."""
    pages = []
    for chapter in chapters_with_exercises():
        executed = executed_exercises(chapter, root)
        pages.append(executed if executed.is_file() else exercise_notebook(chapter))
    return pages


def chapters_until(chapter: Chapter) -> list[Chapter]:
    """A chapter and all before it: those whose artefacts its exercises may read."""
    chapters = list(CHAPTERS.values())
    return chapters[: chapters.index(chapter) + 1]


@dataclass(frozen=True)
class Exercises:
    """A run whose artefacts exercises read. They change nothing in it."""

    chapter: Chapter
    profile: Profile
    root: Path

    def source(self, chapter: str, name: str) -> Path:
        """An artefact of this chapter or of one before it.

        Raises:
            UserError: it is not there, with the chapter that makes it.
        """
        require(CHAPTERS[chapter] in chapters_until(self.chapter),
                f"exercises of chapter {self.chapter.label}: {chapter} is a later chapter")
        path, labels = self.root / chapter / name, [each.label for each in CHAPTERS.values()]
        after = labels[labels.index(CHAPTERS[chapter].label) + 1]
        require(path.exists(),
                f"{path}: missing; run chapter {CHAPTERS[chapter].label} ({chapter}) first, or put "
                f"a finished run in place: selfprompt start --chapter {after}")
        return path


def start_exercises(name: str, namespace: dict[str, Any]) -> Exercises:
    """Open the exercises of a chapter with what their parameters cell set (pass `globals()`).

    Raises:
        UserError: unknown or ill-typed parameter, unknown profile or field.
    """
    chapter = CHAPTERS[name]
    given = read_parameters(f"exercises/{chapter.notebook.name}", namespace)
    return Exercises(chapter, *profile_and_folder(given))


def solve_all(profile: Profile, parameters: dict[str, Any], root: Path) -> None:
    """Execute all solved exercises of a finished run, but for those that have not changed.

    So the book shows their outputs, and no solution is stale.

    Raises:
        UserError: a solution that failed or took too long, with its cell; its copy is kept.
    """
    make_writable(root / "nbs" / "exercises")
    code = folder_digests(PACKAGE, without=NO_MATTER)
    for chapter in chapters_with_exercises():
        notebook, executed = exercise_notebook(chapter), executed_exercises(chapter, root)
        read = [file_digest(root / each.name / "stage.json") for each in chapters_until(chapter)]
        digest = text_digest([file_digest(notebook), code, flatten(profile), read])
        stamp = executed.with_suffix(".sha256")
        if executed.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == digest:
            continue
        from ..pipeline.notebooks import execute  # heavy: where nothing is stale, nobody waits

        start = time.perf_counter()
        execute(notebook, executed, parameters, f"exercises of chapter {chapter.label}",
                cell_limit=CELL_LIMIT)
        stamp.write_text(digest, encoding="utf-8")
        print(f"exercises of chapter {chapter.label} solved in {time.perf_counter() - start:.0f} s")
