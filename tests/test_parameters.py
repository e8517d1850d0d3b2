"""Parameters of notebooks and fields of profiles: any value is taken, or refused with the right call before it is used."""

import contextlib
from pathlib import Path

import papermill
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfprompt_lib.errors import UserError
from selfprompt_lib.pipeline import CHAPTERS, start_chapter
from selfprompt_lib.profiles import flatten, load, parse_settings

FIELDS = [key for key in flatten(load("cpu")) if key not in ("name", "about")]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["~nosuch/x", "a\0b", "x" * 5000, "2026"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text() | st.integers(), inner, max_size=2),
    max_leaves=3,
)
GOOD = {"profile": "smoke", "seed": -1, "settings": {}}
WRONG = [
    ({"out": 2026}, "out is 2026, but must be text; with papermill: -r out 2026"),
    ({"out": ""}, "out is '', but must be text; with papermill: -r out FOLDER"),
    ({"out": None}, "-r out FOLDER"),
    ({"out": False}, "out is False"),
    ({"settings": '{"sft.epochs": 2}'}, "must be a dictionary of profile fields; with papermill: -y 'settings: {sft.epochs: 2}'"),
    ({"settings": ["sft.epochs=2"]}, "-y 'settings: "),
    ({"settings": 2}, "-y 'settings: "),
    ({"settings": {"sft": {"epochs": 2}}}, "write sft.epochs"),
    ({"settings": {7: 2}}, "7: no profile has this field"),
    ({"settings": {"sft.epochs": "two"}}, "sft.epochs: Input should be a valid number"),
    ({"seed": "one"}, "seed is 'one', but must be a whole number from 0, or -1 for the profile; with papermill: -p seed 1"),
    ({"seed": 1.5}, "-p seed 1"),
    ({"seed": True}, "-p seed 1"),
    ({"seed": None}, "-p seed 1"),
    ({"seed": -2}, "-p seed 1"),
    ({"seed": 2**40}, "seed: Input should be less than"),
    ({"profile": 7}, "profile is 7, but must be text; with papermill: -p profile cpu"),
    ({"profile": None}, "-p profile cpu"),
    ({"profile": ["cpu"]}, "-p profile cpu"),
    ({"epochs": 2}, "unknown parameter 'epochs'; it takes profile, seed, out, settings"),
]


@pytest.mark.parametrize("given, told", WRONG)
def test_an_ill_typed_parameter_is_told_with_the_right_call(given, told, tmp_path, refused):
    for name in ("annotate", "robustness"):
        with refused(told):
            start_chapter(name, GOOD | {"out": str(tmp_path / "out")} | given)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("question", [42, "", None, 1.5, ["Why?"]])
def test_a_question_is_text(question, tmp_path, refused):
    with refused("04_infer.ipynb: question is", "must be text; with papermill: -r question "):
        start_chapter("infer", GOOD | {"out": str(tmp_path), "question": question})


def test_the_parameters_cell_of_every_notebook_has_these_types(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for chapter in CHAPTERS.values():
        declared = papermill.inspect_notebook(chapter.notebook)
        values = {name: eval(cell["default"]) for name, cell in declared.items()}
        reached = start_chapter(chapter.name, values) if not chapter.reads else None
        if reached is None:  # past the parameters, it misses the chapters that it reads
            with pytest.raises(UserError, match="has not finished; run it first"):
                start_chapter(chapter.name, values | {"profile": "cpu"})


def test_what_papermill_makes_of_the_calls_is_taken(tmp_path):
    """The calls that the messages name, as papermill reads them."""
    from papermill.cli import papermill as cli

    page, done = str(CHAPTERS["annotate"].notebook), tmp_path / "done.ipynb"
    calls = ["-p", "seed", "1", "-r", "out", str(tmp_path / "2026"), "-y", "settings: {sft.epochs: 2}", "-p", "profile", "smoke"]
    cli.main([page, str(done), "--prepare-only", *calls], standalone_mode=False)
    injected = next(
        cell for cell in papermill.iorw.load_notebook_node(str(done)).cells if "injected-parameters" in cell.metadata.tags
    )
    namespace: dict = {}
    exec(injected.source, namespace)
    stage = start_chapter("annotate", {name: value for name, value in namespace.items() if name != "__builtins__"})
    assert (stage.profile.seed, stage.profile.sft.epochs, stage.root) == (1, 2, Path(tmp_path / "2026" / "smoke"))


@given(st.sampled_from(FIELDS), VALUES)
@settings(max_examples=400)
def test_any_value_of_any_field_is_taken_or_refused(key, value):
    with contextlib.suppress(UserError):
        load("smoke", {key: value})


@given(st.text())
def test_any_setting_on_the_command_line_is_read_or_refused(text):
    for pair in (text, f"sft.epochs={text}"):
        with contextlib.suppress(UserError):
            load("smoke", parse_settings([pair]))


@pytest.mark.parametrize("value", ["2026-13-45", "[" * 5000, "{[a]: b}", "!!python/none"])
def test_what_yaml_cannot_make_a_value_of_is_told(value, refused):
    with refused("--set sft.epochs: cannot read the value "):
        parse_settings([f"sft.epochs={value}"])


def test_all_faults_of_a_profile_are_told_at_once(refused):
    with refused(
        "sft.epochs: Input should be a valid number",
        "; got 'two' | ",
        "sft.seeds: ",
        "roles.reviews: ",
        "; write a list: [anna.csv]",
    ):
        load("cpu", {"sft.epochs": "two", "sft.seeds": 0, "roles.reviews": "anna.csv"})
