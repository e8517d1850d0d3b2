"""Further designs trained and asked (chapter 6); what was trained before is taken up, see `kept`.

It stands apart from what chapter 6 says of it, so that a word there trains nothing anew.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from . import infer, models, sft
from .designs import get_design
from .evaluate.arms import plain_arm
from .evaluate.benchmarks import PREFIX
from .evaluate.harness import ask_benchmarks
from .evaluate.measure import measure_model, task_content
from .kept import keep
from .profiles import Profile
from .rows import Question, Sample


def measured_before(profile: Profile, name: str, arm: str, replies: list[dict],
                    items: pd.DataFrame, questions: Sequence[Question], tasks: dict[str, Any],
                    checkpoint: Path, folder: Path) -> tuple[list[dict], pd.DataFrame]:
    """A design's arm on this chapter's questions, tasks and seed, from chapters 4 and 5.

    Tasks that chapter 5 did not measure are asked now, of chapter 3's `checkpoint`, and kept in
    `folder`.
    """
    ids = {question.id for question in questions}
    asked = [row | {"design": name} for row in replies if row["id"] in ids]
    names = {task: task.removeprefix(PREFIX) for task in tasks}
    of_arm = items[(items.arm == arm) & (items.seed == profile.seed)]
    kept = of_arm[of_arm.task.isin(names.values())]
    lacking = {task: tasks[task] for task in tasks if names[task] not in set(kept.task)}
    if lacking:
        new = measure_model(profile, lacking, str(checkpoint), profile.seed, [arm], (), folder)
        kept = pd.concat([kept, new], ignore_index=True)
    return asked, kept.assign(arm=name)


def train_and_measure(profile: Profile, tasks: dict[str, Any], samples: Sequence[Sample],
                      questions: Sequence[Question], folder: Path) -> dict[str, Any]:
    """The profile's design with the budget of chapter 3, kept in `folder`.

    Open questions are answered as in chapter 4, drawn; benchmark items as in chapter 5, greedily.

    Returns:
        `record` of its training, its `replies`, and its `items`, whose arm is the design's name.
    """
    rows = [row.model_dump(mode="json") for row in (*samples, *questions)]
    asked = [models.identity(profile.model)["digest"], task_content(profile, tasks), rows]
    return keep(folder, asked, _train_design, profile, tasks, samples, questions, folder)


def _train_design(profile: Profile, tasks: dict[str, Any], samples: Sequence[Sample],
                  questions: Sequence[Question], folder: Path) -> dict[str, Any]:
    design = get_design(profile.design)
    model, tokenizer, record = sft.train(profile, samples, design, folder)
    replies = infer.ask_questions(model, tokenizer, profile, design, questions,
                                  label=f"asking, design {design.name}")
    items = ask_benchmarks(model, tokenizer, profile, tasks, [plain_arm(design.name)],
                           profile.seed)
    return {"record": record, "replies": replies, "items": items}
