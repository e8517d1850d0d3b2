"""What curves and contrasts of cells say, in plain words (chapter 7)."""

import pandas as pd

from ..stats import signed
from .changes import MARK
from .curves import GAIN, LEVEL

NAMED = 3  # runs that a sentence names
HOLDS = 0.05  # Holm's p below which a difference is told as one


def cells_text(contrasts: pd.DataFrame, overview: pd.DataFrame, unit: str) -> str:
    """Which cells differ from the reference, how far, and how sure that is (chapter 7).

    Args:
        contrasts: of `cell_contrasts`.
        overview: of `run_overview`.
        unit: of the measure, such as "nats a token".
    """
    told = {name: _quantity_text(contrasts[contrasts.quantity == name], unit)
            for name in (LEVEL, GAIN) if name in set(contrasts.get("quantity", []))}
    if len(set(told.values())) < len(told):  # cells with one baseline: both differ by the same
        told = {f"{LEVEL}, and in the {GAIN}, which is the same here": told[LEVEL]}
    parts = [f"**{name[0].upper()}{name[1:]}**, {text}" for name, text in told.items()]
    marked = overview[overview.versions == MARK].run
    if len(marked):
        named = ", ".join(f"`{name}`" for name in marked[:NAMED])
        more = f" and {len(marked) - NAMED} more" if len(marked) > NAMED else ""
        parts.append(f"Made with other versions or code than the first: {named}{more}. What "
                     "differs there may be due to that.")
    return "\n\n".join(parts or ["No two cells have likelihoods to compare."])


def _others_text(others: pd.DataFrame, unit: str) -> str:
    """Of cells that do not differ after Holm's correction: what could have been seen."""
    smallest = others.smallest.dropna()
    if smallest.empty:
        return ". The others are the same to the last digit"
    text = ""
    if apart := int(((others.low > 0) | (others.high < 0)).sum()):
        text = (f". Of the others, {apart} {'has' if apart == 1 else 'have'} an interval that "
                "leaves out zero, which among so many tests is not enough")
    least, most = f"{smallest.min():.2g}", f"{smallest.max():.2g}"
    needed = least if least == most else f"{least} to {most}"
    return f"{text}. A difference of {needed} {unit} would have been seen, four times in five"


def _quantity_text(rows: pd.DataFrame, unit: str) -> str:
    seen = rows[rows.p_holm < HOLDS]
    reference, seeds = rows.reference.iloc[0], int(rows.seeds.max())
    text = (f"against `{reference}`: {len(seen)} of {len(rows)} cells differ after Holm's "
            "correction")
    if len(seen):
        told = [f"`{row.group}` {signed(row.difference)} {unit} [{signed(row.low)}, "
                f"{signed(row.high)}]" for row in seen.itertuples()]
        text += f": {'; '.join(told)}"
    if len(seen) < len(rows):
        text += _others_text(rows[rows.p_holm >= HOLDS], unit)
    over = f"items and {seeds} training seeds" if seeds > 1 else (
        "items alone: with one training seed, this is about these very models")
    return f"{text}. The intervals are over {over}."
