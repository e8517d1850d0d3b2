"""Bad input on the command line: one message with the mend, exit status 2, nothing written."""

import os
import re
import stat
import subprocess
import sys

import pytest

from selfprompt_lib import profiles
from selfprompt_lib.__main__ import main
from selfprompt_lib.pipeline import plan

BAD = {
    "unknown profile": (["--profile", "cpuu"], "unknown profile 'cpuu'; choose one of cpu, gpu"),
    "unknown field": (["--set", "nosuch=1"], "--set nosuch: no profile has this field"),
    "near field": (["--set", "sft.epoch=1"], "did you mean sft.epochs?"),
    "ill-typed": (["--set", "sft.epochs=many"], "sft.epochs: Input should be a valid number"),
    "no value": (["--set", "sft.epochs"], "write it as field=value"),
    "unknown design": (
        ["--set", "design=pirate"],
        "unknown design 'pirate'; choose one of from-now-on",
    ),
    "unknown chapter": (["--only", "9"], "no such chapter: 9; there are 1, 2, 3, 4, 5, 6"),
    "missing model folder": (
        ["--set", "model=./nowhere"],
        "no folder nowhere; give a checkpoint folder",
    ),
    "missing data file": (["--set", "data.train=nowhere.jsonl"], "nowhere.jsonl: no such file"),
    "missing questions": (["--set", "data.questions=nowhere.jsonl"], "nowhere.jsonl: no such file"),
    "missing review": (
        ["--set", "roles.reviews=[nowhere.csv]"],
        "nowhere.csv: no such review sheet",
    ),
    "missing roles": (["--set", "roles.files=[nowhere.jsonl]"], "nowhere.jsonl: no such file"),
    "missing guideline": (
        ["--set", "judge.guideline=~/nowhere.md"],
        "nowhere.md is missing; give an existing text file",
    ),
    "missing examples": (["--set", "annotate.examples=nowhere.jsonl"], "nowhere.jsonl: no such"),
    "missing mirror": (
        ["--set", "data.mirror=nowhere", "--set", "data.benchmarks=hub"],
        "is missing; a mirror has",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_stops_before_the_first_notebook(name, tmp_path, capsys):
    arguments, message = BAD[name]
    assert main(["run", "--profile", "smoke", "--out", str(tmp_path / "out"), *arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and message in told and "Traceback" not in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text, message", [
    ('{"conversations": ["q", "a"]}\n{"conversations": ["q", }\n', "line 2: not valid JSON"),
    ('{"conversations": ["q", "a", "q2"]}\n', "line 1: conversations has 3 turns; it "
     "needs an even number"),
    ('{"conversations": ["q", "a"], "role": {"expert": "x"}}\n',
     "line 1: role.brings: Field required"),
    ("", "the file holds no rows"),
])  # fmt: skip
def test_a_broken_data_file_stops_before_the_first_notebook(text, message, tmp_path, capsys):
    data = tmp_path / "rows.jsonl"
    data.write_text(text)
    assert (
        main(
            [
                "run",
                "--profile",
                "smoke",
                "--out",
                str(tmp_path / "out"),
                "--set",
                f"data.train={data}",
            ]
        )
        == 2
    )
    told = capsys.readouterr().err
    assert str(data) in told and message in told
    assert not (tmp_path / "out").exists()


def test_a_data_file_without_roles_says_how_to_get_them(tmp_path, capsys):
    data = tmp_path / "rows.jsonl"
    data.write_text(
        '{"id": "a", "conversations": ["q", "a"]}\n{"id": "b", "conversations": ["q2", "a2"]}\n'
    )
    assert (
        main(
            [
                "run",
                "--profile",
                "smoke",
                "--out",
                str(tmp_path / "out"),
                "--set",
                f"data.train={data}",
            ]
        )
        == 2
    )
    assert "has no roles; set annotate.train_on=live" in capsys.readouterr().err


def test_a_run_in_which_all_is_skipped_waits_for_no_library_that_only_chapters_need():
    heavy = {"torch", "transformers", "datasets", "openai", "pandas", "scipy", "sklearn", "papermill", "matplotlib"}
    code = ("import sys, selfprompt_lib.__main__, selfprompt_lib.book\n"
            "from selfprompt_lib.pipeline import run\n"
            f"print({heavy} & sys.modules.keys())")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_an_unwritable_run_folder(tmp_path):
    """Root may write anywhere, so the check runs as another user where the tests run as root."""
    folder = tmp_path / "closed"
    folder.write_text("a file where a folder should be")
    done = subprocess.run(
        [sys.executable, "-m", "selfprompt_lib", "run", "--profile", "smoke", "--out", str(folder)],
        capture_output=True,
        text=True,
    )
    assert (
        done.returncode == 2
        and "cannot make the folder" in done.stderr
        and "--out" in done.stderr
    )
    if os.geteuid() != 0:
        closed = tmp_path / "read-only"
        closed.mkdir()
        closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
        assert main(["run", "--profile", "smoke", "--out", str(closed)]) == 2


@pytest.mark.parametrize("profile", ["smoke", "cpu", "gpu", "mistral-7b", "llama-2-7b"])
def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    profile, tmp_path, capsys, monkeypatch
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert main(["run", "--profile", profile, "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert all(
        word in told for word in ("6 Ablate", "model ", "data ", "cost ", "memory ", "time ")
    )
    large = profile not in ("smoke", "cpu")
    assert ("a token: LIMA" in told) == large and ("of lima-role" in told) == large
    assert (
        "nothing: the annotator is a local model" in told
        and "a key" not in told
        and "$" not in told
    )
    assert not (tmp_path / "out").exists()


def test_a_dry_run_counts_the_models_of_all_seeds():
    one, three = (profiles.load("mistral-7b", {"sft.seeds": seeds, "sft.epochs": 300}) for seeds in (1, 3))
    one, three = (plan.estimates(profile)["time"] for profile in (one, three))
    assert "the 3 models of chapter 3" in one and "the 9 models of chapter 3" in three
    hours = [int(told.split()[1]) for told in (one, three)]
    assert hours[1] == pytest.approx(3 * hours[0], abs=2)


def test_a_dry_run_with_a_hosted_annotator_says_its_price_and_what_is_missing(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    hosted = [
        "annotate.base_url=https://api.openai.com/v1",
        "annotate.model=gpt-5-mini",
        "annotate.train_on=live",
    ]
    changes = [part for setting in hosted for part in ("--set", setting)]
    assert (
        main(["run", "--profile", "gpu", "--out", str(tmp_path / "out"), "--dry-run", *changes])
        == 0
    )
    told = capsys.readouterr().out
    assert (
        "a key: export OPENAI_API_KEY for https://api.openai.com/v1" in told
        and "a token: LIMA" in told
    )
    assert re.search(r"about \$[1-9]?\d\.\d\d for 1030 roles", told)
    assert not (tmp_path / "out").exists()


def test_help_names_the_options(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    told = capsys.readouterr().out
    assert all(
        option in told
        for option in ("--profile", "--set", "--from", "--only", "--out", "--seed", "--dry-run")
    )
