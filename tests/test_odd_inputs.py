"""Input that once ended in a traceback, was taken for something else, or cost somebody's work."""

import json
import zipfile

import pandas as pd
import pytest
from conftest import command
from test_annotate import SAMPLES

from selfprompt_lib import models, profiles, roles, rows
from selfprompt_lib.designs import get_design
from selfprompt_lib.evaluate.logged_samples import compare_runs
from selfprompt_lib.evaluate.verdicts import read_verdicts
from selfprompt_lib.llm_client.reply import read_completion
from selfprompt_lib.llm_client.response_cache import ResponseCache
from selfprompt_lib.pipeline.sweep_grid import make_cells
from selfprompt_lib.tasks.loading import make_docs
from selfprompt_lib.tasks.programs import in_context
from selfprompt_lib.workshop.handed_in import gather


def test_a_file_of_another_program_beside_the_replies_is_kept(tmp_path, refused):
    path = tmp_path / "one.replies.jsonl"
    path.write_text('{"question": "Why?"}')  # without an end of line it might be a torn reply
    with refused("one.replies.jsonl", "something else than replies"), ResponseCache(path):
        pass
    assert path.read_text() == '{"question": "Why?"}'


REPLY = b'{"key": "%s", "outcome": "role", "attempt": 1, "dollars": 0.5}'


@pytest.mark.parametrize("tail, kept", [(REPLY % b"bb", 2), (REPLY % b"bb" + bytes(9), 2), (REPLY[:30], 1), (bytes(99), 1),
                                        (REPLY[:9] + bytes(9), 1), (b"", 1)])  # fmt: skip
def test_a_reply_that_was_paid_for_is_kept_without_its_line_end_and_what_a_power_cut_left_is_not(tmp_path, tail, kept):
    path, before, after = tmp_path / "a.replies.jsonl", REPLY % b"aa", {"key": "cc", "outcome": "role", "attempt": 1}
    path.write_bytes(before + b"\n" + tail)
    with ResponseCache(path) as cache:
        assert cache.dollars == 0.5 * kept and (cache.last("bb") is not None) == (kept == 2)
        cache.append(after)
    replies = [before, REPLY % b"bb"][:kept] + [json.dumps(after).encode()]
    assert path.read_bytes() == b"".join(reply + b"\n" for reply in replies)


@pytest.mark.parametrize("name", ["mine.failed.jsonl", "mine.replies.jsonl"])
def test_the_data_file_is_never_written_over(tmp_path, name):
    data = tmp_path / name
    data.write_text('{"question": "Why?"}\n')
    done = command("annotate", "--data", data, "--out", tmp_path / "mine.jsonl")
    assert done.returncode == 2 and "would be written over" in done.stderr
    assert data.read_text() == '{"question": "Why?"}\n'


def test_a_sheet_with_a_column_of_the_readers_own_is_kept(tmp_path):
    frame, path = roles.role_table(SAMPLES), tmp_path / "review.csv"
    roles.review_sheet(frame, tmp_path / "review", 3, 0)
    sheet = pd.read_csv(path, dtype=str, keep_default_na=False).assign(comment="vague")
    sheet.to_csv(path, index=False)
    roles.review_sheet(frame, tmp_path / "review", 3, 1)
    assert set(pd.read_csv(path).comment) == {"vague"}


@pytest.mark.parametrize("sent", [-1, 10**400])
def test_odd_counts_of_tokens_are_none_and_the_reply_is_kept(sent):
    counts = {"prompt_tokens": sent, "completion_tokens": 1}
    choice = {"message": {"content": "Expert: a baker"}, "finish_reason": "stop"}
    reply = read_completion(json.dumps({"model": "m", "choices": [choice], "usage": counts}), "m")
    assert reply.text == "Expert: a baker" and reply.usage is None


def test_a_file_is_read_by_its_name_and_not_as_a_pattern(tmp_path):
    for name, question in (("set[2].parquet", "Mine?"), ("set2.parquet", "Another's?")):
        pd.DataFrame([{"question": question}]).to_parquet(tmp_path / name)
    (found,) = rows.read_rows(tmp_path / "set[2].parquet", rows.Conversation)
    assert found.question == "Mine?"


def test_columns_of_one_name_are_refused(tmp_path, refused):
    (tmp_path / "data.csv").write_text("question,answer,answer\nQ,good,bad\n")
    with refused("data.csv", "several columns are named answer"):
        rows.read_rows(tmp_path / "data.csv", rows.Conversation)


def test_a_verdict_that_is_turned_round_is_none():
    assert read_verdicts("Verdict: A\n(But B is better)")[0][-1] is None
    assert read_verdicts("Both help.\nVerdict: A")[0][-1] == "A"


def test_a_table_that_is_filled_below_the_function_stays_and_examples_do_not():
    prompt = 'def add(xs):\n    """Sum."""\n'
    program = "def add(xs):\n    return TABLE[0] + sum(xs)\nTABLE = list(range(3))\nprint(add([1]))"
    assert in_context(program, prompt, "add") == "def add(xs):\n    return TABLE[0] + sum(xs)\nTABLE = list(range(3))"


def test_a_design_within_marks_of_a_thought_is_refused(tmp_path, refused):
    path = tmp_path / "reason.yaml"
    path.write_text('template: "<think>I am {expert}</think>"\nreader: first-paragraph\n')
    with refused("reason.yaml", "mark of a thought"):
        get_design(str(path))


@pytest.mark.parametrize("field, value", [
    ("sft.weight_decay", float("inf")), ("sft.epochs", float("nan")), ("annotate.parameters", {"temperature": float("inf")}),
    ("annotate.base_url", "http://127.0.0.1:1/v1#token=s"),
])  # fmt: skip
def test_a_setting_that_is_no_number_or_hides_a_key_is_refused(refused, field, value):
    with refused(field):
        profiles.load("smoke", {field: value})


@pytest.mark.parametrize("row, told", [
    ({"q": float("nan"), "k": "A", "o": ["x", "y"]}, "question is nan"),
    ({"q": "Which?", "k": "A", "o": ["x", None]}, "each must have a text"),
    ({"q": "Which?", "k": "A", "o": ["O", "A", "B", "AB"]}, "the key 'A'"),
])  # fmt: skip
def test_a_row_of_a_benchmark_that_says_two_things_or_nothing_is_refused(refused, row, told):
    with refused("here, row 1", told):
        make_docs([row], {"question": "q", "key": "k", "options": "o"}, "choice", False, "here")


def test_one_value_in_two_spellings_is_one_cell(tmp_path, refused):
    with refused("is the same run as cell seed=0"):
        make_cells("smoke", {}, {"seed": [0, 0.0]}, tmp_path)


def test_samples_of_two_models_are_no_run(tmp_path, refused):
    for model in ("a", "b"):
        (tmp_path / "both" / model).mkdir(parents=True)
        (tmp_path / "both" / model / f"samples_{model}_2026-01-01T00-00-00.0.jsonl").write_text("{}\n")
    with refused("samples lie in 2 folders"):
        compare_runs(tmp_path / "both", tmp_path / "both")


def test_an_adapter_on_itself_is_refused(tmp_path, refused):
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(
        {"base_model_name_or_path": str(folder), "peft_type": "LORA", "task_type": "CAUSAL_LM"}))
    (folder / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    with refused("model: ", str(folder)):
        models.resolve(str(folder))


def test_one_damaged_zip_does_not_keep_the_others_from_the_board(tmp_path, refused):
    (tmp_path / "broken.zip").write_bytes(b"PK\x05\x06" + bytes(18)[:10])
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("evaluate/stage.json", "[" * 100_000)
    with refused("no finished run", "left out: broken.zip", "left out: empty: damaged"):
        gather([tmp_path / "broken.zip", tmp_path / "empty.zip"])
