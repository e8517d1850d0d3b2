"""Run the chapters in order with papermill, skip what has not changed, and report."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import papermill
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from ..errors import UserError, require
from ..files import make_writable, write_json
from ..profiles import Profile
from .chapters import CHAPTERS, Chapter, page_record, read_record
from .inputs import why_run

# glibc hands large blocks back to the system at once and pays page faults for each new one; kept,
# training is about an eighth faster on a CPU. Other systems ignore the names.
# Asking needs blocks of many sizes, which would pile up.
TRAINING_ENVIRONMENT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**35)}
TRAINS = ("sft", "ablate")
# Else each kernel warns that its connection, which stays on this machine, is not encrypted.
ENCRYPTED = Config({"KernelManager": {"transport_encryption": "auto"}})


def selected_chapters(only: str | None, start_from: str | None) -> list[Chapter]:
    """The chapters that `--only` or `--from` picks, by their labels; all without them."""
    chapters = list(CHAPTERS.values())
    labels = [chapter.label for chapter in chapters]
    wanted = only or start_from or labels[0]
    require(wanted in labels, f"no such chapter: {wanted}; there are {', '.join(labels)}")
    first = labels.index(wanted)
    return [chapters[first]] if only else chapters[first:]


def run_chapters(
    profile: Profile,
    parameters: dict[str, Any],
    root: Path,
    chapters: list[Chapter],
    force: bool = False,
) -> None:
    """Execute the chapters into `<root>/nbs`, skipping those whose inputs have not changed.

    Raises:
        UserError: a notebook that failed, with its cell and the reason; its copy is kept.
    """
    make_writable(root / "nbs")
    print(f"profile {profile.name}, seed {profile.seed}: {profile.about}")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the kernels inherit it
    run_start = time.perf_counter()
    for chapter in chapters:
        label = f"{chapter.label + ' ' + chapter.name:<13}"
        reasons = ["--only"] if force else why_run(chapter, profile, root)
        if not reasons:
            finished = read_record(root, chapter.name)["finished"]
            print(f"{label} skipped: nothing changed since {finished}")
            continue
        print(f"{label} runs: {'; '.join(reasons[:4])}{' …' if len(reasons) > 4 else ''}")
        chapter_start = time.perf_counter()
        execute_notebook(chapter, parameters, root)
        print(f"{label} done in {time.perf_counter() - chapter_start:.0f} s")
    write_report(profile, root)
    seconds = time.perf_counter() - run_start
    print(f"all done in {seconds:.0f} s; report: {root / 'report.json'}")


def execute_notebook(chapter: Chapter, parameters: dict[str, Any], root: Path) -> None:
    """Run one notebook with papermill and a progress bar; a failed copy is kept and named.

    Raises:
        UserError: the cell that failed, what happened, and where the copy is.
    """
    stem = chapter.notebook.stem
    work = root / "nbs" / f"{stem}.running.ipynb"
    try:
        with environment(TRAINING_ENVIRONMENT if chapter.name in TRAINS else {}):
            papermill.execute_notebook(chapter.notebook, work, parameters=parameters,
                                       kernel_name="python3", cwd=Path.cwd(), config=ENCRYPTED,
                                       progress_bar={"desc": f"  {stem}"})
    except PapermillExecutionError as error:
        failed = work.replace(root / "nbs" / f"{stem}.failed.ipynb")
        reason = error.evalue if error.ename == "UserError" else f"{error.ename}: {error.evalue}"
        raise UserError(f"{chapter.notebook.name}, cell {error.cell_index}: {reason}\n"
                        f"(the notebook is kept with its traceback: {failed})") from None
    work.replace(chapter.executed_notebook(root))


@contextlib.contextmanager
def environment(more: dict[str, str]) -> Iterator[None]:
    """Environment variables for the kernels started meanwhile; what the user has set stays."""
    new = {name: value for name, value in more.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]


def write_report(profile: Profile, root: Path) -> None:
    """Collect the finished chapters in `report.json`: metrics, seconds, memory, provenance."""
    stages = {}
    for chapter in CHAPTERS.values():
        record = read_record(root, chapter.name)
        if record:
            kept = ("metrics", "seconds", "peak_memory_gb", "finished", "provenance")
            stages[chapter.name] = {"title": chapter.title} | {name: record[name] for name in kept}
            page = page_record(chapter.executed_notebook(root)) or {}
            if whole := page.get("duration"):  # with the start of the kernel
                stages[chapter.name]["seconds"] = round(whole, 1)
    write_json(root / "report.json",
               {"profile": profile.name, "seed": profile.seed, "stages": stages})
