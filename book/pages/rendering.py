"""Pages from Jinja templates, and how numbers and a model's words are written in them."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from selfprompt_lib import stats

TEMPLATES = Path(__file__).with_name("templates")
LONGEST = 600  # characters of a model's text before it is cut
INTERVAL = re.compile(r"(\[[−+]?[\d.]+%?), (?=[−+]?[\d.]+%?\])")  # up to the middle of it
MARKS = re.compile(r"([\\`*_\[\]&$~|@]|:(?=//))")  # what means something within a line of Markdown


def render(template: str, facts: dict[str, Any]) -> str:
    """A page: a template filled with facts, which are plain data; one that is missing is an error.

    In tables, whose columns are narrow, an interval is not broken across lines.

    Filters besides Jinja's own: `percent`, `points`, `seen`, `number`, `p_value` and `change` for
    numbers; `as_html`, `as_markdown` and `as_json` for what a model wrote.
    """
    page = _environment().get_template(template).render(facts)
    lines = (INTERVAL.sub("\\1,\N{NO-BREAK SPACE}", line) if line.startswith("|") else line
             for line in page.split("\n"))
    return "\n".join(lines)


@cache
def _environment() -> Environment:
    pages = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined,
                        trim_blocks=True, lstrip_blocks=True)
    pages.filters |= {
        "percent": lambda share: f"{100 * share:.0f}%",
        "points": stats.points_text,
        "seen": lambda share: f"{100 * share:.0f}" if share < 1 else "none",
        "p_value": p_text,
        "number": lambda value: "–" if pd.isna(value) else f"{value:,}",
        "change": lambda row: stats.points_with_interval(
            row["difference"], row["low"], row["high"], decimals=1),
        "as_html": as_html, "as_markdown": as_markdown, "as_json": as_json,
    }
    return pages


def p_text(p: float | None) -> str:
    """A p-value to three digits; a dash where nothing was tested."""
    return "–" if pd.isna(p) else f"{p:.3f}" if p >= 0.001 else "<\N{NO-BREAK SPACE}0.001"


def as_html(text: str) -> Markup:
    """A model's text as HTML in one line, for it must not end the block it stands in."""
    return Markup("<br>").join(escape(line) for line in shortened(text).splitlines())


def as_markdown(text: str) -> str:
    """A model's text in one line of Markdown, with nothing in it that Markdown would obey."""
    lines = (MARKS.sub(r"\\\1", line).replace("<", "&lt;") for line in shortened(text).splitlines())
    return "<br>".join(lines)


def as_json(value: Any) -> str:
    """JSON in one line that can stand in a page's script element: no text in it can end that."""
    return json.dumps(value).replace("<", "\\u003c")


def shortened(text: str) -> str:
    """A text without the space around it, cut at a word where it is longer than `LONGEST`."""
    text = text.strip()
    return text if len(text) <= LONGEST else text[:LONGEST].rsplit(maxsplit=1)[0] + " …"
