"""Provenance: what artefacts were made with, as settings, versions and the machine."""

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from . import __version__
from .devices import dtype_for
from .digests import PACKAGE
from .profiles import Profile

# Notebooks and pages lie beside the package in a clone, and inside it in a wheel.
PROJECT = PACKAGE.parent if (PACKAGE.parent / "nbs").is_dir() else PACKAGE / "project"
LIBRARIES = ("torch", "transformers", "trl", "datasets", "lm_eval", "openai", "papermill")


def describe(profile: Profile) -> dict[str, Any]:
    """Provenance: profile, seed, precision, package and library versions, machine."""
    fields, precision = profile.model_dump(mode="json"), str(dtype_for(profile.dtype))
    return {"profile": fields, "seed": fields["seed"],
            "precision": precision.removeprefix("torch."), **machine()}


def machine() -> dict[str, Any]:
    """Package and library versions, Python and the machine."""
    return {
        "selfprompt_lib": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


@cache
def commit() -> str | None:
    """The commit of a clone, with `-dirty` where files were changed since; None in a wheel."""
    if not (PROJECT / ".git").exists():
        return None
    asked = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty"]
    with contextlib.suppress(OSError):  # no git here
        done = subprocess.run(asked, capture_output=True, encoding="utf-8", errors="replace")
        return done.stdout.strip() or None
    return None


def peak_memory_gb(of_children: bool = False) -> float | None:
    """The largest memory of this process so far, in GiB; None on Windows, which does not tell.

    With `of_children`, of the largest process that it started and that has ended.
    """
    peak = _linux_peak() if sys.platform == "linux" and not of_children else None
    if peak:
        return round(peak / 1024**2, 2)
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    unit = 1024**3 if sys.platform == "darwin" else 1024**2  # bytes there, KiB elsewhere
    whose = resource.RUSAGE_CHILDREN if of_children else resource.RUSAGE_SELF
    return round(resource.getrusage(whose).ru_maxrss / unit, 2)


def _linux_peak() -> int | None:
    """This process's peak in KiB. `getrusage` gives no less than its parent then had."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return None
