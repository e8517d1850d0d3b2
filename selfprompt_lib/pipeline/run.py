"""Run the chapters in order with papermill, skip what has not changed, and report."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError

from ..errors import UserError, require
from ..files import make_writable, write_json
from ..profiles import Profile
from .stage import CHAPTERS, Chapter, changed, read_record

# glibc hands large blocks back to the system at once and pays page faults for each new one; kept,
# training is about an eighth faster on a CPU. Other systems ignore the names.
# Asking needs blocks of many sizes, which would pile up.
TRAINING_ENVIRONMENT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**35)}
TRAINS = ("sft", "ablate")
Say = Callable[[str], None]


def selected(only: str | None, start_from: str | None) -> list[Chapter]:
    """The chapters that `--only` or `--from` picks, by their labels; all without them."""
    chapters = list(CHAPTERS.values())
    labels = [chapter.label for chapter in chapters]
    wanted = only or start_from or labels[0]
    require(wanted in labels, f"no such chapter: {wanted}; there are {', '.join(labels)}")
    place = labels.index(wanted)
    return [chapters[place]] if only else chapters[place:]


def run(profile: Profile, parameters: dict[str, Any], root: Path, chapters: list[Chapter], force: bool = False,
        say: Say = print) -> None:
    """Execute the chapters into `<root>/nbs`, skipping those whose inputs have not changed.

    Raises:
        UserError: a notebook that failed, with its cell and the reason; its copy is kept.
    """
    make_writable(root / "nbs")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    began = time.perf_counter()
    for chapter in chapters:
        label = f"{chapter.label} {chapter.name}"
        reasons = ["--only"] if force else why_run(chapter, profile, root)
        if not reasons:
            say(f"{label:<12} skipped: nothing changed since {read_record(root, chapter.name)['finished']}")
            continue
        say(f"{label:<12} runs: {'; '.join(reasons[:4])}{' …' if len(reasons) > 4 else ''}")
        start = time.perf_counter()
        execute(chapter, parameters, root)
        say(f"{label:<12} done in {time.perf_counter() - start:.0f} s")
    report(profile, root)
    say(f"all done in {time.perf_counter() - began:.0f} s; report: {root / 'report.json'}")


def executed(chapter: Chapter, root: Path) -> Path:
    """Where the executed copy of a chapter's notebook lies."""
    return root / "nbs" / chapter.notebook.name


def why_run(chapter: Chapter, profile: Profile, root: Path) -> list[str]:
    """Why a chapter must run; empty where it can be skipped."""
    record, page = root / chapter.name / "stage.json", executed(chapter, root)
    if not page.is_file():
        return ["not run here before"]
    if record.is_file() and record.stat().st_mtime > page.stat().st_mtime:
        return ["its artefacts are newer than its executed notebook"]
    return changed(chapter, profile, root)


def execute(chapter: Chapter, parameters: dict[str, Any], root: Path) -> None:
    """Run one notebook with papermill and a progress bar; a failed copy is kept and named."""
    target, work = executed(chapter, root), root / "nbs" / f"{chapter.notebook.stem}.running.ipynb"
    try:
        with environment(TRAINING_ENVIRONMENT if chapter.name in TRAINS else {}):
            papermill.execute_notebook(chapter.notebook, work, parameters=parameters, kernel_name="python3", cwd=Path.cwd(),
                                       progress_bar={"desc": f"  {chapter.notebook.stem}"})
    except PapermillExecutionError as error:
        failed = root / "nbs" / f"{chapter.notebook.stem}.failed.ipynb"
        work.replace(failed)
        raise UserError(failure(chapter, error, failed)) from None
    work.replace(target)


@contextlib.contextmanager
def environment(more: dict[str, str]) -> Iterator[None]:
    """Environment variables for the kernels that are started meanwhile; what the user has set stays."""
    new = {name: value for name, value in more.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]


def failure(chapter: Chapter, error: PapermillExecutionError, kept: Path) -> str:
    """One message for a failed notebook: which cell, what happened, where the copy is."""
    where = f"{chapter.notebook.name}, cell {error.cell_index}: "
    mend = error.evalue if error.ename == "UserError" else f"{error.ename}: {error.evalue}"
    return f"{where}{mend}\n(the notebook is kept with its traceback: {kept})"


def report(profile: Profile, root: Path) -> dict[str, Any]:
    """Collect the finished chapters into `report.json`: metrics, seconds, peak memory, provenance."""
    stages = {}
    for chapter in CHAPTERS.values():
        record = read_record(root, chapter.name)
        if record:
            page = executed(chapter, root)
            whole = nbformat.read(page, 4).metadata.get("papermill", {}).get("duration") if page.is_file() else None
            stages[chapter.name] = {
                "title": chapter.title,
                "metrics": record["metrics"],
                "seconds": round(whole or record["seconds"], 1),
                "peak_memory_gb": record["peak_memory_gb"],
                "finished": record["finished"],
                "provenance": record["provenance"],
            }
    content = {"profile": profile.name, "seed": profile.seed, "stages": stages}
    write_json(root / "report.json", content)
    return content
