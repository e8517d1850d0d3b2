"""A whole run with the smoke profile: notebooks, artefacts, skips, the book. Run once."""

import json
import re
import subprocess
import sys

import nbformat
from conftest import KEY, command

from selfprompt_lib.pipeline import CHAPTERS
from selfprompt_lib.pipeline.inputs import current_inputs, why_run


def test_every_chapter_leaves_artefacts_with_provenance(road):
    report = json.loads((road / "smoke" / "report.json").read_text())
    assert list(report["stages"]) == list(CHAPTERS)
    for stage in report["stages"].values():
        assert stage["seconds"] > 0 and stage["peak_memory_gb"] > 0 and stage["metrics"]
        assert {"profile", "seed", "selfprompt_lib", "libraries", "machine"} <= set(
            stage["provenance"]
        )


def test_both_models_are_ordinary_checkpoints(road):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for arm in ("self-prompt", "baseline"):
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
    from selfprompt_lib import profiles

    profile = profiles.load("smoke", {"sft.epochs": 2})
    reasons = {c.name: why_run(c, profile, road / "smoke") for c in CHAPTERS.values()}
    assert not reasons["annotate"] and not reasons["roles"]
    assert reasons["sft"] == ["fields: sft.epochs"] and reasons["ablate"] == ["fields: sft.epochs"]


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
    assert {"sft", "sandbox", "resources/starter", "notebook"} <= code["sft"]
    assert not code["sft"] & {"evaluate", "ablate", "pipeline", "settings", "book"}
    assert {"ablate", "evaluate", "sft"} <= code["ablate"] and "ablate" not in code["evaluate"]


def test_edited_code_reruns_the_chapters_that_imported_it(road, monkeypatch):
    from selfprompt_lib import profiles
    from selfprompt_lib.pipeline import inputs

    digests = inputs.package_digests() | {"ablate": "edited", "plots": "edited too"}
    monkeypatch.setattr(inputs, "package_digests", lambda: digests)
    profile = profiles.load("smoke")
    assert why_run(CHAPTERS["evaluate"], profile, road / "smoke") == ["code: plots"]
    assert why_run(CHAPTERS["ablate"], profile, road / "smoke") == ["code: ablate", "code: plots"]


def test_an_edited_artefact_reruns_the_chapters_that_read_it(road):
    from selfprompt_lib import profiles

    path = road / "smoke" / "annotate" / "train.jsonl"
    text = path.read_text()
    path.write_text(text.replace("the", "thE", 1))
    try:
        reasons = why_run(CHAPTERS["annotate"], profiles.load("smoke"), road / "smoke")
    finally:
        path.write_text(text)
    assert reasons == ["artefact train.jsonl"]


def test_replies_of_another_model_are_refused(road, refused):
    from selfprompt_lib import profiles

    record = road / "smoke" / "sft" / "stage.json"
    text = record.read_text()
    digest = json.loads(text)["outputs"]["self-prompt/model.safetensors"]
    record.write_text(text.replace(digest, "0" * 64))
    try:
        with refused(
            "infer: chapter 4 (infer) was made from another sft/self-prompt/model.safetensors",
            "run it again",
        ):
            current_inputs(CHAPTERS["evaluate"], profiles.load("smoke"), road / "smoke", {})
    finally:
        record.write_text(text)


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
    import keep_study
    import pandas as pd

    from selfprompt_lib.evaluate import committed_study

    kept = tmp_path / "found"
    module = [sys.executable, keep_study.__file__]
    done = subprocess.run(
        [*module, "--run", str(road / "smoke"), "--out", str(kept)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    items = pd.read_parquet(kept / "items.parquet")
    whole = pd.read_parquet(road / "smoke" / "evaluate" / "items.parquet")
    assert not {"question", "reply", "role"} & set(items) and len(items) == len(whole)
    facts = committed_study.facts(kept)
    assert (
        facts["record"]["profile"] == "smoke"
        and facts["differences"][-1]["task"] == "all"
        and facts["answer"]
    )
    committed_study.draw(kept, tmp_path)
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
