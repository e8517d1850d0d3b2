"""Several annotators side by side, on the same samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import require
from ..rows import Conversation, read_rows
from .metrics import derangement, embed, relevance, summary, table


def live_table(rows: Sequence[dict[str, Any]], reference: pd.DataFrame | None = None) -> pd.DataFrame:
    """The live roles of chapter 1 as `table` gives them, with the answers of `reference`. Rows without a role are left out."""
    live = table([Conversation.model_validate(row | {"conversations": (row["question"],)}) for row in rows if row["role"]])
    if reference is None:
        return live
    answers = dict(zip(reference.id, reference.answer, strict=True))
    return live.assign(answer=live.id.map(answers).fillna(""))


def from_files(paths: Sequence[str], reference: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Role files of other annotators (from the annotate command) for the questions of `reference`, by file name.

    Raises:
        UserError: a file that is missing or malformed, or none of whose questions are among the
            reference's; two files of one name.
    """
    known = dict(zip(reference.question, reference.id, strict=True))
    frames = {}
    for path in paths:
        name = Path(path).stem
        require(name not in (*frames, "reference", "live"), f"roles.files: {path}: other roles are named {name} too; rename it")
        frame = table(read_rows(Path(path), Conversation))
        frame = frame[frame.question.isin(known)].assign(id=lambda part: part.question.map(known))
        require(len(frame), f"roles.files: {path} has no role for any question of this run; annotate the same data")
        frames[name] = frame.drop_duplicates("id").reset_index(drop=True)
    return frames


def same_samples(frames: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The rows that all (non-empty) frames have, in one order, so that they can be compared."""
    filled = {name: frame for name, frame in frames.items() if len(frame)}
    common = set.intersection(*(set(frame.id) for frame in filled.values())) if filled else set()
    if not common:
        return {}
    return {name: frame[frame.id.isin(common)].sort_values("id").reset_index(drop=True) for name, frame in filled.items()}


def side_by_side(model, frames: dict[str, pd.DataFrame], seed: int = 0) -> dict[str, dict[str, Any]]:
    """`summary` for several sets of roles on the same samples; an empty set is left out."""
    return {name: summary(frame, embed(model, frame.question), embed(model, frame.role), seed)
            for name, frame in same_samples(frames).items()}


def agreement(model, one: pd.DataFrame, other: pd.DataFrame, seed: int = 0) -> dict[str, float]:
    """How alike two annotators' roles are for the same samples, against shuffled ones (mean cosines).

    `finds the other's` is the share of roles whose nearest role of the other annotator is the one
    for the same sample. The request is left out of `experts`, so it does not share the question's words.
    """
    pair = same_samples({"one": one, "other": other})
    require(len(pair) == 2 and len(pair["one"]) > 1, "agreement needs two sets of roles with at least two samples in common")
    role_a, role_b = embed(model, pair["one"].role), embed(model, pair["other"].role)
    expert_a, expert_b = embed(model, pair["one"].expert), embed(model, pair["other"].expert)
    away = derangement(len(role_a), seed)
    return {
        "samples": len(role_a),
        "roles": float((role_a * role_b).sum(axis=1).mean()),
        "experts": float((expert_a * expert_b).sum(axis=1).mean()),
        "experts, shuffled": float((expert_a * expert_b[away]).sum(axis=1).mean()),
        "finds the other's": float((relevance(role_b, role_a) == 0).mean()),
    }


def likeness(model, frames: dict[str, pd.DataFrame], seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each set of roles, on the same samples: cosines of roles with their own questions, and with shuffled ones."""
    found = {}
    for name, frame in same_samples(frames).items():
        questions, roles = embed(model, frame.question), embed(model, frame.role)
        shuffled = questions[derangement(len(frame), seed)]
        found[name] = (questions * roles).sum(axis=1), (shuffled * roles).sum(axis=1)
    return found
