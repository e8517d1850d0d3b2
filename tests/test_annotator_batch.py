"""The Batch API: expired batches, failed rows, kills at any step; every row is paid for once."""

import json
import time

import pytest
from conftest import annotation, lines
from test_annotator_faults import PRICE, forking, outputs, wait_for

from selfprompt_lib.__main__ import main

ROWS = [{"question": f"What is fact number {i}?"} for i in range(100)]


def in_batches(served, data, out, **settings):
    return annotation(served, data, out, mode="batch", poll_seconds=0.05, **settings)


def registry(out):
    return json.loads(out.with_suffix(".batches.json").read_text())


MOMENTS = {
    "the file is handed in": (
        {"after_upload": 1},
        lambda served, out: served.counts()["files"] > 0,
    ),
    "the batch is handed in": (
        {"after_hand_in": 1},
        lambda served, out: served.counts()["batches"] > 0,
    ),
    "it waits": (
        {"batch_seconds": 1},
        lambda served, out: out.with_suffix(".batches.json").exists() and registry(out)[0]["id"],
    ),
    "some rows are collected": ({}, lambda served, out: lines(out.with_suffix(".replies.jsonl"))),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_step_every_row_is_done_and_paid_for_once(loopback, jsonl, tmp_path, moment):
    behaviour, reached = MOMENTS[moment]
    served = loopback(expire=1, failed_rows=0.05, seed=4, **behaviour)
    out, data = tmp_path / "roles.jsonl", jsonl("questions.jsonl", *ROWS)
    with forking(in_batches(served, data, out)) as process:
        wait_for(lambda: reached(served, out), process.is_alive)
        assert process.is_alive(), process.exitcode
        process.kill()
    time.sleep(max(behaviour.get("after_upload", 0), behaviour.get("after_hand_in", 0)))
    assert main(in_batches(served, data, out)) == 0
    roles, failed, log = outputs(out)
    assert roles == [f"row-{i}" for i in range(100)] and not failed
    assert len(log) == 100 == served.paid() and set(map(len, served.counts()["paid"].values())) == {
        1
    }
    assert {entry["status"] for entry in registry(out)} == {"collected"} and served.counts()[
        "batches"
    ] == len(registry(out)) >= 3


def test_a_batch_that_was_collected_in_part_is_collected_whole(loopback, jsonl, tmp_path):
    served, out, data = loopback(), tmp_path / "roles.jsonl", jsonl("questions.jsonl", *ROWS)
    assert main(in_batches(served, data, out)) == 0
    log = out.with_suffix(".replies.jsonl")
    whole = log.read_text()
    for kept in (0, 1, 57, 99):
        log.write_text("".join(whole.splitlines(keepends=True)[:kept]))
        out.with_suffix(".batches.json").write_text(
            json.dumps([registry(out)[0] | {"status": "submitted"}])
        )
        assert main(in_batches(served, data, out)) == 0
        assert [row["id"] for row in lines(log)] == [
            json.loads(line)["id"] for line in whole.splitlines()
        ]
    assert served.paid() == 100 and served.counts()["batches"] == 1


def test_a_batch_whose_receipt_is_lost_is_found_and_not_handed_in_twice(loopback, jsonl, tmp_path):
    served, out = loopback(after_hand_in=3), tmp_path / "roles.jsonl"
    assert main(in_batches(served, jsonl("questions.jsonl", *ROWS), out, timeout=1)) == 0
    assert served.paid() == 100 == len(outputs(out)[0]) and served.counts()["batches"] == 1


def test_a_reply_that_cannot_be_used_goes_into_another_batch(loopback, jsonl, tmp_path):
    served, data = (
        loopback(replies=[{"content": "I like bread."}, None]),
        jsonl("questions.jsonl", *ROWS[:3]),
    )
    out = tmp_path / "roles.jsonl"
    assert main(in_batches(served, data, out)) == 0
    assert [(row["attempt"], row["outcome"]) for row in outputs(out)[2]] == [
        (1, "malformed")
    ] * 3 + [(2, "role")] * 3
    served, out = loopback(replies=[{"content": "I like bread."}]), tmp_path / "never.jsonl"
    assert main(in_batches(served, data, out, tries=2)) == 1 and served.paid() == 6
    assert [row["reason"] for row in outputs(out)[1]] == ["expert: Field required"] * 3
    assert main(in_batches(served, data, out, tries=2)) == 1 and served.paid() == 6


def test_rows_that_fail_in_every_batch_are_listed_with_the_reason(loopback, jsonl, tmp_path):
    served, out = loopback(failed_rows=1.0), tmp_path / "roles.jsonl"
    assert main(in_batches(served, jsonl("q.jsonl", *ROWS[:3]), out, retries=1, tries=1)) == 1
    assert [(row["outcome"], row["reason"]) for row in outputs(out)[1]] == [
        ("error", "HTTP 500: server error")
    ] * 3
    assert served.counts()["batches"] == 2 and served.paid() == 0


def test_the_budget_holds_and_a_higher_one_goes_on(loopback, jsonl, tmp_path):
    served, out, data = (
        loopback(batch_seconds=0),
        tmp_path / "roles.jsonl",
        jsonl("questions.jsonl", *ROWS),
    )

    def run(budget):
        status = main(in_batches(served, data, out, budget=budget, price=PRICE))
        roles, failed, log = outputs(out)
        assert len(roles) == len(log) == served.paid() and len(roles) + len(failed) == 100
        return status, failed, sum(row["dollars"] for row in log)

    status, failed, dollars = run(0.01)
    assert (
        status == 1
        and 0.005 < dollars <= 0.01
        and {row["outcome"] for row in failed} == {"not asked"}
    )
    assert run(0.01) == (1, failed, dollars)
    assert run(1)[:2] == (0, []) and served.paid() == 100


def test_a_server_without_the_batch_api_is_told_of(loopback, jsonl, tmp_path, capsys):
    served, out, data = (
        loopback(batches=False),
        tmp_path / "roles.jsonl",
        jsonl("q.jsonl", *ROWS[:3]),
    )
    assert main(in_batches(served, data, out)) == 2
    assert (
        f"{served.base_url} refused a batch (HTTP 404: " in (told := capsys.readouterr().err)
        and "use mode: live" in told
    )
    assert main(annotation(served, data, out)) == 0 and len(outputs(out)[0]) == 3


def test_a_batch_that_is_refused_gives_its_reason_and_is_handed_in_anew(
    loopback, jsonl, tmp_path, capsys
):
    served, out, data = (
        loopback(broken="the model has no batches"),
        tmp_path / "roles.jsonl",
        jsonl("q.jsonl", *ROWS[:3]),
    )
    for number in range(2):
        assert main(in_batches(served, data, out)) == 2
        assert (
            f"refused batch batch-{number}: the model has no batches"
            in capsys.readouterr().err
        )


def test_a_damaged_list_of_batches_is_named(loopback, jsonl, tmp_path, capsys):
    served, data, out = loopback(), jsonl("q.jsonl", *ROWS[:3]), tmp_path / "roles.jsonl"
    for damage in ("[", '{"id": 1}', '["batch-1"]', '[{"id": "batch-1"}]'):
        out.with_suffix(".batches.json").write_text(damage)
        assert main(in_batches(served, data, out)) == 2
        assert f"{out.with_suffix('.batches.json')}: no list of batches" in capsys.readouterr().err
