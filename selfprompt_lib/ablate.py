"""Chapter 6: prompt designs compared at equal data and budget."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from . import evaluate, infer, sft, stats
from .designs import get_design
from .profiles import Profile
from .rows import Question, Sample


def measured_before(profile: Profile, design: str, replies: list[dict], items: pd.DataFrame, arm: str,
                    questions: Sequence[Question]) -> tuple[list[dict], pd.DataFrame]:
    """What chapters 4 and 5 have measured of a design, cut to this chapter's questions, tasks and first seed."""
    ids = {question.id for question in questions}
    kept = items[(items.arm == arm) & (items.seed == profile.seed) & items.task.isin(profile.ablate.tasks)]
    return [row | {"design": design} for row in replies if row["id"] in ids], kept.assign(arm=design)


def measure(model, tokenizer, profile: Profile, questions: Sequence[Question]) -> tuple[list[dict], pd.DataFrame]:
    """One design's model on held-out questions and on the ablation's tasks, as it answers by itself."""
    design = get_design(profile.design)
    replies = infer.replies(model, tokenizer, profile, design, questions, label=f"asking, design {design.name}")
    items = evaluate.run(model, tokenizer, profile, design.name, profile.ablate.tasks, profile.seed)
    return [row | {"design": design.name} for row in replies], items


def with_design(profile: Profile, name: str) -> Profile:
    """The profile with another design; `none` is allowed here, as the baseline."""
    return profile.model_copy(update={"design": name})


def train(profile: Profile, samples: Sequence[Sample], folder: Path):
    """Fine-tune for one design with the budget of chapter 3."""
    return sft.train(profile, samples, get_design(profile.design), folder)


def role_rates(replies: pd.DataFrame) -> pd.DataFrame:
    """Per design, how often a role was written, with its interval, and what it costs in tokens."""
    rows = []
    for name, part in replies.groupby("design", sort=False):
        estimate = stats.rate([infer.wrote_role(row) for row in part.to_dict("records")])
        rows.append({"design": name, "rate": estimate.value, "low": estimate.low, "high": estimate.high,
                     "n": estimate.n, "role tokens": part.role_tokens.mean(), "answer tokens": part.answer_tokens.mean()})
    return pd.DataFrame(rows)


def accuracies(items: pd.DataFrame) -> pd.DataFrame:
    """Accuracy over all items for each design, with Wilson intervals."""
    rows = []
    for name, part in items.groupby("arm", sort=False):
        estimate = stats.rate(part.correct)
        rows.append({"design": name, "accuracy": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n,
                     "not read": int((part.second == evaluate.UNREAD).sum())})
    return pd.DataFrame(rows)


def effects(items: pd.DataFrame, other: str = "none") -> pd.DataFrame:
    """Each design minus `other`, paired by item, the tasks counted alike; Holm over the designs."""
    rows = [{"design": name, **evaluate.differences(items, name, other).iloc[-1]} for name in items.arm.unique() if name != other]
    table = pd.DataFrame(rows)
    return table.assign(p_holm=stats.holm(table.p))
