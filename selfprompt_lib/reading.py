"""Files that people have as plain rows: all faults are told at once, with their places.

JSON, JSON lines and CSV are read here, because `datasets` names neither the line nor the field that
is at fault, and guesses types. It reads all other kinds of file, and folders.
"""

import csv
import glob
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import UserError, require

LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON may escape one, but no file can hold it
JSON_SUFFIXES, TABLE_SUFFIXES = (".jsonl", ".json", ".ndjson"), (".csv", ".tsv")
OTHER_SUFFIXES = (".parquet", ".arrow", ".gz", ".zst", ".zip", ".txt", ".xlsx", ".xls", ".yaml")
BLANK = b"\xef\xbb\xbf \t\r\n"  # with the mark that some editors begin a file with
DATA_SUFFIXES = (*JSON_SUFFIXES, *TABLE_SUFFIXES, *OTHER_SUFFIXES)
SHOWN = 3  # places of a kind of fault, and kinds of fault, that a message names


class Faults:
    """What is wrong with a file, told at once: each kind of fault with its first places."""

    def __init__(self, origin: Path | str):
        self.origin = origin
        self._kinds: dict[str, tuple[str, list[str]]] = {}

    def add(self, place: str, *messages: str) -> None:
        """Note faults; those that differ in numbers and names alone are of one kind."""
        for message in messages:
            kind = re.sub(r"\d+|'[^']*'", "", message)
            self._kinds.setdefault(kind, (message, []))[1].append(place)

    def tell(self) -> None:
        """Stop if there are any.

        Raises:
            UserError: with all kinds of faults, how many, and where the first are.
        """
        kinds = sorted(self._kinds.values(), key=lambda kind: -len(kind[1]))
        told = []
        for message, places in kinds[: 2 * SHOWN]:
            more = len(places) - SHOWN
            others = f" and {more} more" if more > 0 else ""
            told.append(f"{', '.join(places[:SHOWN])}{others}: {message}")
        if len(kinds) > len(told):
            told.append(f"{len(kinds) - len(told)} more kinds of faults")
        require(not told, f"{self.origin}, " + " | ".join(told))


def start_folder() -> Path:
    """The folder that relative paths count from: the project, also where a notebook of `nbs/`, of
    `workshop/learner/` or of the exercises in them was opened."""
    here = Path.cwd()
    notebooks = here.parent if here.name == "exercises" else here
    up = {"nbs": 0, "learner": 1, "teacher": 1}.get(notebooks.name)
    return here if up is None else notebooks.parents[up]


def user_path(name: Path | str) -> Path:
    """A path as a person writes it: `~` is the home folder, others count from the project."""
    here, path = start_folder(), Path(os.path.expanduser(name))  # which leaves ~unknown be
    return path if here == Path.cwd() or os.path.exists(path) else here / path


def read_json_lines(path: Path) -> list[dict]:
    """The objects of a file or folder; see `stream_objects`."""
    return [row for _, row in read_placed_rows(path)]


def read_placed_rows(path: Path) -> list[tuple[str, dict]]:
    """The rows of a file with their places, such as "line 3"; stops where any has a fault."""
    faults = Faults(path)
    rows = list(stream_objects(path, faults))
    faults.tell()
    return rows


def stream_objects(path: Path, faults: Faults) -> Iterator[tuple[str, dict]]:
    """The rows of a file or folder with their places ("line 3"), one after the other.

    JSON lines, a JSON list, CSV, and what `datasets` reads (such as Parquet, or a folder that it
    saved). What is wrong with a line or row goes to `faults`.

    Raises:
        UserError: no such file, no rows, or a file that cannot be read as a whole.
    """
    path = user_path(path)
    require(os.path.exists(path), f"{path}: no such file; give an existing JSONL file")
    if path.is_dir():
        inside = [path / f"train{end}" for end in (*JSON_SUFFIXES, *TABLE_SUFFIXES)]
        path = next(filter(Path.is_file, inside), path)
    require(path.is_dir() or not is_pointer(path),
            f"{path}: only a pointer of Git LFS; `git lfs pull` fetches the file")
    if path.is_dir() or path.suffix.lower() in OTHER_SUFFIXES:
        rows = _rows_by_datasets(path)
    elif path.suffix.lower() in TABLE_SUFFIXES:
        names, cells = read_table(path)
        twice = [name for name in names if name.strip() and names.count(name) > 1]
        if twice:
            raise UserError(f"{path}: several columns are named {twice[0]}; rename all but one")
        rows = ((f"line {line}", dict(zip(names, row, strict=True)), "") for line, row in cells)
    else:
        rows = _json_rows(path)
    empty = True
    for place, row, fault in rows:
        empty = False
        if fault:
            faults.add(place, fault)
        else:
            yield place, row
    require(not empty, f"{path}: the file holds no rows")


def is_pointer(path: Path) -> bool:
    """Whether Git LFS left only a pointer in the place of a file."""
    try:
        with path.open("rb") as file:
            return file.read(20).startswith(b"version https://git")
    except OSError:  # whoever reads it will be told
        return False


def _json_rows(path: Path) -> Iterator[tuple[str, Any, str]]:
    """The rows of a JSON document or of JSON lines: place, object, and what is wrong with it."""
    with path.open("rb") as lines:
        filled = (text for line in lines if (text := line.strip(BLANK)))
        start, after = next(filled, b""), next(filled, b"")
    whole, spread = start[:1] == b"[", start == b"{" and after[:1] == b'"'
    if whole or path.suffix.lower() == ".json":
        raw = path.read_bytes()
        document, line, fault = _decoded(raw)
        if not fault:
            for number, row in enumerate(_document_rows(document, path), 1):
                yield f"row {number}", row, _fault_of_row(row, raw)
            return
        require(not whole or not _decoded(start)[2], f"{path}, line {line}: {fault}")
    require(not spread, f"{path}: an object goes over several lines; write one a line (jq -c .)")
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            if raw.strip(BLANK):
                row, _, fault = _decoded(raw)
                yield f"line {number}", row, fault or _fault_of_row(row, raw)


def _document_rows(document: Any, path: Path) -> list:
    """The rows of a whole document: a list, a list in `data` or `train`, or one object."""
    if not isinstance(document, dict):
        return document if isinstance(document, list) else [document]
    by_name = document and all(isinstance(value, dict) for value in document.values())
    if by_name and all(name.isdigit() for name in document):
        return list(document.values())  # pandas' orient="index"
    columns = by_name or {"columns", "data"} <= set(document) or _lists_of_cells(document)
    require(not columns, f"{path}: pandas' form of columns; write the rows with "
            "to_json(orient='records', lines=True)")
    lists = (document[key] for key in ("data", "train") if isinstance(document.get(key), list))
    return next(lists, [document])


def _lists_of_cells(document: dict) -> bool:
    """Whether it holds a list a column, as `to_dict` gives them, and not lists of messages."""
    columns = list(document.values())
    if len(columns) < 2 or not all(isinstance(column, list) for column in columns):
        return False
    rows = len(columns[0])  # one row reads the same either way
    same = rows > 1 and all(len(column) == rows for column in columns)
    return same and not all(isinstance(cell, dict) for column in columns for cell in column)


def _decoded(raw: bytes) -> tuple[Any, int, str]:
    """What JSON text says, and the line and kind of what is wrong with it."""
    line = 1
    try:
        return json.loads(raw.decode("utf-8-sig")), line, ""
    except UnicodeDecodeError as error:
        line += raw.count(b"\n", 0, error.start)
        return None, line, f"not UTF-8 (byte {error.start}); save the file as UTF-8"
    except json.JSONDecodeError as error:
        line, fault = error.lineno, f"{error.msg} at column {error.colno}"
    except RecursionError:
        fault = "nested too deeply"
    except ValueError:
        fault = "a number with too many digits"
    return None, line, f"not valid JSON ({fault}); mend or delete the line"


def _fault_of_row(row: Any, raw: bytes) -> str:
    if not isinstance(row, dict):
        return "expected an object {…}"
    if rb"\ud" in raw.lower() and LONE_SURROGATE.search(json.dumps(row, ensure_ascii=False)):
        return "half of a character (such as \\ud83d alone); mend or delete the line"
    return ""


def read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The column names of a CSV file, and its rows as text, each with the line on which it ends.

    Commas, semicolons or tabs part the columns; empty rows are left out.

    Raises:
        UserError: no CSV in UTF-8, or a line with more columns than the first.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        separator = max(",;\t", key=text.partition("\n")[0].count)
        csv.field_size_limit(2**31 - 1)  # a long answer is one cell
        reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        mend = "save it as CSV in UTF-8"
        raise UserError(f"{path}: cannot be read as a table ({error}); {mend}") from None
    if rows and rows[0][1][0] == "sep=":  # which tells Excel the separator
        del rows[0]
    (_, names), *rows = rows or [(1, [])]
    for line, row in rows:
        require(len(row) <= len(names),
                f"{path}, line {line}: has {len(row)} columns, the first line has {len(names)}; "
                "put notes that hold the separator into double quotes")
    return names, [(line, row + [""] * (len(names) - len(row))) for line, row in rows]


def _rows_by_datasets(path: Path) -> Iterator[tuple[str, dict, str]]:
    import datasets  # takes a second, which the command line need not wait for

    saved = any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))
    try:
        if saved:
            found = datasets.load_from_disk(str(path))
            rows = found["train"] if isinstance(found, dict) else found
        else:
            name = glob.escape(path.name)  # a file's name, and no pattern
            folder, only = (path, None) if path.is_dir() else (path.parent, name)
            rows = datasets.load_dataset(str(folder), data_files=only, split="train")
    except Exception as error:  # each kind of file has its own types of errors
        raise UserError(f"{path}: cannot be read ({one_line(error)}); save it as JSON lines "
                        "(.jsonl), CSV or Parquet") from None
    return ((f"row {number}", row, "") for number, row in enumerate(rows, 1))


def one_line(error: Exception) -> str:
    """A library's own reason, for a message: its type and words, no longer than 300 characters."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", str(error))  # without colours
    return f"{type(error).__name__}: {' '.join(plain.split())[:300]}"
