"""Sheets that people fill in, in a spreadsheet or a browser: their page, and how they are read back."""

import csv
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from .errors import UserError, require


def cells(path: Path, what: str = "review sheet") -> tuple[list[int], pd.DataFrame]:
    """The rows of a CSV file as text, without empty ones, and the line on which each ends.

    Commas, semicolons or tabs part the columns.

    Raises:
        UserError: no such file, no CSV in UTF-8, or a line with more columns than the first.
    """
    require(path.is_file(), f"{path}: no such {what}; give the filled-in CSV file")
    try:
        text = path.read_text(encoding="utf-8-sig")
        reader = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=text.partition("\n")[0].count), strict=True)
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a table ({error}); save it as CSV in UTF-8") from None
    (_, names), *rows = rows or [(1, [])]
    for line, row in rows:
        require(len(row) <= len(names), f"{path}, line {line}: has {len(row)} columns, the first line has {len(names)}; "
                                        "put notes that hold the separator into double quotes")
    full = [row + [""] * (len(names) - len(row)) for _, row in rows]
    return [line for line, _ in rows], pd.DataFrame(full, columns=names, dtype=str)


def buttons(card: int, questions: Mapping[str, str], words: Sequence[str]) -> str:
    """For each question of a card (name → what it means) one row with a button a word."""
    rows = (f"<tr><th>{name}<small>{html.escape(about)}</small></th>" + "".join(
        f"<td><label><input type=radio name='{card}-{name}' value={word}>{word}</label></td>" for word in words) + "</tr>"
        for name, about in questions.items())
    return f"<table>{''.join(rows)}</table>"


def page(title: str, about: str, cards: Sequence[tuple[str, str]], questions: Sequence[str], file: str) -> str:
    """A page of cards (id, HTML) with a field for notes each; `Save` writes the CSV `file` that `cells` reads."""
    articles = "".join(f"<article data-id='{html.escape(name, quote=True)}'>{inner}"
                       "<input class=notes aria-label=notes placeholder=notes></article>" for name, inner in cards)
    whole = PAGE.replace("TITLE", title).replace("ABOUT", about).replace("FILE", file)
    whole = whole.replace("NAMES", json.dumps([*questions])).replace("COUNT", str(len(cards)))
    return whole.replace("CARDS", articles)  # last: a question may hold these words


PAGE = """<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>TITLE</title><style>
body{font:17px/1.45 system-ui,sans-serif;max-width:44rem;margin:auto;padding:1rem 1rem 5rem;color:#222;background:#fff}
article{border:1px solid #aaa;border-radius:8px;padding:.6rem 1rem;margin:1rem 0}
.q{white-space:pre-wrap;background:#f2f2f2;padding:.5rem;border-radius:6px;overflow-wrap:anywhere;max-height:16rem;overflow:auto}
table{width:100%;border-collapse:collapse}th{text-align:left;font-weight:600}small{display:block;font-weight:400;color:#555}
td{width:3.2rem}label{display:block;padding:.5rem;border:1px solid #888;border-radius:6px;text-align:center}
label:has(:checked){background:#0173B2;color:#fff}.notes{width:100%;box-sizing:border-box;margin-top:.5rem;padding:.4rem;font:inherit}
footer{position:fixed;bottom:0;left:0;right:0;background:#fff;border-top:1px solid #aaa;padding:.6rem;text-align:center}
button{font:inherit;padding:.4rem 1.2rem}</style>
<h1>TITLE</h1><p>ABOUT
Nothing leaves this page; <i>Save</i> gives you a CSV file.</p>CARDS
<footer><span id=count>0 of COUNT</span> <button id=save>Save</button></footer><script>
const names = NAMES, cards = [...document.querySelectorAll('article')];
const verdict = (card, name) => card.querySelector(`input[name$="-${name}"]:checked`)?.value ?? '';
const done = () => cards.filter(card => names.every(name => verdict(card, name))).length;
document.addEventListener('change', () => count.textContent = `${done()} of COUNT`);
save.onclick = () => {
  const quote = text => '"' + text.replaceAll('"', '""') + '"';
  const row = card => [card.dataset.id, ...names.map(name => verdict(card, name)), card.querySelector('.notes').value];
  const lines = [['id', ...names, 'notes'].join(), ...cards.map(card => row(card).map(quote).join())];
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([lines.join('\\n') + '\\n'], {type: 'text/csv'}));
  link.download = 'FILE'; link.click();
};</script></html>
"""
