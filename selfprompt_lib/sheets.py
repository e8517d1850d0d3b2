"""Sheets that people fill in, in a spreadsheet or a browser: how they are written and read back."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from jinja2 import Template
from markupsafe import Markup

from .errors import UserError, require

PAGE = Path(__file__).parent / "resources" / "templates" / "sheet.html.jinja"


def write_sheet(sheet: pd.DataFrame, path: Path, questions: Mapping[str, str], words: Sequence[str],
                cards: Sequence[Markup], title: str, about: str, saved_as: str) -> pd.DataFrame:
    """Write `path`.csv for a spreadsheet and `path`.html for a browser; returns the sheet.

    Args:
        sheet: what readers see, one row a card, with a column `id`. It gets an empty column a
            question, and notes.
        questions: the columns to fill in, with what they mean.
        words: what may be filled in, one button each.
        cards: what the page shows of each row.
        saved_as: name of the CSV file that the page's button saves.

    Raises:
        UserError: a sheet that someone has begun to fill in lies there already.
    """
    _spare_what_is_filled_in(path.with_suffix(".csv"), [*questions, "notes"])
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = sheet.assign(**dict.fromkeys(questions, ""), notes="")
    with_mark = "utf-8-sig"  # spreadsheets want the mark
    sheet.to_csv(path.with_suffix(".csv"), index=False, encoding=with_mark)
    template = Template(PAGE.read_text(encoding="utf-8"), autoescape=True, trim_blocks=True)
    page = template.render(title=title, about=about, cards=list(zip(sheet.id, cards, strict=True)),
                           questions=questions, words=words, file=saved_as)
    path.with_suffix(".html").write_text(page, encoding="utf-8")
    return sheet


def _spare_what_is_filled_in(path: Path, columns: Sequence[str]) -> None:
    if not path.exists():
        return
    _, sheet = read_cells(path)
    another_table = not set(columns) <= set(sheet)
    filled_in = another_table or (sheet[list(columns)].map(str.strip) != "").any(axis=None)
    require(not filled_in, f"{path}: exists and has been filled in; move it away, with its key if "
                           "it has one, or give another name")


def read_cells(path: Path, what: str = "review sheet") -> tuple[list[int], pd.DataFrame]:
    """The rows of a CSV file as text, without empty ones, and the line on which each ends.

    Commas, semicolons or tabs part the columns.

    Raises:
        UserError: no such file, no CSV in UTF-8, or a line with more columns than the first.
    """
    require(path.is_file(), f"{path}: no such {what}; give the filled-in CSV file")
    try:
        text = path.read_text(encoding="utf-8-sig")
        separator = max(",;\t", key=text.partition("\n")[0].count)
        reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        mend = "save it as CSV in UTF-8"
        raise UserError(f"{path}: cannot be read as a table ({error}); {mend}") from None
    (_, names), *rows = rows or [(1, [])]
    for line, row in rows:
        require(len(row) <= len(names),
                f"{path}, line {line}: has {len(row)} columns, the first line has {len(names)}; "
                "put notes that hold the separator into double quotes")
    full = [row + [""] * (len(names) - len(row)) for _, row in rows]
    return [line for line, _ in rows], pd.DataFrame(full, columns=names, dtype=str)


def read_filled_in(path: Path, columns: Sequence[str], what: str) -> tuple[list[int], pd.DataFrame]:
    """The rows of a filled-in sheet with their lines: id, `columns` in lower case, and notes.

    Raises:
        UserError: as `read_cells`; a missing column, no rows, or a row that occurs twice.
    """
    lines, sheet = read_cells(path, what)
    lacking = [name for name in ("id", *columns) if list(sheet).count(name) != 1]
    require(not lacking, f"{path}: no column {', '.join(lacking)}, or more than one; "
                         "keep the sheet's first line")
    require(len(sheet), f"{path}: the sheet has no rows")
    twice = sheet.id[sheet.id.duplicated()].head(3)
    require(twice.empty, f"{path}: a row occurs twice: {', '.join(twice)}")
    answers = {name: sheet[name].str.strip().str.lower() for name in columns}
    return lines, sheet[["id"]].assign(**answers, notes=sheet.get("notes", ""))
