"""Files of our own and data sets of the hub: writes are whole or not at all; paths and folders."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from .digests import LARGE
from .errors import UserError, require
from .reading import DATA_SUFFIXES, one_line, read_json_lines, start_folder, user_path


def is_on_hub(source: str) -> bool:
    """Whether a name is a data set's on the hub (`org/name`, `org/name:config`), no path's."""
    hub_name = re.fullmatch(r"\w[\w.-]{0,95}(/\w[\w.-]{0,95})?(:[\w.-]+)?", source)
    there = os.path.exists(user_path(source))
    return bool(hub_name) and not source.lower().endswith(DATA_SUFFIXES) and not there


def hub_rows(path: str, name: str | None, split: str, mirror: str | None = None) -> list[dict]:
    """The rows of a hub data set, or of its copy in a folder with the hub's layout.

    Without `name`, its only configuration is taken, or its default.

    Raises:
        UserError: no such file in the mirror, or the library's reason why it cannot be loaded.
    """
    if mirror:
        folder = user_path(mirror) / path
        there = sorted(file.parent.name for file in folder.glob(f"*/{split}.jsonl"))
        config = name or ("default" if "default" in there or not there else there[0])
        file = folder / config / f"{split}.jsonl"
        require(file.is_file(), f"data.mirror: {file} is missing; "
                "a mirror has <org>/<name>/<config>/<split>.jsonl")
        require(name or config == "default" or len(there) == 1,
                f"data.mirror: {folder} has {', '.join(there)}; write {path}:{config}")
        return read_json_lines(file)
    import datasets  # takes a second, which the command line need not wait for

    try:
        return datasets.load_dataset(path, name, split=split).to_list()
    except Exception as error:  # the hub raises many types: offline, gated, unknown
        raise UserError(
            f"data: cannot load {path} from the hub ({one_line(error)}); it is no file or folder "
            f"here either. A configuration is written {path}:NAME, a gated set needs its terms "
            "accepted, and data.mirror reads a folder in the hub's layout instead"
        ) from None


def write_rows(path: Path, rows: Iterable[BaseModel | dict]) -> Path:
    """Write rows as JSONL, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(path.suffix + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        for row in rows:
            plain = row.model_dump(mode="json") if isinstance(row, BaseModel) else row
            file.write(json.dumps(plain, ensure_ascii=False) + "\n")
    partial.replace(path)
    return path


def write_json(path: Path, content: Any) -> Path:
    """Write JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    text = json.dumps(content, indent=1, ensure_ascii=False, default=_plain)
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def _plain(value: Any) -> Any:
    """A dataclass as a dictionary, a NumPy scalar as a number."""
    return to_jsonable_python(value, fallback=lambda scalar: scalar.item())


def run_folder(out: str | Path, profile: str) -> Path:
    """`<out>/<profile>`; a relative `out` counts from `start_folder`, the project."""
    return start_folder() / os.path.expanduser(out) / profile


def sweep_folder(root: Path) -> Path | None:
    """The folder of the sweep that a run's folder is a cell of; None for a run by itself."""
    return next((above for above in root.parents if (above / "sweep.json").is_file()), None)


def trainings_folder(root: Path) -> Path:
    """Where the trainings of a run are kept, to be taken up; those of a sweep's cells together."""
    sweep = sweep_folder(root)
    return sweep / "shared" / "trainings" if sweep else root / "sft" / "trainer"


def measured_folder(root: Path) -> Path:
    """Where what a run measures of its models is kept, in the same way, for chapters 5 and 6."""
    sweep = sweep_folder(root)
    return sweep / "shared" / "parts" if sweep else root / "evaluate" / "parts"


def copy_folder(source: Path, destination: Path) -> None:
    """Copy a folder whole or not at all; what is there before is replaced.

    Large files, such as weights, are linked where the disk can do that, and lie on it once. They
    are written anew, never changed in place, so that both folders keep what they have. Lines are
    appended to `.jsonl` files, so these are copied.
    """
    partial = destination.with_name(f"{destination.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial, copy_function=_link_or_copy)
    shutil.rmtree(destination, ignore_errors=True)
    partial.rename(destination)


def _link_or_copy(source: str, destination: str) -> None:
    if os.path.getsize(source) > LARGE and not source.endswith(".jsonl"):
        with contextlib.suppress(OSError):  # another disk, or one that has no links
            os.link(source, destination)
            return
    shutil.copy2(source, destination)


def make_writable(folder: Path) -> None:
    """Make the folder, or say that it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder}: cannot make the folder ({error.strerror}); "
                        "give another") from None
    require(os.access(folder, os.W_OK), f"--out {folder}: is not writable; give another")
