"""A sweep: cells are ordinary runs, what they share is made once, a kill loses nothing, and bad input starts nothing."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pandas as pd
import pytest
import torch

from selfprompt_lib import models, profiles
from selfprompt_lib.__main__ import main
from selfprompt_lib.errors import UserError
from selfprompt_lib.evaluate import likelihood_measure
from selfprompt_lib.files import copy_folder, trainings_folder
from selfprompt_lib.pipeline import CHAPTERS, sweep, sweep_grid, sweep_plan, sweep_results

SETTINGS = {"data.train_rows": 4, "annotate.samples": 1, "sft.neutral": False, "sft.checkpoints": 0, "infer.max_new_tokens": 8}
TINY = ["--profile", "smoke", "--chapters", "1,3", *(f"--set={field}={json.dumps(value)}" for field, value in SETTINGS.items())]
DESIGNS = ["--grid", "design=from-now-on,title-only"]
NAMES = ["design=from-now-on", "design=title-only"]


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def arguments(out, *more):
    return ["sweep", *TINY, *DESIGNS, "--out", str(out), *more]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep over two designs, ended from outside as its second cell begins, and gone on with; its folder and both outputs."""
    out = tmp_path_factory.mktemp("swept")
    call = [sys.executable, "-m", "selfprompt_lib", *arguments(out)]
    said = []
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            said.append(line)
            if line.startswith("  3 sft") and "runs" in line and len(list((out / "cells").iterdir())) == 2:
                process.send_signal(signal.SIGTERM)
    assert process.returncode == 130, "".join(said)
    again = subprocess.run(call, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout + again.stderr
    return out, "".join(said), again.stdout


def test_a_killed_sweep_goes_on_where_it_was(swept):
    out, first, second = swept
    assert "stopped; what is finished is kept, run again to go on" in first
    assert re.search(r"1 annotate +skipped.*\n  3 sft +skipped", second), "the first cell is done"
    assert re.search(r"3 sft +done", second) and "2 of 2 cells done" in second
    assert not list(out.rglob("*.running.ipynb"))[1:], "at most that of the kill"


def test_before_it_starts_it_says_how_much_there_is_to_do(swept):
    first, second = swept[1:]
    assert "2 cells of chapters 1, 3: 4 of 4 chapters to run or to copy, about" in first
    assert re.search(r"up to \d\.\d+ GB of disk for models \(\d+\.\d GB are free at", first)
    assert re.search(r"design=title-only +3 +0\.\d\d +\d+\.\d\n", second) and "1 of 4 chapters" in second


def test_what_cells_have_in_common_is_made_once(swept):
    out, first, _ = swept
    assert "1 annotate    copied from design=from-now-on" in first
    trained = sorted(path.name.rpartition("-")[0] for path in (out / "shared" / "trainings").iterdir())
    assert trained == ["from-now-on", "none", "title-only"]
    weights = [out / "cells" / name / "smoke" / "sft" / "baseline" / "model.safetensors" for name in NAMES]
    kept = next((out / "shared" / "trainings").glob("none-*/finished/model.safetensors"))
    assert len({os.stat(path).st_ino for path in (*weights, kept)}) == 1, "and lies on the disk once"


def test_a_cell_is_known_by_its_settings_and_what_it_was_made_with(swept):
    out = swept[0]
    record, cells = read(out / "sweep.json"), read(out / "cells.json")
    assert record["grid"] == {"design": ["from-now-on", "title-only"]} and record["chapters"] == ["1", "3"]
    assert record["cells"] == {name: {"design": name.partition("=")[2]} for name in NAMES}
    assert list(cells) == NAMES
    for name, cell in cells.items():
        assert cell["fields"] == record["cells"][name] and cell["profile"] == "smoke"
        assert cell["settings"] == SETTINGS | cell["fields"]
        assert list(cell["seconds"]) == ["annotate", "sft"] and min(cell["seconds"].values()) > 0
        assert {"commit", "libraries", "precision"} <= set(cell["provenance"]) and cell["tokens"] > 0


def test_all_is_skipped_the_next_time(swept, capsys):
    assert main(arguments(swept[0], "--dry-run")) == 0
    said = capsys.readouterr().out
    assert "0 of 4 chapters to run or to copy, about 0.00 h" in said and said.count("done") == 2


def test_papermill_alone_reruns_a_cell_and_gives_the_same_numbers(swept, tmp_path):
    out = swept[0]
    cell = read(out / "cells.json")[NAMES[1]]
    shutil.copytree(out / "cells" / NAMES[1] / "smoke" / "annotate", tmp_path / "smoke" / "annotate")
    call = ["papermill", CHAPTERS["sft"].notebook, tmp_path / "x.ipynb", "-p", "profile", cell["profile"], "-r", "out", tmp_path,
            "-y", json.dumps({"settings": cell["settings"]})]
    done = subprocess.run([sys.executable, "-m", *map(str, call)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    here, there = (read(root / "smoke" / "sft" / "training.json") for root in (tmp_path, out / "cells" / NAMES[1]))
    assert [here[name]["losses"] for name in ("self-prompt", "baseline")] == [
        there[name]["losses"] for name in ("self-prompt", "baseline")]
    assert (tmp_path / "smoke" / "sft" / "trainer").is_dir(), "trained anew, outside the sweep"


def test_values_are_added_and_no_cell_is_lost(swept):
    record = sweep_grid.record_sweep(swept[0], read(swept[0] / "sweep.json") | {
        "grid": {"design": ["first-person"]}, "chapters": ["6"], "cells": {"design=first-person": {}}}, sharded=False)
    assert record["grid"]["design"] == ["from-now-on", "title-only", "first-person"] and record["chapters"] == ["1", "3", "6"]
    assert list(record["cells"]) == [*NAMES, "design=first-person"]


@pytest.mark.parametrize(("given", "parts"), [
    (["--set", "data.train_rows=5"], ("a sweep with settings", "give another --out")),
    (["--grid", "seed=1"], ("a sweep over design, not over design, seed",)),
    (["--grid", "design=from-now-on", "--shard", "1/2"], ("a shard of another grid", "leave out --shard")),
])  # fmt: skip
def test_another_sweep_in_the_folder_is_refused(swept, given, parts, capsys, monkeypatch):
    monkeypatch.setattr(sweep_plan, "make_plan", None)  # nothing is planned
    base = [part for part in arguments(swept[0]) if not ("--shard" in given and part in DESIGNS)]
    assert main([*base, *given]) == 2
    told = capsys.readouterr().err
    assert [part for part in parts if part not in told] == [], told


# Bad input: told before anything runs


BAD = {
    "no grid": ([], "no grid; give at least one, for example --grid seed=0,1,2"),
    "unknown field": (["--grid", "sft.epoch=1,2"], "--grid sft.epoch: no profile has this field; did you mean sft.epochs?"),
    "no value": (["--grid", "seed="], "write it as field=value,value"),
    "no field": (["--grid", "seed"], "write it as field=value,value"),
    "no YAML": (["--grid", "seed=1,[2"], "--grid seed: cannot read '1,[2' as YAML values"),
    "ill-typed": (["--grid", "sft.epochs=1,many"], "cell epochs=many: sft.epochs: Input should be a valid number"),
    "twice": (["--grid", "seed=1,2,1"], "--grid seed: 1 stands twice"),
    "field twice": (["--grid", "seed=1", "--grid", "seed=2"], "--grid seed: named twice; give all its values at once"),
    "also set": (["--grid", "seed=1", "--set", "seed=2"], "--grid seed: also in --set"),
    "also the seed": (["--grid", "seed=1", "--seed", "2"], "--grid seed: also in --set"),
    "a contradiction": (["--grid", "sft.learning_rate=1e-3,1e-9", "--set", "sft.final_learning_rate=1e-5"],
                        "is not below sft.learning_rate"),
    "no list": (["--grid", "ablate.designs=none,plain"], "write a list: [none]"),
    "more rows than there are": (["--grid", "data.train_rows=100,500"], "cell train_rows=500: --grid data.train_rows: 500 "
                                 "asked, and with these settings there are 200 samples; end the grid with 200"),
    "two faults": (["--grid", "design=pirate,from-now-on", "--grid", "model=./nowhere"], "unknown design 'pirate'"),
    "missing file": (["--grid", "data.train=starter,nowhere.jsonl"], "cell train=nowhere.jsonl: data.train: "),
    "unknown chapter": (["--grid", "seed=1", "--chapters", "1,9"], "--chapters: no such chapter: 9; there are 1, 2, 3"),
    "the chapter that compares": (["--grid", "seed=1", "--chapters", "1,7"], "run the sweep without it"),
    "chapters that are read": (["--grid", "seed=1", "--chapters", "1,5"], "they read chapter 3, 4; give --chapters 1,3,4,5"),
    "and what those read": (["--grid", "seed=1", "--chapters", "a1"], "they read chapter 1, 3, 4; give --chapters 1,3,4,a1"),
    "an empty shard": (["--grid", "seed=1", "--shard", ""], "--shard '': write it as K/N"),
    "no shard": (["--grid", "seed=1", "--shard", "2"], "write it as K/N with K from 1 to N"),
    "shard too many": (["--grid", "seed=1", "--shard", "3/2"], "write it as K/N with K from 1 to N"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_stops_before_the_first_cell(name, tmp_path, capsys):
    given, message = BAD[name]
    models.resolve(profiles.load("smoke").model)  # made once a machine, with progress bars
    capsys.readouterr()
    assert main(["sweep", "--profile", "smoke", "--out", str(tmp_path / "out"), *given]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and message in told and told.count("\n") == 1, told
    assert not (tmp_path / "out").exists()


def test_a_cell_that_cannot_fit_memory_is_refused_before_the_first(tmp_path, refused):
    cells = sweep_grid.make_cells("smoke", {}, {"sft.micro_batch_size": [1, 64], "sft.batch_size": [64]}, tmp_path)
    sizes = [sweep_plan.Planned(cell, (CHAPTERS["sft"],), 1, needed, 8.0, 0)
             for cell, needed in zip(cells, (4.0, 9.0), strict=True)]
    with refused("do not fit into memory, of which 8.0 GB are free: micro_batch_size=64,batch_size=64 (about 9.0 GB)",
                 "lower sft.micro_batch_size"):
        sweep_plan.require_memory(sizes)
    small, large = (sweep_plan._needs(cell.profile) for cell in cells)
    assert small[0] < large[0] and small[1:] == pytest.approx(large[1:], rel=0.5), "the plan knows the difference"
    sweep_plan.require_memory(sizes[:1])


# Names and grids


@pytest.mark.parametrize(("pairs", "names"), [
    (["data.train_rows=16,64", "seed=0"], ["train_rows=16,seed=0", "train_rows=64,seed=0"]),
    (["sft.neutral=true,false"], ["neutral=true", "neutral=false"]),
    (["data.train_rows=null,8"], ["train_rows=null", "train_rows=8"]),
    (["infer.max_new_tokens=16", "evaluate.max_new_tokens=32"], ["infer.max_new_tokens=16,evaluate.max_new_tokens=32"]),
    (["ablate.designs=[none,title-only];[none,from-now-on]"], ["designs=none+title-only", "designs=none+from-now-on"]),
    (["ablate.designs=[none,title-only],[none,from-now-on]"], ["designs=none+title-only", "designs=none+from-now-on"]),
])  # fmt: skip
def test_cells_have_short_names(pairs, names, tmp_path):
    cells = sweep_grid.make_cells("smoke", {}, sweep_grid.parse_grid(pairs), tmp_path)
    assert [cell.name for cell in cells] == names
    assert all(cell.root == tmp_path / "cells" / cell.name / "smoke" for cell in cells)


def test_names_are_fit_for_folders_and_no_two_are_the_same():
    paths = ["./a/b", "./a b", "a:b", "C:\\a\\b", "x" * 300, "x" * 301, "é*?"]
    names = [sweep_grid.cell_name({"model": path}) for path in paths]
    assert len({*names}) == len(paths) and max(map(len, names)) <= sweep_grid.LONGEST_NAME
    assert not [name for name in names if re.search(r'[\\/:*?"<>|\s]', name) or name[-1] in ". "]


def test_a_shard_takes_every_nth_cell():
    assert sweep_grid.read_shard(None) == (1, 1) and sweep_grid.read_shard("2/5") == (2, 5)
    cells = list(range(12))
    assert sorted(sum((cells[k - 1 :: 5] for k in range(1, 6)), [])) == cells


# What is shared


def test_a_run_knows_its_sweep_by_where_it_lies(tmp_path):
    root = tmp_path / "cells" / "seed=0" / "smoke"
    assert trainings_folder(root) == root / "sft" / "trainer"
    (tmp_path / "sweep.json").write_text("{}")
    assert trainings_folder(root) == tmp_path / "shared" / "trainings"


def test_large_files_of_a_copied_folder_are_links_and_small_ones_are_not(tmp_path):
    old = tmp_path / "old" / "sub"
    old.mkdir(parents=True)
    (old / "weights").write_bytes(bytes(2**20 + 1))
    (old / "figure.png").write_bytes(b"a")
    copy_folder(tmp_path / "old", tmp_path / "new")
    (tmp_path / "new" / "sub" / "figure.png").write_bytes(b"b")  # written in place, as figures are
    assert (old / "figure.png").read_bytes() == b"a"
    (old / "replies.jsonl").write_bytes(bytes(2**20 + 1))  # lines are appended to it
    copy_folder(tmp_path / "old", tmp_path / "new")
    assert os.path.samefile(old / "weights", tmp_path / "new" / "sub" / "weights")
    assert not os.path.samefile(old / "replies.jsonl", tmp_path / "new" / "sub" / "replies.jsonl")
    copy_folder(tmp_path / "old", tmp_path / "new")
    assert (tmp_path / "new" / "sub" / "figure.png").read_bytes() == b"a"


def test_the_untuned_model_is_scored_once_for_all_cells(tmp_path, monkeypatch):
    load, loaded = models.load, []
    for seed in (0, 1):  # the tuned models of two cells
        model, tokenizer = load("smoke", "float32")
        torch.manual_seed(seed)
        torch.nn.init.normal_(model.get_output_embeddings().weight, std=0.02)
        for part in (model, tokenizer):
            part.save_pretrained(tmp_path / f"tuned-{seed}")
    monkeypatch.setattr(models, "load", lambda name, *options: (loaded.append(name), load(name, *options))[1])
    tables = []
    for seed in (0, 1):
        profile = profiles.load("smoke", {"seed": seed, "dtype": "float32"})
        questions = likelihood_measure.referenced_questions(profile)
        places = {"self-prompt": str(tmp_path / f"tuned-{seed}"), "base": "smoke"}
        tables.append(likelihood_measure.measure_likelihoods(
            profile, places, [], questions, {}, [("self-prompt", "none"), ("base", "none")], tmp_path / "parts")["likelihoods"])
    assert loaded == [str(tmp_path / "tuned-0"), "smoke", str(tmp_path / "tuned-1")]
    base, tuned = ([table[table.model == name].nats.tolist() for table in tables] for name in ("base", "self-prompt"))
    assert base[0] == base[1] and tuned[0] != tuned[1] and len(base[0]) == 2

    # Chapter 6 asks of the same model some of what chapter 5 has asked.
    again = likelihood_measure.measure_likelihoods(
        profile, {"self-prompt": places["self-prompt"]}, [], questions, {}, [("self-prompt", "none")], tmp_path / "parts")
    assert again["likelihoods"].nats.tolist() == tuned[1] and len(loaded) == 3


def test_a_failed_cell_is_named_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    cells = sweep_grid.make_cells("smoke", {}, {"seed": [0, 1, 2]}, tmp_path)
    ran = []

    def run_cell(cell, chapters, others):
        ran.append(cell.name)
        if cell.fields["seed"] == 1:
            raise UserError("its notebook failed")

    monkeypatch.setattr(sweep, "run_cell", run_cell)
    plan = [sweep_plan.Planned(cell, (CHAPTERS["sft"],), 3600, 1, 2, 0) for cell in cells]
    record = {"profile": "smoke", "settings": {}, "cells": {cell.name: cell.fields for cell in cells}}
    assert sweep._run_cells(plan, [CHAPTERS["sft"]], tmp_path, record) == ["seed=1"]
    said = capsys.readouterr().out
    assert ran == ["seed=0", "seed=1", "seed=2"] and "failed: its notebook failed" in said
    assert "1 of 3 cells failed: seed=1; the others are done; run again to try these again" in said


def test_two_sweeps_in_one_folder_are_one_too_many(tmp_path, refused):
    with sweep._alone(tmp_path), refused("another sweep is running there"), sweep._alone(tmp_path):
        pass


# Results


def test_a_run_s_rows_are_tidy(road):
    root = road / "smoke"
    rows = sweep_results.cell_rows(root)
    assert list(rows) == sweep_results.COLUMNS and {"text", "cloze", "written", "role"} <= set(rows.form)
    likelihoods = pd.read_parquet(root / "evaluate" / "likelihoods.parquet")
    assert len(rows[(rows.chapter == "evaluate") & rows.form.isin(likelihoods.form)]) == len(likelihoods)
    items = pd.read_parquet(root / "evaluate" / "items.parquet")
    written = rows[(rows.chapter == "evaluate") & (rows.form == "written")]
    assert len(written) == len(items) and written.right.sum() == items.correct.sum()
    spoke = rows[(rows.chapter == "infer") & (rows.model == "self-prompt")]
    assert len(spoke) == 4 and spoke.tokens.notna().all() and set(rows[rows.model == "base"].seed) == {-1}
    assert not rows.duplicated(["chapter", "model", "seed", "prefix", "task", "form", "item"]).any()


def test_cells_of_other_versions_are_compared_and_marked(road, tmp_path):
    grid = {"seed": [0, 1, 2]}
    cells = sweep_grid.make_cells("smoke", {}, grid, tmp_path)
    for cell in cells:  # runs of seed 0, whatever they are called
        for part in ("annotate", "nbs", "sft"):
            shutil.copytree(road / "smoke" / part, cell.root / part, ignore=shutil.ignore_patterns("trainer"))
    path = cells[1].root / "sft" / "stage.json"
    record = read(path)
    record["provenance"]["libraries"]["torch"] = "1.0"
    record["inputs"]["code"]["sft/train.py"] = "other"
    path.write_text(json.dumps(record))
    told = sweep_results.write_results(tmp_path, {
        "profile": "smoke", "settings": {}, "cells": {cell.name: cell.fields for cell in cells}})
    assert told == ["libraries: seed=1", "code: seed=1"]
    assert list(pd.read_parquet(tmp_path / "sweep.parquet").columns[:2]) == ["cell", "chapter"]
    same = sweep_grid.Cell("seed=1", {}, {}, cells[0].profile, cells[1].out)
    reasons, mark = sweep_plan.why_run_cell(CHAPTERS["sft"], same)
    assert reasons == [] and "with other code (" in mark and "to run it again" in mark
    assert sweep_plan.why_run_cell(CHAPTERS["sft"], cells[1])[0][0] == "fields: seed"
