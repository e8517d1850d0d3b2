"""Open LIMA-Role: the shipped roles, what is claimed of them, and the join to a copy of LIMA.

Tests that need LIMA itself look for a mirror at `../shared/data` and are skipped without one.
"""

import hashlib
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml

from selfprompt_lib import lima_role, profiles, roles, stats
from selfprompt_lib.__main__ import main
from selfprompt_lib.annotate import RolePrompt
from selfprompt_lib.files import read_json_lines
from selfprompt_lib.lima_role import (
    LIMA_ROLE_FOLDER,
    JoinedLima,
    join_roles,
    prompt_hash,
    read_role_entries,
)
from selfprompt_lib.rows import Sample, read_rows
from selfprompt_lib.sources import training_samples

PROJECT = Path(__file__).parents[1]
LIMA = Path(__file__).parents[2] / "shared" / "data" / "GAIR" / "lima"
needs_lima = pytest.mark.skipif(
    not LIMA.is_dir(), reason="needs a mirror of the hub with LIMA at ../shared/data"
)
MIRROR = str(LIMA.parents[1])
ENTRIES = read_role_entries()
CARD = (LIMA_ROLE_FOLDER / "README.md").read_text(encoding="utf-8")
QUALITY = json.loads((LIMA_ROLE_FOLDER / "quality.json").read_text(encoding="utf-8"))
READINGS = lima_role.published_readings()


# The shipped roles


def test_there_is_one_role_for_each_row_of_lima_in_order():
    assert [entry.index for entry in ENTRIES] == list(range(1030))
    assert len({entry.sha256 for entry in ENTRIES}) == 1030


def test_a_line_has_the_documented_fields_and_nothing_else():
    named = re.findall(r"^\| `(\w+)` \|", CARD, flags=re.M)
    assert {tuple(row) for row in read_json_lines(LIMA_ROLE_FOLDER / "roles.jsonl")} == {
        tuple(named)
    }


def test_experts_are_many_and_none_is_frequent():
    counts = Counter(entry.expert.lower() for entry in ENTRIES)
    assert len(counts) >= 500
    assert sum(n for _, n in counts.most_common(10)) <= 0.10 * len(ENTRIES)


def test_roles_keep_the_guideline():
    """Expert: a noun phrase of 3 to 14 words. Brings: one or two sentences without I, you or they.

    Request: a verb phrase.
    """
    assert [e for e in ENTRIES if not 3 <= len(e.expert.split()) <= 14] == []
    assert [e for e in ENTRIES if not re.fullmatch(r"(an?|the) .*[^.,;:!?]", e.expert)] == []
    assert [
        e for e in ENTRIES if not 1 <= len(re.findall(r"[.!?](?= [A-Z]|$)", e.brings)) <= 2
    ] == []
    person = re.compile(r"\b(I|me|my|you|your|we|us|our|they|them|their)\b(?!-)", re.IGNORECASE)
    assert [(e.index, e.brings) for e in ENTRIES if person.search(e.brings)] == []
    assert [e for e in ENTRIES if not re.fullmatch(r"[a-z][a-z-]*\b.*[^.]", e.request)] == []
    first = {e.request.split()[0] for e in ENTRIES} - {"shed"}  # light on a matter
    assert {
        word for word in first if re.search(r"(ing|ed)$|^(to|a|an|the|please|how|what|why)$", word)
    } == set()


def test_texts_are_stored_as_one_paragraph():
    raw = [
        row[name]
        for row in read_json_lines(LIMA_ROLE_FOLDER / "roles.jsonl")
        for name in ("expert", "brings", "request")
    ]
    assert [text for text in raw if text != " ".join(text.split())] == []


@pytest.mark.skipif(LIMA.is_dir(), reason="with LIMA at hand, the command's measures below say it")
def test_nearly_no_two_roles_are_alike():
    vectors = roles.embed(roles.load_embedder("starter"), [entry.text for entry in ENTRIES])
    alike = {index for pair in roles.near_duplicates(vectors) for index in pair[:2]}
    assert len(alike) <= 0.01 * len(ENTRIES)


# What is claimed of them


def test_the_card_names_the_guideline_that_chapter_1_gives():
    version = re.search(r"version `(\w+)`", CARD)[1]
    assert version == RolePrompt.from_settings(profiles.load("cpu").annotate).version


def test_the_card_is_one_that_the_hub_can_read():
    head = yaml.safe_load(CARD.split("---")[1])
    assert head["license"] == "cc-by-nc-sa-4.0"
    assert [LIMA_ROLE_FOLDER / config["data_files"] for config in head["configs"]] == [
        LIMA_ROLE_FOLDER / "roles.jsonl"
    ]


def test_the_published_measures_are_of_these_roles():
    assert lima_role.published_quality() == QUALITY


def test_measures_of_other_roles_are_refused(tmp_path, monkeypatch, refused):
    shutil.copytree(LIMA_ROLE_FOLDER, tmp_path / "copy")
    monkeypatch.setattr(lima_role, "LIMA_ROLE_FOLDER", tmp_path / "copy")
    with (tmp_path / "copy" / "roles.jsonl").open("a") as file:
        file.write("\n")
    with refused("quality.json: was measured on other roles", "lima-role --measure"):
        lima_role.published_quality()


def test_the_published_measures_pass_the_bars():
    measures = QUALITY["measures"]
    assert (QUALITY["rows"], QUALITY["matched"], measures["roles"]) == (1030, 1029, 1029)
    assert measures["distinct experts"] >= 500 and measures["ten most frequent experts"] <= 0.10
    assert measures["near-duplicates"] <= 0.01
    assert measures["finds its question among 100"] >= 0.80
    assert measures["the same, shuffled"] == pytest.approx(1 / 100, abs=0.005)
    assert measures["gives the answer away"] == 0
    assert (
        sum(part["roles"] for part in QUALITY["by_source"]) == 1029
        and len(QUALITY["least_fitting"]) == 10
    )


def test_a_reading_is_of_100_rows_by_two_readers():
    for one, other in READINGS.values():
        assert set(one.id) == set(other.id) <= {f"lima-{entry.index}" for entry in ENTRIES}
        assert len(one) == len(other) == 100
        assert set(roles.between_raters(one, other).n) == {100}
        assert not one.equals(other), "two readers, not one file twice"


def test_a_reader_says_why_a_row_was_sent_back():
    for sheet in (sheet for pair in READINGS.values() for sheet in pair):
        assert sheet.id[~sheet.passes & (sheet.notes == "")].tolist() == []


def test_in_the_last_reading_95_of_100_rows_pass_for_each_reader():
    """The chapter tells these rates, computed from the sheets; no page types them."""
    *earlier, last = READINGS.values()
    rates = [stats.rate(sheet.passes).value for sheet in last]
    assert min(rates) >= 0.95, rates
    assert max(sheet.passes.mean() for sheet in earlier[0]) < min(rates), (
        "the first reading sent rows back"
    )


def test_the_card_counts_the_readings():
    numbers = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
    told, sheets = " ".join(CARD.lower().split()), sum(map(len, READINGS.values()))
    assert (
        f"{numbers[len(READINGS)]} times, two readers" in told
        and f"all {numbers[sheets]} sheets" in told
    )
    assert [name for name in READINGS if f"`{name}`" not in told] == []


# Reading roles from a file


def line(number, **fields):
    role = {"expert": "a cook", "brings": "Years.", "request": "boil it"}
    return {"index": number, "sha256": prompt_hash(f"q{number}")} | role | fields


@pytest.mark.parametrize(
    ("second", "parts"),
    [
        (line(1, index=0), (", line 3: index 0 occurs twice", "keep one")),
        (
            line(1, sha256=prompt_hash("q0")),
            (f", line 3: sha256 {prompt_hash('q0')} occurs twice",),
        ),
        (line(1, sha256="abc"), (", line 3: sha256: ",)),
        (line(1, sha256=prompt_hash("q1").upper()), (", line 3: sha256: ",)),
        (line(1, index=-1), (", line 3: index: ", "greater than or equal to 0")),
        (line(1, expert=" "), (", line 3: expert: ",)),
        (line(1, answer="x"), (", line 3: answer: ", "not permitted")),
        ({"index": 1}, (", line 3: expert: Field required",)),
    ],
)
def test_a_malformed_role_file_is_named_with_line_and_field(jsonl, refused, second, parts):
    path = jsonl("roles.jsonl", line(0), "", second)
    with refused(str(path) + parts[0], *parts[1:]):
        read_role_entries(path)


# The join, on rows of the tests' own


def rows_of(count):
    """Rows in LIMA's columns."""
    return [
        {
            "conversations": [f"Question {i}?\nSecond line.", f"Answer {i}."],
            "source": "stackexchange",
        }
        for i in range(count)
    ]


def roles_for(jsonl, rows):
    """A role for each of these rows."""
    lines = (
        line(i, sha256=prompt_hash(row["conversations"][0]), expert=f"an expert for {i}")
        for i, row in enumerate(rows)
    )
    return read_role_entries(jsonl("toy.jsonl", *lines))


def test_a_digest_does_not_see_line_endings_and_sees_words():
    plain = hashlib.sha256(b"One two three.").hexdigest()
    assert prompt_hash("One two three.") == prompt_hash(" One\r\ntwo\n three.\n") == plain
    assert prompt_hash("One two three!") != plain
    assert prompt_hash("café") == hashlib.sha256("café".encode()).hexdigest()


def test_rows_are_joined_by_hash_in_any_order_and_with_other_line_endings(jsonl):
    rows = rows_of(150)
    given = roles_for(jsonl, rows)
    windows = [
        row
        | {"conversations": [turn.replace("\n", "\r\n") + "\n" for turn in row["conversations"]]}
        for row in rows
    ]
    joined = join_roles(windows[::-1], given)
    assert (joined.unmatched, joined.left_over) == ([], [])
    assert [sample.id for sample in joined.samples] == [f"lima-{i}" for i in reversed(range(150))]
    for sample in joined.samples:
        number = sample.id.removeprefix("lima-")
        assert (
            sample.question == f"Question {number}?\r\nSecond line.\n"
            and sample.role.expert == f"an expert for {number}"
        )
        assert (sample.answer, sample.source) == (f"Answer {number}.\n", "stackexchange")
    assert str(joined) == "150 samples of LIMA have their roles"


def test_what_does_not_match_is_counted_and_listed(jsonl):
    rows = rows_of(200)
    given = roles_for(jsonl, rows)
    rows[5] = rows[5] | {"conversations": ["Another question?", "So."]}
    joined = join_roles(rows[:7] + rows[8:], given)
    assert len(joined.samples) == 198 and (joined.unmatched, joined.left_over) == (
        ["row-5"],
        [5, 7],
    )
    assert (
        "198 samples" in str(joined)
        and "without a role: row-5;" in str(joined)
        and "index 5, 7" in str(joined)
    )


def test_a_question_that_occurs_twice_has_one_role(jsonl):
    rows = rows_of(100)
    joined = join_roles([*rows, rows[3]], roles_for(jsonl, rows))
    assert len(joined.samples) == 100 and joined.unmatched == ["row-100"]


def test_a_long_list_is_cut():
    told = str(JoinedLima([], [f"row-{i}" for i in range(11)], list(range(10))))
    assert "row-9 …" in told and "row-10" not in told and told.endswith("8, 9")


def test_less_than_99_percent_is_another_data_set(jsonl, refused):
    rows = rows_of(200)
    given = roles_for(jsonl, rows)
    assert len(join_roles(rows[2:], given).samples) == 198
    with refused(
        "data.train: 98.5% of LIMA-Role matched, 99% are needed",
        "index 0, 1, 2",
        "GAIR/lima",
        "data.mirror",
    ):
        join_roles(rows[3:], given)
    other = [row | {"conversations": ["Another?", "So."]} for row in rows[:3]]
    with refused("98.5%", "without a role: row-0, row-1, row-2;"):
        join_roles([*other, *rows[3:]], given)
    with refused("data.train: 0.0% of LIMA-Role matched"):
        join_roles(rows_of(4), ENTRIES)


def test_an_odd_last_turn_is_dropped_and_a_row_without_an_answer_left_out(jsonl):
    rows = rows_of(100)
    rows[1] = rows[1] | {"conversations": [*rows[1]["conversations"], "And?", "So.", "Thanks"]}
    given = roles_for(jsonl, rows)
    rows[2] = rows[2] | {"conversations": rows[2]["conversations"][:1]}
    joined = join_roles(rows, given)
    assert joined.samples[1].conversations == (*rows[1]["conversations"][:2], "And?", "So.")
    assert joined.unmatched == ["row-2"] and len(joined.samples) == 99


def test_rows_that_are_not_limas_are_told(refused):
    with refused("LIMA, row 2: no conversations"):
        join_roles([*rows_of(1), {"text": "plain"}], ENTRIES)


# Saving


@pytest.fixture
def toy(jsonl):
    """A joined data set of 200 rows, one of which has no role; one conversation is longer."""
    rows = rows_of(200)
    rows[1] = rows[1] | {
        "conversations": [*rows[1]["conversations"], "And?", "So."],
        "source": "multi_turn",
    }
    given = roles_for(jsonl, rows)
    return join_roles(
        [*rows, {"conversations": ["One\u2028more?", "So."], "source": "authors"}], given
    )


def test_a_saved_data_set_is_loaded_with_datasets(toy, tmp_path):
    import datasets

    folder = lima_role.save_dataset(toy, tmp_path / "new" / "lima-role")
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"] and loaded["train"].column_names == [
        "id",
        "source",
        "conversations",
        "messages",
        "role",
    ]
    assert [(row["id"], tuple(row["conversations"]), row["role"]) for row in loaded["train"]] == [
        (s.id, s.conversations, s.role.model_dump()) for s in toy.samples
    ]
    assert loaded["train"][1]["messages"] == [
        {"role": "user", "content": "Question 1?\nSecond line."},
        {"role": "assistant", "content": "Answer 1."},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "So."},
    ]


def test_a_saved_data_set_can_be_trained_on(toy, tmp_path):
    folder = lima_role.save_dataset(toy, tmp_path / "lima-role")
    assert read_rows(folder / "train.jsonl", Sample) == toy.samples
    assert (
        training_samples(profiles.load("smoke", {"data.train": str(folder / "train.jsonl")}))
        == toy.samples
    )


def test_the_card_of_a_saved_data_set_says_what_it_is(toy, tmp_path):
    card = (lima_role.save_dataset(toy, tmp_path / "x") / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["configs"] == [
        {"config_name": "default", "data_files": "train.jsonl"}
    ]
    assert str(toy) in card and "without a role: row-200" in card and "LIMA's terms hold" in card


def test_only_an_own_or_a_new_or_an_empty_folder_is_written(toy, tmp_path, refused):
    (tmp_path / "empty").mkdir()
    lima_role.save_dataset(toy, tmp_path / "empty")
    lima_role.save_dataset(JoinedLima(toy.samples[:3], [], []), tmp_path / "empty")
    assert len(read_rows(tmp_path / "empty" / "train.jsonl", Sample)) == 3, (
        "an own folder is written anew"
    )
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for name in ("train.jsonl", "README.md"):
        (foreign / name).write_text("mine")
        with refused(f"--out {foreign}: ", "not empty; give a new folder"):
            lima_role.save_dataset(toy, foreign)
    assert {path.name: path.read_text() for path in foreign.iterdir()} == {
        "train.jsonl": "mine",
        "README.md": "mine",
    }
    for place in (foreign / "README.md", foreign / "README.md" / "below"):
        with refused(f"--out {place}: "):
            lima_role.save_dataset(toy, place)


# The command, with a mirror that does not hold LIMA


def test_the_command_refuses_what_is_not_lima(jsonl, tmp_path, capsys):
    mirror = jsonl("hub/GAIR/lima/plain_text/train.jsonl", *rows_of(20)).parents[3]
    assert main(["lima-role", "--mirror", str(mirror), "--out", str(tmp_path / "out")]) == 2
    assert "0.0% of LIMA-Role matched, 99% are needed" in capsys.readouterr().err
    assert (
        main(["lima-role", "--mirror", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")])
        == 2
    )
    assert "a mirror has <org>/<name>/<config>/<split>.jsonl" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "notes.json").write_text("mine")
    assert main(["lima-role", "--mirror", str(mirror), "--measure", str(tmp_path / "notes.json")]) == 2
    assert "notes.json: exists, and is no measurement of roles" in capsys.readouterr().err


def test_a_run_on_what_is_not_lima_stops_before_the_first_notebook(jsonl, tmp_path, capsys):
    mirror = jsonl("hub/GAIR/lima/plain_text/train.jsonl", *rows_of(20)).parents[3]
    settings = ["--set", "data.train=lima-role", "--set", f"data.mirror={mirror}"]
    assert main(["run", "--profile", "smoke", "--out", str(tmp_path / "out"), *settings]) == 2
    assert "0.0% of LIMA-Role matched" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# With LIMA


@needs_lima
def test_every_role_is_for_the_prompt_at_its_index():
    prompts = [row["question"] for row in read_json_lines(LIMA / "first_prompts.jsonl")]
    assert [prompt_hash(prompt) for prompt in prompts] == [entry.sha256 for entry in ENTRIES]


@needs_lima
def test_the_mirror_has_all_rows_but_one():
    joined = lima_role.load_lima_role(MIRROR)
    assert len(joined.samples) == 1029 and (joined.unmatched, joined.left_over) == ([], [1021])
    assert (
        training_samples(profiles.load("smoke", {"data.train": "lima-role", "data.mirror": MIRROR}))
        == joined.samples
    )
    by_id = {f"lima-{entry.index}": entry for entry in ENTRIES}
    assert [
        s.id
        for s in joined.samples
        if (s.role.text, prompt_hash(s.question)) != (by_id[s.id].text, by_id[s.id].sha256)
    ] == []


@needs_lima
def test_the_command_writes_the_data_set_and_measures_what_is_published(tmp_path, capsys):
    out, file = tmp_path / "lima-role", tmp_path / "quality.json"
    assert main(["lima-role", "--mirror", MIRROR, "--out", str(out), "--measure", str(file)]) == 0
    assert (
        "1029 samples of LIMA have their roles; roles whose row is not in this copy: index 1021\n"
        in capsys.readouterr().out
    )
    assert len(read_rows(out / "train.jsonl", Sample)) == 1029
    measured = json.loads(file.read_text())
    assert measured["measures"] == pytest.approx(QUALITY["measures"], abs=0.003)
    for name in ("rows", "matched", "unmatched", "left_over", "seed", "embedder", "roles_sha256"):
        assert measured[name] == QUALITY[name], name
    for new, old in zip(measured["by_source"], QUALITY["by_source"], strict=True):
        assert new == {
            **old,
            **{name: pytest.approx(old[name], abs=0.03) for name in ("share", "low", "high")},
        }
    assert (
        len(
            {row["expert"] for row in measured["least_fitting"]}
            & {row["expert"] for row in QUALITY["least_fitting"]}
        )
        >= 8
    )


def strings(value):
    """All texts in a JSON value."""
    if isinstance(value, dict | list):
        return [
            text
            for inner in (value.values() if isinstance(value, dict) else value)
            for text in strings(inner)
        ]
    return [value] if isinstance(value, str) else []


def texts(path):
    """The texts of a file of the package."""
    text = path.read_text(encoding="utf-8")
    parsed = {
        ".jsonl": lambda: [json.loads(part) for part in text.splitlines()],
        ".json": lambda: json.loads(text),
    }
    return strings(parsed.get(path.suffix, lambda: text)())


def runs(text, length=12):
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[i : i + length]) for i in range(len(words) - length + 1)}


def in_lima(found):
    """Those of the runs that occur in a prompt or an answer of LIMA."""
    rows = [
        row
        for name in ("train", "test")
        for row in read_json_lines(LIMA / "plain_text" / f"{name}.jsonl")
    ]
    lima = [turn for row in rows for turn in row["conversations"]]
    lima += [row["question"] for row in read_json_lines(LIMA / "first_prompts.jsonl")]
    return {run for turn in lima for run in runs(turn) & found}


@needs_lima
def test_no_sentence_of_lima_is_in_the_package():
    kinds = (".jsonl", ".json", ".csv", ".md", ".yaml", ".py", ".jinja")
    files = [path for path in (PROJECT / "selfprompt_lib").rglob("*") if path.suffix in kinds]
    assert {
        LIMA_ROLE_FOLDER / "roles.jsonl",
        LIMA_ROLE_FOLDER / "README.md",
        LIMA_ROLE_FOLDER / "quality.json",
    } < set(files)
    assert set((LIMA_ROLE_FOLDER / "reviews").glob("*.csv")) < set(files)
    where = {run: path.name for path in files for text in texts(path) for run in runs(text)}
    assert {where[run]: run for run in in_lima(set(where))} == {}


@needs_lima
def test_a_planted_sentence_of_lima_would_be_found():
    answer = read_json_lines(LIMA / "plain_text" / "train.jsonl")[0]["conversations"][1]
    planted = " ".join(re.findall(r"\w+", answer)[20:32]).upper()
    assert len(in_lima(runs(f"The expert says: {planted}, and so on.\n"))) == 1
