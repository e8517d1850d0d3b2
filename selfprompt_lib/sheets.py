"""Sheets that people fill in, in a spreadsheet or a browser: how they are written and read back."""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from jinja2 import Template
from markupsafe import Markup

from .errors import UserError, require
from .files import write_json
from .reading import read_table, user_path

PAGE = Path(__file__).parent / "resources" / "templates" / "sheet.html.jinja"


def write_sheet(sheet: pd.DataFrame, path: Path, questions: Mapping[str, str], words: Sequence[str],
                cards: Sequence[Markup], title: str, about: str,
                key: dict[str, str] | None = None) -> pd.DataFrame:
    """Write `path`.csv for a spreadsheet and `path`.html for a browser; returns the sheet.

    What someone has filled in stays: a sheet of the same rows is left as it is and returned, one
    of other rows is written beside it, as `path`-2, and that is said.

    Args:
        sheet: what readers see, one row a card, with a column `id`. It gets an empty column a
            question, and notes.
        questions: the columns to fill in, with what they mean.
        words: what may be filled in, one button each.
        cards: what the page shows of each row.
        key: what readers do not see, by id; it goes to `path`.key.json.
    """
    columns = [*questions, "notes"]
    sheet = sheet.fillna("").assign(**dict.fromkeys(columns, ""))
    others = (path.with_name(f"{path.stem}-{number}") for number in itertools.count(2))
    for place in itertools.chain([path], others):
        there = _what_lies_there(place, sheet, columns, key)
        if there != "another sheet":
            break
    table = place.with_suffix(".csv")
    if place != path:
        print(f"{path.with_suffix('.csv')} has other rows and is kept; the new sheet is {table}")
    if there == "this sheet":
        print(f"{table}: kept as it was filled in")
        cells = read_cells(table)[1].set_index("id")
        return sheet.assign(**{name: sheet.id.astype(str).map(cells[name])
                               for name in columns if name in cells})
    place.parent.mkdir(parents=True, exist_ok=True)
    sheet.to_csv(table, index=False, encoding="utf-8-sig")  # spreadsheets want the mark
    template = Template(PAGE.read_text(encoding="utf-8"), autoescape=True, trim_blocks=True)
    page = template.render(title=title, about=about, cards=list(zip(sheet.id, cards, strict=True)),
                           questions=questions, words=words, file=table.name)
    place.with_suffix(".html").write_text(page, encoding="utf-8")
    if key is not None:
        write_json(place.with_suffix(".key.json"), key)
    return sheet


def _what_lies_there(path: Path, sheet: pd.DataFrame, columns: Sequence[str],
                     key: dict[str, str] | None) -> str:
    """"nothing", or where someone's work lies there "this sheet" (of the same rows) or "another
    sheet"; a blank sheet is nothing.

    Where the key is another one, copies of its sheet may be with readers.
    """
    table, secret = path.with_suffix(".csv"), path.with_suffix(".key.json")
    try:
        if secret.exists() and json.loads(secret.read_text(encoding="utf-8")) != key:
            return "another sheet"
        if not table.exists():
            return "nothing"
        _, there = read_cells(table)
    except (UserError, OSError, ValueError):  # in a form that cannot be read, but it is there
        return "another sheet"
    own = [name for name in there if name not in sheet or name in columns]  # a reader may add some
    if set(columns) <= set(there) and not there[own].map(str.strip).any(axis=None):
        return "nothing"
    # The page saves ids and verdicts alone; spreadsheets change the ends of lines.
    shown = [name for name in sheet if name in there and name not in columns]
    old, new = (sorted(frame[shown].map(lambda cell: " ".join(str(cell).split())).values.tolist())
                for frame in (there, sheet))
    return "this sheet" if "id" in shown and old == new else "another sheet"


def read_cells(path: Path, what: str = "review sheet") -> tuple[list[int], pd.DataFrame]:
    """The rows of a CSV file as text, without empty ones, and the line on which each ends.

    Raises:
        UserError: no such file, or as `read_table`.
    """
    require(path.is_file(), f"{path}: no such {what}; give the filled-in CSV file")
    names, rows = read_table(path)
    return [line for line, _ in rows], pd.DataFrame([row for _, row in rows], columns=names,
                                                    dtype=str)


def read_filled_in(path: Path, columns: Sequence[str], what: str) -> tuple[list[int], pd.DataFrame]:
    """The rows of a filled-in sheet with their lines: id, `columns` in lower case, and notes.

    Raises:
        UserError: as `read_cells`; a missing column, no rows, or a row that occurs twice.
    """
    lines, sheet = read_cells(user_path(path), what)
    wanted = ["id", *columns, *{"notes"}.intersection(sheet)]
    lacking = [name for name in wanted if list(sheet).count(name) != 1]
    require(not lacking, f"{path}: no column {', '.join(lacking)}, or more than one; "
                         "keep the sheet's first line")
    require(len(sheet), f"{path}: the sheet has no rows")
    twice = sheet.id[sheet.id.duplicated()].head(3)
    require(twice.empty, f"{path}: a row occurs twice: {', '.join(twice)}")
    answers = {name: sheet[name].str.strip().str.lower() for name in columns}
    return lines, sheet[["id"]].assign(**answers, notes=sheet.get("notes", ""))
