"""Rows and where they come from: files, a mirror of the hub, and what is wrong with bad ones."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfprompt_lib.files import hub_rows, read_json_lines, write_rows
from selfprompt_lib.profiles import load
from selfprompt_lib.rows import (
    Question,
    Role,
    Sample,
    chat_messages,
    drop_unanswered_turn,
    parse_rows,
    read_rows,
)
from selfprompt_lib.sources import held_out_questions, take_evenly_spaced, training_samples

ROLE = {"expert": "a night nurse", "brings": "Calm.", "request": "explain fever"}
GOOD = {"id": "a", "conversations": ["Why?", "Because."]}


def pick(**settings):
    """The smoke profile with `data.*` settings."""
    return load("smoke", {f"data.{key}": value for key, value in settings.items()})


# Files


def test_rows_are_read(jsonl):
    path = jsonl(
        "rows.jsonl", GOOD | {"role": ROLE, "extra": 1}, "", {"conversations": ["1", "2", "3", "4"]}
    )
    first, second = read_rows(path, Sample)
    assert (first.question, first.answer, first.role) == ("Why?", "Because.", Role(**ROLE))
    assert (second.id, second.domain, second.source, second.role) == (
        "row-1",
        "unknown",
        "unknown",
        None,
    )


def test_malformed_json_is_named_with_file_and_line(jsonl, refused):
    for bad in ('{"id": "b", ', "{'id': 'b'}", "id: b", '{"id": "b"} {"id": "c"}'):
        path = jsonl("rows.jsonl", GOOD, "", bad)
        with refused(f"{path}, line 3: ", "not valid JSON", "column", "mend or delete"):
            read_rows(path, Sample)


def test_a_line_that_is_no_object_is_named(jsonl, refused):
    for bad in ("[1]", '"text"', "7", "null"):
        path = jsonl("rows.jsonl", GOOD, bad)
        with refused(f"{path}, line 2: ", "object"):
            read_rows(path, Sample)


def test_a_file_in_another_encoding_is_named(tmp_path, refused):
    path = tmp_path / "latin.jsonl"
    path.write_bytes('{"id": "é"}\n'.encode("latin-1"))
    with refused(str(path), "UTF-8"):
        read_json_lines(path)


def test_a_missing_file_is_named(tmp_path, refused):
    with refused(str(tmp_path / "nosuch.jsonl"), "no such file"):
        read_rows(tmp_path / "nosuch.jsonl", Sample)
    with refused(str(tmp_path), "EmptyDatasetError", "save it as JSON lines"):
        read_rows(tmp_path, Sample)


def test_an_empty_file_is_named(jsonl, refused):
    for lines in ((), ("",), ("", "   ")):
        path = jsonl("empty.jsonl", *lines)
        with refused(str(path), "no rows"):
            read_json_lines(path)


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"conversations": "Why?"}, "conversations"),
        ({"conversations": ["Why?", 7]}, "conversations: turn 2"),
        ({"id": [7]}, "id"),
        ({"id": True}, "id"),
        ({"domain": ["health"]}, "domain"),
        ({"role": "a nurse"}, "role"),
        ({"role": ROLE | {"expert": " "}}, "role.expert"),
        ({"role": {"expert": "a nurse", "brings": "Calm."}}, "role.request"),
    ],
)
def test_a_wrong_type_is_named_with_line_and_field(jsonl, refused, bad, field):
    path = jsonl("rows.jsonl", GOOD, GOOD | {"id": "b"} | bad)
    with refused(f"{path}, line 2: {field}: "):
        read_rows(path, Sample)


def test_a_missing_column_is_named(jsonl, refused):
    with refused(
        "line 1: no conversations, messages, prompt, instruction or question", "name the column so"
    ):
        read_rows(jsonl("rows.jsonl", {"id": "a"}), Sample)
    with refused("line 1: question is empty; write it"):
        read_rows(jsonl("rows.jsonl", {"id": "a", "question": ""}), Question)


def test_an_odd_number_of_turns_is_refused_with_the_mend(jsonl, refused):
    for turns in (1, 3, 5):
        path, mend = (
            jsonl("rows.jsonl", GOOD, {"conversations": ["text"] * turns}),
            "drop the last user turn",
        )
        with refused(f"{path}, line 2: ", f"{turns} turns", "even number", mend):
            read_rows(path, Sample)


def test_a_conversation_without_turns_or_with_an_empty_question_is_refused(jsonl, refused):
    for nothing in ([], None):
        with refused("line 2: conversations is empty"):
            read_rows(jsonl("none.jsonl", GOOD, {"conversations": nothing}), Sample)
    with refused("line 2: conversations: turn 1 is empty"):
        read_rows(jsonl("blank.jsonl", GOOD, {"conversations": [" \n", "Because."]}), Sample)


def test_line_numbers_count_blank_lines(jsonl, refused):
    with refused("line 4: conversations has 3 turns"):
        read_rows(jsonl("rows.jsonl", GOOD, "", "", {"conversations": ["q", "a", "q"]}), Sample)


def test_ids_must_be_unique(jsonl, refused):
    path = jsonl("rows.jsonl", GOOD, GOOD | {"id": "b"}, GOOD)
    with refused(f"{path}, line 3: ", "'a' occurs twice"):
        read_rows(path, Sample)


def test_messages_are_in_trls_form():
    asked = {"role": "user", "content": "Why?"}
    assert chat_messages("Why?") == [asked]
    assert chat_messages("Why?", "") == [asked, {"role": "assistant", "content": ""}]
    assert [turn["role"] for turn in chat_messages(*"abc")] == ["user", "assistant", "user"]


def test_a_last_user_turn_is_dropped():
    assert [drop_unanswered_turn("abcde"[:count]) for count in range(5)] == [
        "",
        "",
        "ab",
        "ab",
        "abcd",
    ]


# Writing


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_any_text_is_read_back_as_written(tmp_path_factory, texts):
    rows = [
        Question(id=str(i), question=text, reference=f"\u2028{text}\x85\r\n")
        for i, text in enumerate(texts)
    ]
    path = write_rows(tmp_path_factory.getbasetemp() / "written" / "rows.jsonl", rows)
    assert read_rows(path, Question) == rows


def test_samples_with_roles_are_read_back_as_written(tmp_path):
    samples = parse_rows([GOOD | {"role": ROLE}, {"conversations": ["q", "a"]}], Sample, "here")
    assert read_rows(write_rows(tmp_path / "new" / "rows.jsonl", samples), Sample) == samples


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    def rows():
        yield {"id": "new"}
        raise KeyboardInterrupt

    path = write_rows(tmp_path / "rows.jsonl", [{"id": "old"}])
    with pytest.raises(KeyboardInterrupt):
        write_rows(path, rows())
    assert read_json_lines(path) == [{"id": "old"}]
    write_rows(path, [{"id": "newer"}])
    assert read_json_lines(path) == [{"id": "newer"}]
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]


# Sources


def test_the_starter_data_is_the_default():
    assert len(training_samples(pick())) == 200
    assert [row.domain for row in held_out_questions(pick(question_rows=10))] == list(
        dict.fromkeys(row.domain for row in held_out_questions(pick(question_rows=50)))
    )


def test_training_samples_from_a_file(jsonl, refused):
    path = jsonl("mine.jsonl", GOOD, GOOD | {"id": "b", "role": ROLE})
    assert [sample.id for sample in training_samples(pick(train=str(path)))] == ["a", "b"]
    with refused("nosuch.jsonl", "no such file"):
        training_samples(pick(train=str(path.parent / "nosuch.jsonl")))
    with refused("odd.jsonl", "line 1", "3 turns"):
        training_samples(pick(train=str(jsonl("odd.jsonl", {"conversations": ["q", "a", "q"]}))))


def test_questions_from_a_file(jsonl):
    path = jsonl("mine.jsonl", *({"question": f"{i}?"} for i in range(9)))
    assert [
        row.question for row in held_out_questions(pick(questions=str(path), question_rows=3))
    ] == ["1?", "4?", "7?"]


@pytest.fixture
def mirror(jsonl):
    """A folder in the hub's layout, with a tiny LIMA whose second row ends on a user turn."""
    rows = [["q1", "a1"], ["q2", "a2", "thanks"], ["q3", "a3", "q4", "a4"]]
    lines = ({"conversations": turns, "source": "multi_turn"} for turns in rows)
    return jsonl("hub/GAIR/lima/plain_text/train.jsonl", *lines).parents[3]


def test_limas_odd_row_is_cut(mirror):
    samples = training_samples(pick(train="GAIR/lima", mirror=str(mirror)))
    assert [sample.conversations for sample in samples] == [
        ("q1", "a1"),
        ("q2", "a2"),
        ("q3", "a3", "q4", "a4"),
    ]
    assert [sample.id for sample in samples] == ["row-0", "row-1", "row-2"]
    assert {sample.source for sample in samples} == {"multi_turn"}


def test_a_file_missing_in_the_mirror_is_named(mirror, refused):
    missing = mirror / "GAIR" / "lima" / "plain_text" / "test.jsonl"
    with refused("data.mirror: ", str(missing), "<org>/<name>/<config>/<split>.jsonl"):
        hub_rows("GAIR/lima", "plain_text", "test", str(mirror))
    with refused("data.mirror: ", "nosuch"):
        training_samples(pick(train="GAIR/lima", mirror=str(mirror / "nosuch")))


def test_a_mirror_may_be_in_the_home_folder(mirror, monkeypatch):
    monkeypatch.setenv("HOME", str(mirror.parent))
    assert len(hub_rows("GAIR/lima", "plain_text", "train", f"~/{mirror.name}")) == 3


@pytest.mark.parametrize(
    "row, fault",
    [({"text": "plain"}, "no conversations"), ({"conversations": None}, "conversations is empty")],
)
def test_a_mirror_row_without_conversations_is_named(jsonl, refused, row, fault):
    path = jsonl("hub/my/set/plain_text/train.jsonl", row)
    with refused(f"my/set, row 1: {fault}"):
        training_samples(pick(train="my/set", mirror=str(path.parents[3])))


def test_a_hub_out_of_reach_is_told_with_the_mend(monkeypatch, refused):
    def load_dataset(*_, **__):
        raise ConnectionError("a long\nmessage")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with refused("data: cannot load GAIR/lima", "ConnectionError", "data.mirror"):
        training_samples(pick(train="GAIR/lima"))


REAL_LIMA = Path(__file__).parents[2] / "shared" / "data" / "GAIR" / "lima"


@pytest.mark.skipif(not REAL_LIMA.is_dir(), reason="needs a mirror of the hub at ../shared/data")
def test_the_real_lima_is_read():
    samples = training_samples(pick(train="GAIR/lima", mirror=str(REAL_LIMA.parents[1])))
    assert len(samples) in (1029, 1030)
    assert all(len(sample.conversations) % 2 == 0 for sample in samples)


# Picking


@given(st.lists(st.integers(), max_size=60), st.none() | st.integers(0, 80))
def test_evenly_picks_that_many_in_order(rows, count):
    indexed = list(enumerate(rows))
    picked = take_evenly_spaced(indexed, count)
    assert len(picked) == (len(rows) if count is None else min(count, len(rows)))
    assert picked == sorted(set(picked))
    assert set(picked) <= set(indexed)


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_evenly_gives_every_domain_its_share(domains, each, data):
    count = data.draw(st.integers(1, domains * each))
    picked = take_evenly_spaced([domain for domain in range(domains) for _ in range(each)], count)
    assert {picked.count(domain) for domain in range(domains)} <= {
        count // domains,
        -(-count // domains),
    }


@given(st.integers(1, 100), st.integers(1, 100))
def test_evenly_leaves_no_long_gap(length, count):
    picked = [-1, *take_evenly_spaced(range(length), count), length]
    assert (
        max(after - before for before, after in zip(picked, picked[1:], strict=False))
        <= length / count + 1
    )
