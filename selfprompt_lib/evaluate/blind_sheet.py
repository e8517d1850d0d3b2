"""A sheet for people to judge pairs without knowing whose answers they are (appendix A1)."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup
from sklearn.metrics import cohen_kappa_score

from ..errors import require
from ..reading import user_path
from ..sheets import read_filled_in, write_sheet
from ..stats import rate
from .judge import Pair

SIDES = ("one", "other")
ABOUT = ("Read the question and both answers, and say which one helps the asker more: 1, 2, or "
         "tie. Longer is not better, and neither place means anything.")
CARD = Markup("<p class=q>{}</p><p><b>1</b></p><p class=q>{}</p><p><b>2</b></p><p class=q>{}</p>")


def blind_sheet(pairs: Sequence[Pair], path: Path, rows: int, seed: int = 0) -> pd.DataFrame:
    """A random sample of pairs in random order and places: `path`.csv, .html, and .key.json.

    Readers get the first two; the key says which answer stood first. An id must not tell whose
    answers they are. A sheet that was filled in stays, see `write_sheet` (appendix A1).
    """
    rng = random.Random(seed)
    chosen = rng.sample(list(pairs), min(rows, len(pairs)))
    first = {pair.id: rng.choice(SIDES) for pair in chosen}
    require(len(first) == len(chosen), "the pairs for the sheet do not all have an id of their own")
    answers = [(pair.one, pair.other) if first[pair.id] == "one" else (pair.other, pair.one)
               for pair in chosen]
    sheet = pd.DataFrame({
        "id": [pair.id for pair in chosen], "question": [pair.question for pair in chosen],
        "answer 1": [one for one, _ in answers], "answer 2": [two for _, two in answers],
    })
    cards = [CARD.format(*row[1:]) for row in sheet.itertuples(index=False)]
    return write_sheet(sheet, path, {"better": "which helps more"}, ("1", "2", "tie"), cards,
                       "Which answer is better?", ABOUT, first)


def read_blind_sheet(path: Path, key: Path) -> pd.DataFrame:
    """A filled-in sheet with the places undone: id, verdict ("one", "other" or "tie"), notes.

    Raises:
        UserError: no key, a missing column, an id that the key does not know, a row without 1, 2
            or tie.
    """
    path, first = Path(path), _read_key(user_path(key))
    lines, sheet = read_filled_in(path, ["better"], "sheet of pairs")
    verdicts = []
    for line, name, said in zip(lines, sheet.id, sheet.better, strict=True):
        require(name in first, f"{path}, line {line}, column id: {name!r} is not in {key}; "
                               "give the key of this sheet")
        require(said in ("1", "2", "tie"), f"{path}, line {line} ({name}), column better: {said!r} "
                                           "is no verdict; write 1, 2 or tie")
        order = SIDES if first[name] == "one" else SIDES[::-1]
        verdicts.append("tie" if said == "tie" else order[int(said) - 1])
    return sheet[["id"]].assign(verdict=verdicts, notes=sheet.notes)


def _read_key(path: Path) -> dict[str, str]:
    """Which answer stood first, by the id of the pair."""
    require(path.is_file(), f"{path}: no such key; it was written beside the sheet")
    try:
        first = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        first = None
    is_key = isinstance(first, dict) and all(side in SIDES for side in first.values())
    require(is_key, f"{path}: no key of a sheet; give the .key.json that was written beside it")
    return first


def agreement(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, Any]:
    """How far two sets of verdicts (columns id, verdict) agree: two readers, or reader and judge.

    `pairs` counts those that both have a verdict on. `same` is the share of them with the same one,
    with its Wilson interval; `kappa` is Cohen's, the agreement beyond chance, None where one of the
    two said the same of every pair (appendix A1).

    Raises:
        UserError: no pair in common.
    """
    both = one.dropna(subset="verdict").merge(other.dropna(subset="verdict"), on="id",
                                              suffixes=("_one", "_other"))
    require(len(both), "the two sets of verdicts have no pair in common; give both the same sheet")
    a, b = both.verdict_one, both.verdict_other
    varied = a.nunique() > 1 and b.nunique() > 1
    kappa = float(cohen_kappa_score(a, b)) if varied else None
    return {"same": rate((a == b).to_numpy()), "kappa": kappa, "pairs": len(both)}
