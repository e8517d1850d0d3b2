"""All arms of a profile, model after model; what was measured before a kill is not measured again."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .. import models, sft
from ..designs import get_design
from ..profiles import Profile
from ..rows import Role
from . import bench
from .arms import BASE, BASELINE, GIVEN, MANUAL, OWN, given, plain
from .items import checked


def plan(profile: Profile) -> Iterator[tuple[str, int, list[str]]]:
    """Each model that is asked, its training seed (-1: untuned), and the arms asked of it (chapter 5)."""
    arms, seeds = profile.evaluate.arms, [one.seed for one in sft.seed_profiles(profile)]
    if BASE in arms:
        yield BASE, -1, [BASE]
    for place, seed in enumerate(seeds):
        more = place < profile.evaluate.given_seeds
        yield BASELINE, seed, [BASELINE, *([MANUAL] if more and MANUAL in arms else [])]
        yield OWN, seed, [OWN, *(name for name in GIVEN if more and name in arms)]


def measure(profile: Profile, tasks: dict[str, Any], trained: Path, experts: Sequence[Role], folder: Path,
            inputs: dict[str, Any], say: Callable[[str], None] = print) -> pd.DataFrame:
    """The table of items for all arms and training seeds (chapter 5).

    Args:
        tasks: of `load_tasks`.
        trained: chapter 3's folder.
        experts: roles of the training data, to draw the random expert from.
        folder: each model's rows are kept here, so that a run that was killed goes on.
        inputs: what the result depends on; rows kept from other inputs are not taken up.
    """
    steps, parts = list(plan(profile)), []
    folder = folder / hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
    count = sum(len(list(task.eval_docs)) for task in tasks.values())
    say(f"{count} items in {len(tasks)} tasks; {sum(len(arms) for _, _, arms in steps)} times asked, of {len(steps)} models; "
        f"up to {profile.evaluate.max_new_tokens} tokens a reply")
    for name, seed, arms in steps:
        path = folder / f"{name}-{seed}.parquet"
        if not path.is_file():
            save(_of_one(profile, tasks, _place(trained, profile, name, seed), seed, arms, experts), path)
        parts.append(pd.read_parquet(path))
    return checked(pd.concat(parts, ignore_index=True))


def _of_one(profile: Profile, tasks: dict[str, Any], place: str, seed: int, arms: list[str],
            experts: Sequence[Role]) -> pd.DataFrame:
    """One model's rows: first the arms in which it is asked plainly, then those that need its own roles."""
    model, tokenizer = models.load(place, profile.dtype)
    parts = [bench.ask(model, tokenizer, profile, tasks, [plain(name)], seed) for name in arms if name not in GIVEN]
    wanted = [name for name in arms if name in GIVEN]
    if wanted:
        others = given(wanted, parts[0], experts, get_design(profile.design), tokenizer, profile.seed)
        parts.append(bench.ask(model, tokenizer, profile, tasks, others, seed))
    return pd.concat(parts, ignore_index=True)


def _place(trained: Path, profile: Profile, name: str, seed: int) -> str:
    if name == BASE:
        return profile.model
    return str(trained / (name if seed == profile.seed else f"{name}-seed{seed}"))


def save(items: pd.DataFrame, path: Path) -> Path:
    """Write a table of items as Parquet, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    items.to_parquet(partial, index=False)
    partial.replace(path)
    return path
