"""Likelihoods measured: one training seed's models behind every prefix of a plan (chapter 5).

What was measured before is taken up, see `kept`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .. import infer, models, sft
from ..designs import Design, get_design
from ..kept import keep
from ..profiles import Profile
from ..rows import Question, Sample
from .arms import RoleSources
from .contrasts import TEXT
from .harness import Arm
from .measure import task_content
from .open_ended import likelihoods
from .option_scores import item_key
from .options import measure_options
from .prefixes import NEUTRAL, PREFIXES, neutral_texts, prefix_texts
from .results import BASE, BASELINE, OWN, UNTUNED

COLUMNS = ["model", "seed", "prefix", "task", "form", "item", "stratum", "options", "nats",
           "log_odds", "log_odds_pmi", "right", "right_sum", "right_pmi"]
Plan = Sequence[tuple[str, str]]  # pairs of model and prefix


def measure_likelihoods(profile: Profile, samples: Sequence[Sample],
                        open_questions: dict[str, Sequence[Question]], tasks: dict[str, Any],
                        plan: Plan, folder: Path, tasks_plan: Plan | None = None) -> dict[str, Any]:
    """Train the profile's models with its seed, and measure them; kept in `folder` (chapter 5).

    Args:
        open_questions: questions with references, by the name of their task.
        tasks: of `load_tasks`.
        plan: of `likelihood_plan`. The untuned model stands behind the roles that this seed's
            self-prompt model wrote.
        tasks_plan: the same for `tasks`, where it is another one.

    Returns:
        `likelihoods`, the table; `roles`, what the self-prompt model wrote for every item; and
        `trainings`, the records of `sft.train` by model.
    """
    rows = [row.model_dump(mode="json") for row in samples]
    rows += [[name, *(row.model_dump(mode="json") for row in questions)]
             for name, questions in open_questions.items()]
    plans = plan, plan if tasks_plan is None else tasks_plan
    asked = [models.identity(profile.model)["digest"], task_content(profile, tasks), rows, plans]
    return keep(folder, asked, _measure, profile, samples, open_questions, tasks, plans, folder)


def _measure(profile: Profile, samples: Sequence[Sample],
             open_questions: dict[str, Sequence[Question]], tasks: dict[str, Any],
             plans: tuple[Plan, Plan], folder: Path) -> dict[str, Any]:
    """One model is in memory at a time; the self-prompt model comes first, as it writes roles."""
    design, trainings, parts = get_design(profile.design), {}, []
    model, tokenizer, trainings[OWN] = sft.train(profile, samples, design, folder)
    items = written_items(model, tokenizer, profile, open_questions, tasks)
    experts = [sample.role for sample in samples if sample.role]
    sources = RoleSources(experts, design, tokenizer, profile.seed)
    texts = prefix_texts(list(PREFIXES), items, sources)
    wanted = {one for plan in plans for one, _ in plan}
    for name in [name for name in (OWN, BASELINE, NEUTRAL, BASE) if name in wanted]:
        if name == BASE:
            model, _ = models.load(profile.model, profile.dtype)
        elif name != OWN:
            rows, written = training_rows(name, samples, sources)
            model, _, trainings[name] = sft.train(profile, rows, written, folder)
        behind, tasks_behind = ({prefix: texts[prefix] for one, prefix in plan if one == name}
                                for plan in plans)
        found = [score_open(model, tokenizer, open_questions, items, behind)] if behind else []
        if tasks and tasks_behind:
            found.append(score_tasks(model, tokenizer, tasks, items, tasks_behind))
        seed = UNTUNED if name == BASE else profile.seed
        parts += [part.assign(model=name, seed=seed).reindex(columns=COLUMNS) for part in found]
    return {"likelihoods": pd.concat(parts, ignore_index=True), "roles": items,
            "trainings": trainings}


def training_rows(name: str, samples: Sequence[Sample],
                  sources: RoleSources) -> tuple[Sequence[Sample], Design]:
    """What the baseline or the neutral model is trained on, and the design that writes it.

    The neutral paragraph is as long in tokens as the sample's role.
    """
    if name == BASELINE:
        return samples, get_design("none")
    roles = pd.DataFrame({"role": [sources.design.role_text(row.role) for row in samples]})
    turns = [(row.question, text + row.answer.lstrip(), *row.conversations[2:])
             for row, text in zip(samples, neutral_texts(roles, sources), strict=True)]
    return [row.model_copy(update={"conversations": some})
            for row, some in zip(samples, turns, strict=True)], get_design("none")


def written_items(model, tokenizer, profile: Profile, open_questions: dict[str, Sequence[Question]],
                  tasks: dict[str, Any]) -> pd.DataFrame:
    """Every item with the role that the self-prompt model writes for it; none where it wrote none.

    Columns: task, item, stratum, question, role.
    """
    items = [{"task": name, "item": row.id, "stratum": row.domain, "question": row.question}
             for name, questions in open_questions.items() for row in questions]
    for name, task in tasks.items():
        for doc in task.eval_docs:
            short, item = item_key(name, doc)
            items.append({"task": short, "item": item, "stratum": doc["stratum"],
                          "question": task.doc_to_text(doc)})
    asked = [Question(id=f"{row['task']} {row['item']}", question=row["question"])
             for row in items]
    replies = infer.ask_questions(model, tokenizer, profile, get_design(profile.design), asked,
                                  greedy=True, label="writing roles")
    return pd.DataFrame(items).assign(
        role=[row["role"] if row["outcome"] == "role" else None for row in replies])


def score_open(model, tokenizer, open_questions: dict[str, Sequence[Question]],
               items: pd.DataFrame, texts: dict[str, list[str]]) -> pd.DataFrame:
    """The table's rows of open questions, of one model behind each prefix, but for its name.

    Args:
        items: of `written_items`, in whose order the `texts` of each prefix are.
    """
    rows = {(name, row.id): row for name, some in open_questions.items() for row in some}
    keys, parts = list(zip(items.task, items["item"], strict=True)), []
    asked = [rows[key] for key in keys if key in rows]
    for prefix, column in texts.items():
        before = [text for key, text in zip(keys, column, strict=True) if key in rows]
        nats = likelihoods(model, tokenizer, asked, before, label=f"answers, {prefix}")
        part = items[items.task.isin(open_questions)]
        parts.append(part.assign(prefix=prefix, form=TEXT, nats=nats))
    return pd.concat(parts)


def score_tasks(model, tokenizer, tasks: dict[str, Any], items: pd.DataFrame,
                texts: dict[str, list[str]]) -> pd.DataFrame:
    """The table's rows of choices, in the same way."""
    keys = list(zip(items.task, items["item"], strict=True))
    arms = [Arm(prefix, prefills=dict(zip(keys, column, strict=True)))
            for prefix, column in texts.items()]
    return measure_options(model, tokenizer, tasks, arms)
