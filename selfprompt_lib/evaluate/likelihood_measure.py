"""Likelihoods measured: the models of one training seed behind every prefix of a plan (chapter 5).

What was measured before is taken up, see `kept`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .. import infer
from ..designs import get_design
from ..profiles import Profile, seed_name, seed_profiles, trained_designs
from ..rows import Question, Role
from ..sources import held_out_questions, take_evenly_spaced
from .asked import AskedModel
from .benchmarks import load_choice_tasks
from .contrasts import TEXT
from .harness import Arm, item_key
from .measure import task_content
from .open_ended import likelihoods
from .options import measure_options
from .prefixes import NOTHING, RoleSources, likelihood_plan, prefix_texts
from .results import BASE, OWN, UNTUNED

COLUMNS = ["model", "seed", "prefix", "task", "form", "item", "stratum", "options", "nats",
           "log_odds", "log_odds_pmi", "right", "right_sum", "right_pmi"]
ITEM = ["task", "item", "stratum", "question"]
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
    return {form: load_choice_tasks(profile, profile.evaluate.choices, form) for form in FORMS}


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
    full = profile.evaluate.contrasts == "full"
    found = []
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
        untuned = AskedModel(profile.model, folder).keep(
            task_content(profile, letters), _ask_letters, profile, letters)
        tables["likelihoods"] = pd.concat([tables["likelihoods"], untuned["likelihoods"]],
                                          ignore_index=True)
    return tables


def _ask_letters(profile: Profile, model: AskedModel,
                 letters: dict[str, Any]) -> dict[str, pd.DataFrame]:
    rows = measure_options(*model.load(profile), letters, [Arm(NOTHING)])
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
    writer = AskedModel(places[OWN], folder)
    items = written_items(writer, profile, open_questions, tasks)
    sources = RoleSources(experts, get_design(profile.design), writer.tokenizer, profile.seed)
    pairs = [*plan, *tasks_plan]
    prefixes = dict.fromkeys(prefix for _, prefix in pairs)
    texts = prefix_texts(list(prefixes), items, sources)
    items_alone = items.drop(columns="role")
    parts = []
    for name in dict.fromkeys([OWN, *(model for model, _ in pairs)]):
        model = writer if name == OWN else AskedModel(places[name], folder)
        before_answers, before_options = (
            {prefix: texts[prefix] for one, prefix in some if one == name}
            for some in (plan, tasks_plan))
        found = score_behind(model, profile, open_questions, tasks, items_alone, before_answers,
                             before_options)
        writer = model = None  # one model is in memory at a time
        seed = UNTUNED if name == BASE else profile.seed
        parts.append(found.assign(model=name, seed=seed).reindex(columns=COLUMNS))
    return {"likelihoods": pd.concat(parts, ignore_index=True), "roles": items}


def written_items(model: AskedModel, profile: Profile, open_questions: OpenQuestions,
                  tasks: dict[str, Any], forced: bool = False) -> pd.DataFrame:
    """Every item with the role that the self-prompt model writes for it; none where it wrote none.

    Columns: task, item, stratum, question, role. The open questions stand first.
    """
    items = {name: [(name, row.id, row.domain, row.question) for row in rows]
             for name, rows in open_questions.items()}
    for name, task in tasks.items():
        items[name] = [(*item_key(name, doc), doc["stratum"], task.doc_to_text(doc))
                       for doc in task.eval_docs]
    writes, parts = get_design(profile.design).writes_first, []
    for rows in items.values():
        part = pd.DataFrame(rows, columns=ITEM)
        asked = list(part.question)
        roles = model.keep([asked, forced], _write_roles, profile, asked,
                           forced)["roles"] if writes else None
        parts.append(part.assign(role=roles))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*ITEM, "role"])


def _write_roles(profile: Profile, model: AskedModel, questions: Sequence[str],
                 forced: bool) -> dict[str, Any]:
    asked = [Question(id=str(number), question=text) for number, text in enumerate(questions)]
    return {"roles": infer.write_roles(*model.load(profile), profile, get_design(profile.design),
                                       asked, forced)}


def score_behind(model: AskedModel, profile: Profile, open_questions: OpenQuestions,
                 tasks: dict[str, Any], items: pd.DataFrame, before_answers: Texts,
                 before_options: Texts) -> pd.DataFrame:
    """One model's rows of the table, but for its name.

    Args:
        items: of `written_items`, without their roles.
        before_answers: texts by prefix, in the order of the items, for the open questions.
        before_options: the same for the tasks.
    """
    rows = [row for some in open_questions.values() for row in some]
    asked = [row.model_dump(mode="json") for row in rows]
    of_open = items.head(len(rows))
    parts = []
    for prefix, column in (before_answers.items() if rows else ()):
        before = list(column[: len(rows)])  # the open questions stand first
        nats = model.keep([asked, before], _score_open, profile, rows, before, prefix)["nats"]
        parts.append(of_open.assign(prefix=prefix, form=TEXT, nats=nats))
    if tasks and before_options:
        keys = list(zip(items.task, items["item"], strict=True))
        texts = {prefix: list(column) for prefix, column in before_options.items()}
        asked = [task_content(profile, tasks), keys, texts]
        parts.append(model.keep(asked, _score_tasks, profile, tasks, keys, texts)["rows"])
    return pd.concat(parts, ignore_index=True) if parts else items.head(0)


def _score_open(profile: Profile, model: AskedModel, questions: Sequence[Question],
                before: Sequence[str], prefix: str) -> dict[str, list[float]]:
    return {"nats": likelihoods(*model.load(profile), questions, before,
                                label=f"answers, {prefix}")}


def _score_tasks(profile: Profile, model: AskedModel, tasks: dict[str, Any],
                 keys: Sequence[tuple[str, str]], texts: Texts) -> dict[str, pd.DataFrame]:
    arms = [Arm(prefix, prefills=dict(zip(keys, column, strict=True)))
            for prefix, column in texts.items()]
    return {"rows": measure_options(*model.load(profile), tasks, arms)}
