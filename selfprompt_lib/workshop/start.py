"""`selfprompt start --chapter 4`: what the chapters before it leave, taken from a finished run."""

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..cli import add_profile_arguments, chosen_profile
from ..errors import UserError, require
from ..files import make_writable, run_folder
from ..pipeline.chapters import CHAPTERS, Chapter, read_record
from ..pipeline.inputs import artefact_digest, why_run
from ..profiles import Profile, parse_settings
from ..reading import user_path

PLACES = ("", "run", "nice/run")  # of runs in a folder: a run's own `--out`, installed, on a stick


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add `selfprompt start`."""
    parser = commands.add_parser(
        "start", help="put a finished run's chapters in place, so that a later one can begin")
    parser.add_argument("--chapter", required=True, metavar="N",
                        help="the chapter to begin with (1 to 7, a1, a2)")
    parser.add_argument("--from", dest="source", type=user_path, metavar="FOLDER",
                        help="a finished run, or a bundle (default: the one that is here; without "
                             "any, the chapters are run, once)")
    add_profile_arguments(parser, run=True)


def command(given: argparse.Namespace) -> None:
    """Copy or run what is lacking before the chapter, and tell what the next step is.

    Raises:
        UserError: no run there, one that was not copied whole, or chapters that have not finished.
    """
    from ..pipeline import run  # papermill takes a second, which other commands need not wait for

    profile = chosen_profile(given)
    out = user_path(given.out).absolute()
    root = run_folder(out, profile.name)
    chapter = run.selected_chapters(given.chapter, None)[0]
    before = list(CHAPTERS.values())[: list(CHAPTERS).index(chapter.name)]
    make_writable(root / "nbs")
    lacking = [each for each in before if read_record(root, each.name) is None]
    source = find_run(given.source or Path(), profile.name, root)
    require(source or not given.source, f"--from {given.source}: no finished run of profile "
            f"{profile.name} is there; give the folder of one, such as runs/{profile.name}")
    if source:
        needed = set(needed_chapters(chapter))
        place(source, root, lacking, needed)
    elif lacking:
        print(f"no finished run of profile {profile.name} is here; these chapters run now, once")
        parameters = {"profile": profile.name, "seed": profile.seed, "out": str(out),
                      "settings": parse_settings(given.set)}
        run.run_chapters(profile, parameters, root, before)
    for each in before:
        print(f"{each.label} {each.name:<10} {_state(each, profile, root, each in lacking)}")
    run.write_report(profile, root)
    print(f"now chapter {chapter.label}: open {chapter.notebook.name}, or "
          f"`selfprompt run --only {chapter.label} --profile {profile.name}`")


def find_run(folder: Path, profile: str, root: Path) -> Path | None:
    """A run of that profile in a folder, which may be the run itself; `root` is none."""
    places = [folder, *(folder / place / profile for place in PLACES)]
    found = (place for place in places if (place / "annotate" / "stage.json").is_file()
             and place.absolute() != root.absolute())
    return next(found, None)


def needed_chapters(chapter: Chapter) -> Iterator[str]:
    """Those that a chapter reads, and those that they read."""
    for name in chapter.reads:
        yield name
        yield from needed_chapters(CHAPTERS[name])


def place(source: Path, root: Path, chapters: list[Chapter], needed: set[str]) -> None:
    """Copy finished chapters of a run: what they left, with their executed notebooks.

    What lies in an unfinished chapter's folder is kept, under another name.

    Raises:
        UserError: what is missing or damaged in `source`, before anything is copied.
    """
    there = [each for each in chapters if each.name in needed or (source / each.name).is_dir()]
    faults = [fault for each in there for fault in run_faults(source, each)]
    require(not faults, f"{source}: not whole: {', '.join(faults[:3])}"
            f"{' …' if len(faults) > 3 else ''}; copy the run again, or run these chapters")
    for each in there:
        names = read_record(source, each.name)["outputs"]
        size = sum((source / each.name / name).stat().st_size for name in names)
        print(f"copying chapter {each.label}, {size / 1e6:.0f} MB …", flush=True)
        _copy(source, root, each)


def run_faults(root: Path, chapter: Chapter) -> list[str]:
    """What of a chapter's results is missing or is not what was recorded, by name."""
    record = read_record(root, chapter.name)
    if record is None:
        return [f"chapter {chapter.label} ({chapter.name}) has not finished"]
    faults = []
    for name, digest in record["outputs"].items():
        found = artefact_digest(root, f"{chapter.name}/{name}")
        state = "cut off or changed" if found else "missing"
        if found != digest:
            faults.append(f"{chapter.name}/{name} is {state}")
    page = chapter.executed_notebook(root)
    return faults + ([] if page.is_file() else [f"nbs/{page.name} is missing"])


def _copy(source: Path, root: Path, chapter: Chapter) -> None:
    """One chapter, whole or not at all."""
    partial, folder = root / f"{chapter.name}.partial", root / chapter.name
    try:
        shutil.rmtree(partial, ignore_errors=True)
        for name in (*read_record(source, chapter.name)["outputs"], "stage.json"):
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / chapter.name / name, partial / name)
        if any(folder.rglob("*")):
            folder.rename(_free_name(folder))
        shutil.copyfile(chapter.executed_notebook(source), chapter.executed_notebook(root))
        shutil.rmtree(folder, ignore_errors=True)  # an empty one
        partial.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); make room there, or give "
                        "another folder with --out") from None


def _free_name(folder: Path) -> Path:
    """Where an unfinished chapter is kept."""
    names = (folder.with_name(f"{folder.name}.unfinished-{n}") for n in range(1, 1000))
    kept = next(name for name in names if not name.exists())
    print(f"{folder}: had not finished; kept as {kept.name}")
    return kept


def _state(chapter: Chapter, profile: Profile, root: Path, new: bool) -> str:
    """Whether a chapter is in place, and whether a run would skip it, in words."""
    record = read_record(root, chapter.name)
    if record is None:
        return "not in that run, and not needed"
    if faults := run_faults(root, chapter):
        return f"kept, but {faults[0]}; move {root / chapter.name} away and call this again"
    state = f"{'in place' if new else 'kept'}, finished {record['finished']}"
    try:
        why = why_run(chapter, profile, root)
    except UserError as error:
        why = [str(error)]
    if not why:
        return f"{state}; `run` skips it"
    return (f"{state}; usable, but `run` would make it again ({'; '.join(why[:2])}"
            f"{' …' if len(why) > 2 else ''})")
