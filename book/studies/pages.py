"""What the studies share: the parts of a written page."""

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from selfprompt_lib.errors import require


def written_by(script: str) -> str:
    """The first line of a written page: the script that renews it."""
    return f"<!-- Written by book/studies/{script}: run it again rather than change this. -->"


def table(rows: list[dict[str, str]]) -> list[str]:
    """The lines of a Markdown table, one row a dictionary; columns of numbers to the right."""
    head = list(rows[0])
    rules = ["---"] + ["---:" if _is_of_numbers(rows, name) else "---" for name in head[1:]]
    cells = [head, rules, *(row.values() for row in rows)]
    return [f"| {' | '.join(row)} |" for row in cells]


def _is_of_numbers(rows: list[dict[str, str]], column: str) -> bool:
    """Whether most cells begin with a digit, behind a sign."""
    cells = [row[column].lstrip("*+-−<[(≈$") for row in rows]
    return 2 * sum(cell[:1].isdigit() for cell in cells) >= len(cells)


def captioned(tables: dict[str, list[dict[str, str]]]) -> list[str]:
    """The lines of several tables, each below its caption."""
    return [line for caption, rows in tables.items()
            for line in (f"**{caption}**", "", *table(rows), "")]


def made_with(*libraries: str) -> str:
    """Day, machine and versions of libraries, in words."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in libraries)
    machine = f"{platform.machine()} with {os.cpu_count()} cores"
    return f"{datetime.now(UTC):%Y-%m-%d}, {machine}; {versions}"


def require_own(out: Path, *marks: str) -> None:
    """Refuse an `--out` that is no Markdown file, or one that begins with none of the marks.

    Raises:
        UserError: another ending than .md, or a file of somebody else.
    """
    require(out.suffix == ".md", f"--out {out}: give a name that ends in .md")
    require(not out.exists() or out.read_text(encoding="utf-8").startswith(marks),
            f"--out {out}: exists and was not written by this command; give another name")
