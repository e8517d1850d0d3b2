"""Where a profile's rows come from: the starter data, a file, the hub, or a mirror of the hub."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from . import lima_role, models, sandbox, variety
from .designs import STRATEGIES, get_design
from .errors import UserError, require
from .files import hub_rows, is_on_hub
from .llm_client.prompt import read_guideline
from .profiles import CHOICES, TASKS, Profile
from .reading import user_path
from .rows import ROLE, STARTER_FOLDER, Conversation, Question, Sample, parse_rows, read_rows
from .strategies import with_texts

T = TypeVar("T")


def training_samples(profile: Profile) -> list[Sample]:
    """All training samples of the profile that are not too long, before any are picked (chapter 1).

    `lima-role` is LIMA from the hub or a mirror, joined with the project's roles. With
    `data.domains` they are of so many domains.

    Raises:
        UserError: no such source, a row that is no sample, none that is short enough, or fewer
            domains, or samples in them, than the profile asks for.
    """
    samples, settings, longest = _all_samples(profile), profile.annotate, profile.data.longest
    if settings.strategy != ROLE and settings.train_on == "live":
        samples = _without_roles(samples)
    elif settings.strategy != ROLE:
        samples = with_texts(samples, get_design(profile.design), settings.strategy)
    if longest is not None:
        samples = [s for s in samples if sum(map(len, s.conversations)) <= longest]
        require(samples, f"data.longest: no sample of {profile.data.train} has {longest:,} "
                         "characters or fewer; set it higher")
    require(samples, f"data.train: {profile.data.train} has no samples")
    return variety.only_domains(profile, samples)


def _all_samples(profile: Profile) -> list[Sample]:
    source, mirror = profile.data.train, profile.data.mirror
    if source == "starter":
        return read_rows(STARTER_FOLDER / "train.jsonl", Sample)
    if source == lima_role.NAME:
        return lima_role.load_lima_role(mirror).samples
    if not from_hub(profile):
        return _rows_of_file("data.train", source, Sample)
    name, _, config = source.partition(":")
    return parse_rows(hub_rows(name, config or None, "train", mirror), Sample, source, cut=True)


def _without_roles(samples: Sequence[Sample]) -> list[Sample]:
    return [sample.model_copy(update={"role": None}) for sample in samples]


def from_hub(profile: Profile) -> bool:
    """Whether the training samples come from the hub or its mirror, not from a file (chapter 1)."""
    source, mirror = profile.data.train, profile.data.mirror
    mirrored = mirror and (user_path(mirror) / source.partition(":")[0]).is_dir()
    return source != "starter" and bool(mirrored or is_on_hub(source))


def _rows_of_file(field: str, source: str, kind: type) -> list:
    path = user_path(source)
    require(os.path.exists(path), f"{field}: {path}: no such file or folder (from {Path.cwd()})")
    return read_rows(path, kind)


def validation_samples(profile: Profile, trained: Sequence[Sample],
                       count: int = 32) -> list[Sample]:
    """Starter samples not trained on, to take a loss on (chapter 3).

    An empty list where no epochs are kept, or where they have no annotation of a user's own
    strategy.
    """
    design = get_design(profile.design)
    if not profile.sft.checkpoints or design.strategy not in (ROLE, *STRATEGIES):
        return []
    ids = {sample.id for sample in trained}
    starter = with_texts(read_rows(STARTER_FOLDER / "train.jsonl", Sample), design, design.name)
    return take_evenly_spaced([sample for sample in starter if sample.id not in ids], count)


def held_out_questions(profile: Profile) -> list[Question]:
    """The held-out questions, evenly picked (chapter 4).

    `lima-test` is LIMA's test prompts, with domains by a classifier.
    """
    source = profile.data.questions
    if source == "lima-test":
        from . import domains  # loads an embedder, which the command line need not wait for

        rows = domains.lima_test(profile.data.mirror)
    else:
        path = STARTER_FOLDER / "heldout.jsonl" if source == "starter" else source
        rows = _rows_of_file("data.questions", path, Question)
    return take_evenly_spaced(rows, profile.data.question_rows)


def take_evenly_spaced(rows: Sequence[T], count: int | None) -> list[T]:
    """`count` rows at even distances, so that every domain of an ordered file has its share."""
    if count is None or count >= len(rows):
        return list(rows)
    return [rows[(2 * i + 1) * len(rows) // (2 * count)] for i in range(count)]


def check_inputs(profile: Profile) -> None:
    """Read all input that lies on this machine, so that a bad one stops a run before it begins.

    Raises:
        UserError: a missing or malformed file, a missing model folder or mirror, samples without
            roles, HumanEval without a sandbox.
    """
    local = [own.model for own in (profile.annotate, profile.judge) if own.base_url is None]
    for name in {profile.model, *filter(None, local)}:
        models.check(name)
    mirror = profile.data.mirror
    require(mirror is None or user_path(mirror).is_dir(),
            f"data.mirror: {mirror} is missing; a mirror has <org>/<name>/<config>/<split>.jsonl")
    held_out_questions(profile)
    _check_designs(profile)
    for path in profile.roles.files:
        read_rows(path, Conversation, told=False)
    for settings in (profile.annotate, profile.judge):
        if settings.guideline:
            read_guideline(settings, Path(settings.guideline))
    if profile.roles.reviews:
        from .roles.review import read_sheet  # scikit-learn takes seconds to load

        for path in profile.roles.reviews:
            read_sheet(path)
    if profile.evaluate.run_code and "humaneval" in profile.evaluate.tasks:
        sandbox.require_sandbox()
    if profile.evaluate.include_path:
        _check_own_tasks(profile)
    if mirror or not from_hub(profile):
        check_roles(profile, training_samples(profile))


def _check_designs(profile: Profile) -> None:
    """Chapter 6 cannot write roles where another strategy is annotated."""
    strategy = profile.annotate.strategy
    roles = [name for name in profile.ablate.designs if name not in ("none", "neutral")
             and get_design(name).strategy == ROLE != strategy]
    if roles:
        raise UserError(f"ablate.designs: {roles[0]} writes roles, and annotate.strategy is "
                        f"{strategy}; set ablate.designs=[none,neutral,{profile.design}]")


def _check_own_tasks(profile: Profile) -> None:
    from .tasks.checks import check_task_folder  # lm-eval takes seconds to load

    folder = profile.evaluate.include_path
    there = check_task_folder(user_path(folder))
    own_cloze = [name.removesuffix("_cloze") for name in there if name.endswith("_cloze")]
    for field, names, known in (("evaluate", profile.evaluate.tasks, (*TASKS, *there)),
                                ("ablate", profile.ablate.tasks, (*CHOICES, *own_cloze))):
        unknown = [name for name in names if name not in known]
        if unknown:
            raise UserError(f"{field}.tasks: no task {unknown[0]!r} here or in {folder}, which has "
                            f"{', '.join(there)}")


def check_roles(profile: Profile, samples: Sequence[Sample]) -> None:
    """Stop before any work when the samples have no roles and none are to be annotated.

    Nor may a field ask for a variety of roles or samples that cannot be had of them. Where there
    are fewer samples than `data.train_rows`, that is said.
    """
    if profile.annotate.train_on == "live":
        chosen = take_evenly_spaced(_without_roles(samples), profile.data.train_rows)
    else:
        require(any(sample.role for sample in samples),
                f"data.train: {profile.data.train} has no roles; set annotate.train_on=live, "
                "or give a file with roles")
        chosen = with_reference_roles(profile, samples)
    variety.check(profile, chosen)
    asked = profile.data.train_rows
    if asked is not None and len(chosen) < asked:
        print(f"data.train_rows: {asked:,} asked; with these settings there are {len(chosen):,}, "
              "and all are taken", flush=True)


def with_reference_roles(profile: Profile, samples: Sequence[Sample]) -> list[Sample]:
    """The samples to train on that came with roles: `data.train_rows` of them (chapter 1).

    Raises:
        UserError: fewer, where domains are to be compared at equal size.
    """
    with_roles = [sample for sample in samples if sample.role]
    variety.require_rows(profile, len(with_roles))
    return take_evenly_spaced(with_roles, profile.data.train_rows)
