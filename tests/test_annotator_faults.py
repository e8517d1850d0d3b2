"""The annotator among faults: nothing lost or paid for twice, no limit passed, no key told."""

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import combinations

import pytest
from conftest import KEY, annotation, command, forked, lines
from test_annotate import SAMPLES, ask, profile

from selfprompt_lib import annotate
from selfprompt_lib.__main__ import main
from selfprompt_lib.llm_client.limits import leaky_bucket, rated_tokens

FINAL = ("fine", "refusal")  # kinds of reply that the server gives and that nobody asks for again
PRICE = [1, 1]


@pytest.fixture
def questions(jsonl):
    return lambda count: jsonl(
        "questions.jsonl", *({"question": f"What is fact number {i}?"} for i in range(count))
    )


@contextlib.contextmanager
def running(arguments):
    """The command in a process of its own, killed at the end if it still runs."""
    command = [sys.executable, "-m", "selfprompt_lib", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def forking(arguments):
    """The command in a process that has its modules already, killed at the end if it runs."""
    process = forked(main, arguments)
    try:
        yield process
    finally:
        process.kill()
        process.join()


def wait_for(condition, alive):
    """Look every few milliseconds until the condition holds or the process ends."""
    while not condition() and alive():
        time.sleep(0.01)


def outputs(out):
    """Ids of the rows with a role, the failed rows, and the log."""
    return (
        [row["id"] for row in lines(out)],
        lines(out.with_suffix(".failed.jsonl")),
        lines(out.with_suffix(".replies.jsonl")),
    )


def test_with_faults_every_row_is_done_or_listed_and_none_is_paid_for_twice(
    loopback, questions, tmp_path
):
    served, data, out = loopback(faults=0.3, seed=3), questions(1030), tmp_path / "roles.jsonl"
    arguments = annotation(served, data, out, timeout=2, concurrency=48, tries=3)
    done = command(*arguments)
    roles, failed, log = outputs(out)
    assert sorted(roles + [row["id"] for row in failed]) == sorted(
        f"row-{i}" for i in range(1030)
    ), done.stderr[-2000:]
    assert done.returncode == 1 and all(
        row["reason"] and row["outcome"] not in ("role", "not asked") for row in failed
    )
    # An answer that is cut on its way is a call that failed, as one is whose connection drops.
    paid = {question: [kind for kind in kinds if kind != "cut body"]
            for question, kinds in served.counts()["paid"].items()}  # fmt: skip
    assert sum(map(len, paid.values())) == len(log) and set(sum(paid.values(), [])) == {
        *FINAL,
        "cut text",
        "empty",
    }
    assert all(len(kinds) <= 3 and not set(kinds[:-1]) & {*FINAL} for kinds in paid.values())
    assert set(Counter(row["outcome"] for row in log)) == {
        "role",
        "refusal",
        "truncated",
        "empty",
    }
    before = served.counts()["paid"]
    assert main(arguments) == 1
    again = served.counts()["paid"]
    open_rows = {
        f"What is fact number {row['id'][4:]}?" for row in failed if row["outcome"] == "error"
    }
    assert {question for question in again if again[question] != before.get(question)} <= open_rows


def test_rows_whose_calls_fail_are_listed_and_asked_by_the_next_run(loopback, questions, tmp_path):
    served, data, out = (
        loopback(faults=0.5, kinds=["500", "429", "drop"], seed=2),
        questions(60),
        tmp_path / "roles.jsonl",
    )
    arguments = annotation(served, data, out, retries=0, concurrency=8)
    assert main(arguments) == 1
    roles, failed, log = outputs(out)
    assert {row["outcome"] for row in failed} == {"error"} and len(roles) + len(failed) == 60
    reasons = {row["reason"] for row in failed}
    dropped = "APIConnectionError: Server disconnected without sending a response."
    assert reasons == {"HTTP 500: server error", "HTTP 429: slow down", dropped}
    while main(arguments):
        pass
    assert len(outputs(out)[0]) == 60 and set(map(len, served.counts()["paid"].values())) == {1}


def test_killed_at_twenty_moments_nothing_is_lost_and_only_what_was_in_flight_is_asked_again(
    loopback, questions, tmp_path
):
    served, data, out = loopback(latency=0.03), questions(500), tmp_path / "roles.jsonl"
    dice, lost, log = random.Random(20), 0, tmp_path / "roles.replies.jsonl"
    arguments = annotation(served, data, out, concurrency=8)
    for moment in range(20):
        target = served.paid() + dice.randint(1, 24)
        with forking(arguments) as process:
            wait_for(lambda goal=target: served.paid() >= goal, process.is_alive)
            time.sleep(dice.random() * 0.03)
            assert process.is_alive(), process.exitcode
            process.kill()
        while served.counts()["in_flight"]:
            time.sleep(0.01)
        before, lost = lost, served.paid() - log.read_bytes().count(b"\n")
        assert lost - before <= 8
        if moment % 5 == 0:  # a kill may come within a write
            with log.open("a") as file:
                file.write(log.read_text().splitlines()[-1][:200])
    assert main(arguments) == 0
    roles, failed, rows = outputs(out)
    assert roles == [f"row-{i}" for i in range(500)] and not failed
    assert len({row["key"] for row in rows}) == len(rows) == 500 and {
        row["outcome"] for row in rows
    } == {"role"}
    assert served.paid() - 500 == lost


def test_ctrl_c_ends_cleanly_and_the_next_run_goes_on(loopback, questions, tmp_path, capfd):
    served, data, out = loopback(latency=0.1), questions(120), tmp_path / "roles.jsonl"
    arguments = annotation(served, data, out, concurrency=8)
    with running(arguments) as process:
        wait_for(lambda: served.paid() >= 20, lambda: process.poll() is None)
        assert main(arguments) == 2 and "another run is writing to it" in capfd.readouterr().err
        process.send_signal(signal.SIGINT)
        said, complaint = process.communicate()
    assert (
        process.returncode == 130 and "stopped: Ctrl-C; run the same command to go on" in complaint
    )
    assert "Traceback" not in said + complaint
    roles, failed, log = outputs(out)
    assert 20 <= len(roles) == len(log) == served.paid() < 120 and len(roles) + len(failed) == 120
    assert {(row["outcome"], row["reason"]) for row in failed} == {("not asked", "Ctrl-C")}
    assert main(arguments) == 0 and len(outputs(out)[0]) == 120 == served.paid()
    assert served.counts()["most_in_flight"] == 8


def test_ctrl_c_does_not_wait_for_the_limits(loopback, questions, tmp_path):
    served, data, out = loopback(), questions(30), tmp_path / "roles.jsonl"
    with running(annotation(served, data, out, requests_per_minute=1, concurrency=16)) as process:
        wait_for(served.paid, lambda: process.poll() is None)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)  # sixteen waiting for their turn would take half an hour
    assert process.returncode == 130 and len(outputs(out)[0]) == served.paid() == 1


# Limits and the budget


def test_the_bucket_holds_the_limit_in_any_minute():
    for per_minute in (1, 2, 7, 10, 60, 500, 30_000, 2_000_000):
        bucket = leaky_bucket(per_minute)
        most = bucket.max_rate + 60 * bucket.max_rate / bucket.time_period
        assert most == pytest.approx(max(per_minute, 1.5))  # whole requests: of one and a half, one


@pytest.mark.parametrize("limited", ["requests_per_minute", "tokens_per_minute"])
def test_limits_hold_for_the_first_call_and_for_what_the_client_repeats(
    loopback, tmp_path, limited
):
    served = loopback(faults=0.4, kinds=["429"], seed=2)
    samples = [sample.model_copy(update={"id": str(i),
                                         "conversations": (f"What is fact number {i}?",)})
               for i, sample in enumerate(SAMPLES[:60], 100)]  # fmt: skip
    form = annotate.RolePrompt.from_settings(profile(served).annotate)
    tokens = (
        rated_tokens(form.request(samples[0].question, "served-model"))
        if limited == "tokens_per_minute"
        else 1
    )
    ask(served, tmp_path, samples, **{limited: 600 * tokens}, concurrency=20, retries=15)
    times = sorted(served.counts()["times"])
    assert len(times) > 75 and served.paid() == 60
    # 60 at once and 9 a second make 600 in any minute; the server may see them a second late.
    assert all(
        b - a + 1 <= 60 + 9 * (times[b] - times[a] + 1)
        for a, b in combinations(range(len(times)), 2)
    )


def test_the_budget_is_used_up_and_not_passed_and_a_higher_one_goes_on(
    loopback, questions, tmp_path, capsys
):
    served, data, out = loopback(latency=0.01), questions(60), tmp_path / "roles.jsonl"

    def run(budget):
        status = main(annotation(served, data, out, price=PRICE, concurrency=16, budget=budget))
        roles, failed, log = outputs(out)
        assert len(roles) == len(log) == served.paid() and len(roles) + len(failed) == 60
        return status, failed, sum(row["dollars"] for row in log)

    form = annotate.RolePrompt.from_settings(profile(served, max_tokens=1000).annotate)
    worst = annotate.Price("m", own=PRICE).worst_case(
        form.request("What is fact number 10?", "served-model")
    )
    status, failed, dollars = run(0.02)
    assert status == 1 and 0.02 - worst < dollars <= 0.02
    reason = "the budget of $0.02 would be passed (annotate.budget)"
    assert {(row["outcome"], row["reason"]) for row in failed} == {("not asked", reason)}
    assert run(0.02) == (1, failed, dollars)  # what earlier runs spent counts
    assert "of which $0.02 is spent" in " ".join(capsys.readouterr().out.split())
    assert run(1) == (0, [], pytest.approx(60 * dollars / (60 - len(failed)), rel=0.05))


def test_a_budget_needs_a_price(loopback, questions, tmp_path, capsys):
    served = loopback()
    assert main(annotation(served, questions(3), tmp_path / "roles.jsonl", budget=1)) == 2
    assert (
        "the price of served-model is unknown; set annotate.price" in capsys.readouterr().err
        and not served.counts()["asked"]
    )


# What is kept


def test_a_file_of_others_is_not_overwritten(loopback, questions, tmp_path, capsys):
    out, served, data = tmp_path / "roles.jsonl", loopback(), questions(3)
    out.write_text("mine\n")
    assert (
        main(annotation(served, data, out)) == 2
        and "was not written by this command" in capsys.readouterr().err
    )
    assert (
        main(annotation(served, data, data)) == 2
        and "would be written over" in capsys.readouterr().err
    )
    assert (
        main(annotation(served, data, tmp_path / "roles.csv")) == 2
        and "ends in .jsonl" in capsys.readouterr().err
    )
    assert out.read_text() == "mine\n" and not served.counts()["asked"]


def test_another_guideline_or_model_asks_anew_and_going_back_asks_nothing(
    loopback, questions, tmp_path
):
    served, data, out, guideline = (
        loopback(),
        questions(5),
        tmp_path / "roles.jsonl",
        tmp_path / "guideline.md",
    )
    guideline.write_text("Name the expert.")
    first = annotation(served, data, out)
    commands = [
        first,
        [*first, f"--set=annotate.guideline={guideline}"],
        [*first, "--model", "another"],
    ]
    for count, arguments in enumerate(commands, 1):
        assert main(arguments) == 0 and served.paid() == 5 * count
    for arguments in commands:
        assert main(arguments) == 0 and served.paid() == 15
    assert len({row["guideline"] for row in outputs(out)[2]}) == 2


DAMAGED = (
    '["list"]',
    '{"key": 7}',
    '{"key": "ab"}',
    "{",
    "[" * 10**5,
    '{"key": "ab", "outcome": "role", "attempt": "1"}',
)


def test_a_damaged_log_names_its_line_and_is_left_alone(loopback, questions, tmp_path, capsys):
    arguments, log = (
        annotation(loopback(), questions(2), tmp_path / "roles.jsonl"),
        tmp_path / "roles.replies.jsonl",
    )
    assert main(arguments) == 0
    good = log.read_text()
    for damage in DAMAGED:
        log.write_text(good + damage + "\n")
        assert main(arguments) == 2 and f"{log}, line 3: " in capsys.readouterr().err
        assert log.read_text() == good + damage + "\n"


# The key

ECHOES = {
    "good": ({}, 0), "401": ({"key": "sk-right"}, 2), "400": ({"faults": 1, "kinds": ["echo"]}, 2),
    "400 for some": ({"faults": 0.5, "kinds": ["echo"], "seed": 2}, 1), "batch": ({}, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", ECHOES)
def test_the_key_is_nowhere(loopback, questions, tmp_path, name):
    behaviour, status = ECHOES[name]
    served, data = loopback(**behaviour), questions(12)
    more = {"mode": "batch", "poll_seconds": 0.1} if name == "batch" else {}
    done = command(
        *annotation(served, data, tmp_path / "out" / "roles.jsonl", **more),
        OPENAI_API_KEY=KEY,
        OPENAI_LOG="debug",
    )
    assert done.returncode == status, done.stderr
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert KEY not in done.stdout + done.stderr and not [
        path for path in files if KEY.encode() in path.read_bytes()
    ]
    assert ("***" in done.stderr + "".join(path.read_text() for path in files)) == name.startswith("40")
