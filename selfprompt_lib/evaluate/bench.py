"""Benchmarks through lm-evaluation-harness, with task YAMLs of our own: from a model to rows of the table."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from textwrap import shorten
from typing import Any

import pandas as pd
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager

from ..designs import get_design
from ..profiles import TASKS, Profile
from ..rows import STARTER_FOLDER
from ..tasks import TASKS_FOLDER, checks, readers
from .arms import plain
from .effects import ALL
from .lm import Arm, StartedLM, key

TEXT = pd.StringDtype(na_value=math.nan)  # also where no item has a role


def scored_tasks(profile: Profile, tasks: Sequence[str] | None = None) -> list[str]:
    """The tasks that are scored: HumanEval only where running model-written code is switched on."""
    return [t for t in tasks or profile.evaluate.tasks if t != "humaneval" or profile.evaluate.run_code]


def load_tasks(profile: Profile, tasks: Sequence[str] | None = None) -> dict[str, Any]:
    """lm-eval's tasks by name, from our YAMLs and from those in `evaluate.include_path`, with the profile's data.

    Raises:
        UserError: a YAML without a field that this chapter needs; data without keys, or with ids that occur twice.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    data = str(STARTER_FOLDER) if profile.data.benchmarks == "starter" else profile.data.mirror
    folders = [str(Path(folder).expanduser()) for folder in (TASKS_FOLDER, profile.evaluate.include_path) if folder]
    if profile.evaluate.include_path:
        checks.check_folder(Path(profile.evaluate.include_path).expanduser())  # lm-eval would leave a faulty file out in silence
    manager = TaskManager(include_path=folders, include_defaults=False,
                          metadata={"data": data, "items": profile.evaluate.items, "seed": profile.evaluate.subset_seed})
    names = [f"selfprompt_{name}" if name in TASKS else name for name in scored_tasks(profile, tasks)]
    loaded = manager.load(names)["tasks"]
    for task in loaded.values():
        checks.check(task.config)
        task.set_config("num_fewshot", 0)
        task.set_config("generation_kwargs", {"max_gen_toks": profile.evaluate.max_new_tokens, "do_sample": False}, update=True)
    return loaded


def ask(model, tokenizer, profile: Profile, tasks: dict[str, Any], arms: Sequence[Arm], seed: int = -1) -> pd.DataFrame:
    """Ask one model all items of the tasks in each arm, zero-shot, greedily, in its chat template (chapters 5 and 6).

    Args:
        tasks: of `load_tasks`.
        arms: ways of asking with the same rounds; they are asked together.
        seed: the training seed of the model, for the table; -1 for one that was not tuned here.

    Returns:
        The table of items (see `items`): one row an arm and item.
    """
    triggers = {name: task.config.metadata["trigger"] for name, task in tasks.items()} if profile.evaluate.second_pass else {}
    lm = StartedLM(pretrained=model, tokenizer=tokenizer, batch_size=profile.evaluate.batch_size, arms=arms, triggers=triggers)
    rows = []
    for arm in arms:
        lm.arm = arm.name
        # `simple_evaluate` would describe the machine each time, which takes seconds.
        results = evaluate(lm, {"tasks": tasks, "groups": {}}, apply_chat_template=True, bootstrap_iters=0,
                           confirm_run_unsafe_code=profile.evaluate.run_code)
        for name, samples in results["samples"].items():
            rows += _rows(lm, tasks[name], name, samples, profile.design)
    return pd.DataFrame(rows).assign(seed=seed).astype({"role": TEXT})


def run(model, tokenizer, profile: Profile, arm: str, tasks: Sequence[str] | None = None, seed: int = -1) -> pd.DataFrame:
    """`ask` for one plain arm, with the tasks loaded here (chapter 6)."""
    return ask(model, tokenizer, profile, load_tasks(profile, tasks), [plain(arm)], seed)


def _rows(lm: StartedLM, task, name: str, samples: list[dict[str, Any]], design: str) -> list[dict[str, Any]]:
    """The rows of one task and arm; lm-eval gives one sample an item and filter."""
    kind, found = task.config.metadata["kind"], {}
    for sample in samples:
        doc, how = sample["doc"], sample["filter"]
        item, reply = key(name, doc), sample["resps"][0][0]
        row = found.setdefault(item, {
            "arm": lm.arm, "task": item[0], "item": item[1], "stratum": doc["stratum"], "question": task.doc_to_text(doc),
            "reply": reply, "role": get_design(design).read(reply).role, "key": str(sample["target"]),
        })
        row[how] = sample["filtered_resps"][0] if kind != "code" else "[code]"
        row[f"correct_{how}"] = bool(sample.get("exact_match", sample.get("pass_at_1")))
        second = lm.seconds.get((lm.arm, item), "")
        row["second"] = readers.read(kind, "tolerant", second.strip(), doc) if second else row.get("tolerant")
        row["correct_second"] = row["second"] == row["key"] if second else row.get("correct_tolerant")
    for row in found.values():
        row["correct"] = row["correct_second"]
    return list(found.values())


def overview(tasks: dict[str, Any]) -> pd.DataFrame:
    """One row a task: its name, what kind of answer it asks for, how many items, guessing's accuracy, the first question."""
    rows, guessed = [], chance(tasks)
    for name, task in tasks.items():
        docs, short = list(task.eval_docs), name.removeprefix("selfprompt_")
        rows.append({"task": short, "answer": task.config.metadata["kind"], "items": len(docs), "by chance": guessed[short],
                     "first question": shorten(task.doc_to_text(docs[0]), 90, placeholder=" …")})
    return pd.DataFrame(rows)


def chance(tasks: dict[str, Any]) -> dict[str, float]:
    """Guessing's accuracy on each task, 0 where a number or a program is asked for, and on `all`, their mean (chapter 5)."""
    found = {name.removeprefix("selfprompt_"): mean(_guessed(task.config.metadata["kind"], doc) for doc in task.eval_docs)
             for name, task in tasks.items()}
    return found | {ALL: mean(found.values())}


def _guessed(kind: str, doc: dict[str, Any]) -> float:
    return 1 / len(doc["options"]) if kind == "choice" else 0.5 if kind == "yes_no" else 0.0


def data_note(profile: Profile) -> str:
    """Which data the tasks read, said plainly; every page with scores shows it."""
    if profile.data.benchmarks == "hub":
        return "The items are those of the real benchmarks" + (" (a fixed subset)." if profile.evaluate.items else ".")
    return ("The items are this project's own **mini benchmarks**, which stand in for the real ones where no hub can be reached. "
            "Their scores must not be compared with published ones.")
