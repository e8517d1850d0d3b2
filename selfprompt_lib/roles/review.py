"""A sheet for people to read roles with, and what they found."""

import csv
import html
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd

from .. import stats
from ..errors import UserError, require

CRITERIA = {
    "relevant": "the expert whom one would want; the request restates what is asked, with its limits",
    "specific": "would not fit a hundred other questions",
    "register": "a cook for a recipe, a poet for a poem",
    "hides": "says nothing of the answer",
    "english": "plain, correct, reads well",
}
SHOWN = ["id", "question", "expert", "brings", "request"]
YES, NO = {"y", "yes", "1", "true"}, {"n", "no", "0", "false"}


def review_sheet(frame: pd.DataFrame, path: Path, rows: int, seed: int = 0) -> pd.DataFrame:
    """A random sample to judge: `path`.csv for a spreadsheet, `path`.html to fill in and save in a browser."""
    sample = frame.sample(min(rows, len(frame)), random_state=seed)[SHOWN].reset_index(drop=True)
    sheet = sample.assign(**dict.fromkeys(CRITERIA, ""), notes="")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.to_csv(path.with_suffix(".csv"), index=False, encoding="utf-8-sig")  # spreadsheets want the mark
    path.with_suffix(".html").write_text(_page(sample), encoding="utf-8")
    return sheet


def read_sheet(path: Path) -> pd.DataFrame:
    """A filled-in sheet: `id`, a True or False a criterion, and notes. Commas, semicolons or tabs part its columns.

    Raises:
        UserError: a missing column, a row without a verdict or with another word than y or n.
    """
    path = Path(path)
    lines, sheet = _cells(path)
    lacking = [name for name in ("id", *CRITERIA) if list(sheet).count(name) != 1]
    require(not lacking, f"{path}: no column {', '.join(lacking)}, or more than one; keep the sheet's first line")
    require(len(sheet), f"{path}: the sheet has no rows")
    require(sheet.id.is_unique, f"{path}: a row occurs twice: {', '.join(sheet.id[sheet.id.duplicated()].head(3))}")
    for name in CRITERIA:
        said = sheet[name].str.strip().str.lower()
        for line, row, word in zip(lines, sheet.id, said, strict=True):
            require(word in YES | NO, f"{path}, line {line} ({row}), column {name}: {word!r} is no verdict; write y or n")
        sheet[name] = said.isin(YES)
    return sheet[["id", *CRITERIA]].assign(notes=sheet.get("notes", ""), passes=sheet[list(CRITERIA)].all(axis=1))


def _cells(path: Path) -> tuple[list[int], pd.DataFrame]:
    """The rows of a CSV file as text, without empty ones, and the line on which each ends."""
    require(path.is_file(), f"{path}: no such review sheet; give the filled-in CSV file")
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


def verdicts(sheet: pd.DataFrame) -> pd.DataFrame:
    """The share of rows that pass, for each criterion and for all of them, with Wilson intervals."""
    columns = dict(zip(CRITERIA, CRITERIA, strict=True)) | {"all": "passes"}
    rows = [{"criterion": name, **vars(stats.rate(sheet[column]))} for name, column in columns.items()]
    return pd.DataFrame(rows).rename(columns={"value": "share"})


def between_readers(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """For each criterion: the share of rows on which two readers say the same, and Cohen's kappa.

    Kappa says how far they agree beyond chance. Where nearly every row passes it is low or
    undefined even for readers who nearly always agree: read it beside the plain share.
    """
    from statsmodels.stats.inter_rater import cohens_kappa

    both = one.merge(other, on="id", suffixes=("_one", "_other"))
    require(len(both), "the two review sheets have no row in common; give both readers the same sheet")
    rows = []
    for name in [*CRITERIA, "passes"]:
        a, b = both[f"{name}_one"].to_numpy(), both[f"{name}_other"].to_numpy()
        counts = np.array([[np.sum(a & b), np.sum(a & ~b)], [np.sum(~a & b), np.sum(~a & ~b)]])
        varied = (a.any() or b.any()) and not (a.all() and b.all())
        kappa = float(cohens_kappa(counts, return_results=False)) if varied else None
        rows.append({"criterion": name, "same verdict": float((a == b).mean()), "kappa": kappa, "n": len(both)})
    return pd.DataFrame(rows).assign(kappa=pd.Series([row["kappa"] for row in rows], dtype=object))  # None stays None


def _page(sample: pd.DataFrame) -> str:
    """One card a role with two buttons a criterion; `Save` writes the same CSV as the spreadsheet."""
    cards = "".join(
        f"<article data-id='{html.escape(row.id, quote=True)}'><p class=q>{html.escape(row.question)}</p>"
        f"<p><b>Expert</b> {html.escape(row.expert)}<br><b>Brings</b> {html.escape(row.brings)}<br>"
        f"<b>Request</b> {html.escape(row.request)}</p>{_buttons(number)}"
        "<input class=notes aria-label=notes placeholder=notes></article>"
        for number, row in enumerate(sample.itertuples())
    )
    page = PAGE.replace("NAMES", json.dumps([*CRITERIA])).replace("COUNT", str(len(sample)))
    return page.replace("CARDS", cards)  # last: a question may hold these words


def _buttons(number: int) -> str:
    rows = (f"<tr><th>{name}<small>{html.escape(about)}</small></th>" + "".join(
        f"<td><label><input type=radio name='{number}-{name}' value={value}>{value}</label></td>" for value in "yn") + "</tr>"
        for name, about in CRITERIA.items())
    return f"<table>{''.join(rows)}</table>"


PAGE = """<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>Review sheet</title><style>
body{font:17px/1.45 system-ui,sans-serif;max-width:44rem;margin:auto;padding:1rem 1rem 5rem;color:#222;background:#fff}
article{border:1px solid #aaa;border-radius:8px;padding:.6rem 1rem;margin:1rem 0}
.q{white-space:pre-wrap;background:#f2f2f2;padding:.5rem;border-radius:6px;overflow-wrap:anywhere;max-height:16rem;overflow:auto}
table{width:100%;border-collapse:collapse}th{text-align:left;font-weight:600}small{display:block;font-weight:400;color:#555}
td{width:3.2rem}label{display:block;padding:.5rem;border:1px solid #888;border-radius:6px;text-align:center}
label:has(:checked){background:#0173B2;color:#fff}.notes{width:100%;box-sizing:border-box;margin-top:.5rem;padding:.4rem;font:inherit}
footer{position:fixed;bottom:0;left:0;right:0;background:#fff;border-top:1px solid #aaa;padding:.6rem;text-align:center}
button{font:inherit;padding:.4rem 1.2rem}</style>
<h1>Review sheet</h1><p>Judge each role on five points: y where it holds, n where a careful editor would send it back.
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
  link.download = 'review.csv'; link.click();
};</script></html>
"""
