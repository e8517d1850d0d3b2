"""A whole run with the smoke profile: notebooks, artefacts, skips, the book. Run once."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import KEY, command

from selfprompt_lib import digests, profiles
from selfprompt_lib.errors import UserError
from selfprompt_lib.pipeline import CHAPTERS, inputs
from selfprompt_lib.pipeline.inputs import current_inputs, why_run
from selfprompt_lib.provenance import PROJECT
from selfprompt_lib.rows import STARTER_FOLDER


def test_every_chapter_leaves_artefacts_with_provenance(road):
    report = json.loads((road / "smoke" / "report.json").read_text())
    assert list(report["stages"]) == list(CHAPTERS)
    for stage in report["stages"].values():
        assert stage["seconds"] > 0 and stage["peak_memory_gb"] > 0 and stage["metrics"]
        assert {"profile", "seed", "selfprompt_lib", "libraries", "machine"} <= set(
            stage["provenance"]
        )


def test_all_three_models_are_ordinary_checkpoints(road):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for arm in ("self-prompt", "baseline", "neutral"):
        folder = road / "smoke" / "sft" / arm
        assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() > 1e6
        template = AutoTokenizer.from_pretrained(folder).chat_template
        assert "im_start" in template and "generation %}" not in template, (
            "the model keeps its own template"
        )


def test_a_second_run_skips_everything(road):
    done = command("run", "--profile", "smoke", "--out", road)
    assert done.returncode == 0
    assert len(re.findall(r"^\w\d? \w+ +skipped", done.stdout, flags=re.M)) == len(CHAPTERS)
    assert "book: unchanged" in done.stdout


def test_a_changed_field_reruns_what_reads_it(road):
    found = reasons(road / "smoke", sft__epochs=2)
    assert found == dict.fromkeys(("sft", "ablate"), ["fields: sft.epochs"])


def test_a_record_names_the_settings_and_the_code_that_the_chapter_used(road):
    records = {
        name: json.loads((road / "smoke" / name / "stage.json").read_text()) for name in CHAPTERS
    }
    fields = {name: set(record["inputs"]["fields"]) for name, record in records.items()}
    code = {name: set(record["inputs"]["code"]) for name, record in records.items()}
    assert {"sft.epochs", "infer.max_new_tokens", "data.questions"} <= fields["sft"]
    assert {"judge.pairs", "roles.review_rows"} <= fields["judge"]
    for name in ("annotate", "roles", "sft", "infer", "evaluate", "ablate"):
        assert not [field for field in fields[name] if field.startswith("judge.")], name
    assert not fields["roles"] & {"model", "sft.epochs", "annotate.samples"}
    assert {"sft/train.py", "generate.py", "sandbox_inside.py", "resources/starter/train.jsonl", "notebook"} <= code["sft"]
    assert {"tasks/mmlu.yaml", "tasks/utils.py", "resources/evaluate/aside.txt"} <= code["evaluate"]
    neutral = ("evaluate/", "ablate.py", "pipeline/", "settings.py", "book.py", "resources/judge/", "resources/lima-role/")
    assert not [name for name in code["sft"] if name.startswith(neutral)]
    assert {"ablate.py", "evaluate/harness.py", "sft/train.py"} <= code["ablate"] and "ablate.py" not in code["evaluate"]
    taken = {name: set(record["inputs"]["artefacts"]) for name, record in records.items()}
    assert taken["sft"] == {"annotate/train.jsonl"} and taken["robustness"] == {"sft/self-prompt", "sft/baseline"}
    assert {"sft/baseline", "infer/baseline.jsonl"} <= taken["evaluate"]
    machine = [str(road), str(PROJECT), str(Path.home())]
    assert not [place for record in records.values() for place in machine if place in json.dumps(record["inputs"])]


def reasons(root, **settings):
    """By chapter why it would run again; only those that would."""
    profile = profiles.load("smoke", {name.replace("__", "."): value for name, value in settings.items()})
    found = {name: why_run(chapter, profile, root) for name, chapter in CHAPTERS.items()}
    return {name: why for name, why in found.items() if why}


@pytest.fixture
def copied(road, tmp_path):
    """The run on another machine: other place, times and inodes, written in another order, with a file manager's file."""
    root = tmp_path / "there" / "smoke"
    shutil.copytree(road / "smoke", root, copy_function=shutil.copyfile)
    for place, path in enumerate(sorted(root.rglob("*"), reverse=True)):
        os.utime(path, (place, place))
    (root / "sft" / "self-prompt" / ".DS_Store").write_text("a file manager was here")
    return root


def test_a_copied_run_is_skipped_and_what_people_fill_in_or_clear_away_reruns_nothing(copied):
    assert reasons(copied) == {}
    with (copied / "roles" / "review.csv").open("a") as sheet:
        sheet.write("filled in by a reader")
    (copied / "judge" / "blind.csv").write_text("filled in")
    shutil.rmtree(copied / "sft" / "trainer")
    shutil.rmtree(copied / "evaluate" / "parts")
    assert reasons(copied) == {}


def test_other_content_reruns_its_maker_and_those_who_read_it(copied):
    weights = copied / "sft" / "baseline" / "model.safetensors"
    times = weights.stat()
    with weights.open("r+b") as file:  # as large, and as old
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    profile = profiles.load("smoke")
    assert why_run(CHAPTERS["sft"], profile, copied) == ["artefact baseline/model.safetensors"]
    assert why_run(CHAPTERS["infer"], profile, copied) == ["artefacts: sft/baseline"]
    assert why_run(CHAPTERS["roles"], profile, copied) == []
    with pytest.raises(UserError, match="infer: chapter 4 .* was made from another sft/baseline .*run it again"):
        why_run(CHAPTERS["evaluate"], profile, copied)


def test_a_half_copied_record_or_page_is_none(copied):
    record, page = copied / "roles" / "stage.json", CHAPTERS["judge"].executed_notebook(copied)
    for path in (record, page):
        path.write_text(path.read_text()[:200])
    assert reasons(copied) == {"roles": ["it has not finished before"], "judge": ["not run here before"]}


def test_a_field_that_names_a_file_is_its_content(road, tmp_path):
    own = tmp_path / "own.jsonl"
    shutil.copy(STARTER_FOLDER / "heldout.jsonl", own)
    asked = {"infer": ["fields: data.questions"]}
    assert asked.items() <= reasons(road / "smoke", data__questions=str(own)).items()
    profile = profiles.load("smoke", {"data.questions": str(own), "roles.reviews": [str(own)], "model": str(tmp_path)})
    root = tmp_path / "cpu" / "smoke"
    first = current_inputs(CHAPTERS["annotate"], profile, root, {})["fields"]
    assert first["data.questions"].startswith("sha256:") and first["roles.reviews"] == [first["data.questions"]]
    assert first["model"] == str(tmp_path), "a folder that holds the run is no input of it"
    with own.open("a") as file:
        file.write("\n")
    assert current_inputs(CHAPTERS["annotate"], profile, root, {})["fields"]["data.questions"] != first["data.questions"]


@pytest.mark.parametrize(("file", "old", "new", "again"), [
    ("plots/base.py", '"""Horizontal bars', '"""Bars that lie', []),
    ("generate.py", "\nfrom", "\n# A word.\nfrom", []),
    ("resources/lima-role/README.md", "a", "an", []),
    ("resources/profiles/smoke.yaml", "about:", "# a word\nabout:", []),
    ("resources/judge/examples.jsonl", "a", "e", ["judge"]),
    ("ablate.py", "0.9", "0.8", ["ablate"]),
    ("sft/dropout.py", "return", "pass; return", ["sft", "ablate"]),
    ("plots/base.py", "#DE8F05", "#DE8F06", list(CHAPTERS)),
    ("pipeline/notebooks.py", "python3", "python4", []),
])  # fmt: skip
def test_what_is_said_reruns_nothing_and_what_is_done_reruns_those_who_use_it(road, tmp_path, monkeypatch, file, old, new, again):
    package = tmp_path / "selfprompt_lib"
    shutil.copytree(digests.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "project"))
    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new))
    monkeypatch.setattr(inputs, "PACKAGE", package)
    assert reasons(road / "smoke") == {name: [f"code: {file}"] for name in again}


def test_a_forced_precision_is_another_result(road, monkeypatch):
    given = os.environ.get("SELFPROMPT_BF16", "")
    monkeypatch.setenv("SELFPROMPT_BF16", "0" if given == "1" else "1")
    assert reasons(road / "smoke") == dict.fromkeys(("sft", "infer", "evaluate", "ablate", "robustness"), ["fields: dtype"])


def test_no_key_in_any_artefact_notebook_or_page(road):
    found = [
        p
        for p in road.rglob("*")
        if p.is_file() and p.stat().st_size < 20e6 and KEY.encode() in p.read_bytes()
    ]
    assert found == []


def test_no_error_and_no_warning_in_the_executed_notebooks(road):
    for chapter in CHAPTERS.values():
        book = nbformat.read(road / "smoke" / "nbs" / chapter.notebook.name, 4)
        outputs = [
            output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs
        ]
        assert not [o for o in outputs if o.output_type == "error"]
        assert not [
            o["text"] for o in outputs if o.get("name") == "stdout" and "Traceback" in o["text"]
        ]


def test_a_failed_notebook_is_kept_and_named(road, tmp_path):
    out = tmp_path / "out"
    done = command(
        "run",
        "--profile",
        "smoke",
        "--out",
        out,
        "--only",
        1,
        "--no-book",
        "--set",
        "annotate.base_url=http://127.0.0.1:9/v1",
    )
    assert done.returncode == 2
    assert re.search(
        r"01_annotate.ipynb, cell \d+: .*no answer from http://127.0.0.1:9/v1", done.stderr
    )
    assert (out / "smoke" / "nbs" / "01_annotate.failed.ipynb").is_file()
    assert not (out / "smoke" / "annotate" / "stage.json").exists()


def test_plain_papermill_refuses_an_unknown_parameter(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "papermill",
            str(CHAPTERS["sft"].notebook),
            str(tmp_path / "out.ipynb"),
            "-p",
            "profile",
            "smoke",
            "-p",
            "epochs",
            "3",
            "-p",
            "out",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "unknown parameter 'epochs'; it takes profile, seed, out, settings" in done.stderr


def test_a_chapter_says_which_one_must_run_first(tmp_path):
    done = command("run", "--profile", "smoke", "--out", tmp_path, "--only", 3, "--no-book")
    assert (
        done.returncode == 2
        and "chapter 1 (annotate) has not finished; run it first" in done.stderr
    )


def test_a_finished_run_is_kept_as_a_study_without_texts(road, tmp_path, refused):
    import found
    import keep_study
    import pandas as pd

    kept = tmp_path / "found"
    module = [sys.executable, keep_study.__file__]
    done = subprocess.run(
        [*module, "--run", str(road / "smoke"), "--out", str(kept)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    items = pd.read_parquet(kept / "items.parquet")
    whole = pd.read_parquet(road / "smoke" / "evaluate" / "items.parquet")
    assert not {"question", "reply", "role"} & set(items) and len(items) == len(whole)
    facts = found.facts(kept)
    assert (
        facts["record"]["profile"] == "smoke"
        and facts["differences"][-1]["task"] == "all"
        and facts["answer"]
    )
    found.draw(kept, tmp_path)
    drawn = {path.stem.removeprefix("found-") for path in tmp_path.glob("*.png")}
    assert drawn == {"accuracy", "tasks", "seeds", "others", "probes"}
    record = json.loads((kept / "record.json").read_text())
    assert str(road) not in json.dumps(record)
    trained = json.loads((road / "smoke" / "sft" / "training.json").read_text())
    assert (
        record["stages"]["sft"]["seconds"]
        >= trained["self-prompt"]["seconds"] + trained["baseline"]["seconds"]
    )
    (kept / "record.json").write_text(json.dumps(record | {"profile": "gpu"}))
    with refused("holds a study of profile gpu", "another folder"):
        keep_study.keep(road / "smoke", kept)
    with refused("no evaluate/items.parquet", "run chapter 5"):
        keep_study.keep(tmp_path / "nowhere", kept)
