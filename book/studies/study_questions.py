"""What the likelihood study asks: open questions with a reference, and tasks with options."""

from collections.abc import Sequence
from typing import Any

from selfprompt_lib import lima_role
from selfprompt_lib.evaluate import load_tasks
from selfprompt_lib.profiles import Profile
from selfprompt_lib.rows import STARTER_FOLDER, Question, Sample, read_rows
from selfprompt_lib.sources import take_evenly_spaced
from selfprompt_lib.tasks import TASKS_FOLDER

OPEN = {"open questions": "heldout.jsonl", "unseen questions": "unseen.jsonl"}
LIMA_QUESTIONS = "LIMA's questions"  # with LIMA's answers: neither was written for this project
LIMA_LONGEST, LIMA_TRAINED = 1600, 200  # characters of a sample, and how many are trained on
CONTROLS = ("arc_easy", "piqa")  # tasks that a small model can do


def open_questions(profile: Profile, lima: bool = False) -> dict[str, list[Question]]:
    """The held-out and the unseen questions, and with `lima` as many of LIMA's."""
    questions = {name: read_rows(STARTER_FOLDER / file, Question) for name, file in OPEN.items()}
    if lima:
        questions[LIMA_QUESTIONS] = lima_questions(
            lima_role.load_lima_role(profile.data.mirror).samples)
    return {name: take_evenly_spaced(rows, profile.data.question_rows)
            for name, rows in questions.items()}


def lima_questions(samples: Sequence[Sample]) -> list[Question]:
    """Of LIMA's short samples with one answer those that the study's models are not trained on.

    They are the same whatever a study trains on, so that studies can be paired by question.
    """
    short = [sample for sample in samples
             if sum(map(len, sample.conversations)) <= LIMA_LONGEST]
    trained = {sample.id for sample in take_evenly_spaced(short, LIMA_TRAINED)}
    return [Question(id=sample.id, domain=sample.source, question=sample.question,
                     reference=sample.answer)
            for sample in short if sample.id not in trained and len(sample.conversations) == 2]


def all_tasks(profile: Profile) -> dict[str, Any]:
    """The mini controls, and with a mirror the real benchmarks, in cloze form and with letters."""
    tasks = load_tasks(with_benchmarks(profile, "starter"), in_both_forms(CONTROLS))
    if profile.data.mirror:
        tasks |= load_tasks(with_benchmarks(profile, "hub"), in_both_forms(profile.evaluate.tasks))
    return tasks


def with_benchmarks(profile: Profile, benchmarks: str) -> Profile:
    """The profile with real benchmarks (`hub`) or mini benchmarks (`starter`)."""
    data = profile.data.model_copy(update={"benchmarks": benchmarks})
    return profile.model_copy(update={"data": data})


def in_both_forms(names: Sequence[str]) -> list[str]:
    """The tasks that score options by likelihood, of those that have options."""
    both = [f"{name}_{form}" for name in names for form in ("cloze", "letters")]
    return [name for name in both if (TASKS_FOLDER / f"{name}.yaml").is_file()]
