"""Python and the packages that this project needs: which are missing here, or of another version.

Only the standard library is imported, so that this can be told where packages are missing.
"""

import platform
import sys
from collections.abc import Iterator
from importlib import metadata

DISTRIBUTION = "selfprompt-lib"
MEND = f"{sys.executable} -m pip install -r requirements.txt, or call the bundle's install script"


def package_faults() -> Iterator[str]:
    """What of the project's own requirements is not met, such as `torch is missing`."""
    try:
        wanted = metadata.requires(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        yield f"{DISTRIBUTION} itself is not installed"
        return
    for need in map(_requirement(), wanted):
        if need.marker and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            yield f"{need.name} is missing"
            continue
        if not need.specifier.contains(found, prereleases=True):
            yield f"{need.name} {found} is not {need.specifier}"


def python_found() -> tuple[str, str]:
    """This Python, and the mend where the project does not run on it."""
    wanted, here = metadata.metadata(DISTRIBUTION)["Requires-Python"], platform.python_version()
    fits = _requirement()(f"python{wanted}").specifier.contains(here, prereleases=True)
    return here, "" if fits else f"install Python {wanted}"


def _requirement() -> type:
    """The class that reads a requirement; pip brings a copy along where the package is missing."""
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:
        from pip._vendor.packaging.requirements import Requirement
    return Requirement


def refuse(missing: ModuleNotFoundError) -> None:
    """End a command that found a module missing: in words, where a package of ours is.

    Raises:
        SystemExit: with the packages and the mend.
        ModuleNotFoundError: the error itself, where none is missing.
    """
    if not (faults := list(package_faults())):
        raise missing
    sys.exit("\n".join(f"[FAIL] packages   {fault}" for fault in faults) + f"\n{MEND}")
