"""`selfprompt sweep`: the notebooks run for each cell of a grid; what cells share is made once.

A cell is an ordinary run in `<out>/cells/<cell>`, which papermill alone can repeat. Trainings and
measurements are kept in `<out>/shared` (see `Stage.trainings`); whole chapters that would come out
the same are copied from another cell.
"""

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock

from .. import profiles, sources
from ..annotate import annotation_prompt
from ..digests import text_digest
from ..errors import UserError, require
from ..files import copy_folder, make_writable
from ..llm_client import endpoint
from ..profiles import Profile, flatten
from ..reading import user_path
from . import sweep_plan
from .chapters import Chapter, read_record
from .inputs import why_run
from .run import execute_notebook, require_room, write_report
from .sweep_grid import (
    Cell,
    chosen_chapters,
    make_cells,
    parse_grid,
    read_shard,
    record_sweep,
    tell_faults,
    write_sweep,
)
from .sweep_results import write_results


def command(given: argparse.Namespace) -> int:
    """Run the cells of a grid; returns 1 where one has failed.

    Raises:
        UserError: before the first run, whatever can be found then.
    """
    settings = profiles.parse_settings(given.set)
    if given.seed is not None:
        settings["seed"] = given.seed
    grid, chapters = parse_grid(given.grid), chosen_chapters(given.chapters)
    first, step = read_shard(given.shard)
    out = user_path(given.out).absolute()
    cells = make_cells(given.profile, settings, grid, out)
    record = record_sweep(out, {
        "profile": given.profile, "settings": settings, "grid": grid,
        "chapters": [chapter.label for chapter in chapters],
        "cells": {cell.name: cell.fields for cell in cells}}, sharded=step > 1)
    mine = cells[first - 1 :: step]
    require(mine, f"--shard {given.shard}: the grid has {len(cells)} cells, and none is for this "
            f"shard; give K up to {len(cells)}")
    cells = mine
    _check(cells, chapters)
    plan = sweep_plan.make_plan(cells, chapters, out)
    print(sweep_plan.plan_text(plan, chapters, out), flush=True)
    sweep_plan.require_memory(plan)
    if given.dry_run:
        return 0
    left = [each.cell for each in plan if each.left]
    _each_once(lambda profile: require_room(profile, chapters), left,
               but=("seed", "design", "sft.", "annotate.", "roles.", "judge."))
    with _alone(out):
        write_sweep(out, record)
        failed = _run_cells(cells, chapters, plan, record)
    return 1 if failed else 0


def _check(cells: Sequence[Cell], chapters: Sequence[Chapter]) -> None:
    """Read what each cell reads, so that a fault is told before the first one runs."""
    judged = any(chapter.name == "judge" for chapter in chapters)

    def read(profile: Profile) -> None:
        sources.check_inputs(profile)
        annotation_prompt(profile.annotate)
        if judged:
            endpoint.check(profile.judge, profile.model)

    _each_once(read, cells, but=("seed", "design", "sft.", "infer."))


def _each_once(check: Callable[[Profile], None], cells: Sequence[Cell],
               but: tuple[str, ...]) -> None:
    """Check the cells' profiles, each once that differs in other fields than those that begin so.

    Raises:
        UserError: all faults at once, each with its first cell.
    """
    faults: dict[str, str] = {}
    distinct = {}
    for cell in cells:
        fields = flatten(cell.profile).items()
        key = text_digest([field for field in fields if not field[0].startswith(but)])
        distinct.setdefault(key, cell)
    for cell in distinct.values():
        try:
            check(cell.profile)
        except UserError as error:
            faults.setdefault(str(error), cell.name)
    tell_faults(faults)


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep other sweeps out of the folder: two would train into the same place."""
    make_writable(out)
    lock = filelock.FileLock(out / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UserError(f"--out {out}: another sweep is running there; wait for it, or give each "
                        "shard an --out of its own and copy their cells together") from None
    try:
        yield
    finally:
        lock.release()


def _run_cells(cells: Sequence[Cell], chapters: Sequence[Chapter],
               plan: Sequence[sweep_plan.Planned], record: dict[str, Any]) -> list[str]:
    """Run them one after the other; returns the names of those that failed."""
    out, failed, pace = cells[0].out.parents[1], [], sweep_plan.Pace(plan)
    for number, cell in enumerate(cells, 1):
        print(f"cell {number} of {len(cells)}: {cell.name}", flush=True)
        began = time.perf_counter()
        try:
            run_cell(cell, chapters, _other_runs(cell, record))
        except UserError as error:
            failed.append(cell.name)
            print(f"  failed: {error}")
        pace.done(cell.name, time.perf_counter() - began)
        write_results(out, record)
        print(f"  {pace.text()}", flush=True)
    if failed:
        print(f"{len(failed)} of {len(cells)} cells failed: {', '.join(failed)}; the others are "
              "done; run again to try these again")
    for told in write_results(out, record):
        print(f"made with another {told}; they are in the table, see {out / 'cells.json'}")
    print(f"results: {out / 'sweep.parquet'}")
    return failed


def _other_runs(cell: Cell, record: dict[str, Any]) -> list[Path]:
    """The run folders of the sweep's other cells."""
    folder = cell.out.parent
    roots = (folder / name / cell.profile.name for name in record["cells"] if name != cell.name)
    return [root for root in roots if root.is_dir()]


def run_cell(cell: Cell, chapters: Sequence[Chapter], others: Sequence[Path]) -> None:
    """Run the chapters of one cell that are not done, or copy them from a cell where they are.

    Args:
        others: run folders of other cells.

    Raises:
        UserError: a notebook that failed, with its cell and the reason; its copy is kept.
    """
    make_writable(cell.root / "nbs")
    for chapter in chapters:
        label = f"  {chapter.label + ' ' + chapter.name:<13}"
        reasons, other_code = sweep_plan.why_run_cell(chapter, cell)
        if not reasons:
            finished = read_record(cell.root, chapter.name)["finished"]
            print(f"{label} skipped: finished {finished}{other_code}")
        elif donor := _where_done(chapter, cell, others):
            _copy_chapter(chapter, donor, cell.root)
            print(f"{label} copied from {donor.parent.name}: it would come out the same")
        else:
            print(f"{label} runs: {reasons[0]}", flush=True)
            if chapter.name == "annotate":
                _take_replies(cell.root, others)
            began = time.perf_counter()
            execute_notebook(chapter, cell.parameters, cell.root)
            print(f"{label} done in {time.perf_counter() - began:.0f} s")
    write_report(cell.profile, cell.root)


def _where_done(chapter: Chapter, cell: Cell, others: Sequence[Path]) -> Path | None:
    """Another cell's run in which the chapter came out as it would in this one."""
    return next((other for other in others
                 if not why_run(chapter, cell.profile, cell.root, made_in=other)), None)


def _copy_chapter(chapter: Chapter, donor: Path, root: Path) -> None:
    copy_folder(donor / chapter.name, root / chapter.name)
    page = chapter.executed_notebook(root)
    page.write_bytes(chapter.executed_notebook(donor).read_bytes())


def _take_replies(root: Path, others: Sequence[Path]) -> None:
    """Begin an annotation with the replies of another cell, so that none is asked for twice."""
    own = root / "annotate" / "replies.jsonl"
    there = [file for other in others if (file := other / "annotate" / own.name).is_file()]
    if there and not own.exists():
        make_writable(own.parent)
        own.write_bytes(max(there, key=lambda file: file.stat().st_size).read_bytes())
