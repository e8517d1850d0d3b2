"""The classifier of domains, on the starter data and on hand-labelled prompts of LIMA."""

from collections import Counter
from pathlib import Path

import domain_classifier
import pytest

from selfprompt_lib import domains
from selfprompt_lib.rows import DOMAINS, STARTER_FOLDER, Question, read_rows

REAL = Path(__file__).parents[2] / "shared" / "data"
needs_lima = pytest.mark.skipif(
    not (REAL / domains.LIMA).is_dir(), reason="needs LIMA: a mirror at ../shared/data"
)


@pytest.fixture(scope="module")
def validated():
    return domain_classifier.cross_validated().set_index(["classifier", "fitted on"])


def test_cross_validation_beats_chance_by_far(validated):
    ours = validated.loc["logistic regression, C=1", "questions and experts"]
    assert ours.n == 200 and ours.low > 0.5, "chance is 10%"


def test_the_classifier_in_use_is_the_one_that_cross_validation_chose(validated):
    assert validated.accuracy.idxmax() == ("logistic regression, C=1", "questions and experts")
    assert domains._fitted()[1].C == 1


def test_held_out_questions_get_their_domain_more_often_than_not():
    rows = read_rows(STARTER_FOLDER / "heldout.jsonl", Question)
    given = domains.classify([row.question for row in rows])
    assert sum(row.domain == domain for row, (domain, _) in zip(rows, given, strict=True)) >= 30
    assert {domain for domain, _ in given} == set(DOMAINS) and all(
        0.1 < share < 1 for _, share in given
    )


def test_plain_cases_are_plain():
    cases = {
        "My Python function raises an IndexError. What is wrong?": "coding",
        "How do I simmer rice so that it does not stick?": "culture",
        "Solve the equation x squared minus 5x plus 6 = 0.": "mathematics",
        "I have had a sore throat and a fever for three days.": "health",
        "Why did the Roman Empire fall?": "history",
    }
    assert [domain for domain, _ in domains.classify(list(cases))] == list(cases.values())


def test_no_questions_no_domains():
    assert domains.classify([]) == []


def test_labels_are_an_even_sample_without_the_prompts():
    labels = domain_classifier.labelled()
    assert [label.id for label in labels] == [f"lima-test-{index}" for index in range(2, 300, 5)]
    assert {domain for label in labels for domain in label.domains} == set(DOMAINS)
    assert max(Counter(label.domains[0] for label in labels).values()) / 60 < 0.3, (
        "what always guessing one domain would get"
    )
    longest = max(map(len, domains.LABELS.read_text().splitlines()))
    assert longest < 200 and "an AI agent" in domains.LABELS.read_text()


@needs_lima
def test_the_classifier_agrees_with_the_labels_far_above_chance():
    agreement, confusion = domain_classifier.check(str(REAL))
    either, main, surer = (row for _, row in agreement.iterrows())
    assert (either.n, main.n, surer.n) == (60, 60, 30)
    assert either.low > 0.5 and main.low > 0.3 and surer.share > either.share
    assert confusion.shape == (10, 10) and confusion.to_numpy().sum() == 60


@needs_lima
def test_lima_s_test_prompts_are_questions_with_domains():
    questions = domains.lima_test(str(REAL))
    assert len(questions) == len({question.id for question in questions}) == 300
    assert {question.domain for question in questions} <= set(DOMAINS) and not any(
        question.reference for question in questions
    )


def test_a_mirror_is_read_by_its_first_turns(jsonl, tmp_path):
    jsonl(
        "GAIR/lima/plain_text/test.jsonl",
        {"conversations": ["Why did Rome fall?", "Well.", "And then?"], "source": "x"},
        {"conversations": ["How do I cook rice?"]},
    )
    assert [(q.id, q.question) for q in domains.lima_test(str(tmp_path))] == [
        ("lima-test-0", "Why did Rome fall?"),
        ("lima-test-1", "How do I cook rice?"),
    ]


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ({"conversations": []}, ["GAIR/lima test, row 1", "conversations"]),
        ({"conversations": [" "]}, ["GAIR/lima test, row 1", "turn 1 is empty"]),
    ],
)
def test_rows_that_are_no_conversations_are_named(jsonl, tmp_path, refused, row, parts):
    jsonl("GAIR/lima/plain_text/test.jsonl", row)
    with refused(*parts):
        domains.lima_test(str(tmp_path))


def test_a_missing_or_shortened_mirror_is_named(jsonl, tmp_path, refused):
    with refused("data.mirror", "test.jsonl"):
        domains.lima_test(str(tmp_path))
    jsonl("GAIR/lima/plain_text/test.jsonl", {"conversations": ["Why did Rome fall?"]})
    with refused("1 rows", "300"):
        domain_classifier.check(str(tmp_path))
