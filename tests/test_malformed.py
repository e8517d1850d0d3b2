"""Malformed role files and data files: one clear error each, with file, line and field."""

import csv
import io
import json

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from selfprompt_lib import annotate, lima_role
from selfprompt_lib.annotate.prompt import ANNOTATION_FOLDER
from selfprompt_lib.errors import UserError
from selfprompt_lib.files import read_json_lines
from selfprompt_lib.profiles import Annotate
from selfprompt_lib.roles import CRITERIA, read_sheet
from selfprompt_lib.rows import Conversation, Question, Sample, read_rows
from selfprompt_lib.sheets import write_sheet

ROLE = {"expert": "a night nurse", "brings": "Long nights.", "request": "explain fever"}
TURNS = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]


def conversations(path):
    return read_rows(path, Conversation)


def examples(path):
    return annotate.RolePrompt.from_settings(Annotate(examples=str(path)))


# What reads a file, a good row for it, and the fields that it cannot do without.
READERS = {
    "conversations": (conversations, {"conversations": ["Why?"], "role": ROLE}, ["conversations"]),
    "messages": (conversations, {"messages": TURNS}, ["messages"]),
    "alpaca": (
        conversations,
        {"instruction": "Say", "context": "it", "output": "it"},
        ["instruction"],
    ),
    "trl": (
        lambda path: read_rows(path, Sample),
        {"prompt": TURNS[:1], "completion": TURNS[1:]},
        ["prompt", "completion"],
    ),
    "samples": (
        lambda path: read_rows(path, Sample),
        {"conversations": ["Why?", "So."], "role": ROLE},
        ["conversations"],
    ),
    "questions": (
        lambda path: read_rows(path, Question),
        {"question": "Why?", "reference": "So."},
        ["question"],
    ),
    "lima-role": (lima_role.read_role_entries, ROLE, ["index", "sha256", *ROLE]),
    "examples": (examples, {"question": "Why?", "role": ROLE}, ["question", "role"]),
}
WRONG = (
    7,
    1.5,
    True,
    None,
    " ",
    [],
    [7],
    [[]],
    {},
    {"a": 1},
    [None],
    ["", "So."],
    "\ud83d",
    [{}],
    [{"role": "user"}],
)
# Of these, what a field may be after all.
RIGHT = {"index": (7, True), "instruction": (" ",), "question": (" ",), "prompt": (" ",)}


def rows_for(name, count=5):
    """Good rows, each with its own id (or index and hash)."""
    _, row, _ = READERS[name]
    numbered = (
        {"index": i, "sha256": f"{i:064x}"} if name == "lima-role" else {"id": f"r{i}"}
        for i in range(count)
    )
    return [more | row for more in numbered]


def written(tmp_path_factory, content, name="rows.jsonl"):
    path = tmp_path_factory.getbasetemp() / "malformed" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def told(read, path):
    """The one clear error that a malformed file gives."""
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert (
        message.startswith(str(path))
        and "\n" not in message
        and len(message) < 400 + len(str(path))
    )
    return message


def replaced(rows, number, line):
    """The file's bytes with this line in the place of the row `number`."""
    good = [json.dumps(row).encode() for row in rows]
    return b"\n".join([*good[:number], line, *good[number + 1 :]]) + b"\n"


def test_the_good_files_are_read(tmp_path_factory):
    for name, (read, _, _) in READERS.items():
        rows = rows_for(name)
        assert read(written(tmp_path_factory, replaced(rows, 0, json.dumps(rows[0]).encode())))


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
@settings(max_examples=50)
def test_a_malformed_line_is_named(tmp_path_factory, name, data):
    read, rows = READERS[name][0], rows_for(name)
    number = data.draw(st.integers(0, len(rows) - 1))
    good = json.dumps(rows[number]).encode()
    cut = data.draw(st.integers(1, len(good) - 1))
    line, why = data.draw(st.sampled_from([
        (good[:cut], "not valid JSON"), (good + good, "not valid JSON"),
        (good[:cut] + b"\xff" + good[cut:], "not UTF-8"), (b"null", "expected an object"),
        (b"[" + good + b"]", "expected an object"), (b"[" * 10**5, "nested too deeply"),
        (b'{"id": ' + b"9" * 5000 + b"}", "too many digits"),
        (good[:-1] + rb', "more": "\ud83d"}', "half of a character"),
    ]))  # fmt: skip
    message = told(read, written(tmp_path_factory, replaced(rows, number, line)))
    assert f", line {number + 1}: " in message and why in message


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
@settings(max_examples=50)
def test_a_missing_or_ill_typed_field_is_named(tmp_path_factory, name, data):
    read, rows = READERS[name][0], rows_for(name)
    number, field = (
        data.draw(st.integers(0, len(rows) - 1)),
        data.draw(st.sampled_from(READERS[name][2])),
    )
    bad = {key: value for key, value in rows[number].items() if key != field}
    if data.draw(st.booleans()):
        bad[field] = data.draw(
            st.sampled_from([value for value in WRONG if value not in RIGHT.get(field, ())])
        )
    message = told(
        read, written(tmp_path_factory, replaced(rows, number, json.dumps(bad).encode()))
    )
    assert f", line {number + 1}: " in message
    assert field in message or "conversations" in message or "half of a character" in message, (
        message
    )


def test_more_faults_are_named_with_line_and_field(tmp_path_factory):
    faults = {
        ("samples", '{"conversations": ["Why?", "So.", "And?"]}'): "conversations has 3 turns",
        ("samples", '{"conversations": [" ", "So."]}'): "conversations: turn 1 is empty",
        ("conversations", '{"id": "r0", "conversations": ["Why?"]}'): "id 'r0' occurs twice",
        (
            "conversations",
            '{"conversations": ["Why?"], "role": {"expert": "x", "brings": "y"}}',
        ): "role.request: Field required",
        ("conversations", '{"conversations": ["Why?"], "role": ["x"]}'): "role: ",
        (
            "messages",
            '{"messages": [{"role": "system", "content": "x"}]}',
        ): "messages: no turn is a user's",
        ("messages", '{"messages": [{"role": "user", "content": [7]}]}'): "messages: turn 1: ",
        (
            "trl",
            '{"prompt": [{"role": "user", "content": "x"}], "completion": TURN}'.replace(
                "TURN", json.dumps(TURNS[0])
            ),
        ): "prompt and completion: turn 2 is 'user', expected 'assistant'",
        (
            "lima-role",
            json.dumps(ROLE | {"index": 9, "sha256": "ab"}),
        ): "sha256: String should match",
        ("lima-role", json.dumps(ROLE | {"index": -1, "sha256": "0" * 64})): "index: ",
        (
            "lima-role",
            json.dumps(ROLE | {"index": 9, "sha256": "f" * 64, "answer": "x"}),
        ): "answer: Extra inputs",
        (
            "examples",
            json.dumps({"question": "Why?", "role": ROLE | {"expert": "x" * 201}}),
        ): "role.expert: ",
        ("examples", json.dumps({"question": ["Why?"], "role": ROLE})): "question: ",
    }
    for (name, line), why in faults.items():
        message = told(
            READERS[name][0], written(tmp_path_factory, replaced(rows_for(name), 2, line.encode()))
        )
        assert f", line 3: {why}" in message, message


def test_a_role_of_lima_that_occurs_twice_is_named(tmp_path_factory):
    rows = rows_for("lima-role")
    for field, value in {"index": 1, "sha256": f"{1:064x}"}.items():
        path = written(
            tmp_path_factory, replaced(rows, 3, json.dumps(rows[3] | {field: value}).encode())
        )
        assert f"{field} {value} occurs twice" in told(lima_role.read_role_entries, path)


@pytest.mark.parametrize("name", READERS)
@given(st.data())
@settings(max_examples=40)
def test_any_bytes_are_read_or_refused(tmp_path_factory, name, data):
    """Random splices of a good file: nothing but a UserError comes out."""
    content = replaced(rows_for(name), 0, json.dumps(rows_for(name)[0]).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, len(content)))
        content = content[:start] + data.draw(st.binary(max_size=8)) + content[end:]
    path = written(tmp_path_factory, content)
    try:
        READERS[name][0](path)
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error)


def test_an_empty_or_missing_file_is_named(tmp_path_factory):
    for read, _, _ in READERS.values():
        for content in (b"", b"\n \n"):
            assert "holds no rows" in told(read, written(tmp_path_factory, content))
        path = written(tmp_path_factory, b"")
        path.unlink()
        assert "no such file" in told(read, path)


@pytest.mark.parametrize(
    "content, why",
    [(b"\n", "is empty"), (b"Name\nthe \xff", "line 2: not UTF-8"), (None, "is missing")],
)
def test_a_bad_guideline_is_named(tmp_path, refused, content, why):
    path = tmp_path / "guideline.md"
    if content is not None:
        path.write_bytes(content)
    with refused(f"annotate.guideline: {path}", why):
        annotate.RolePrompt.from_settings(Annotate(guideline=str(path)))
    examples = read_json_lines(ANNOTATION_FOLDER / "examples.jsonl")
    assert len(examples) == len(annotate.RolePrompt.from_settings(Annotate()).examples)


# Review sheets

HEAD = ["id", "question", *CRITERIA, "notes"]


def sheet(rows, head=HEAD, delimiter=","):
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter).writerows([head, *rows])
    return file.getvalue().encode()


def verdicts_for(count=4):
    return [[f"r{i}", "Why,\nand how?", *("y" * len(CRITERIA)), "fine"] for i in range(count)]


def test_a_good_sheet_is_read(tmp_path_factory):
    for delimiter in (",", ";", "\t"):
        found = read_sheet(
            written(tmp_path_factory, sheet(verdicts_for(), delimiter=delimiter), "sheet.csv")
        )
        assert list(found.id) == ["r0", "r1", "r2", "r3"] and found.passes.all()


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=5)


@given(number=st.integers(0, 3), column=st.integers(2, 1 + len(CRITERIA)), word=WORDS)
@settings(max_examples=50)
def test_a_word_that_is_no_verdict_is_named(tmp_path_factory, number, column, word):
    rows = verdicts_for()
    rows[number][column] = word
    path = written(tmp_path_factory, sheet(rows), "sheet.csv")
    if word.strip().lower() in ("y", "yes", "1", "true", "n", "no", "0", "false"):
        assert not read_sheet(path).empty
    else:
        message = told(read_sheet, path)
        assert f"line {3 + 2 * number}" in message and f"column {HEAD[column]}: " in message


@pytest.mark.parametrize("content, why", [
    (b"", "no column id"), (sheet([]), "has no rows"),
    (sheet(verdicts_for(), [*HEAD[:-2], "x", "notes"]), "no column english"),
    (sheet(verdicts_for() + verdicts_for(1)), "occurs twice: r0"),
    (sheet(verdicts_for()).replace(b"fine", b"f\xe9"), "UTF-8"),
    (sheet([[*row, "more"] for row in verdicts_for()]), "line 3: has 9 columns"),
    (sheet(verdicts_for()) + b'"r9', "cannot be read"),
    (b"\0" * 50, "no column id"), (json.dumps(rows_for("conversations")).encode(), "no column id"),
])  # fmt: skip
def test_a_malformed_sheet_is_named(tmp_path_factory, content, why):
    assert why in told(read_sheet, written(tmp_path_factory, content, "sheet.csv"))


@given(data=st.data())
@settings(max_examples=50)
def test_any_bytes_are_a_sheet_or_refused(tmp_path_factory, data):
    content = sheet(verdicts_for())
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    path = written(
        tmp_path_factory,
        content[:start] + data.draw(st.binary(max_size=8)) + content[end:],
        "sheet.csv",
    )
    try:
        read_sheet(path)
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error)


@given(data=st.data())
@settings(max_examples=15)
def test_whatever_lies_where_a_sheet_goes_is_kept_unless_it_is_a_blank_one(tmp_path_factory, data):
    content = sheet(verdicts_for())
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    content = content[:start] + data.draw(st.binary(max_size=8)) + content[end:]
    assume(b",y" in content)  # something is filled in
    path = written(tmp_path_factory, content, "kept.csv")
    shown = pd.DataFrame({"id": ["r0", "r1"], "question": ["Why,\nand how?", "When?"]})
    for _ in range(2):
        new = write_sheet(shown, path.with_suffix(""), CRITERIA, "yn", ["", ""], "A", "B")
        assert path.read_bytes() == content and list(new.id) == ["r0", "r1"]
