"""Any instruction set, in any kind of file, as people and tools write it: read to the same samples, or refused by name."""

import copy
import csv
import io
import json
import sys
from types import SimpleNamespace

import datasets
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfprompt_lib.__main__ import main
from selfprompt_lib.errors import UserError
from selfprompt_lib.files import hub_rows
from selfprompt_lib.formats import read_turns
from selfprompt_lib.profiles import load
from selfprompt_lib.rows import Conversation, Question, Sample, read_rows
from selfprompt_lib.sources import check_inputs, held_out_questions, training_samples

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1, max_size=20).filter(str.strip)
ROLE = {"expert": "a night nurse", "brings": "Calm.", "request": "explain fever"}


def messages(turns, system=None, names=("user", "assistant"), role="role", content="content", wrap=lambda text: text):
    """Turns as messages, in the words of OpenAI or ShareGPT."""
    head = [{role: "system", content: wrap(system)}] if system is not None else []
    return head + [{role: names[i % 2], content: wrap(turn)} for i, turn in enumerate(turns)]


def sharegpt(turns, system=None):
    return messages(turns, system, ("human", "gpt"), "from", "value")


def parts(text):
    return [{"type": "text", "text": text, "image_url": None}]


# A conversation of one question (with context and system turn) or of several turns, in each format.
SINGLE = {
    "alpaca": lambda q, c, s, a: {"instruction": q, "input": c, "output": a},
    "alpaca with system": lambda q, c, s, a: {
        "instruction": q,
        "input": c,
        "output": a,
        "system": s,
        "tools": None,
        "history": [],
    },
    "dolly": lambda q, c, s, a: {"instruction": q, "context": c, "response": a},
    "openorca": lambda q, c, s, a: {"system_prompt": s, "question": q, "response": a},
    "input alone": lambda q, c, s, a: {"input": q, "output": a},
    "trl text": lambda q, c, s, a: {"prompt": q, "completion": a},
    "preference": lambda q, c, s, a: {"prompt": q, "chosen": a, "rejected": "No."},
    "unpaired": lambda q, c, s, a: {"prompt": q, "completion": a, "label": True},
    "query": lambda q, c, s, a: {"query": q, "answer": a},
}
SEVERAL = {
    "lima": lambda turns, s: {"conversations": turns},
    "openai": lambda turns, s: {"messages": messages(turns, s)},
    "openai with nulls": lambda turns, s: {
        "messages": [m | {"tool_calls": None, "name": None} for m in messages(turns, s)],
        "tools": [],
    },
    "developer": lambda turns, s: {
        "messages": [m | {"role": m["role"].replace("system", "developer")} for m in messages(turns, s)]
    },
    "parts": lambda turns, s: {"messages": messages(turns, s, wrap=parts)},
    "sharegpt": lambda turns, s: {"conversations": sharegpt(turns, s)},
    "sharegpt with system": lambda turns, s: {"system": s, "conversations": sharegpt(turns)},
    "trl": lambda turns, s: {"prompt": messages(turns[:-1], s), "completion": messages(turns)[-1:]},
    "trl preference": lambda turns, s: {
        "prompt": messages(turns[:-1], s),
        "chosen": messages(turns)[-1:],
        "rejected": messages(turns)[-1:],
    },
    "implicit prompt": lambda turns, s: {"chosen": messages(turns, s), "rejected": messages(turns, s)},
    "ultrafeedback": lambda turns, s: {"prompt": turns[0], "chosen": messages(turns, s), "rejected": messages(turns, s)},
    "gemini": lambda turns, s: {"system": s, "contents": messages(turns, names=("user", "model"), content="parts", wrap=parts)},
    "gemini's tuning": lambda turns, s: {
        "systemInstruction": {"role": "system", "parts": [{"text": s}]} if s else None,
        "contents": messages(turns, names=("user", "model"), content="parts", wrap=lambda text: [{"text": text}]),
    },
    "plain texts as parts": lambda turns, s: {"system": s and [s], "messages": messages(turns, wrap=lambda text: [text])},
    "sharegpt preference": lambda turns, s: {
        "conversations": sharegpt(turns[:-1], s),
        "chosen": sharegpt(turns)[-1],
        "rejected": sharegpt(turns)[-1],
    },
    "openai preference": lambda turns, s: {
        "input": {"messages": messages(turns[:-1], s), "tools": []},
        "preferred_output": messages(turns)[-1:],
        "non_preferred_output": messages(turns)[-1:],
    },
    "older datasets": lambda turns, s: {"conversations": {k: [m[k] for m in sharegpt(turns, s)] for k in ("from", "value")}},
}
NOT_TRLS = {"lima", "gemini", "gemini's tuning", "plain texts as parts", "older datasets"}
NOT_TRLS |= {"openai preference", "sharegpt preference"}
WITH_SYSTEM = {"alpaca with system", "openorca", *SEVERAL} - {"lima"}
IDS = {"text": str, "int": int, "float": float, "null": lambda _: None}


@st.composite
def written_rows(draw, flat=False):
    """Rows in one format, and what they should be read as: id, conversations and role."""
    form, ids = draw(st.sampled_from([*SINGLE] if flat else [*SINGLE, *SEVERAL])), draw(st.sampled_from(sorted(IDS)))
    rows, right = [], []
    for i in range(draw(st.integers(1, 3))):
        system = draw(st.sampled_from([None, "", "Be brief."])) if form in WITH_SYSTEM else None
        if form in SINGLE:
            question, context, answer = draw(TEXTS), draw(st.sampled_from(["", None, "Given this."])), draw(TEXTS)
            row = SINGLE[form](question, context, system, answer)
            turns = [f"{question}\n\n{context}" if context and {"context", "input"} & {*list(row)[1:]} else question, answer]
        else:
            turns = draw(st.lists(TEXTS, min_size=2, max_size=4).filter(lambda turns: len(turns) % 2 == 0))
            row = SEVERAL[form](turns, system)
        role = draw(st.sampled_from([None, ROLE, dict.fromkeys(ROLE)]))
        row |= {
            "id": IDS[ids](i),
            "domain": draw(st.sampled_from([None, "health"])),
            "source": draw(st.sampled_from([None, "mine"])),
        }
        row |= {} if flat else {"role": role}
        rows.append(row)
        name = f"row-{i}" if ids == "null" else str(IDS[ids](i))
        turns = [f"{system}\n\n{turns[0]}" if system else turns[0], *turns[1:]]
        fields = {"id": name, "domain": row["domain"] or "unknown", "source": row["source"] or "unknown"}
        right.append(Sample(**fields, conversations=turns, role=role if role == ROLE and not flat else None))
    return rows, right


@given(written_rows(), st.data())
@settings(max_examples=250)
def test_a_conversation_in_any_format_and_file_is_read_back(tmp_path_factory, written, data):
    rows, right = written
    folder = tmp_path_factory.getbasetemp() / "formats"
    folder.mkdir(exist_ok=True)
    kind = data.draw(st.sampled_from(["lines", "array", "indented", "wrapped"]))
    if kind == "lines":
        name = data.draw(st.sampled_from(["a.jsonl", "a.json", "a.ndjson"]))
        ascii_only = data.draw(st.booleans())
        lines = [line for row in rows for line in (json.dumps(row, ensure_ascii=ascii_only), "")]
        text = "\n".join(lines if data.draw(st.booleans()) else lines[::2])
        text += "\n" * data.draw(st.integers(0, 2))
    else:
        name = "a.json" if kind == "wrapped" else data.draw(st.sampled_from(["a.jsonl", "a.json"]))
        text = json.dumps({"data": rows} if kind == "wrapped" else rows, indent=2 if kind == "indented" else None)
    text = data.draw(st.sampled_from(["", "\ufeff"])) + text.replace("\n", data.draw(st.sampled_from(["\n", "\r\n"])))
    (folder / name).write_bytes(text.encode())
    assert read_rows(folder / name, Sample) == right
    assert [row.conversations for row in read_rows(folder / name, Conversation)] == [row.conversations for row in right]
    asked = read_rows(folder / name, Question)
    assert [(row.question, row.reference) for row in asked] == [row.conversations[:2] for row in right]


@given(written_rows(flat=True), st.data())
@settings(max_examples=60)
def test_a_table_is_read_back(tmp_path_factory, written, data):
    rows, right = written
    file, separator = io.StringIO(), data.draw(st.sampled_from(",;\t"))
    table = csv.DictWriter(file, list(rows[0]), delimiter=separator, quoting=csv.QUOTE_ALL)
    table.writeheader()
    table.writerows([row | {"history": ""} if "history" in row else row for row in rows])
    path = tmp_path_factory.getbasetemp() / ("table.tsv" if separator == "\t" else "table.csv")
    path.write_bytes(data.draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + file.getvalue().encode())
    assert read_rows(path, Sample) == right


def test_what_datasets_and_pandas_write_is_read_back(tmp_path):
    rows = [{"id": 1, "instruction": "Why?", "input": None, "output": "So.", "role": ROLE, "domain": None},
            {"id": 2, "instruction": "How?", "input": "This.", "output": "Thus.", "role": None, "domain": "health"}]  # fmt: skip
    frame, saved = pd.DataFrame(rows), datasets.Dataset.from_list(rows)
    frame.to_json(tmp_path / "lines.jsonl", orient="records", lines=True)
    for orient in ("records", "index", "table"):
        frame.to_json(tmp_path / f"{orient}.json", orient=orient)
    frame.to_json(tmp_path / "packed.jsonl.gz", orient="records", lines=True)
    saved.to_json(tmp_path / "datasets.jsonl")
    saved.to_parquet(tmp_path / "table.parquet")
    saved.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict(train=saved).save_to_disk(tmp_path / "splits")
    (tmp_path / "folder").mkdir()
    saved.to_json(tmp_path / "folder" / "train.jsonl")
    (tmp_path / "parquets").mkdir()
    saved.to_parquet(tmp_path / "parquets" / "train.parquet")
    right = read_rows(tmp_path / "lines.jsonl", Sample)
    assert [(row.id, row.domain, row.question, row.answer, row.role is None) for row in right] == [
        ("1", "unknown", "Why?", "So.", False), ("2", "health", "How?\n\nThis.", "Thus.", True)]  # fmt: skip
    for path in sorted(tmp_path.iterdir()):
        assert (path.name, read_rows(path, Sample)) == (path.name, right)


def test_the_reader_agrees_with_trls_converters():
    from trl.data_utils import is_conversational, maybe_convert_to_chatml, maybe_extract_prompt

    turns = ["Why?", "So.", "How?", "Thus."]
    for name, write in SEVERAL.items():
        row = write(turns, "Be brief.")
        if name in NOT_TRLS:
            continue
        theirs = maybe_convert_to_chatml(copy.deepcopy(row))
        assert name == "ultrafeedback" or is_conversational(theirs)
        assert read_turns(theirs)[0] == read_turns(row)[0] == ["Be brief.\n\nWhy?", *turns[1:]], name
    pair = {"chosen": messages(turns), "rejected": messages([*turns[:3], "No."])}
    assert read_turns(maybe_extract_prompt(pair))[0] == read_turns(pair)[0] == turns


CALL = {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]}
REFUSED = [
    ({"messages": [*messages(["q"]), CALL, {"role": "tool", "content": "8"}, *messages(["x", "So."])[1:]]}, "turn 2: tool calls"),
    ({"conversations": [*sharegpt(["q"]), {"from": "function_call", "value": "f"}]}, "turn 2: tool calls"),
    ({"messages": messages(["q", "a"]), "tools": [{"type": "function"}]}, "tools: tool calls"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "'image_url': only text is read"),
    ({"prompt": "q", "completion": "a", "images": ["x.png"]}, "images: only text is read"),
    ({"prompt": "q", "completion": "a", "label": False}, "label is false: an answer that was judged bad"),
    ({"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"}, "part it into prompt and chosen"),
    ({"instruction": "q", "input": "", "output": "a", "history": [["x", "y"]]}, "history: earlier turns"),
    ({"prompt": "q", "answer": "4", "completion": "four"}, "completion and answer are both filled in"),
    ({"text": "### Human: q ### Assistant: a"}, "instruction or question; name the column so (there are text)"),
    ({"instruction": "q", "reply": "a"}, "no completion, output, response or answer; name the column so"),
    ({"messages": messages(["q", "a"])[::-1]}, "messages: turn 1 is 'assistant', expected 'user'"),
    ({"messages": [*messages(["q"]), {"role": "narrator", "content": "x"}]}, "turn 2 is 'narrator', expected 'assistant'"),
    ({"messages": [*messages(["q", "a"]), *messages(["q2", "a2"], "Now rhyme.")]}, "turn 3 is 'system', expected 'user'"),
    ({"conversation": [["q", "a"], ["q2", "a2"]]}, "conversation: turn 1: expected text, not a list"),
    ({"conversations": json.dumps(sharegpt(["q", "a"]))}, "conversations: expected a list of turns, not text"),
    ({"system": "s", "messages": messages(["q", "a"])[::-1]}, "messages: turn 1 is 'assistant'"),
    ({"system": 7, "messages": messages(["q", "a"])}, "system: expected text, not a number"),
    ({"contents": [{"role": "user", "parts": [{"inlineData": {"data": ""}}, {"text": "q"}]}]}, "'inlineData': only text is"),
    ({"role": "user", "content": "q"}, "one message a row is not read; put those of a conversation into one row, as messages"),
]  # fmt: skip


@pytest.mark.parametrize("row, told", REFUSED)
def test_what_cannot_be_read_is_refused_by_its_name(jsonl, refused, row, told):
    with refused("line 2: ", told):
        read_rows(jsonl("rows.jsonl", {"prompt": "q", "completion": "a"}, row), Sample)


def test_columns_that_are_not_used_are_named_before_work_begins(jsonl, tmp_path, capsys):
    weighted = [message | {"weight": 0} for message in messages(["q", "a"])]
    path = jsonl(
        "rows.jsonl",
        {"instruction": "q", "output": "a", "category": "qa", "text": "t", "role": ROLE, "score": None},
        {"instruction": "q2", "output": "a2", "category": "x", "role": ROLE},
        {"messages": weighted, "role": ROLE},
    )
    said = f"{path}: not used: category (2 rows), text (1 row), weight in the turns (1 row)\n"
    check_inputs(load("smoke", {"data.train": str(path), "data.train_rows": 3}))
    assert capsys.readouterr().out == said
    assert main(["annotate", "--data", str(path), "--out", str(tmp_path / "out.jsonl"), "--base-url=http://127.0.0.1:9"]) == 2
    assert capsys.readouterr().out == said
    held_out_questions(
        load("smoke", {"data.questions": str(jsonl("asked.jsonl", {"question": "q", "reference": "a", "level": 3}))})
    )
    assert "asked.jsonl: not used: level (1 row)" in capsys.readouterr().out


def test_all_faults_of_a_file_are_told_at_once(jsonl, refused):
    good, empty = {"instruction": "q", "output": "a"}, {"instruction": "q", "output": " "}
    path = jsonl(
        "rows.jsonl",
        good,
        empty,
        "{'id': 1}",
        *[empty] * 8,
        good | {"id": "x"},
        good | {"id": "x", "role": {"expert": "e"}},
        good | {"id": "x"},
        "[]",
        {"role": ROLE},
        {"instruction": 7, "output": "a"},
    )
    with refused(f"{path}, line 2, line 4, line 5 and 6 more: output is empty; write it", "line 3: not valid JSON",
                 "line 13: role.brings: Field required", "line 14: id 'x' occurs twice", "line 15: expected an object",
                 "more kinds of faults"):  # fmt: skip
        read_rows(path, Sample)
    with refused("row 2: output is empty", "row 3: expected an object"):
        array = path.with_suffix(".json")
        array.write_text(json.dumps([good, empty, 7]))
        read_rows(array, Sample)


@pytest.mark.parametrize("content, told", [
    ('[{"prompt": "q",\n "completion": }]', "line 2: not valid JSON"), ("[]", "holds no rows"), ('{"data": []}', "holds no rows"),
    ('{"prompt": {"0": "q"}, "completion": {"0": "a"}}', "orient='records', lines=True"),
    ('{"columns": ["prompt"], "index": [0], "data": [["q"]]}', "orient='records', lines=True"), ('"text"', "expected an object"),
    ('{"question": ["Q1", "Q2"], "answer": ["A1", "A2"]}', "orient='records', lines=True"),
    ('{"question": ["Q1", "Q2"], "role": [{}, {}]}', "orient='records', lines=True"),
    ("{\n\"prompt\": \"q\"}\n{\n\"prompt\": \"r\"}", "an object goes over several lines; write one a line"),
    ("version https://git-lfs.github.com/spec/v1\noid x", "only a pointer of Git LFS; `git lfs pull`"),
    ('{"version": 1, "items": [{}]}', "(there are version, items)"),
])  # fmt: skip
def test_a_broken_document_is_told(tmp_path, refused, content, told):
    (tmp_path / "a.json").write_text(content)
    with refused(str(tmp_path / "a.json"), told):
        read_rows(tmp_path / "a.json", Sample)


def test_texts_of_a_list_are_joined_as_parts_are():
    row = {"question": "Q", "context": ["a", "b"], "answer": "A", "system": ["s", "t"]}
    assert read_turns(row)[0] == ["s\nt\n\nQ\n\na\nb", "A"]


def test_the_line_that_tells_excel_the_separator_is_no_row(tmp_path):
    (tmp_path / "a.csv").write_text("sep=;\nquestion;answer\nQ;A\n")
    (row,) = read_rows(tmp_path / "a.csv", Sample)
    assert row.conversations == ("Q", "A")


@pytest.mark.parametrize("name", ["a.xlsx", "a.parquet", "a.jsonl.gz"])
def test_a_file_that_datasets_cannot_read_is_told_with_its_reason(tmp_path, refused, name):
    (tmp_path / name).write_bytes(b"PK\3\4 no such thing")
    with refused(str(tmp_path / name), "cannot be read (", "save it as JSON lines"):
        read_rows(tmp_path / name, Sample)


# Where files and data sets lie


def test_files_are_found_as_people_name_them(jsonl, tmp_path, monkeypatch, refused):
    jsonl("project/mine/alpaca.jsonl", {"instruction": "q", "output": "a"})
    (tmp_path / "project" / "mine" / "alpaca.json").write_text('[{"instruction": "q", "output": "a"}]')
    (tmp_path / "project" / "nbs").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "project"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "project"))
    for here in ("project", "project/nbs"):
        monkeypatch.chdir(tmp_path / here)
        for name in (
            "mine/alpaca.json",
            "./mine/alpaca.jsonl",
            "~/mine/alpaca.jsonl",
            str(tmp_path / "project/mine/alpaca.json"),
        ):
            assert len(training_samples(load("smoke", {"data.train": name}))) == 1
            assert len(held_out_questions(load("smoke", {"data.questions": name}))) == 1
    missing = ["alpaca.json", "~/alpaca.jsonl", "./mine/nowhere", "mine/none/such", "no.csv", "a b", "~nosuch/x", "x\0"]
    for name in [*missing, 9000 * "x"]:
        with refused("data.train: ", name.removeprefix("~/").removeprefix("./"), "no such file or folder"):
            training_samples(load("smoke", {"data.train": name}))


def test_a_set_on_the_hub_is_loaded_with_its_only_configuration(monkeypatch, refused):
    """What is asked of `datasets`: there is no hub in a test."""
    asked, found = [], datasets.Dataset.from_list([{"messages": messages(["q", "a", "thanks"])}])

    def load_dataset(path, name=None, split=None):
        asked.append((path, name, split))
        if path == "org/many" and name is None:
            raise ValueError("Config name is missing.\nPlease pick one among the available configs: ['a', 'b']")
        return found

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    for source in ("org/set-v1.5", "squad", "org/many:b"):
        (sample,) = training_samples(load("smoke", {"data.train": source}))
        assert sample.conversations == ("q", "a")
    assert asked == [("org/set-v1.5", None, "train"), ("squad", None, "train"), ("org/many", "b", "train")]
    with refused(
        "cannot load org/many", "ValueError: Config name is missing. Please pick one among", "['a', 'b']", "org/many:NAME"
    ):
        training_samples(load("smoke", {"data.train": "org/many"}))


def test_a_mirror_gives_the_only_configuration_or_the_default(jsonl, refused):
    row = {"messages": messages(["q", "a"])}
    mirror = str(jsonl("hub/org/one/main/train.jsonl", row).parents[3])
    for name in ("two/default", "two/more", "many/a", "many/b"):
        jsonl(f"hub/org/{name}/train.jsonl", row | {"id": name})
    for source, right in {
        "org/one": "row-0",
        "org/two": "two/default",
        "org/two:more": "two/more",
        "org/many:b": "many/b",
    }.items():
        assert [row.id for row in training_samples(load("smoke", {"data.train": source, "data.mirror": mirror}))] == [right]
    with refused("org/many has a, b; write org/many:a"):
        training_samples(load("smoke", {"data.train": "org/many", "data.mirror": mirror}))
    with pytest.raises(UserError, match="is missing; a mirror has"):
        hub_rows("org/none", None, "train", mirror)
