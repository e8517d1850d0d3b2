"""`selfprompt sweep`: the notebooks run for each cell of a grid; what cells share is made once.

A cell is an ordinary run in `<out>/cells/<cell>`, which papermill alone can repeat. Trainings and
measurements are kept in `<out>/shared` (see `Stage.trainings`); whole chapters that would come out
the same are copied from another cell.
"""

import argparse
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import filelock

from .. import profiles, sources
from ..digests import text_digest
from ..errors import UserError, require
from ..files import copy_folder, make_writable, run_folder, write_json
from ..profiles import Profile, flatten
from ..reading import user_path
from . import sweep_plan
from .chapters import Chapter, read_record
from .inputs import why_run
from .notebooks import execute_chapter
from .rehearsal import check_run, rehearse
from .run import write_report
from .sweep_grid import (
    Cell,
    chosen_chapters,
    make_cells,
    parse_grid,
    read_shard,
    record_sweep,
    tell_faults,
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
    count, cells = len(cells), cells[first - 1 :: step]
    require(cells, f"--shard {given.shard}: the grid has {count} cells, and none is for this "
            f"shard; give K up to {count}")
    _each_once(check_run, cells, chapters, but=("seed", "design", "sft.", "infer."))
    if "data.train_rows" in grid:
        _each_once(_require_rows, cells, chapters, but=("seed", "design", "sft.", "infer."))
    plan = sweep_plan.make_plan(cells, chapters, out)
    print(sweep_plan.plan_text(plan, chapters, out), flush=True)
    sweep_plan.require_memory(plan)
    if given.dry_run:
        return 0
    left = [each.cell for each in plan if each.left]
    _each_once(rehearse, left, chapters,
               but=("seed", "design", "sft.", "annotate.", "roles.", "judge."))
    with _alone(out):
        write_json(out / "sweep.json", record)  # by which the folder is known as a sweep's
        failed = _run_cells(plan, chapters, out, record)
    return 1 if failed else 0


def _each_once(check: Callable[[Profile, Sequence[Chapter]], None], cells: Sequence[Cell],
               chapters: Sequence[Chapter], but: tuple[str, ...]) -> None:
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
            check(cell.profile, chapters)
        except UserError as error:
            faults.setdefault(str(error), cell.name)
    tell_faults(faults)


def _require_rows(profile: Profile, chapters: Sequence[Chapter]) -> None:
    """Stop where a swept size is more than there is: cells of several sizes would be the same.

    Samples that the hub would first have to send are not counted.
    """
    asked = profile.data.train_rows
    if asked is None or (sources.from_hub(profile) and not profile.data.mirror):
        return
    there = len(sources.training_samples(profile))
    require(asked <= there, f"--grid data.train_rows: {asked:,} asked, and with these settings "
            f"there are {there:,} samples; end the grid with {there}, or change data.longest or "
            "data.domains")


def _alone(out: Path) -> filelock.AcquireReturnProxy:
    """Keep other sweeps out of the folder, within `with`: two would train into the same place."""
    make_writable(out)
    try:
        return filelock.FileLock(out / ".lock").acquire(timeout=0)
    except filelock.Timeout:
        raise UserError(f"--out {out}: another sweep is running there; wait for it, or give each "
                        "shard an --out of its own and copy their cells together") from None


def _run_cells(plan: Sequence[sweep_plan.Planned], chapters: Sequence[Chapter], out: Path,
               record: dict[str, Any]) -> list[str]:
    """Run the planned cells one after the other; returns the names of those that failed."""
    roots = {name: run_folder(out / "cells" / name, record["profile"]) for name in record["cells"]}
    failed, took, marks = [], [], []
    for number, cell in enumerate((each.cell for each in plan), 1):
        print(f"cell {number} of {len(plan)}: {cell.name}", flush=True)
        began = time.perf_counter()
        others = [root for name, root in roots.items() if name != cell.name and root.is_dir()]
        try:
            run_cell(cell, chapters, others)
        except UserError as error:
            failed.append(cell.name)
            print(f"  failed: {error}")
        took.append(time.perf_counter() - began)
        marks = write_results(out, record)
        print(f"  {sweep_plan.left_text(plan, took)}", flush=True)
    if failed:
        print(f"{len(failed)} of {len(plan)} cells failed: {', '.join(failed)}; the others are "
              "done; run again to try these again")
    for mark in marks:
        print(f"made with another {mark}; they are in the table, see {out / 'cells.json'}")
    print(f"results: {out / 'sweep.parquet'}")
    return failed


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
            copy_folder(donor / chapter.name, cell.root / chapter.name)
            shutil.copyfile(chapter.executed_notebook(donor), chapter.executed_notebook(cell.root))
            print(f"{label} copied from {donor.parent.name}: it would come out the same")
        else:
            print(f"{label} runs: {reasons[0]}", flush=True)
            if chapter.name == "annotate":
                _take_replies(cell.root, others)
            began = time.perf_counter()
            execute_chapter(chapter, cell.parameters, cell.root)
            print(f"{label} done in {time.perf_counter() - began:.0f} s")
    write_report(cell.profile, cell.root)


def _where_done(chapter: Chapter, cell: Cell, others: Sequence[Path]) -> Path | None:
    """Another cell's run in which the chapter came out as it would in this one."""
    return next((other for other in others
                 if not why_run(chapter, cell.profile, cell.root, made_in=other)), None)


def _take_replies(root: Path, others: Sequence[Path]) -> None:
    """Begin an annotation with the replies of another cell, so that none is asked for twice."""
    own = root / "annotate" / "replies.jsonl"
    there = [file for other in others if (file := other / "annotate" / own.name).is_file()]
    if there and not own.exists():
        make_writable(own.parent)
        shutil.copyfile(max(there, key=lambda file: file.stat().st_size), own)
