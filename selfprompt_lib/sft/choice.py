"""Which epoch: what each kept checkpoint of a run can do, shown for a reader to choose from."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .. import infer, models, stats
from ..designs import Design
from ..profiles import Profile
from ..rows import Question


def kept(run: Path) -> list[Path]:
    """The checkpoint folders of a run, first epoch first."""
    return sorted(run.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))


def choices(profile: Profile, run: Path, design: Design, questions: Sequence[Question]) -> pd.DataFrame:
    """A row a kept epoch: loss on samples not trained on, and how often the model writes a role (chapter 3).

    Nothing is picked: LIMA's authors saw held-out loss rise while answers became better (arXiv 2305.11206,
    appendix B), so the lowest loss would choose wrongly.

    Returns:
        Columns epoch, loss (nats a token), rate, low, high (Wilson, 95%), n and checkpoint; empty where none was kept.
    """
    return pd.DataFrame([_choice(profile, path, design, questions) for path in kept(run)])


def _choice(profile: Profile, path: Path, design: Design, questions: Sequence[Question]) -> dict[str, Any]:
    state = json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
    loss = [entry["eval_loss"] for entry in state["log_history"] if "eval_loss" in entry]
    model, tokenizer = models.load(str(path), profile.dtype)
    replies = infer.replies(model, tokenizer, profile, design, questions, label=f"epoch {state['epoch']:.0f}")
    found = stats.rate([infer.wrote_role(row) for row in replies])
    return {"epoch": round(state["epoch"]), "loss": loss[-1] if loss else float("nan"), "rate": found.value,
            "low": found.low, "high": found.high, "n": found.n, "checkpoint": path.name}
