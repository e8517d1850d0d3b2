"""Pairs of arms that answer a question, each as one paired difference over all tasks."""

import pandas as pd

from .. import stats
from .arms import BASE, BASELINE, GIVEN, MANUAL, OWN
from .effects import differences

UNBROKEN = "\N{NO-BREAK SPACE}"  # so that no line is broken there
PAIRS = ((BASELINE, BASE), (MANUAL, BASELINE), (OWN, MANUAL), (OWN, BASE))


def causes(items: pd.DataFrame) -> pd.DataFrame:
    """The self-prompt model with its own role minus the same model with another, one row a given role (chapter 5)."""
    return _table(items, [(OWN, other) for other in GIVEN], [f"its own minus {other}" for other in GIVEN])


def contrasts(items: pd.DataFrame) -> pd.DataFrame:
    """What tuning does, what a role set by hand does, and the self-prompt model against both (chapter 5)."""
    return _table(items, PAIRS, [f"{new} minus {old}" for new, old in PAIRS])


def _table(items: pd.DataFrame, pairs, labels: list[str]) -> pd.DataFrame:
    """The last rows of `differences`, with the training seeds that both arms have, and Holm over these rows."""
    rows = []
    for (new, old), label in zip(pairs, labels, strict=True):
        parts = [items[items.arm == name] for name in (new, old)]
        if parts[0].empty or parts[1].empty:
            continue
        shared = (set(parts[0].seed) & set(parts[1].seed)) or (set(parts[0].seed) | set(parts[1].seed))
        both = pd.concat(parts)
        rows.append({"contrast": label, **differences(both[both.seed.isin(shared | {-1})], new, old).iloc[-1].drop("task")})
    table = pd.DataFrame(rows)
    return table.assign(p_holm=stats.holm(table.p)) if rows else table


def shown(table: pd.DataFrame):
    """A table of differences for readers, narrow enough for a page: points with their sign and their interval in one column."""
    names = [name for name in ("contrast", "design", "task") if name in table][:1]
    whole = table.assign(**{
        "points [95% interval]": [_change(row) for row in table.itertuples()],
        "won, lost": [f"{won}, {lost}" for won, lost in zip(table.wins, table.losses, strict=True)],
    })
    kept = whole[[*names, "points [95% interval]", "won, lost", "seeds", "p", "p_holm", "smallest"]]
    forms = {"p": "{:.3f}", "p_holm": "{:.3f}", "smallest": lambda value: f"{value:.0%}" if value < 1 else "none"}
    return kept.style.format(forms).hide(axis="index")


def _change(row) -> str:
    return f"{100 * row.difference:+.0f} [{100 * row.low:+.0f}, {100 * row.high:+.0f}]".replace(" ", UNBROKEN)
