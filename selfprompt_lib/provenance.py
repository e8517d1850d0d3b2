"""Provenance: what artefacts were made from, as digests, versions and the machine."""

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import __version__
from .profiles import Profile

PACKAGE = Path(__file__).parent
LIBRARIES = ("torch", "transformers", "trl", "datasets", "lm_eval", "openai", "papermill")


def outputs(folder: Path) -> dict[str, str]:
    """The artefacts of a chapter with their digests (large ones by size and time of change)."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "stage.json")
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def file_digest(path: Path) -> str:
    """SHA-256 of a file; above 16 MB its size and time of change, which is enough to see a change."""
    stat = path.stat()
    if stat.st_size > 16 * 2**20:
        return f"{stat.st_size}-{stat.st_mtime_ns}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def code_hash(notebook: Path, without: Iterable[str]) -> str:
    """Digest of a notebook and of the package's code and templates, `without` some rooms."""
    digest = hashlib.sha256(notebook.read_bytes() if notebook.is_file() else b"")
    for path in sorted(p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".jinja", ".yaml", ".md")):
        if path.relative_to(PACKAGE).parts[0].removesuffix(".py") not in without:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def data_identity(profile: Profile) -> dict[str, str]:
    """Digests of the data files that a run reads, or their names where they are on the hub."""
    folder = PACKAGE / "resources"
    shipped = sorted(p for p in folder.rglob("*") if p.suffix in (".jsonl", ".json", ".csv"))
    identity = {p.relative_to(folder).as_posix(): file_digest(p) for p in shipped}
    given = (profile.data.train, profile.data.questions, profile.annotate.guideline, profile.annotate.examples,
             profile.judge.guideline, *profile.roles.files, *profile.roles.reviews)
    for name in filter(None, given):
        if Path(name).is_file():
            identity[name] = file_digest(Path(name))
    if profile.data.mirror:
        files = sorted(Path(profile.data.mirror).rglob("*.jsonl"))
        identity |= {str(path): f"{path.stat().st_size}-{path.stat().st_mtime_ns}" for path in files}
    return identity


def describe(profile: Profile) -> dict[str, Any]:
    """Provenance: profile, seed, package and library versions, machine."""
    return {
        "profile": profile.model_dump(mode="json"),
        "seed": profile.seed,
        **machine(),
    }


def machine() -> dict[str, Any]:
    """Package and library versions, Python and the machine."""
    return {
        "selfprompt_lib": __version__,
        "python": platform.python_version(),
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
