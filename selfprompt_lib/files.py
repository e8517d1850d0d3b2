"""Files that are written whole or not at all, and the folder of a run."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from .errors import UserError, require


def write_json(path: Path, content: Any) -> Path:
    """Write JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False, default=_plain) + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return dataclasses.asdict(value)
    if hasattr(value, "item"):  # NumPy scalars
        return value.item()
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


def run_folder(out: str | Path, profile: str) -> Path:
    """`<out>/<profile>`; a relative `out` counts from the project, also when started in `nbs/`."""
    here = Path.cwd()
    base = here.parent if here.name == "nbs" else here
    return base / Path(out).expanduser() / profile


def make_writable(folder: Path) -> None:
    """Make the folder, or say that it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot make the run folder ({error.strerror})"
        raise UserError(f"{folder}: {reason}; give another with --out") from None
    require(os.access(folder, os.W_OK),
            f"{folder}: the run folder is not writable; give another with --out")
