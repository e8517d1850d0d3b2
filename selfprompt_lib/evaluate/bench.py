"""Benchmarks through lm-evaluation-harness, with task YAMLs of our own."""

import logging
from pathlib import Path
from typing import Any

from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from ..designs import get_design
from ..profiles import Profile
from ..rows import STARTER
from .lm import StartedLM

TASK_FOLDER = Path(__file__).parents[1] / "tasks"


def scored_tasks(profile: Profile, tasks: tuple[str, ...] | None = None) -> list[str]:
    """The tasks that are scored: HumanEval only where running model-written code is switched on."""
    return [t for t in tasks or profile.evaluate.tasks if t != "humaneval" or profile.evaluate.run_code]


def task_manager(profile: Profile) -> TaskManager:
    """lm-eval's task manager over our YAMLs, reading the profile's data."""
    data = str(STARTER) if profile.data.benchmarks == "starter" else profile.data.mirror
    return TaskManager(include_path=str(TASK_FOLDER), include_defaults=False,
                       metadata={"data": data, "items": profile.evaluate.items})


def run(model, tokenizer, profile: Profile, arm: str, tasks: tuple[str, ...] | None = None,
        starts: dict[tuple[str, int], str] | None = None) -> list[dict[str, Any]]:
    """Ask one model all items, zero-shot, greedily, in its chat template (chapters 5 and 6).

    Returns:
        One row an item: arm, task, item, question, reply, role, read (what the extractor took
        as the answer, `[none]` where nothing was found), key, correct.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    lm = StartedLM(pretrained=model, tokenizer=tokenizer, batch_size=profile.evaluate.batch_size, starts=starts,
                   second_pass=profile.evaluate.second_pass)
    results = simple_evaluate(
        model=lm, tasks=[f"selfprompt_{task}" for task in scored_tasks(profile, tasks)], task_manager=task_manager(profile),
        apply_chat_template=True, log_samples=True, bootstrap_iters=0,
        gen_kwargs={"max_gen_toks": profile.evaluate.max_new_tokens, "do_sample": False},
        confirm_run_unsafe_code=profile.evaluate.run_code,
    )
    design = get_design(profile.design)
    rows = []
    for task, samples in results["samples"].items():
        for sample in samples:
            score = sample.get("exact_match", sample.get("pass_at_1"))
            rows.append({
                "arm": arm, "task": task.removeprefix("selfprompt_"), "item": sample["doc_id"],
                "question": sample["doc"].get("question") or sample["doc"]["prompt"],
                "reply": sample["resps"][0][0], "role": design.read(sample["resps"][0][0]).role,
                "read": sample["filtered_resps"][0], "key": str(sample["target"]), "correct": bool(score),
            })
    return rows


def data_note(profile: Profile) -> str:
    """Which data the tasks read, said plainly; every page with scores shows it."""
    if profile.data.benchmarks == "hub":
        return "The items are those of the real benchmarks" + (" (a fixed subset)." if profile.evaluate.items else ".")
    return ("The items are this project's own **mini benchmarks**, which stand in for the real ones where no hub can be reached. "
            "Their scores must not be compared with published ones.")
