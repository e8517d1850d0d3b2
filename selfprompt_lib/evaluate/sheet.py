"""A sheet on which people judge pairs without knowing whose answer is whose, and how far they agree (chapter 5)."""

import html
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import stats
from ..errors import UserError, require
from ..files import write_json
from ..sheets import buttons, cells, page
from .judge import Pair

WORDS = ("1", "2", "tie")  # which answer is better
VERDICTS = ("one", "other", "tie")
COLUMNS = ["id", "question", "answer 1", "answer 2", "better", "notes"]
ABOUT = ("Read the question and both answers, and say which one helps the asker more: 1, 2, or tie. "
         "Longer is not better, and neither place means anything.")


def blind_sheet(pairs: Sequence[Pair], path: Path, rows: int, seed: int = 0) -> pd.DataFrame:
    """A random sample of pairs in random order and places: `path`.csv, `path`.html, and `path`.key.json apart.

    Readers get the first two; the key says which answer stood first. An id must not tell whose answers they are.

    Raises:
        UserError: a sheet that someone has begun to fill in lies there already.
    """
    _spare_what_is_filled_in(path.with_suffix(".csv"))
    dice = random.Random(seed)
    chosen = dice.sample(list(pairs), min(rows, len(pairs)))
    first = {pair.id: dice.choice(("one", "other")) for pair in chosen}
    require(len(first) == len(chosen), "the pairs for the sheet do not all have an id of their own")
    sheet = pd.DataFrame([[pair.id, pair.question, *_shown(pair, first[pair.id]), "", ""] for pair in chosen], columns=COLUMNS)
    write_json(path.with_suffix(".key.json"), first)
    sheet.to_csv(path.with_suffix(".csv"), index=False, encoding="utf-8-sig")  # spreadsheets want the mark
    path.with_suffix(".html").write_text(_page(sheet), encoding="utf-8")
    return sheet


def read_blind(path: Path, key: Path) -> pd.DataFrame:
    """A filled-in sheet with the places undone: columns id, verdict ("one", "other" or "tie") and notes.

    Raises:
        UserError: no key, a missing column, an id that the key does not know, a row without 1, 2 or tie.
    """
    path, first = Path(path), _key(Path(key))
    lines, sheet = cells(path, "sheet of pairs")
    lacking = [name for name in ("id", "better") if list(sheet).count(name) != 1]
    require(not lacking, f"{path}: no column {', '.join(lacking)}, or more than one; keep the sheet's first line")
    require(len(sheet), f"{path}: the sheet has no rows")
    require(sheet.id.is_unique, f"{path}: a row occurs twice: {', '.join(sheet.id[sheet.id.duplicated()].head(3))}")
    rows = []
    for line, name, said in zip(lines, sheet.id, sheet.better.str.strip().str.lower(), strict=True):
        require(name in first, f"{path}, line {line}, column id: {name!r} is not in {key}; give the key of this sheet")
        require(said in WORDS, f"{path}, line {line} ({name}), column better: {said!r} is no verdict; write 1, 2 or tie")
        swapped = first[name] == "other"
        rows.append((name, {"1": VERDICTS[swapped], "2": VERDICTS[not swapped], "tie": "tie"}[said]))
    return pd.DataFrame(rows, columns=["id", "verdict"]).assign(notes=sheet.get("notes", ""))


def agreement(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, Any]:
    """How far two sets of verdicts (columns id, verdict) agree on the pairs that both have: two readers, or reader and judge.

    `same` is the share of pairs with the same verdict, with its Wilson interval; `kappa` is Cohen's, the agreement
    beyond chance, None where one of the two said the same of every pair.

    Raises:
        UserError: no pair in common.
    """
    from statsmodels.stats.inter_rater import cohens_kappa

    both = one.dropna(subset="verdict").merge(other.dropna(subset="verdict"), on="id", suffixes=("_one", "_other"))
    require(len(both), "the two sets of verdicts have no pair in common; give both the same sheet")
    a, b = both.verdict_one, both.verdict_other
    counts = pd.crosstab(a, b).reindex(index=VERDICTS, columns=VERDICTS, fill_value=0).to_numpy()
    varied = a.nunique() > 1 and b.nunique() > 1
    kappa = float(cohens_kappa(counts, return_results=False)) if varied else None
    return {"same": stats.rate(np.asarray(a == b)), "kappa": kappa, "pairs": len(both)}


def _shown(pair: Pair, first: str) -> tuple[str, str]:
    return (pair.one, pair.other) if first == "one" else (pair.other, pair.one)


def _spare_what_is_filled_in(path: Path) -> None:
    if path.exists():
        _, sheet = cells(path)
        begun = any(sheet[name].str.strip().any() for name in ("better", "notes") if name in sheet) or "better" not in sheet
        require(not begun, f"{path}: exists and has been filled in; move it and its key away, or give another name")


def _key(path: Path) -> dict[str, str]:
    require(path.is_file(), f"{path}: no such key; it was written beside the sheet")
    try:
        first = json.loads(path.read_text(encoding="utf-8"))
        require(set(first.values()) <= {"one", "other"}, "")
    except (ValueError, AttributeError, TypeError):
        raise UserError(f"{path}: no key of a sheet; give the .key.json that was written beside it") from None
    return first


def _page(sheet: pd.DataFrame) -> str:
    """One card a pair with three buttons."""
    cards = [(name, f"<p class=q>{html.escape(question)}</p><p><b>1</b></p><p class=q>{html.escape(one)}</p>"
                    f"<p><b>2</b></p><p class=q>{html.escape(two)}</p>{buttons(number, {'better': 'which helps more'}, WORDS)}")
             for number, (name, question, one, two, *_) in enumerate(sheet.itertuples(index=False))]
    return page("Which answer is better?", ABOUT, cards, ["better"], "pairs.csv")
