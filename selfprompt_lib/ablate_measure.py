"""Designs and strategies trained and measured at equal budget (chapter 6).

It stands apart from what chapter 6 says of them, so that a word there trains nothing anew. What was
trained or measured before, in chapter 3 or in another cell of a sweep, is taken up (see `kept`).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from . import infer, models, sft
from .designs import GAP, Design, get_design
from .evaluate.asked import AskedModel
from .evaluate.benchmarks import load_choice_tasks
from .evaluate.likelihood_measure import OPEN, measure_likelihoods
from .evaluate.open_ended import likelihoods
from .evaluate.prefixes import NEUTRAL, NOTHING, OWN_ROLE
from .evaluate.results import BASE, OTHER, OWN, UNTUNED
from .generate import count_tokens
from .profiles import Profile, seed_profiles
from .rows import ROLE, Question, Sample
from .sft.runs import FINISHED
from .sources import take_evenly_spaced
from .strategies import with_texts

PLAN = ((OWN, OWN_ROLE), (OWN, OTHER))
PROMPT = "as a prompt: "  # the beginning of a prefix's name
TUNED_WITHOUT = "none"  # the design of the baseline
Tables = dict[str, pd.DataFrame]


def is_worded_role(name: str) -> bool:
    """Whether a design writes a role before the answer: these are compared in their wording."""
    design = get_design(name)
    return design.writes_first and design.strategy == ROLE and name != NEUTRAL


def design_samples(profile: Profile, name: str, samples: Sequence[Sample]) -> list[Sample]:
    """What a design is trained on: the same samples, or as many as have the same tokens.

    With `ablate.equal=tokens` no design sees more tokens than the baseline, whose answers stand
    alone: the longer what is written before them, the fewer samples.
    """
    design = get_design(name)
    mine = with_texts(samples, design, name)
    if profile.ablate.equal == "samples" or not design.writes_role:
        return mine
    tokenizer = models.shape(profile.model)[1]
    budget = sft.token_counts(tokenizer, samples, get_design(TUNED_WITHOUT)).tokens.sum()
    tokens = sft.token_counts(tokenizer, mine, design).tokens
    return take_evenly_spaced(mine, int(len(mine) * budget / tokens.sum()))


def train_designs(profile: Profile, samples: Sequence[Sample],
                  folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Train every design of `ablate.designs` with each seed; the records by the design's name.

    Raises:
        UserError: as `sft.train`, or a strategy without annotations of these samples.
    """
    chosen = {name: design_samples(profile, name, samples) for name in profile.ablate.designs}
    return {name: [sft.train(run, mine, get_design(name), folder)[2]
                   for run in seed_profiles(profile, profile.ablate.seeds)]
            for name, mine in chosen.items()}


def load_ablate_tasks(profile: Profile) -> dict[str, Any]:
    """The tasks of `ablate.tasks`, whose options are scored in cloze form; none where none are."""
    return load_choice_tasks(profile, profile.ablate.tasks, "cloze")


def measure_designs(profile: Profile, records: dict[str, list[dict[str, Any]]],
                    samples: Sequence[Sample], questions: Sequence[Question],
                    tasks: dict[str, Any], trainings: Path, parts: Path) -> Tables:
    """What each trained design writes before an answer, and how likely answers are behind it.

    Args:
        records: of `train_designs`.
        samples: of chapter 1; from their roles an expert is drawn at random.
        questions: open questions with references.
        tasks: of `load_ablate_tasks`.

    Returns:
        `likelihoods`, in the columns of chapter 5's table, where a model is named by its design
        and `base` is the untuned one. `roles`, one row an item, design and seed: what was written
        first, and its `tokens`. `replies`, whole and drawn, to `ablate.question_rows` questions.
    """
    found: dict[str, list[pd.DataFrame]] = {"likelihoods": [], "roles": [], "replies": []}
    seeds = seed_profiles(profile, profile.ablate.seeds)
    for number, (name, of_seeds) in enumerate(records.items()):
        for run, record in zip(seeds, of_seeds, strict=True):
            place = str(trainings / record["checkpoints"] / FINISHED)
            mine = run.model_copy(update={"design": name})
            with_base = number == 0 and run.seed == profile.seed
            tables = _measure_design(mine, place, samples, questions, tasks, with_base, parts)
            for kind, table in tables.items():
                found[kind].append(table)
    tables = {kind: pd.concat(some, ignore_index=True) for kind, some in found.items()}
    prompted = list(_prompted(profile, records, tables["roles"], questions, trainings, parts))
    return tables | {"likelihoods": pd.concat([tables["likelihoods"], *prompted],
                                              ignore_index=True)}


def _measure_design(profile: Profile, place: str, samples: Sequence[Sample],
                    questions: Sequence[Question], tasks: dict[str, Any], with_base: bool,
                    parts: Path) -> Tables:
    """One design's model of one seed; with the untuned model, once."""
    design = get_design(profile.design)
    places = {OWN: place} | ({BASE: profile.model} if with_base else {})
    base = [(BASE, NOTHING)] if with_base else []
    # A model that was also shown bare answers may leave its text out: is that better?
    bare = [(OWN, NOTHING)] if design.writes_first and profile.data.without_role else []
    plan = [*(PLAN if design.writes_first else PLAN[:1]), *bare, *base]
    experts = [sample.role for sample in with_texts(samples, design, profile.design) if sample.role]
    tables = measure_likelihoods(profile, places, experts, {OPEN: questions}, tasks, plan, parts,
                                 [PLAN[0], *base])
    rows, roles = tables["likelihoods"], tables["roles"]
    model = AskedModel(place, parts)
    replies = model.keep([_asked(questions)], _ask_all, profile, design, questions)["replies"]
    about = {"design": profile.design, "seed": profile.seed}
    tokens = count_tokens(model.tokenizer, list(roles.role.fillna("")))
    return {
        "likelihoods": rows.assign(model=rows.model.replace({OWN: profile.design})),
        "roles": roles.assign(tokens=tokens, **about),
        "replies": replies.assign(**about),
    }


def _asked(questions: Sequence[Question]) -> list[dict[str, Any]]:
    return [row.model_dump(mode="json") for row in questions]


def _ask_all(profile: Profile, model: AskedModel, design: Design,
             questions: Sequence[Question]) -> Tables:
    """Whole replies to read; of a design behind the answer, to see whether the role is written."""
    some = take_evenly_spaced(questions, profile.ablate.question_rows)
    rows = infer.ask_questions(*model.load(profile), profile, design, some,
                               label=f"asking, design {design.name}")
    return {"replies": pd.DataFrame(rows, columns=None if rows else ["question", "reply"])}


def _prompted(profile: Profile, records: dict[str, list[dict]], roles: pd.DataFrame,
              questions: Sequence[Question], trainings: Path, parts: Path
              ) -> Iterator[pd.DataFrame]:
    """The same texts as prompts, in front of the question in the user's turn.

    Asked are the models that were never trained to write one: the untuned one and the baseline.
    So it can be seen whether the wording matters less once a model is tuned on it, as the paper
    says (arXiv 2407.08995, section 5).
    """
    first = roles[(roles.seed == profile.seed) & (roles.task == OPEN)]
    texts = {name: list(part.set_index("item").role.reindex([row.id for row in questions]))
             for name, part in first.groupby("design", sort=False) if is_worded_role(name)}
    places = {BASE: profile.model}
    if TUNED_WITHOUT in records:
        checkpoint = records[TUNED_WITHOUT][0]["checkpoints"]
        places[TUNED_WITHOUT] = str(trainings / checkpoint / FINISHED)
    for name, place in places.items():
        asked = [texts, _asked(questions)]
        found = AskedModel(place, parts).keep(asked, _score_prompted, profile, texts,
                                              questions)["rows"]
        seed = UNTUNED if name == BASE else profile.seed
        yield found.assign(model=name, seed=seed, task=OPEN, form="text")


def _score_prompted(profile: Profile, model: AskedModel, texts: dict[str, list[str | None]],
                    questions: Sequence[Question]) -> Tables:
    rows = []
    for name, of_design in texts.items():
        prompted = [row.model_copy(update={"question": f"{text}{GAP}{row.question}"})
                    if isinstance(text, str) else row
                    for row, text in zip(questions, of_design, strict=True)]
        nats = likelihoods(*model.load(profile), prompted, label=f"as a prompt, {name}")
        rows += [{"prefix": PROMPT + name, "item": row.id, "stratum": row.domain, "nats": value}
                 for row, value in zip(questions, nats, strict=True)]
    return {"rows": pd.DataFrame(rows)}
