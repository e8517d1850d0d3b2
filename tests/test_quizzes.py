"""The quizzes, as their pages are written. `test_pages` answers one in a browser."""

import re
from pathlib import Path

import pytest

QUIZZES = Path(__file__).parents[1] / "book" / "quizzes"
QUESTION = re.compile(r"^## (\d)\. (.+)\n\n(.+)\n\n", flags=re.M)
ANSWER = re.compile(
    r"^:::\{dropdown\} (.+)\n:class-container: quiz (right|wrong)\n\n\*\*(Right|No)\.\*\* (.+)\n:::$",
    flags=re.M,
)


def questions(number):
    """Of a quiz: each question, and its answers as (text, right or wrong, its word, reason)."""
    _, *parts = QUESTION.split((QUIZZES / f"{number}.md").read_text(encoding="utf-8"))
    return [(asked, ANSWER.findall(answers), answers.count("{dropdown}"))
            for _, _, asked, answers in zip(*[iter(parts)] * 4, strict=True)]  # fmt: skip


def test_every_chapter_has_a_quiz_below_it_in_the_table_of_contents():
    toc = (QUIZZES.parents[1] / "_toc.yml").read_text()
    assert sorted(path.name for path in QUIZZES.iterdir()) == [f"{n}.md" for n in range(1, 7)]
    chapter = r"file: nbs/0(\d)\w+\n +sections:\n(?: {10}.*\n)*?"
    below = re.findall(chapter + r" {10}- file: book/quizzes/(\d)", toc)
    assert below == [(str(n), str(n)) for n in range(1, 7)]


@pytest.mark.parametrize("number", range(1, 7))
def test_a_quiz_asks_five_questions_and_gives_a_reason_for_every_answer(number):
    asked = questions(number)
    assert len(asked) == 5
    for question, answers, count in asked:
        assert len(answers) == count >= 3, f"an answer without its reason: {question}"
        assert [kind for _, kind, *_ in answers].count("right") == 1, question
        for text, kind, word, reason in answers:
            assert word == {"right": "Right", "wrong": "No"}[kind] and len(reason) > 25, text


def test_neither_the_place_nor_the_length_of_an_answer_gives_it_away():
    places, longest = [0, 0, 0], 0
    for number in range(1, 7):
        for _, answers, _ in questions(number):
            right = [kind for _, kind, *_ in answers].index("right")
            places[right] += 1
            longest += len(answers[right][0]) == max(len(text) for text, *_ in answers)
    assert min(places) >= 7 and 5 <= longest <= 15
