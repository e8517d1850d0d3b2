"""Where rows come from: the starter data, a file, the hub, or a mirror of the hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from . import lima_role, models, sandbox
from .errors import require
from .hub import hub_rows
from .profiles import TASKS, Profile
from .rows import STARTER_FOLDER, Question, Sample, parse_rows, read_rows

T = TypeVar("T")


def training_samples(profile: Profile) -> list[Sample]:
    """All training samples of the profile's source that are not too long, before any are picked (chapter 1).

    `lima-role` is LIMA from the hub or a mirror, joined with the project's roles.

    Raises:
        UserError: no such source, a row that is no sample, or none that is short enough.
    """
    samples, longest = _samples(profile), profile.data.longest
    kept = [s for s in samples if longest is None or sum(map(len, s.conversations)) <= longest]
    require(kept, f"data.longest: no sample of {profile.data.train} has {longest:,} characters or fewer; set it higher" if longest
            else f"data.train: {profile.data.train} has no samples")
    return kept


def _samples(profile: Profile) -> list[Sample]:
    source = profile.data.train
    if source == "starter":
        return read_rows(STARTER_FOLDER / "train.jsonl", Sample)
    if source.endswith(".jsonl"):
        return read_rows(Path(source), Sample)
    if source == lima_role.NAME:
        return lima_role.load(profile.data.mirror).samples
    rows = hub_rows(source, "plain_text", "train", profile.data.mirror)
    return parse_rows(map(_closed, rows), Sample, source)


def held_out(profile: Profile, trained: Sequence[Sample], count: int = 32) -> list[Sample]:
    """Starter samples that are not trained on, to take a loss on; none where no epochs are kept (chapter 3)."""
    if not profile.sft.checkpoints:
        return []
    ids = {sample.id for sample in trained}
    starter = read_rows(STARTER_FOLDER / "train.jsonl", Sample)
    return take_evenly_spaced([sample for sample in starter if sample.id not in ids], count)


def check(profile: Profile) -> None:
    """Read everything that lies on this machine, so that bad input stops a run before it begins.

    Raises:
        UserError: a missing or malformed file, a missing model folder or mirror, samples without roles,
            HumanEval without a sandbox.
    """
    if profile.model not in (models.STARTER, models.SMOKE):
        models.located(profile.model)
    mirror = profile.data.mirror
    require(mirror is None or Path(mirror).expanduser().is_dir(),
            f"data.mirror: {mirror} is missing; a mirror has <org>/<name>/<config>/<split>.jsonl")
    questions(profile)
    if profile.evaluate.run_code and "humaneval" in (*profile.evaluate.tasks, *profile.ablate.tasks):
        sandbox.require_sandbox()
    if profile.evaluate.include_path:
        from .tasks import checks  # lm-eval takes seconds to load

        there = checks.check_folder(Path(profile.evaluate.include_path).expanduser())
        unknown = [name for name in profile.evaluate.tasks if name not in (*TASKS, *there)]
        require(not unknown, f"evaluate.tasks: no task {unknown[:1]} here or in {profile.evaluate.include_path}, which has "
                             f"{', '.join(there)}")
    if mirror or profile.data.train == "starter" or profile.data.train.endswith(".jsonl"):
        check_roles(profile, training_samples(profile))


def check_roles(profile: Profile, samples: Sequence[Sample]) -> None:
    """Stop before any work when the samples have no roles and none are to be annotated."""
    require(profile.annotate.train_on == "live" or any(sample.role for sample in samples),
            f"data.train: {profile.data.train} has no roles; set annotate.train_on=live, or give a file with roles")


def _closed(row: dict) -> dict:
    """LIMA has a conversation that ends on a user turn, which has no answer to learn: drop it."""
    turns = row.get("conversations")
    return row | {"conversations": turns[: len(turns) - len(turns) % 2]} if isinstance(turns, list) else row


def questions(profile: Profile) -> list[Question]:
    """The held-out questions, evenly picked; `lima-test` is LIMA's test prompts, with domains by a classifier (chapter 4)."""
    source = profile.data.questions
    if source == "lima-test":
        from . import domains  # it takes an embedder, which the command line need not wait for

        return take_evenly_spaced(domains.lima_test(profile.data.mirror), profile.data.question_rows)
    rows = read_rows(STARTER_FOLDER / "heldout.jsonl" if source == "starter" else Path(source), Question)
    return take_evenly_spaced(rows, profile.data.question_rows)


def take_evenly_spaced(rows: Sequence[T], count: int | None) -> list[T]:
    """`count` rows at even distances, so that every domain of an ordered file has its share."""
    if count is None or count >= len(rows):
        return list(rows)
    return [rows[(2 * i + 1) * len(rows) // (2 * count)] for i in range(count)]
