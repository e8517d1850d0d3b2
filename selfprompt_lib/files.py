"""Files and hub data sets as plain rows: every fault is told with its place, writes are whole.

Another file format is another function that yields (line number, row) as `stream_json_lines`.
`datasets` reads JSONL too, but names neither the line nor the field that is at fault.
"""

import dataclasses
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from .errors import UserError, require

LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON may escape one, but no file can hold it


def read_json_lines(path: Path) -> list[dict]:
    """The objects of a JSONL file, with clear errors that name the file and the line."""
    return [row for _, row in stream_json_lines(path)]


def stream_json_lines(path: Path) -> Iterator[tuple[int, dict]]:
    """The objects of a JSONL file with their line numbers, one after the other.

    Raises:
        UserError: no such file, no rows, a line that is not UTF-8, not JSON, or no object.
    """
    require(path.is_file(), f"{path}: no such file; give an existing JSONL file")
    empty = True
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            try:
                row = _json_object(raw, "utf-8-sig" if number == 1 else "utf-8")
            except UserError as fault:
                raise UserError(f"{path}, line {number}: {fault}") from None
            if row is not None:
                empty = False
                yield number, row
    require(not empty, f"{path}: the file holds no rows")


def _json_object(raw: bytes, encoding: str) -> dict | None:
    """The object on a line, None for a blank line."""
    try:
        line = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 (byte {error.start}); save the file as UTF-8") from None
    if not line.strip():
        return None
    fault = ""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        fault = f"{error.msg} at column {error.colno}"
    except RecursionError:
        fault = "nested too deeply"
    except ValueError:
        fault = "a number with too many digits"
    require(not fault, f"not valid JSON ({fault}); mend or delete the line")
    require(isinstance(row, dict), "expected an object {…}")
    lone = rb"\ud" in raw.lower() and LONE_SURROGATE.search(json.dumps(row, ensure_ascii=False))
    require(not lone, "half of a character (such as \\ud83d alone); mend or delete the line")
    return row


def hub_rows(path: str, name: str, split: str, mirror: str | None = None) -> list[dict]:
    """The rows of a hub data set, or of its copy in a folder with the hub's layout.

    Raises:
        UserError: no such file in the mirror, or no access to the hub.
    """
    if mirror:
        file = Path(mirror).expanduser() / path / name / f"{split}.jsonl"
        require(file.is_file(), f"data.mirror: {file} is missing; "
                "a mirror has <org>/<name>/<config>/<split>.jsonl")
        return read_json_lines(file)
    import datasets  # takes a second, which the command line need not wait for

    try:
        return datasets.load_dataset(path, name, split=split).to_list()
    except Exception as error:  # the hub raises many types: offline, gated, unknown
        raise UserError(
            f"data: cannot load {path} from the hub ({type(error).__name__}); log in and check "
            "the network, or set data.mirror to a folder in the hub's layout"
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
