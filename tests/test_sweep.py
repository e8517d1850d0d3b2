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

from selfprompt_lib.__main__ import main
from selfprompt_lib.errors import UserError
from selfprompt_lib.files import copy_folder, trainings_folder
from selfprompt_lib.pipeline import CHAPTERS, sweep, sweep_grid, sweep_plan, sweep_results

TINY = ["--profile", "smoke", "--chapters", "1,3", "--set", "data.train_rows=4", "--set", "annotate.samples=1"]
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
    assert trained == ["from-now-on", "neutral", "none", "title-only"]
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
        assert cell["settings"] == {"data.train_rows": 4, "annotate.samples": 1} | cell["fields"]
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
    assert {name: here[name]["losses"] for name in ("self-prompt", "baseline", "neutral")} == {
        name: there[name]["losses"] for name in ("self-prompt", "baseline", "neutral")}
    assert (tmp_path / "smoke" / "sft" / "trainer").is_dir(), "trained anew, outside the sweep"


def test_values_are_added_and_no_cell_is_lost(swept, capsys):
    more = ["sweep", *TINY, "--grid", "design=first-person", "--out", str(swept[0]), "--dry-run"]
    assert main(more) == 0
    record = sweep_grid.record_sweep(swept[0], read(swept[0] / "sweep.json") | {
        "grid": {"design": ["first-person"]}, "chapters": ["6"], "cells": {"design=first-person": {}}}, sharded=False)
    assert record["grid"]["design"] == ["from-now-on", "title-only", "first-person"] and record["chapters"] == ["1", "3", "6"]
    assert list(record["cells"]) == [*NAMES, "design=first-person"]


@pytest.mark.parametrize(("given", "parts"), [
    (["--set", "data.train_rows=5"], ("a sweep with profile", "give another --out")),
    (["--grid", "seed=1"], ("a sweep over design, not over design, seed",)),
    (["--grid", "design=from-now-on", "--shard", "1/2"], ("a shard of another grid", "leave out --shard")),
])  # fmt: skip
def test_another_sweep_in_the_folder_is_refused(swept, given, parts, capsys, monkeypatch):
    monkeypatch.setattr(sweep_plan, "make_plan", None)  # nothing is planned
    base = [part for part in arguments(swept[0]) if not ("--shard" in given and part in DESIGNS)]
    if "data.train_rows=5" in given:
        base.remove("data.train_rows=4")
        base.pop(base.index("--set"))
    assert main([*base, *given]) == 2
    told = capsys.readouterr().err
    assert [part for part in parts if part.replace("profile", "settings") not in told] == [], told
