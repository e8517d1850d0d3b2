"""A sheet for people to read roles with, and what they found (chapter 2)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup
from sklearn.metrics import cohen_kappa_score

from .. import stats
from ..errors import require
from ..sheets import read_filled_in, write_sheet

CRITERIA = {
    "relevant": "the expert whom one would want; "
                "the request restates what is asked, with its limits",
    "specific": "would not fit a hundred other questions",
    "register": "a cook for a recipe, a poet for a poem",
    "hides": "says nothing of the answer",
    "english": "plain, correct, reads well",
}
STRATEGY_CRITERIA = {
    "fits": "says what this strategy should say of this very question, with its limits",
    "true": "nothing false, however small",
    "no_leak": "gives nothing of the answer away",
    "form": "one paragraph of 20 to 55 words, register and opening as its guideline asks",
}
SHOWN = ["id", "question", "expert", "brings", "request"]
YES, NO = {"y", "yes", "1", "true"}, {"n", "no", "0", "false"}
ABOUT = ("Judge each role on five points: y where it holds, n where a careful editor would send it "
         "back.")
CARD = Markup(
    "<p class=q>{0.question}</p><p><b>Expert</b> {0.expert}<br><b>Brings</b> {0.brings}<br>"
    "<b>Request</b> {0.request}</p>"
)


def review_sheet(frame: pd.DataFrame, path: Path, rows: int, seed: int = 0) -> pd.DataFrame:
    """A random sample to judge, as `write_sheet` writes it: a filled-in one stays (chapter 2)."""
    sample = frame.sample(min(rows, len(frame)), random_state=seed)[SHOWN].reset_index(drop=True)
    cards = [CARD.format(row) for row in sample.itertuples()]
    return write_sheet(sample, path, CRITERIA, "yn", cards, "Review sheet", ABOUT)


def read_sheet(path: Path, criteria: Mapping[str, str] = CRITERIA) -> pd.DataFrame:
    """A filled-in sheet: `id`, True or False a criterion, notes, `passes` (all of them; chapter 2).

    Args:
        criteria: those of roles, or `STRATEGY_CRITERIA` for what another strategy writes.

    Raises:
        UserError: a missing column, a row without a verdict or with another word than y or n.
    """
    path = Path(path)
    lines, sheet = read_filled_in(path, list(criteria), "review sheet")
    for name in criteria:
        for line, row, word in zip(lines, sheet.id, sheet[name], strict=True):
            require(word in YES | NO, f"{path}, line {line} ({row}), column {name}: {word!r} is no "
                                      "verdict; write y or n")
        sheet[name] = sheet[name].isin(YES)
    return sheet.assign(passes=sheet[list(criteria)].all(axis=1))


def verdicts(sheet: pd.DataFrame, criteria: Mapping[str, str] = CRITERIA) -> pd.DataFrame:
    """The share of rows that pass, by criterion and for all, with Wilson intervals (chapter 2)."""
    columns = {name: name for name in criteria} | {"all": "passes"}
    return pd.DataFrame({"criterion": name, **stats.rate(sheet[column]).columns("share")}
                        for name, column in columns.items())


def between_raters(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """By criterion: the share of rows on which two raters agree, and Cohen's kappa (chapter 2).

    Kappa says how far they agree beyond chance. Where nearly every row passes it is low or
    undefined even for raters who nearly always agree: read it beside the plain share.

    Raises:
        UserError: no row that both have read.
    """
    both = one.merge(other, on="id", suffixes=("_one", "_other"))
    require(len(both),
            "the two review sheets have no row in common; give both raters the same sheet")
    rows = []
    for name in [*CRITERIA, "passes"]:
        a, b = both[f"{name}_one"].to_numpy(), both[f"{name}_other"].to_numpy()
        varied = len(np.union1d(a, b)) > 1  # kappa is undefined where both say one word only
        kappa = float(cohen_kappa_score(a, b)) if varied else None
        rows.append({"criterion": name, "same verdict": float(np.mean(a == b)), "kappa": kappa,
                     "n": len(both)})
    kappas = pd.Series([row["kappa"] for row in rows], dtype=object)  # None stays None
    return pd.DataFrame(rows).assign(kappa=kappas)
