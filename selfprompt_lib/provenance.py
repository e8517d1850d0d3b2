"""Provenance: what artefacts were made from, as digests, versions and the machine."""

import hashlib
import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

from . import __version__
from .profiles import Profile

PACKAGE = Path(__file__).parent
# Notebooks and pages lie beside the package in a clone, and inside it in a wheel.
PROJECT = PACKAGE.parent if (PACKAGE.parent / "nbs").is_dir() else PACKAGE / "project"
LIBRARIES = ("torch", "transformers", "trl", "datasets", "lm_eval", "openai", "papermill")
LARGE = 16 * 2**20  # bytes; a larger file is known by its size and time of change


def file_digest(path: Path) -> str:
    """SHA-256 of a file, or the size and time of change of a large one."""
    stat = path.stat()
    if stat.st_size > LARGE:
        return f"{stat.st_size}-{stat.st_mtime_ns}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def folder_digests(folder: Path) -> dict[str, str]:
    """The files below a folder with their digests, without `stage.json`."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "stage.json")
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def package_digests() -> dict[str, str]:
    """A digest for each room of the package: a module, a folder of them, a folder of resources."""
    rooms: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            rooms.setdefault(room_of(path), []).append(path)
    return {
        room: hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
        for room, files in rooms.items()
    }


def room_of(path: Path) -> str:
    """The room of a file of the package, such as `sft`, `sandbox` or `resources/starter`."""
    parts = path.relative_to(PACKAGE).parts
    if path.name.endswith(".md.jinja"):  # a page's template
        return "book"
    if parts[0] == "resources":
        return "/".join(parts[:2])
    if parts[0].startswith("sandbox"):  # one of its files runs in a process of its own
        return "sandbox"
    return parts[0].removesuffix(".py")


def loaded_rooms() -> set[str]:
    """The rooms of the package whose code was imported in this process."""
    modules = [module for name, module in sys.modules.items() if name.startswith(__package__)]
    return {room_of(Path(module.__file__)) for module in modules if module.__file__}


def named_path_digests(fields: dict[str, Any]) -> dict[str, str]:
    """Digests of the files and folders that profile fields name, such as `data.train`."""
    digests = {}
    for field, value in fields.items():
        names = value if isinstance(value, list) else [value]
        for name in names:
            if isinstance(name, str) and name and field != "about":
                path = Path(name).expanduser()
                if path.is_file():
                    digests[f"{field}={name}"] = file_digest(path)
                elif path.is_dir():
                    digests[f"{field}={name}"] = _listing_digest(path)
    return digests


def _listing_digest(folder: Path) -> str:
    """A digest of the names, sizes and times of change of the files below a folder."""
    files = ((p, p.stat()) for p in sorted(folder.rglob("*")) if p.is_file())
    listing = "\n".join(f"{p} {stat.st_size} {stat.st_mtime_ns}" for p, stat in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def describe(profile: Profile) -> dict[str, Any]:
    """Provenance: profile, seed, package and library versions, machine."""
    fields = profile.model_dump(mode="json")
    return {"profile": fields, "seed": fields["seed"], **machine()}


def machine() -> dict[str, Any]:
    """Package and library versions, Python and the machine."""
    return {
        "selfprompt_lib": __version__,
        "python": platform.python_version(),
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def peak_memory_gb() -> float | None:
    """The largest memory of this process so far, in GiB; None on Windows, which does not tell."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    unit = 1024**3 if sys.platform == "darwin" else 1024**2  # bytes there, KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 2)
