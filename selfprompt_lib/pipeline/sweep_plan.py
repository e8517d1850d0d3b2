"""What a sweep will take, told before it starts: runs, hours, memory and disk.

Hours follow from rates measured on this machine (see `rates`), once for each model, and are mended
by what finished cells have taken. What cells have in common counts once.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..checkpoints import free_gb
from ..digests import text_digest
from ..errors import require
from ..profiles import Profile, changed, flatten, seed_profiles, trained_designs
from .chapters import Chapter
from .inputs import why_run
from .sweep_grid import Cell

TRAINING = "training "  # how the names of such pieces of work begin
# How the fields begin that chapter 1 and a training depend on, but for its design and seed; and
# fields of the data that no training does.
ANNOTATES = ("model", "data.", "annotate.")
TRAINS = (*ANNOTATES, "dtype", "sft.")
ASKED = ("data.questions", "data.question_rows", "data.benchmarks", "data.mirror")


@dataclass(frozen=True)
class Planned:
    """What is left of a cell, what that takes, and whether it fits into the memory that is free."""

    cell: Cell
    left: tuple[Chapter, ...] = ()
    seconds: float = 0
    memory: float = 0  # GB, of one training
    free: float = 0  # GB of memory
    disk: float = 0  # GB, of trainings that no earlier cell makes


def make_plan(cells: Sequence[Cell], chapters: Sequence[Chapter], out: Path) -> list[Planned]:
    """The plan of each cell, in order, made in a process that hands its memory back."""
    left = [_chapters_left(cell, chapters) for cell in cells]
    if not any(left):
        return [Planned(cell) for cell in cells]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_plan, cells, left, out).result()


def _chapters_left(cell: Cell, chapters: Sequence[Chapter]) -> tuple[Chapter, ...]:
    """The chapters of a cell that are not done, or that read one that is not."""
    left: dict[str, Chapter] = {}
    for chapter in chapters:
        if left.keys() & chapter.reads or why_run_cell(chapter, cell)[0]:
            left[chapter.name] = chapter
    return tuple(left.values())


def why_run_cell(chapter: Chapter, cell: Cell) -> tuple[list[str], str]:
    """Why a chapter must run, and a mark where it was made with other code than is here.

    That alone runs nothing again: cells of several machines and versions are compared, and told
    apart in `cells.json`.
    """
    reasons = why_run(chapter, cell.profile, cell.root)
    of_code = [reason for reason in reasons if reason.startswith("code: ")]
    if of_code and len(of_code) == len(reasons):
        return [], f" with other code ({of_code[0][6:]}); delete {cell.out} to run it again"
    return reasons, ""


def _plan(cells: Sequence[Cell], left: Sequence[tuple[Chapter, ...]],
          out: Path) -> list[Planned]:
    made: set[str] = set()
    needs: dict[str, tuple[float, float, float]] = {}
    found = []
    for cell, chapters in zip(cells, left, strict=True):
        if not chapters:
            found.append(Planned(cell))
            continue
        profile = cell.profile
        shape = text_digest([profile.model, profile.dtype, profile.sft.model_dump()])
        if shape not in needs:
            needs[shape] = _needs(profile)
        memory, free, training = needs[shape]
        new = {piece: seconds for piece, seconds in _pieces(profile, chapters, out).items()
               if piece not in made}
        made |= new.keys()
        disk = training * sum(piece.startswith(TRAINING) for piece in new)
        found.append(Planned(cell, chapters, sum(new.values()), memory, free, disk))
    return found


def _needs(profile: Profile) -> tuple[float, float, float]:
    """GB of memory for a training, GB that are free, and GB of disk that a finished one takes."""
    from .. import models  # heavy, so not in the process that only starts notebooks
    from ..sft.memory import disk_plan, free_memory, memory_plan

    shape = models.shape(profile.model)[0]
    disk = disk_plan(shape.config, profile)
    return (sum(memory_plan(shape.config, profile).values()), free_memory(shape),
            disk["copy"] + disk["checkpoints"])


def _pieces(profile: Profile, chapters: Sequence[Chapter], out: Path) -> dict[str, float]:
    """Seconds of each piece of a cell's work, by what tells it apart from other cells' pieces."""
    from . import rates  # heavy, as above

    measured, data = rates.measure_once(profile, out / "shared" / "rates")
    sized = changed(profile, data.sizes(profile))
    predicted, tokens = rates.predict(sized, measured), rates.tokens_trained(sized, measured)
    fields, pieces = flatten(profile), {}
    annotation = {name: value for name, value in fields.items() if name.startswith(ANNOTATES)}
    training = {name: value for name, value in fields.items()
                if name.startswith(TRAINS) and name not in ASKED}
    for chapter in chapters:
        digest = text_digest(annotation if chapter.name == "annotate" else fields)
        trained = tokens.get(chapter.name, 0) / measured["trained"]
        pieces[f"{chapter.name} {digest}"] = predicted[chapter.name] - trained
    for design, seed in _trained(profile, chapters):
        length = measured["bare" if design == "none" else "sample"]
        steps = length * sized.data.train_rows * profile.sft.epochs
        pieces[TRAINING + text_digest([design, seed, training])] = steps / measured["trained"]
    return pieces


def _trained(profile: Profile, chapters: Sequence[Chapter]) -> Iterator[tuple[str, int]]:
    """Design and seed of each training of the chapters."""
    names = {chapter.name for chapter in chapters}
    if "sft" in names:
        for run in seed_profiles(profile):
            yield from ((design.name, run.seed) for design in trained_designs(profile).values())
    if "ablate" in names:
        for run in seed_profiles(profile, profile.ablate.seeds):
            yield from ((design, run.seed) for design in profile.ablate.designs)


def require_memory(plan: Sequence[Planned]) -> None:
    """Stop before the first cell where one cannot fit into memory.

    Raises:
        UserError: such cells, with what they need and what is free.
    """
    large = [cell for cell in plan if cell.memory > cell.free]
    told = ", ".join(f"{each.cell.name} (about {each.memory:.1f} GB)" for each in large)
    free = min((cell.free for cell in large), default=0)
    require(not large, f"cells that do not fit into memory, of which {free:.1f} GB are free: "
            f"{told}; take them out of the grid, lower sft.micro_batch_size or sft.max_length, set "
            "sft.gradient_checkpointing, or run them on a larger machine")


def plan_text(plan: Sequence[Planned], chapters: Sequence[Chapter], out: Path) -> str:
    """The plan as a table, with its sum below."""
    width = max(len(each.cell.name) for each in plan)
    rows = [f"{'cell':<{width}}  {'to run':<12} {'hours':>7} {'memory, GB':>11}"]
    for each in plan:
        labels = " ".join(chapter.label for chapter in each.left) or "done"
        numbers = f"{each.seconds / 3600:>7.2f} {each.memory:>11.1f}" if each.left else ""
        rows.append(f"{each.cell.name:<{width}}  {labels:<12} {numbers}".rstrip())
    left, whole = sum(len(each.left) for each in plan), len(plan) * len(chapters)
    labels = ", ".join(chapter.label for chapter in chapters)
    hours, disk = sum(each.seconds for each in plan) / 3600, sum(each.disk for each in plan)
    rows += [f"{len(plan)} cells of chapters {labels}: {left} of {whole} chapters to run or to "
             f"copy, about {hours:.2f} h; what cells have in common counts once",
             f"up to {disk:.2f} GB of disk for models ({free_gb(out):.1f} GB are free at {out})"]
    return "\n".join(rows)


def left_text(plan: Sequence[Planned], took: Sequence[float]) -> str:
    """How many cells are done, and the hours that the others will take, about.

    Args:
        took: seconds of the first cells, which are done or have failed.
    """
    done, others = (sum(each.seconds for each in part)
                    for part in (plan[: len(took)], plan[len(took) :]))
    mended = others * sum(took) / done if done else others
    return f"{len(took)} of {len(plan)} cells done, about {mended / 3600:.2f} h left"
