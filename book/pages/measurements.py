"""What the pages that are made of kept measurements share: where these lie, how one is told."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from selfprompt_lib.provenance import PROJECT
from selfprompt_lib.stats import signed

MEASURED = PROJECT / "book" / "measured"


def read_record(folder: Path) -> dict[str, Any]:
    """The `record.json` of a kept measurement."""
    return json.loads((folder / "record.json").read_text(encoding="utf-8"))


def is_kept(folder: Path) -> bool:
    """Whether a measurement is kept there."""
    return (folder / "record.json").is_file()


def difference_text(value: float, low: float, high: float, p: float = 1.0) -> str:
    """A difference in nats, with its interval where it has one, and a star where it counts.

    Args:
        p: after Holm's correction.
    """
    if pd.isna(low):
        return signed(value)
    star = "\\*" if p < 0.05 else ""
    return f"{signed(value)}{star} [{signed(low)}, {signed(high)}]"
