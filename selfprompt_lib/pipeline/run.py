"""Run the chapters in order with papermill, skip what has not changed, and report."""

import os
import time
from pathlib import Path
from typing import Any

from ..errors import require
from ..files import make_writable, write_json
from ..profiles import Profile
from .chapters import CHAPTERS, Chapter, page_record, read_record, read_records
from .inputs import why_run
from .minutes import forecast_text, predicted_seconds
from .rehearsal import rehearse


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
    run_start, tried = time.perf_counter(), False
    for chapter in chapters:
        label = f"{chapter.label + ' ' + chapter.name:<13}"
        reasons = ["--only"] if force else why_run(chapter, profile, root)
        if not reasons:
            finished = read_record(root, chapter.name)["finished"]
            print(f"{label} skipped: nothing changed since {finished}")
            continue
        print(f"{label} runs: {'; '.join(reasons[:4])}{' …' if len(reasons) > 4 else ''}")
        from .notebooks import execute_chapter  # heavy: where all is skipped, nobody waits for it

        if not tried:
            left = chapters[chapters.index(chapter):]
            rehearse(profile, left)
            if predicted := predicted_seconds(profile, left):
                print(forecast_text(predicted))
            tried = True
        chapter_start = time.perf_counter()
        execute_chapter(chapter, parameters, root)
        print(f"{label} done in {time.perf_counter() - chapter_start:.0f} s")
    write_report(profile, root)
    seconds = time.perf_counter() - run_start
    print(f"all done in {seconds:.0f} s; report: {root / 'report.json'}")


def write_report(profile: Profile, root: Path) -> None:
    """Collect the finished chapters in `report.json`: metrics, seconds, memory, provenance."""
    stages, kept = {}, ("metrics", "seconds", "peak_memory_gb", "finished", "provenance")
    for name, record in read_records(root).items():
        chapter = CHAPTERS[name]
        stages[name] = {"title": chapter.title} | {field: record[field] for field in kept}
        page = page_record(chapter.executed_notebook(root)) or {}
        if whole := page.get("duration"):  # with the start of the kernel
            stages[name]["seconds"] = round(whole, 1)
    write_json(root / "report.json",
               {"profile": profile.name, "seed": profile.seed, "stages": stages})
