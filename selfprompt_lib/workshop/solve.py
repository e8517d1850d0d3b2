"""Execute the solved exercises, so that the book shows their outputs and no solution is stale."""

import time
from pathlib import Path
from typing import Any

from ..digests import PACKAGE, file_digest, folder_digests, text_digest
from ..files import make_writable
from ..pipeline.inputs import NEUTRAL
from ..profiles import Profile, flatten
from .exercises import (
    chapters_until,
    chapters_with_exercises,
    executed_exercises,
    exercise_notebook,
)

NO_MATTER = (*NEUTRAL, "book.py", "workshop/")
CELL_LIMIT = 600  # seconds; each takes a few, but on a slow machine or with a large model more


def solve_all(profile: Profile, parameters: dict[str, Any], root: Path) -> None:
    """Execute all exercises of a finished run, but for those that have not changed.

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
