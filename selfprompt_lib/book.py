"""The book: whether it has to be built anew, and the call of what builds it, in `book/pages`."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from .errors import UserError, require
from .pipeline import CHAPTERS
from .provenance import PACKAGE, PROJECT
from .workshop.exercises import shown_exercises


def build(root: Path, destination: Path) -> str:
    """Build `<destination>/html` from the run in `root`; returns what was done, in a sentence.

    Raises:
        UserError: when the builder warns or fails, with its last words.
    """
    if missing := missing_chapters(root):
        return f"book: not built, chapters {', '.join(missing)} have not run"
    page, built = destination / "html" / "index.html", stamp(destination)
    known = built.read_text(encoding="utf-8") if built.is_file() else ""
    if page.is_file() and known == inputs_digest(root):
        return f"book: unchanged, {page}"
    _call("build_book.py", root, destination)
    return f"book: built, {page}"


def missing_chapters(root: Path) -> list[str]:
    """The labels of the chapters that have not run; without them no book is built."""
    return [chapter.label for chapter in CHAPTERS.values()
            if not chapter.executed_notebook(root).is_file()
            or not (root / chapter.name / "stage.json").is_file()]


def write_readme(root: Path) -> None:
    """Put the run's results between the README's markers."""
    _call("readme.py", root)


def stamp(destination: Path) -> Path:
    """Where the builder leaves the `inputs_digest` of what it has built the book from."""
    return destination / "source.sha256"


def inputs_digest(root: Path) -> str:
    """One digest of all that the book is made from: the run, prose and pages, and this package."""
    notebooks = [chapter.executed_notebook(root) for chapter in CHAPTERS.values()]
    notebooks += shown_exercises(root)
    measured = [root / "report.json", *sorted((root / "evaluate").glob("*.png"))]
    settings = [PROJECT / "_toc.yml", PROJECT / "_config.yml"]
    trees = [path for folder in (PROJECT / "book", PACKAGE) for path in sorted(folder.rglob("*"))
             if path.is_file() and path.suffix != ".pyc"]
    digest = hashlib.sha256(os.environ.get("BOOK_REPOSITORY_URL", "").encode())
    for path in (*notebooks, *measured, *settings, *trees):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _call(script: str, *arguments: Path) -> None:
    """Run a script of `book/pages`; in a clone with the clone's own package, wherever it is.

    Raises:
        UserError: what the script could not do, or its last words where it failed.
    """
    paths = filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])
    command = [sys.executable, str(PROJECT / "book" / "pages" / script), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          encoding="utf-8", errors="replace",
                          env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)}) as process:
        try:
            words = process.communicate()[1].strip()
        except BaseException:  # stopped: it ends what it has started itself
            process.terminate()
            raise
    if process.returncode == 2:
        raise UserError(words.removeprefix("error: "))
    require(not process.returncode, f"book: {script} failed:\n{words[-3000:]}")
