"""All arms of a profile asked (chapter 5); what was asked before is taken up, see `kept`."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .. import models
from ..designs import get_design
from ..digests import PACKAGE, path_digest
from ..kept import keep
from ..profiles import Profile, seed_profiles
from ..reading import user_path
from ..rows import Role
from ..tasks import TASKS_FOLDER
from .arms import RoleSources, plain_arm, substituted_arms
from .harness import ask_benchmarks
from .results import BASE, BASELINE, EXPERT, MANUAL, OWN, SUBSTITUTED, UNTUNED, check_items


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


def measure_arms(profile: Profile, tasks: dict[str, Any], source: Callable[[str, str], Path],
                 experts: Sequence[Role], folder: Path) -> pd.DataFrame:
    """The table of items for all arms and training seeds (chapter 5).

    Args:
        tasks: of `load_tasks`.
        source: `Stage.source`, which finds chapter 3's models.
        experts: roles of the training data, to draw the random expert from.
        folder: each model's rows are kept here, so that a run that was killed goes on.
    """
    plan = list(measurement_plan(profile))
    count = sum(len(list(task.eval_docs)) for task in tasks.values())
    times = sum(len(arms) for _, _, arms in plan)
    print(f"{count} items in {len(tasks)} tasks; {times} times asked, of {len(plan)} models;\n"
          f"up to {profile.evaluate.max_new_tokens} tokens a reply")
    parts = []
    for name, seed, arms in plan:
        tuned = name if seed == profile.seed else f"{name}-seed{seed}"
        place = profile.model if name == BASE else str(source("sft", tuned))
        drawn = experts if EXPERT in arms else ()
        parts.append(measure_model(profile, tasks, place, seed, arms, drawn, folder))
    return check_items(pd.concat(parts, ignore_index=True))


def measure_model(profile: Profile, tasks: dict[str, Any], place: str, seed: int,
                  arms: Sequence[str], experts: Sequence[Role], folder: Path) -> pd.DataFrame:
    """One model's rows of the table of items, kept in `folder` (chapters 5 and 6)."""
    roles = [role.model_dump() for role in experts]
    asked = [models.identity(place)["digest"], seed, arms, task_content(profile, tasks), roles]
    return keep(folder, asked, _ask_model, profile, tasks, place, seed, arms, experts)["items"]


def task_content(profile: Profile, tasks: dict[str, Any]) -> list:
    """What is asked and how it is read, for `keep`: items, YAMLs, and the code that they name.

    `load_tasks` has put fields of the profile into the tasks: which items, how long a reply.
    """
    own = profile.evaluate.include_path
    folders = [TASKS_FOLDER, *([user_path(own)] if own else [])]
    docs = {name: [str(task.config.generation_kwargs), *map(str, task.eval_docs)]
            for name, task in tasks.items()}
    programs = [PACKAGE / "sandbox.py", PACKAGE / "sandbox_inside.py"]  # YAMLs call them
    return [docs, list(map(path_digest, [*folders, *programs]))]


def _ask_model(profile: Profile, tasks: dict[str, Any], place: str, seed: int,
               arms: Sequence[str], experts: Sequence[Role]) -> dict[str, pd.DataFrame]:
    """First the plain arms, then those that need the roles that the model wrote in them."""
    model, tokenizer = models.load(place, profile.dtype)
    parts = [ask_benchmarks(model, tokenizer, profile, tasks, [plain_arm(name)], seed)
             for name in arms if name not in SUBSTITUTED]
    if {*arms} & {*SUBSTITUTED}:  # else the run's seed is not read: the untuned model has none
        sources = RoleSources(experts, get_design(profile.design), tokenizer, profile.seed)
        others = substituted_arms(arms, parts[0], sources)
        parts.append(ask_benchmarks(model, tokenizer, profile, tasks, others, seed))
    return {"items": pd.concat(parts, ignore_index=True)}
