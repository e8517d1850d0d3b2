"""The judge's examination: control pairs, scripted judges, the bar, and the table's command."""

import asyncio
import json
import subprocess
import sys
import time

import judge_table
import pytest
from conftest import lines
from test_judge import ask, profile

from selfprompt_lib import annotate, profiles
from selfprompt_lib.cli import run_command
from selfprompt_lib.evaluate import judge_exam as exams
from selfprompt_lib.evaluate.judge import JUDGE_FOLDER
from selfprompt_lib.evaluate.judge_exam import control_pairs, grade, judge_exam
from selfprompt_lib.reading import read_json_lines
from selfprompt_lib.rows import STARTER_FOLDER, Question, read_rows

QUESTIONS = {row.id: row for row in read_rows(STARTER_FOLDER / "heldout.jsonl", Question)}
ALL = control_pairs(50)


def examined(served, folder, **settings):
    async def run():
        chosen = profile(served, **({"pairs": 10, "tries": 1} | settings))
        endpoint = await annotate.connect(chosen, chosen.judge)
        try:
            return await judge_exam(endpoint, chosen, folder)
        finally:
            await endpoint.client.close()

    return asyncio.run(run())


# Planted pairs


def test_every_kind_has_a_pair_for_every_question_and_its_first_answer_is_the_reference():
    assert list(ALL) == list(exams.EXPECTED)
    assert control_pairs(50) == ALL  # the same in every run
    expected = [(row.question, row.reference, row.domain) for row in QUESTIONS.values()]
    for kind, pairs in ALL.items():
        assert [pair.id for pair in pairs] == [f"{kind}: {name}" for name in QUESTIONS]
        assert [(pair.question, pair.one, pair.domain) for pair in pairs] == expected
        assert [pair.one == pair.other for pair in pairs] == [kind == "identical"] * 50


def test_one_place_of_the_answer_is_changed_to_a_wrong_fact():
    for row in read_json_lines(JUDGE_FOLDER / "planted.jsonl"):
        assert QUESTIONS[row["id"]].reference.count(row["right"]) == 1 and row["right"] != row["wrong"] != "", row


def test_what_is_cut_shuffled_padded_or_off_the_question_is_what_it_says():
    def words(text):
        return sorted(text.split())

    for name, row in QUESTIONS.items():
        spoilt = {
            kind: next(pair.other for pair in pairs if pair.id.endswith(f": {name}"))
            for kind, pairs in ALL.items()
        }
        assert row.reference.startswith(spoilt["cut short"]) and 10 < len(
            spoilt["cut short"]
        ) < 0.6 * len(row.reference)
        assert words(spoilt["shuffled"]) == words(row.reference)
        assert row.reference in spoilt["padded"] and len(spoilt["padded"]) > 1.3 * len(
            row.reference
        )
        other = next(q for q in QUESTIONS.values() if q.reference == spoilt["off the question"])
        assert other.domain != row.domain


@pytest.mark.parametrize(
    "text, cut",
    [
        ("One. Two. Three.", "One."),
        ("One", "One"),
        ("1. First point.\n2. Second.\n3. Third.", "1. First point."),
        ("A. B. C. D. E. F.", "A. B."),
        ("Is it? Yes! No.\n\nSo.", "Is it?"),
    ],
)
def test_the_first_third_of_the_sentences_is_left(text, cut):
    assert exams.cut_short(text) == cut


def test_a_few_pairs_are_of_all_domains():
    assert len({pair.domain for pair in control_pairs(10)["padded"]}) == 10


# Scripted judges


def test_a_perfect_judge_passes(loopback, tmp_path):
    found = examined(loopback(judge="perfect"), tmp_path)
    assert (
        found.fit
        and found.reasons == []
        and found.accuracy.value == 1
        and found.accuracy.n == 60 == found.pairs
    )
    assert (
        found.position.value == 0
        and found.length.value == 0
        and found.consistency.value == 1
        and found.unread.value == 0
    )
    assert "may judge" in found.statement()


@pytest.mark.parametrize(
    "kind, place, value", [("first", "shown first", 1), ("second", "shown second", -1)]
)
def test_a_judge_that_prefers_a_place_is_caught(loopback, tmp_path, kind, place, value):
    found = examined(loopback(judge=kind), tmp_path)
    assert (
        not found.fit
        and found.position.value == value
        and found.position.low <= value <= found.position.high
    )
    assert (
        found.consistency.value == 0
        and found.kinds["identical"].value == 0
        and found.kinds["cut short"].value == 0
    )
    assert (
        f"position bias {found.position} for the answer {place}" in found.statement() and "gives no verdicts" in found.statement()
    )


def test_a_judge_that_likes_length_is_caught_by_padding(loopback, tmp_path):
    found = examined(loopback(judge="longer"), tmp_path)
    assert (
        not found.fit
        and found.length.value == 1
        and found.position.value == 0
        and found.kinds["cut short"].value == 1
    )
    assert any("length bias: padding alone won 100%" in reason for reason in found.reasons)


def test_a_judge_of_prose_is_caught_without_an_error(loopback, tmp_path):
    found = examined(loopback(judge="prose"), tmp_path)
    assert not found.fit and found.unread.value == 1 and found.accuracy.value == 0
    assert (found.position, found.length, found.consistency) == (None, None, None)
    assert "holds a verdict" in found.statement() and len(found.reasons) == 1


@pytest.mark.parametrize(
    "settings, reason",
    [
        ({"bar": 0.99}, "judge.bar, 99%"),
        ({"pairs": 1, "bar": 0.9}, "accuracy 100% [61, 100]"),
    ],
)
def test_few_pairs_cannot_reach_a_high_bar(loopback, tmp_path, settings, reason):
    found = examined(loopback(judge="perfect"), tmp_path, **settings)
    assert not found.fit and reason in found.statement()


def test_unread_replies_are_never_counted_as_right(loopback, tmp_path):
    found = examined(loopback(judge="perfect", faults=0.3, kinds=["empty"], seed=1), tmp_path)
    assert (
        0.1 < found.unread.value < 0.5
        and found.accuracy.value < 1 - found.unread.value / 2
        and found.consistency.value == 1
    )


def test_identical_answers_are_asked_about_once_and_a_place_is_no_tie(loopback, tmp_path):
    served = loopback(judge="first")
    found = examined(served, tmp_path)
    assert served.paid() == 2 * 50 + 10 and found.position.n == found.consistency.n == 50


def test_marks_are_computed_as_the_page_says():
    def row(verdict, first, second):
        return {
            "verdict": verdict,
            "first": first,
            "second": second,
            "consistent": first == second if verdict else None,
            "outcome": "judged" if verdict else "malformed",
            "reason": "",
        }

    right, place, wrong, unread = (
        row("one", "one", "one"),
        row("tie", "one", "other"),
        row("other", "other", "other"),
        row(None, "one", None),
    )
    kinds = {
        "cut short": [right, right],
        "shuffled": [right, place],
        "wrong fact": [place, unread],
        "off the question": [right, right],
        "padded": [row("tie", "tie", "tie"), wrong],
        "identical": [row("tie", "tie", "tie"), place],
    }
    found = grade("m", kinds, profiles.Judge(bar=0.1, length_bias=0.5))
    shares = {kind: each.value for kind, each in found.kinds.items()}
    assert shares == {
        "cut short": 1,
        "shuffled": 0.5,
        "wrong fact": 0,
        "off the question": 1,
        "padded": 0.5,
        "identical": 0.5,
    }
    assert found.accuracy.value == pytest.approx(7 / 12) and found.length.value == 0.5
    assert found.position.value == pytest.approx(
        2 / 9
    ) and found.consistency.value == pytest.approx(7 / 9)
    assert found.unread.value == 1 / 24 and [
        reason.split(" 22%")[0] for reason in found.reasons
    ] == ["position bias"]


# What is paid for


def test_a_spent_budget_leaves_the_judge_unexamined_and_the_next_run_goes_on(loopback, tmp_path):
    served = loopback(judge="perfect")
    found = examined(served, tmp_path, price=[1, 1], budget=0.03)
    assert (
        not found.fit and found.silent and "got no reply (the budget of $0.03" in found.statement()
    )
    paid = served.paid()
    assert 0 < paid == len(lines(tmp_path / "replies.jsonl")) < 110
    assert examined(served, tmp_path, price=[1, 1], budget=1).fit and served.paid() == 110


def test_the_log_of_the_examination_takes_the_verdicts_too(loopback, tmp_path):
    served = loopback(judge="perfect")
    first = examined(served, tmp_path)
    ask(served, tmp_path)
    paid = served.paid()
    assert examined(served, tmp_path) == first and served.paid() == paid


# The command


def arguments(served, tmp_path, **settings):
    given = {"base_url": served.base_url, "model": "scripted", "pairs": 10, "tries": 1} | settings
    chosen = [f"--set=judge.{name}={json.dumps(value)}" for name, value in given.items()]
    return [
        "--profile",
        "smoke",
        "--out",
        str(tmp_path / "judge.md"),
        "--folder",
        str(tmp_path / "log"),
        *chosen,
    ]


def command(served, tmp_path, *more, **settings):
    return run_command(judge_table.main, [*arguments(served, tmp_path, **settings), *more])


def test_killed_in_its_middle_it_goes_on_and_asks_nothing_again_that_was_written_down(
    loopback, tmp_path
):
    served = loopback(judge="perfect", latency=0.05)
    start = [sys.executable, judge_table.__file__, *arguments(served, tmp_path, concurrency=4)]
    with subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while served.paid() < 30 and process.poll() is None:
            time.sleep(0.01)
        assert process.poll() is None
        process.kill()
    time.sleep(1)  # the server answers what is in flight, though nobody waits for it
    kept = len(lines(tmp_path / "log" / "replies.jsonl"))
    paid = served.paid()
    assert 0 <= paid - kept <= 4 and not (tmp_path / "judge.md").exists()
    assert command(served, tmp_path) == 0 and served.paid() == paid + 110 - kept
    assert len({row["key"] for row in lines(tmp_path / "log" / "replies.jsonl")}) == 110


def test_the_command_writes_a_column_a_judge_and_says_whether_it_may_judge(
    loopback, tmp_path, capsys
):
    assert (
        command(loopback(judge="perfect"), tmp_path, "--name", "perfect") == 0
        and "may judge" in capsys.readouterr().out
    )
    assert command(loopback(judge="first"), tmp_path, "--name", "always A") == 1
    assert "is not used as a judge" in capsys.readouterr().out
    table = (tmp_path / "judge.md").read_text()
    assert table.startswith(judge_table.MARK)
    assert "|  | perfect | always A |" in table and "| **may judge** | **yes** | **no** |" in table
    saved = json.loads((tmp_path / "judge.json").read_text())
    assert list(saved) == ["perfect", "always A"] and saved["perfect"]["accuracy"]["value"] == 1
    assert command(loopback(judge="longer"), tmp_path, "--name", "perfect") == 1
    assert "| **may judge** | **no** | **no** |" in (tmp_path / "judge.md").read_text()


def test_the_command_overwrites_no_file_of_others(loopback, tmp_path, capsys):
    served = loopback(judge="perfect")
    (tmp_path / "judge.md").write_text("mine")
    assert (
        command(served, tmp_path) == 2
        and "was not written by this command" in capsys.readouterr().err
    )
    assert (tmp_path / "judge.md").read_text() == "mine" and not served.counts()["asked"]


@pytest.mark.parametrize(
    "more, told",
    [
        (["--out", "table.txt"], "ends in .md"),
        (["--set", "judge.pairs=99"], "judge.pairs"),
        (["--set", "judge.bar=2"], "judge.bar"),
    ],
)
def test_bad_arguments_are_told_before_anything_is_asked(loopback, tmp_path, capsys, more, told):
    served = loopback(judge="perfect")
    assert (
        command(served, tmp_path, *more) == 2
        and told in capsys.readouterr().err
        and not served.counts()["asked"]
    )


def test_an_examination_that_was_cut_short_writes_no_table(loopback, tmp_path, capsys):
    assert command(loopback(judge="perfect"), tmp_path, price=[1, 1], budget=0.03) == 2
    assert "got no reply" in capsys.readouterr().err and not (tmp_path / "judge.md").exists()
