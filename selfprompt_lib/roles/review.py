"""A sheet for people to read roles with, and what they found."""

import html
from pathlib import Path

import numpy as np
import pandas as pd

from .. import stats
from ..errors import require
from ..sheets import buttons, cells, page

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
    lines, sheet = cells(path)
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
    """One card a role with two buttons a criterion."""
    cards = [(row.id, f"<p class=q>{html.escape(row.question)}</p>"
                      f"<p><b>Expert</b> {html.escape(row.expert)}<br><b>Brings</b> {html.escape(row.brings)}<br>"
                      f"<b>Request</b> {html.escape(row.request)}</p>{buttons(number, CRITERIA, 'yn')}")
             for number, row in enumerate(sample.itertuples())]
    about = "Judge each role on five points: y where it holds, n where a careful editor would send it back."
    return page("Review sheet", about, cards, [*CRITERIA], "review.csv")
