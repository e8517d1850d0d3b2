"""Benchmarks asked: the arms, lm-eval's samples as a table of items, and what is kept (chapter 5).

To ask what a role does, the same model must answer the same item with another one. So the
self-prompt model is asked again with substituted roles, which it did not write for the item.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from lm_eval.evaluator import evaluate

from ..designs import get_design
from ..digests import PACKAGE, path_digest
from ..errors import require
from ..profiles import Profile, seed_name, seed_profiles
from ..reading import user_path
from ..rows import Role
from ..tasks import TASKS_FOLDER
from ..tasks.checks import BASES
from ..tasks.extraction import extract_answer
from .asked import AskedModel
from .harness import Arm, ArmsLM, ItemKey, item_key
from .prefixes import SUBSTITUTED_ROLES, RoleSources
from .results import BASE, BASELINE, EXPERT, MANUAL, OWN, SUBSTITUTED, UNTUNED, check_items

TEXT = pd.StringDtype(na_value=math.nan)  # also where no item has a role
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


def plain_arm(name: str) -> Arm:
    """An arm asked the bare question; `role-play` gets its fixed role in the round before."""
    return Arm(name, rounds=ROLE_PLAY_ROUNDS if name == MANUAL else ())


def substituted_arms(names: Sequence[str], items: pd.DataFrame, sources: RoleSources) -> list[Arm]:
    """The arms in which the self-prompt model answers with a role it did not write (chapter 5).

    Args:
        names: arms of `SUBSTITUTED_ROLES`; others are left out.
        items: what it wrote by itself, one row an item.

    A role counts as part of the reply's length, as the model's own does.
    """
    keys = list(zip(items.task, items.item, strict=True))
    arms = []
    for name, make_roles in SUBSTITUTED_ROLES.items():
        if name in names:
            prefills = dict(zip(keys, make_roles(items, sources), strict=True))
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
        tuned = seed_name(name, seed, profile.seed)
        place = profile.model if name == BASE else str(source("sft", tuned))
        drawn = experts if EXPERT in arms else ()
        parts.append(measure_model(profile, tasks, place, seed, arms, drawn, folder))
    return check_items(pd.concat(parts, ignore_index=True))


def measure_model(profile: Profile, tasks: dict[str, Any], place: str, seed: int,
                  arms: Sequence[str], experts: Sequence[Role], folder: Path) -> pd.DataFrame:
    """One model's rows of the table of items, kept in `folder` (chapters 5 and 6)."""
    roles = [role.model_dump() for role in experts]
    asked = [seed, arms, task_content(profile, tasks), roles]
    model = AskedModel(place, folder)
    return model.keep(asked, _ask_model, profile, tasks, seed, arms, experts)["items"]


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


def _ask_model(profile: Profile, asked: AskedModel, tasks: dict[str, Any], seed: int,
               arms: Sequence[str], experts: Sequence[Role]) -> dict[str, pd.DataFrame]:
    """First the plain arms, then those that need the roles that the model wrote in them."""
    model, tokenizer = asked.load(profile)
    parts = [ask_benchmarks(model, tokenizer, profile, tasks, [plain_arm(name)], seed)
             for name in arms if name not in SUBSTITUTED]
    if {*arms} & {*SUBSTITUTED}:  # else the run's seed is not read: the untuned model has none
        sources = RoleSources(experts, get_design(profile.design), tokenizer, profile.seed)
        others = substituted_arms(arms, parts[0], sources)
        parts.append(ask_benchmarks(model, tokenizer, profile, tasks, others, seed))
    return {"items": pd.concat(parts, ignore_index=True)}


def ask_benchmarks(model, tokenizer, profile: Profile, tasks: dict[str, Any], arms: Sequence[Arm],
                   seed: int = -1) -> pd.DataFrame:
    """Ask one model all items in each arm, zero-shot, greedily, in its chat template (chapter 5).

    Args:
        tasks: of `load_tasks`.
        arms: ways of asking with the same rounds; they are asked together.
        seed: the training seed of the model, for the table; -1 for one that was not tuned here.

    Returns:
        The table of items (see `results`): one row an arm and item.

    Raises:
        UserError: a task in which no reply is written.
    """
    for name, task in tasks.items():
        require(task.OUTPUT_TYPE == "generate_until", f"{name}: no reply is written in this task; "
                f"give it to measure_options, or include one of {BASES}")
    triggers = {}
    if profile.evaluate.second_pass:
        triggers = {name: task.config.metadata["trigger"] for name, task in tasks.items()}
    lm = ArmsLM(pretrained=model, tokenizer=tokenizer, batch_size=profile.evaluate.batch_size,
                arms=arms, triggers=triggers)
    rows = []
    for arm in arms:
        lm.arm = arm.name
        # `simple_evaluate` would describe the machine each time, which takes seconds.
        results = evaluate(lm, {"tasks": tasks, "groups": {}}, apply_chat_template=True,
                           bootstrap_iters=0, confirm_run_unsafe_code=profile.evaluate.run_code)
        for name, samples in results["samples"].items():
            rows += _item_rows(lm, tasks[name], name, samples, profile.design)
    return pd.DataFrame(rows).assign(seed=seed).astype({"role": TEXT})


def _item_rows(lm: "ArmsLM", task, name: str, samples: list[dict[str, Any]],
               design: str) -> list[dict[str, Any]]:
    """The rows of one arm and task; lm-eval gives one sample an item and reader."""
    kind = task.config.metadata["kind"]
    rows: dict[ItemKey, dict[str, Any]] = {}
    for sample in samples:
        doc, reader = sample["doc"], sample["filter"]
        item, reply = item_key(name, doc), sample["resps"][0][0]
        row = rows.setdefault(item, {
            "arm": lm.arm, "task": item[0], "item": item[1], "stratum": doc["stratum"],
            "question": task.doc_to_text(doc), "reply": reply,
            "role": get_design(design).read(reply).role, "key": str(sample["target"])})
        row[reader] = "[code]" if kind == "code" else sample["filtered_resps"][0]
        row[f"correct_{reader}"] = bool(sample.get("exact_match", sample.get("pass_at_1")))
        second = lm.second_replies.get((lm.arm, item))
        if second:
            row["second"] = extract_answer(kind, "tolerant", second.strip(), doc)
            row["correct_second"] = row["second"] == row["key"]
    for row in rows.values():
        row.setdefault("second", row["tolerant"])
        row.setdefault("correct_second", row["correct_tolerant"])
        row["correct"] = row["correct_second"]
    return list(rows.values())
