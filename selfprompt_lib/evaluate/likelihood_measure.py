"""Likelihoods measured: the models of one training seed behind every prefix of a plan (chapter 5).

What was measured before is taken up, see `kept`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .. import infer, models
from ..designs import get_design
from ..kept import keep
from ..profiles import Profile, seed_name, seed_profiles, trained_designs
from ..rows import Question, Role
from ..sources import held_out_questions, take_evenly_spaced
from .benchmarks import load_tasks
from .contrasts import TEXT
from .harness import Arm, item_key
from .measure import task_content
from .open_ended import likelihoods
from .options import measure_options
from .prefixes import NOTHING, RoleSources, likelihood_plan, prefix_texts
from .results import BASE, OWN, UNTUNED

COLUMNS = ["model", "seed", "prefix", "task", "form", "item", "stratum", "options", "nats",
           "log_odds", "log_odds_pmi", "right", "right_sum", "right_pmi"]
OPEN = "open questions"
FORMS = ("cloze", "letters")
Plan = Sequence[tuple[str, str]]  # pairs of model and prefix
Texts = Mapping[str, Sequence[str]]  # by prefix, what stands before each item's answer
OpenQuestions = Mapping[str, Sequence[Question]]  # questions with references, by their task's name


def referenced_questions(profile: Profile) -> dict[str, list[Question]]:
    """The open questions that have a reference answer, as `measure_seeds` takes them (chapter 5).

    Empty where none has: LIMA's test prompts have no answers.
    """
    rows = [row for row in held_out_questions(profile) if row.reference.strip()]
    some = take_evenly_spaced(rows, profile.evaluate.question_rows)
    return {OPEN: some} if some else {}


def load_choices(profile: Profile) -> dict[str, dict[str, Any]]:
    """The tasks of `evaluate.choices` in both forms: `cloze` and `letters` (chapter 5)."""
    settings = profile.evaluate.model_copy(update={"items": profile.evaluate.choice_items})
    chosen = profile.model_copy(update={"evaluate": settings})
    names = profile.evaluate.choices
    return {form: load_tasks(chosen, [f"{name}_{form}" for name in names]) if names else {}
            for form in FORMS}


def measure_seeds(profile: Profile, source: Callable[[str, str], Path], experts: Sequence[Role],
                  open_questions: OpenQuestions, choices: dict[str, dict[str, Any]],
                  folder: Path) -> dict[str, pd.DataFrame]:
    """`measure_likelihoods` of chapter 3's models of all training seeds (chapter 5).

    With `evaluate.contrasts` short, some texts stand before the options, and only the untuned model
    is asked for letters: that tells whether it understands the form at all.

    Args:
        source: `Stage.source`, which finds the models.
        choices: of `load_choices`.
    """
    full, found = profile.evaluate.contrasts == "full", []
    cloze, letters = (choices[form] for form in FORMS)
    for run in seed_profiles(profile):
        places = {name: str(source("sft", seed_name(name, run.seed, profile.seed)))
                  for name in trained_designs(profile)}
        if run.seed == profile.seed:
            places[BASE] = profile.model
        plan, tasks_plan = ([pair for pair in likelihood_plan(full, options) if pair[0] in places]
                            for options in (False, True))
        tasks = cloze | letters if full else cloze
        part = measure_likelihoods(run, places, experts, open_questions, tasks, plan, folder,
                                   tasks_plan)
        found.append(part | {"roles": part["roles"].assign(seed=run.seed)})
    tables = {name: pd.concat([part[name] for part in found], ignore_index=True)
              for name in ("likelihoods", "roles")}
    if letters and not full:
        asked = [models.identity(profile.model)["digest"], *task_content(profile, letters)]
        untuned = keep(folder, asked, _ask_letters, profile, letters)
        tables["likelihoods"] = pd.concat([tables["likelihoods"], untuned["likelihoods"]],
                                          ignore_index=True)
    return tables


def _ask_letters(profile: Profile, letters: dict[str, Any]) -> dict[str, pd.DataFrame]:
    model, tokenizer = models.load(profile.model, profile.dtype)
    rows = measure_options(model, tokenizer, letters, [Arm(NOTHING)])
    return {"likelihoods": rows.assign(model=BASE, seed=UNTUNED).reindex(columns=COLUMNS)}


def measure_likelihoods(profile: Profile, places: Mapping[str, str], experts: Sequence[Role],
                        open_questions: OpenQuestions, tasks: dict[str, Any], plan: Plan,
                        folder: Path, tasks_plan: Plan = ()) -> dict[str, pd.DataFrame]:
    """The table of likelihoods of the models of the profile's seed, kept in `folder` (chapter 5).

    Args:
        places: name or checkpoint of each model of the plan (`self-prompt`, `baseline`, `neutral`,
            `base`). The self-prompt model writes the roles, behind which all models stand.
        experts: roles of the training data, to draw the random expert from.
        tasks: of `load_tasks`, such as `openbookqa_cloze`.
        plan: of `likelihood_plan`, for the open questions.
        tasks_plan: the same for `tasks`.

    Returns:
        `likelihoods`, the table (see `contrasts`), and `roles`, what was written for every item.
    """
    digests = {name: models.identity(place)["digest"] for name, place in places.items()}
    rows = {name: [row.model_dump(mode="json") for row in some]
            for name, some in open_questions.items()}
    plans = plan, tasks_plan
    asked = [digests, profile.seed, rows, task_content(profile, tasks), plans,
             [role.model_dump() for role in experts]]
    return keep(folder, asked, _measure, profile, places, experts, open_questions, tasks, plans,
                folder)


def _measure(profile: Profile, places: Mapping[str, str], experts: Sequence[Role],
             open_questions: OpenQuestions, tasks: dict[str, Any], plans: tuple[Plan, Plan],
             folder: Path) -> dict[str, pd.DataFrame]:
    """One model is in memory at a time; the self-prompt model comes first, as it writes roles.

    What the others say behind their texts is kept by itself: with other models of the first kind,
    as in the next cell of a sweep, the untuned model need not be asked again.
    """
    model, tokenizer = models.load(places[OWN], profile.dtype)
    items = written_items(model, tokenizer, profile, open_questions, tasks)
    sources = RoleSources(experts, get_design(profile.design), tokenizer, profile.seed)
    names, prefixes = zip(*plans[0], *plans[1], strict=True)
    texts = prefix_texts(list(dict.fromkeys(prefixes)), items, sources)
    asked, parts = items.drop(columns="role"), []
    for name in dict.fromkeys([OWN, *names]):
        behind = [{prefix: texts[prefix] for one, prefix in plan if one == name} for plan in plans]
        if name == OWN:
            found = score_behind(model, tokenizer, open_questions, tasks, asked, behind)
            del model
        else:
            found = _score_kept(profile, places[name], open_questions, tasks, asked, behind, folder)
        seed = UNTUNED if name == BASE else profile.seed
        parts.append(found.assign(model=name, seed=seed).reindex(columns=COLUMNS))
    return {"likelihoods": pd.concat(parts, ignore_index=True), "roles": items}


def _score_kept(profile: Profile, place: str, open_questions: OpenQuestions, tasks: dict[str, Any],
                items: pd.DataFrame, behind: Sequence[Texts], folder: Path) -> pd.DataFrame:
    """One model's rows behind given texts, kept in `folder` by what it is and what is asked."""
    references = [row.reference for some in open_questions.values() for row in some]
    asked = [models.identity(place)["digest"], items.to_dict("list"), references, behind,
             task_content(profile, tasks)]

    def score(profile: Profile) -> dict[str, pd.DataFrame]:
        model, tokenizer = models.load(place, profile.dtype)
        return {"rows": score_behind(model, tokenizer, open_questions, tasks, items, behind)}

    return keep(folder, asked, score, profile)["rows"]


def score_behind(model, tokenizer, open_questions: OpenQuestions, tasks: dict[str, Any],
                 items: pd.DataFrame, behind: Sequence[Texts]) -> pd.DataFrame:
    """One model's rows of the table, but for its name.

    Args:
        items: of `written_items`, without their roles.
        behind: texts by prefix, in the order of the items: for the open questions, and for tasks.
    """
    parts = []
    if open_questions and behind[0]:
        parts.append(_score_open(model, tokenizer, open_questions, items, behind[0]))
    if tasks and behind[1]:
        parts.append(_score_tasks(model, tokenizer, tasks, items, behind[1]))
    return pd.concat(parts, ignore_index=True) if parts else items.head(0)


def written_items(model, tokenizer, profile: Profile, open_questions: OpenQuestions,
                  tasks: dict[str, Any], forced: bool = False) -> pd.DataFrame:
    """Every item with the role that the self-prompt model writes for it; none where it wrote none.

    Columns: task, item, stratum, question, role. The open questions stand first.
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
    design = get_design(profile.design)
    roles = infer.write_roles(model, tokenizer, profile, design, asked, forced) \
        if design.writes_first else [None] * len(asked)
    return pd.DataFrame(items).assign(role=roles)


def _score_open(model, tokenizer, open_questions: OpenQuestions, items: pd.DataFrame,
                texts: Texts) -> pd.DataFrame:
    asked = [row for some in open_questions.values() for row in some]
    of_open = items.head(len(asked))  # they stand first
    parts = []
    for prefix, column in texts.items():
        before = column[: len(asked)]
        nats = likelihoods(model, tokenizer, asked, before, label=f"answers, {prefix}")
        parts.append(of_open.assign(prefix=prefix, form=TEXT, nats=nats))
    return pd.concat(parts)


def _score_tasks(model, tokenizer, tasks: dict[str, Any], items: pd.DataFrame,
                 texts: Texts) -> pd.DataFrame:
    keys = list(zip(items.task, items["item"], strict=True))
    arms = [Arm(prefix, prefills=dict(zip(keys, column, strict=True)))
            for prefix, column in texts.items()]
    return measure_options(model, tokenizer, tasks, arms)
