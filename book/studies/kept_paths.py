"""What the scripts that keep a measurement share: no path of a machine is committed."""

from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

PACKAGE = "selfprompt_lib"


def without_paths(value: Any) -> Any:
    """A record with its absolute paths shortened, at any depth.

    A file of the package is named from there on, any other only by its name, as `FOLDER/name`.
    """
    if isinstance(value, dict):
        return {name: without_paths(part) for name, part in value.items()}
    if isinstance(value, list):
        return [without_paths(part) for part in value]
    return _short(value) if isinstance(value, str) else value


def _short(text: str) -> str:
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(text)
        if path.is_absolute() or text.startswith("~"):
            inside = PACKAGE in path.parts[:-1]
            return "/".join(path.parts[path.parts.index(PACKAGE):] if inside
                            else ("FOLDER", path.name))
    return text
