"""The arms of chapter 5: which model is asked, and with which role; all of a profile, measured.

To ask what a role does, the same model must answer the same item with another one. So the
self-prompt model is asked again with substituted roles, which it did not write for the item.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import models
from ..designs import GAP, Design, get_design
from ..generate import count_tokens
from ..infer import roles_of_others
from ..profiles import Profile, seed_profiles
from ..rows import Role
from .harness import Arm, ItemKey, ask_benchmarks
from .results import (
    BASE,
    BASELINE,
    EXPERT,
    IRRELEVANT,
    MANUAL,
    NO_ROLE,
    OTHER,
    OWN,
    SUBSTITUTED,
    UNTUNED,
    check_items,
    save_items,
)

# Role-play prompting sets a role in one round and answers in the next (arXiv 2308.07702, section
# 3). Its roles are made for one data set each; this one is fixed for all tasks.
ROLE_PLAY_ROUNDS = (
    {"role": "user", "content":
        "From now on, you are a careful expert who is asked hard questions in many fields. You "
        "read each question twice, think of what it really asks, and give the answer that is "
        "right."},
    {"role": "assistant", "content":
        "I am glad to be that expert. I will read each question twice and give the answer that is "
        "right. Please ask."},
)
# Says nothing of any question; long enough to be cut to the length of any role.
ASIDE = Path(__file__).parents[1] / "resources" / "evaluate" / "aside.txt"
USUAL_LENGTH = 40  # tokens of the irrelevant role where the model wrote no role at all


def plain_arm(name: str) -> Arm:
    """An arm asked the bare question; `role-play` gets its fixed role in the round before."""
    return Arm(name, rounds=ROLE_PLAY_ROUNDS if name == MANUAL else ())


@dataclass(frozen=True)
class RoleSources:
    """What a substituted role is made of, besides the items: see `SUBSTITUTED_ROLES`."""

    experts: Sequence[Role]
    design: Design
    tokenizer: Any
    seed: int = 0


def other_items_roles(items: pd.DataFrame, sources: RoleSources) -> list[str]:
    """For each item the role of another one of its task: see `roles_of_others`."""
    return [role + GAP if role else "" for _, part in items.groupby("task", sort=False)
            for role in roles_of_others(list(part.role))]


def random_experts(items: pd.DataFrame, sources: RoleSources) -> list[str]:
    """Roles of training samples; their request would be about the sample's own question."""
    drawn = np.random.default_rng(sources.seed).integers(len(sources.experts), size=len(items))
    general = {"request": "answer the question"}
    roles = [sources.experts[place].model_copy(update=general) for place in drawn]
    return [sources.design.role_text(role) + GAP for role in roles]


def irrelevant_roles(items: pd.DataFrame, sources: RoleSources) -> list[str]:
    """A text about nothing, as long in tokens as the role that the model wrote for the item."""
    written, tokenizer = items.role.notna(), sources.tokenizer
    lengths = np.array(count_tokens(tokenizer, items.role.fillna("").tolist()))
    usual = int(np.median(lengths[written])) if written.any() else USUAL_LENGTH
    text = sources.design.opening + " ".join(ASIDE.read_text(encoding="utf-8").split())
    ids = tokenizer.encode(text, add_special_tokens=False)
    return [tokenizer.decode(ids[: length - 1]).rstrip(" .,") + "." + GAP
            for length in np.where(written, lengths, usual)]


def no_roles(items: pd.DataFrame, sources: RoleSources) -> list[None]:
    """None for each item: the reply may not begin as a role does."""
    return [None] * len(items)


# Each arm of `profiles.ARMS` in which the self-prompt model gets a role that it did not write.
SUBSTITUTED_ROLES: dict[str, Callable[[pd.DataFrame, RoleSources], Sequence[str | None]]] = {
    OTHER: other_items_roles,
    EXPERT: random_experts,
    IRRELEVANT: irrelevant_roles,
    NO_ROLE: no_roles,
}


def substituted_arms(names: Sequence[str], items: pd.DataFrame, sources: RoleSources) -> list[Arm]:
    """The arms in which the self-prompt model answers with a role it did not write (chapter 5).

    Args:
        names: arms of `SUBSTITUTED_ROLES`; others are left out.
        items: what it wrote by itself, one row an item.

    A role counts as part of the reply's length, as the model's own does.
    """
    keys: list[ItemKey] = list(zip(items.task, items.item, strict=True))
    arms = []
    for name in [name for name in SUBSTITUTED_ROLES if name in names]:
        prefills = dict(zip(keys, SUBSTITUTED_ROLES[name](items, sources), strict=True))
        arms.append(Arm(name, prefills=prefills, opening=sources.design.opening))
    return arms


def measurement_plan(profile: Profile) -> Iterator[tuple[str, int, list[str]]]:
    """Each model that is asked, its training seed (-1: untuned), and its arms (chapter 5)."""
    chosen = profile.evaluate.arms
    if BASE in chosen:
        yield BASE, UNTUNED, [BASE]
    for place, run in enumerate(seed_profiles(profile)):
        # Only the first training seeds answer with roles that are not the model's own.
        more = chosen if place < profile.evaluate.given_seeds else ()
        yield BASELINE, run.seed, [BASELINE, *(name for name in (MANUAL,) if name in more)]
        yield OWN, run.seed, [OWN, *(name for name in SUBSTITUTED if name in more)]


def measure_arms(profile: Profile, tasks: dict[str, Any], trained: Path, experts: Sequence[Role],
                 folder: Path, inputs: dict[str, Any]) -> pd.DataFrame:
    """The table of items for all arms and training seeds (chapter 5).

    Args:
        tasks: of `load_tasks`.
        trained: chapter 3's folder.
        experts: roles of the training data, to draw the random expert from.
        folder: each model's rows are kept here, so that a run that was killed goes on.
        inputs: what the result depends on; rows kept from other inputs are not taken up.
    """
    plan, parts = list(measurement_plan(profile)), []
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
    count = sum(len(list(task.eval_docs)) for task in tasks.values())
    times = sum(len(arms) for _, _, arms in plan)
    print(f"{count} items in {len(tasks)} tasks; {times} times asked, of {len(plan)} models;\n"
          f"up to {profile.evaluate.max_new_tokens} tokens a reply")
    for name, seed, arms in plan:
        path = folder / digest / f"{name}-{seed}.parquet"
        if not path.is_file():
            place = profile.model if name == BASE else _checkpoint(trained, profile, name, seed)
            save_items(_measure_model(profile, tasks, place, seed, arms, experts), path)
        parts.append(pd.read_parquet(path))
    return check_items(pd.concat(parts, ignore_index=True))


def _checkpoint(trained: Path, profile: Profile, name: str, seed: int) -> str:
    return str(trained / (name if seed == profile.seed else f"{name}-seed{seed}"))


def _measure_model(profile: Profile, tasks: dict[str, Any], place: str, seed: int, arms: list[str],
                   experts: Sequence[Role]) -> pd.DataFrame:
    """One model's rows: first the plain arms, then those that need the roles it wrote in them."""
    model, tokenizer = models.load(place, profile.dtype)
    parts = [ask_benchmarks(model, tokenizer, profile, tasks, [plain_arm(name)], seed)
             for name in arms if name not in SUBSTITUTED]
    sources = RoleSources(experts, get_design(profile.design), tokenizer, profile.seed)
    others = substituted_arms(arms, parts[0], sources)
    if others:
        parts.append(ask_benchmarks(model, tokenizer, profile, tasks, others, seed))
    return pd.concat(parts, ignore_index=True)
