"""Profiles: those that exist load; an unknown field or ill-typed value is refused before a run."""

import json

import pytest
import settings_page
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from selfprompt_lib import profiles
from selfprompt_lib.profiles import TASKS, Profile, flatten, load, names, parse_settings
from selfprompt_lib.sections import Client

NAMES = ("cpu", "gpu", "llama-2-7b", "mistral-7b", "smoke", "two-cores")
FIELDS = [key for key in flatten(load("cpu")) if key not in ("name", "about")]
SECTIONS = sorted({key.split(".")[0] for key in FIELDS if "." in key})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A profile folder of the test's own: `folder("mine", sft={…})` writes a profile there."""
    monkeypatch.setattr(profiles, "PROFILES_FOLDER", tmp_path)
    return lambda name, **fields: (tmp_path / f"{name}.yaml").write_text(
        yaml.safe_dump({"about": "A test."} | fields)
    )


def test_the_six_profiles_exist():
    assert tuple(names()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_profile_loads(name):
    profile = load(name)
    assert profile.name == name
    assert profile.about.endswith(".")
    assert profile.sft.batch_size % profile.sft.micro_batch_size == 0
    assert "none" in profile.ablate.designs
    assert set(profile.evaluate.tasks) == set(TASKS)


@pytest.mark.parametrize(
    ("name", "model"),
    [("mistral-7b", "mistralai/Mistral-7B-v0.1"), ("llama-2-7b", "meta-llama/Llama-2-7b-hf")],
)
def test_the_papers_setting(name, model):
    profile = load(name)
    assert (profile.model, profile.data.train, profile.data.train_rows) == (
        model,
        "lima-role",
        None,
    )
    assert (profile.sft.learning_rate, profile.sft.batch_size) == (1e-5, 64)
    assert profile.annotate.train_on == "reference"
    assert profile.data.benchmarks == "hub"


@pytest.mark.parametrize("name", NAMES)
def test_no_profile_needs_a_key(name):
    assert load(name).annotate.base_url is None


@pytest.mark.parametrize("name", ["cpu", "smoke"])
def test_a_laptop_needs_no_hub_no_key_and_no_card(name):
    profile = load(name)
    assert {profile.data.train, profile.data.questions, profile.data.benchmarks} == {"starter"}
    assert profile.annotate.base_url is None
    assert profile.dtype != "bfloat16"


@pytest.mark.parametrize("name", ["laptop", "", "CPU ", "../profiles"])
def test_an_unknown_profile_is_refused_with_those_that_exist(name, refused):
    with refused(f"unknown profile {name!r}", ", ".join(NAMES)):
        load(name)


def test_a_profile_name_is_not_a_path(refused):
    with refused("unknown profile"):
        load("../profiles/cpu")


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("sft.epoch", "sft.epochs"),
        ("infer.max_tokens", "infer.max_new_tokens"),
        ("learning_rate", "sft.learning_rate"),
        ("sede", "seed"),
    ],
)
def test_a_misspelt_field_is_refused_with_the_nearest(key, near, refused):
    with refused(f"--set {key}: ", f"did you mean {near}?", "sft.epochs, "):
        load("cpu", {key: 1})


def test_a_field_like_no_other_is_refused_with_all_fields(refused):
    with refused("--set zzzzzz: no profile has this field (fields: ", *FIELDS):
        load("cpu", {"zzzzzz": 1})


@given(
    st.text()
    | st.builds("{}.{}".format, st.sampled_from(SECTIONS), st.text())
    | st.sampled_from(SECTIONS)
)
def test_any_unknown_field_is_refused(key):
    assume(key not in FIELDS)
    with pytest.raises(profiles.UserError, match="no profile has this field"):
        load("smoke", {key: 1})


@pytest.mark.parametrize("key", ["name", "about"])
def test_name_and_about_cannot_be_set(key, refused):
    with refused(f"--set {key}: "):
        load("cpu", {key: "other"})


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("sft.epochs", "many", "valid number"),
        ("sft.epochs", None, "valid number"),
        ("sft.epochs", [1], "valid number"),
        ("sft.epochs", 0, "greater than 0"),
        ("sft.epochs", float("nan"), "finite number"),
        ("sft.learning_rate", "fast", "valid number"),
        ("sft.batch_size", 1.5, "valid integer"),
        ("seed", -1, "greater than or equal to 0"),
        ("seed", "abc", "valid integer"),
        ("model", 7, "valid string"),
        ("model", None, "valid string"),
        ("dtype", "float8", "'float32'"),
        ("data.train_rows", 1, "greater than or equal to 2"),
        ("data.benchmarks", "mirror", "'starter' or 'hub'"),
        ("sft.gradient_checkpointing", "perhaps", "valid boolean"),
        ("evaluate.run_code", 2, "valid boolean"),
        ("evaluate.tasks", ["mmlu", "gsm9k"], "evaluate.tasks: unknown task 'gsm9k'"),
        ("evaluate.tasks", "mmlu", "valid tuple"),
        ("evaluate.tasks", [], "at least 1"),
        ("design", "from-then-on", "from-now-on, first-person"),
        ("design", "none", "writes roles"),
        ("ablate.designs", ["none", "from-then-on"], "from-now-on, first-person"),
        ("annotate.timeout", 0, "greater than 0"),
    ],
)
def test_an_ill_typed_value_is_refused(key, value, fault, refused):
    with refused("profile cpu: ", key, fault, "; got "):
        load("cpu", {key: value})


@pytest.mark.parametrize("key", ["ablate.designs", "evaluate.tasks"])
def test_an_ablation_of_nothing_is_refused(key, refused):
    with refused(key):
        load("cpu", {key: []})


@pytest.mark.parametrize("key", ["sft.batch_size", "sft.epochs", "seed"])
def test_true_is_not_a_number(key, refused):
    with refused(key):
        load("cpu", {key: True})


def test_the_micro_batch_must_divide_the_batch(refused):
    assert load("smoke", {"sft.batch_size": 8, "sft.micro_batch_size": 2}).sft.micro_batch_size == 2
    with refused("profile smoke: sft.micro_batch_size", "3 does not divide batch_size 8"):
        load("smoke", {"sft.batch_size": 8, "sft.micro_batch_size": 3})
    with refused("sft.micro_batch_size", "4 does not divide batch_size 6"):
        load("smoke", {"sft.batch_size": 6})


def test_the_default_micro_batch_must_divide_too(folder, refused):
    folder("mine", sft={"batch_size": 6})
    with refused("sft.micro_batch_size"):
        load("mine")


def test_an_unknown_field_in_a_profile_file_is_refused(folder, refused):
    folder("mine", sft={"epochz": 3})
    with refused("profile mine: sft.epochz", "not permitted"):
        load("mine")


def test_settings_and_seed_change_only_their_fields():
    plain, changed = (
        flatten(load("cpu")),
        flatten(load("cpu", {"sft.epochs": 7, "data.train_rows": None}, seed=5)),
    )
    assert {key: value for key, value in changed.items() if plain[key] != value} == {
        "sft.epochs": 7,
        "data.train_rows": None,
        "seed": 5,
    }
    assert flatten(load("cpu")) == plain


def test_a_profile_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load("cpu").sft.epochs = 3


@pytest.mark.parametrize(
    ("pair", "key", "value"),
    [
        ("sft.learning_rate=1e-5", "sft.learning_rate", 1e-5),
        ("sft.final_learning_rate=2E-06", "sft.final_learning_rate", 2e-6),
        ("sft.weight_decay=1e-1", "sft.weight_decay", 0.1),
        ("sft.epochs=2", "sft.epochs", 2.0),
        ("sft.gradient_checkpointing=true", "sft.gradient_checkpointing", True),
        ("data.train_rows=null", "data.train_rows", None),
        ("data.mirror=../shared/data", "data.mirror", "../shared/data"),
        (
            "annotate.base_url=http://localhost:80/v1?api-version=1",
            "annotate.base_url",
            "http://localhost:80/v1?api-version=1",
        ),
        ("evaluate.tasks=[mmlu, gsm8k]", "evaluate.tasks", ["mmlu", "gsm8k"]),
        ("ablate.designs=[none]", "ablate.designs", ["none"]),
    ],
)
def test_settings_are_typed(pair, key, value):
    found = flatten(load("cpu", parse_settings([pair])))[key]
    assert (type(found), found) == (type(value), value)


def test_the_last_of_two_settings_holds():
    assert parse_settings(["seed=1", "seed=2"]) == {"seed": 2}
    assert parse_settings([]) == {}


@pytest.mark.parametrize("pair", ["sft.epochs", "=2", ""])
def test_a_setting_without_key_or_value_is_refused(pair, refused):
    with refused(f"--set {pair}: ", "field=value"):
        parse_settings([pair])


def test_a_setting_that_is_no_yaml_is_refused(refused):
    with refused("--set evaluate.tasks: ", "[mmlu", "YAML"):
        parse_settings(["evaluate.tasks=[mmlu"])


def test_a_learning_rate_in_words_is_refused(refused):
    with refused("sft.learning_rate", "fast"):
        load("cpu", parse_settings(["sft.learning_rate=fast"]))


@pytest.mark.parametrize("name", NAMES)
def test_any_profile_can_be_written_as_settings(name):
    profile = load(name)
    settings = parse_settings([f"{key}={json.dumps(flatten(profile)[key])}" for key in FIELDS])
    again = load("smoke" if name != "smoke" else "gpu", settings)
    assert again.model_copy(update={"name": profile.name, "about": profile.about}) == profile


def test_flat_keys_cover_the_whole_profile():
    sections = {
        key: field.annotation for key, field in Profile.model_fields.items() if key in SECTIONS
    }
    inner = [f"{key}.{name}" for key, section in sections.items() for name in section.model_fields]
    assert sorted(FIELDS) == sorted(
        inner + [k for k in Profile.model_fields if k not in {"name", "about", *SECTIONS}]
    )


@pytest.mark.parametrize(("settings", "parts"), [
    ({"ablate.tasks": ["mine"]}, ("ablate.tasks: no task 'mine' has options", "evaluate.include_path")),
    ({"evaluate.tasks": ["mine"]}, ("evaluate.tasks: unknown task 'mine'", "evaluate.include_path")),
    ({"ablate.tasks": ["gsm8k"]}, ("ablate.tasks: no task 'gsm8k' has options",)),
    ({"design": "plan"}, ("design: plan writes", "annotate.strategy is role", "the same strategy in both")),
    ({"design": "after-answer"}, ("roles before answers, not after-answer", "ablate.designs")),
    ({"evaluate.tasks": ["humaneval"]}, ("evaluate.tasks: humaneval alone", "evaluate.run_code=true")),
    ({"evaluate.tasks": ["mmlu", "gsm8k", "mmlu"]}, ("evaluate.tasks: 'mmlu' is named twice",)),
    ({"evaluate.arms": ["baseline", "self-prompt", "baseline"]}, ("evaluate.arms: 'baseline' is named twice",)),
    ({"ablate.designs": ["none", "none"]}, ("ablate.designs: 'none' is named twice",)),
    ({"sft.final_learning_rate": 3e-4}, ("sft.final_learning_rate: 0.0003 is not below sft.learning_rate", "null")),
    ({"annotate.mode": "batch"}, ("annotate.mode: batch", "annotate.base_url is null", "live")),
    ({"judge.mode": "batch"}, ("judge.mode: batch", "judge.base_url is null")),
    ({"judge.mode": "batch", "ablate.tasks": ["mine"], "sft.final_learning_rate": 1},
     ("judge.mode", "ablate.tasks", "sft.final_learning_rate")),
])  # fmt: skip
def test_fields_that_contradict_each_other_are_refused_before_any_work_all_at_once(settings, parts, refused):
    with refused("profile cpu: ", *parts):
        load("cpu", settings)


def test_the_final_learning_rate_follows_the_rate():
    assert load("cpu", {"sft.learning_rate": 1e-5}).sft.final_learning_rate == 1e-6
    assert load("cpu", {"sft.final_learning_rate": 0}).sft.final_learning_rate == 0
    assert load("mistral-7b").sft.final_learning_rate == 1e-6


def test_the_page_of_settings_tells_every_field_in_words_with_its_default_and_the_value_of_cpu():
    rows = {row["name"]: row for group in settings_page.groups() for row in group["rows"]}
    of_a_server = {f"judge.{name}" for name in Client.model_fields}
    assert {*rows, *of_a_server} == set(FIELDS) and of_a_server - rows.keys()
    assert [name for name, row in rows.items() if not row["meaning"]] == []
    plain, cpu = flatten(Profile(name="", about="")), flatten(load("cpu"))
    del plain["sft.final_learning_rate"]  # its default follows another field
    for said, fields in (("default", plain), ("value", cpu)):
        given = parse_settings([f"{name}={row[said]}" for name, row in rows.items() if name in fields])
        known = flatten(load("gpu", given))
        assert {name: known[name] for name in given} == {name: fields[name] for name in given}


def test_a_check_reads_no_field():
    from selfprompt_lib.sections import fields_noted

    with fields_noted() as read:
        load("two-cores", {"sft.epochs": 2})
    assert read == set()
