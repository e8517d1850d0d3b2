"""The benchmarks: lm-evaluation-harness tasks from YAMLs, and what guessing gets (chapter 5)."""

import logging
from collections.abc import Sequence
from statistics import mean
from textwrap import shorten
from typing import Any

import pandas as pd
from lm_eval.tasks import TaskManager

from ..designs import DESIGNS
from ..profiles import Profile
from ..reading import user_path
from ..rows import STARTER_FOLDER
from ..tasks import TASKS_FOLDER
from ..tasks.checks import check_task, check_task_folder
from .compare import ALL

PREFIX = "selfprompt_"  # of our tasks' names, so that they are not taken for lm-eval's own


def scored_tasks(profile: Profile, tasks: Sequence[str] | None = None) -> list[str]:
    """The tasks that are scored: HumanEval only where model-written code may run."""
    names = tasks or profile.evaluate.tasks
    return [name for name in names if name != "humaneval" or profile.evaluate.run_code]


def load_tasks(profile: Profile, tasks: Sequence[str] | None = None) -> dict[str, Any]:
    """lm-eval's tasks by name, from our YAMLs and those in `evaluate.include_path` (chapter 5).

    `mmlu_cloze` and `mmlu_letters` score MMLU's options by likelihood, and so for each task that
    has options, `arc_easy` and `piqa`.

    Raises:
        UserError: a YAML without a field that this chapter needs; data without keys, or with ids
            that occur twice.
    """
    settings = profile.evaluate
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    folders = [str(TASKS_FOLDER)]
    if settings.include_path:
        own = user_path(settings.include_path)
        check_task_folder(own)  # lm-eval would leave out a faulty file without a word
        folders.append(str(own))
    data = str(STARTER_FOLDER) if profile.data.benchmarks == "starter" else profile.data.mirror
    own_text = None if profile.design in DESIGNS else profile.design
    manager = TaskManager(
        include_path=folders, include_defaults=False,
        metadata={"data": data, "items": settings.items, "seed": settings.subset_seed,
                  "design": own_text})
    ours = {file.stem for file in TASKS_FOLDER.glob("[!_]*.yaml") if PREFIX not in file.stem}
    names = [PREFIX + name if name in ours else name for name in scored_tasks(profile, tasks)]
    loaded = manager.load(names)["tasks"]
    greedy = {"max_gen_toks": settings.max_new_tokens, "do_sample": False}
    for task in loaded.values():
        check_task(task.config)
        task.set_config("num_fewshot", 0)
        if task.OUTPUT_TYPE == "generate_until":
            task.set_config("generation_kwargs", greedy, update=True)
    return loaded


def load_choice_tasks(profile: Profile, names: Sequence[str], form: str) -> dict[str, Any]:
    """`load_tasks` of tasks with options in one form, `evaluate.choice_items` items of each.

    Without names there are none. Used in chapters 5 and 6.
    """
    if not names:
        return {}
    settings = profile.evaluate.model_copy(update={"items": profile.evaluate.choice_items})
    chosen = profile.model_copy(update={"evaluate": settings})
    return load_tasks(chosen, [f"{name}_{form}" for name in names])


def overview(tasks: dict[str, Any]) -> pd.DataFrame:
    """One row a task: name, kind of answer, items, guessing's accuracy, first question."""
    guessing = chance(tasks)
    rows = []
    for name, task in tasks.items():
        docs, short = list(task.eval_docs), name.removeprefix(PREFIX)
        question = shorten(task.doc_to_text(docs[0]), 90, placeholder=" …")
        rows.append({"task": short, "answer": task.config.metadata["kind"], "items": len(docs),
                     "by chance": guessing[short], "first question": question})
    return pd.DataFrame(rows)


def chance(tasks: dict[str, Any]) -> dict[str, float]:
    """Guessing's accuracy on each task, and on `all`, their mean (chapter 5).

    It is 0 where a number or a program is asked for.
    """
    found = {name.removeprefix(PREFIX): mean(_guessed(task.config.metadata["kind"], doc)
                                             for doc in task.eval_docs)
             for name, task in tasks.items()}
    return found | {ALL: mean(found.values())}


def _guessed(kind: str, doc: dict[str, Any]) -> float:
    if kind == "choice":
        return 1 / len(doc["options"])
    return 0.5 if kind == "yes_no" else 0.0


def data_note(profile: Profile) -> str:
    """Which data the tasks read; every page with scores shows it."""
    if profile.data.benchmarks == "hub":
        subset = " (a fixed subset)" if profile.evaluate.items else ""
        return f"The items are those of the real benchmarks{subset}."
    return ("The items are this project's own **mini benchmarks**, which stand in for the real "
            "ones where no hub can be reached. Their scores must not be compared with published "
            "ones.")
