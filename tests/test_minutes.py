"""How long a run takes, and `run --minutes N`: sizes that fit the time, kept, and set as by --set."""

import json
import os
import shutil

import pytest

from selfprompt_lib import profiles, starter
from selfprompt_lib.__main__ import main
from selfprompt_lib.evaluate import load_choices, load_tasks
from selfprompt_lib.evaluate.robustness import load_probes
from selfprompt_lib.pipeline import minutes, rates
from selfprompt_lib.pipeline.chapters import CHAPTERS

RATES = {"trained": 600.0, "read": 2000.0, "written": 400.0, "sample": 300.0, "bare": 240.0,
         "reply": 230.0, "seconds": 15.0}
OWN = {"data.train_rows": 64, "data.question_rows": 50, "evaluate.items": 8,
       "evaluate.choice_items": 30, "evaluate.question_rows": 50}
MOST = {"data.train_rows": 200, "data.question_rows": 50, "evaluate.items": 25,
        "evaluate.choice_items": 60, "evaluate.question_rows": 50}
SMOKE = ["run", "--profile", "smoke", "--set", "evaluate.items=3"]


def predict(sizes, profile="cpu", **measured):
    return rates.predict(profiles.load(profile, OWN | sizes), RATES | measured)


def total(sizes, **measured):
    return sum(predict(sizes, **measured).values())


def dry_run(out, count, *more):
    return main([*SMOKE, "--minutes", str(count), "--dry-run", "--out", str(out), *more])


@pytest.mark.parametrize("field", OWN)
def test_a_larger_size_takes_longer(field):
    few, more = minutes.LEAST[field], MOST[field]
    assert total({field: few}) < total({field: more})


@pytest.mark.parametrize("rate", ["trained", "read", "written"])
def test_a_slower_machine_takes_longer(rate):
    assert total({}, **{rate: RATES[rate] / 3}) > total({}) + 1


@pytest.mark.parametrize("profile", ["cpu", "smoke", "two-cores", "gpu"])
def test_every_profile_has_a_prediction_for_all_chapters(profile):
    found = predict({}, profile)
    assert list(found)[0] == "measuring" and {*minutes.CHAPTERS, "book"} < set(found)
    assert all(seconds > 0 for seconds in found.values())


def test_three_seeds_train_three_times_as_much():
    one, three = (profiles.load("cpu", OWN | {"sft.seeds": count}) for count in (1, 3))
    assert rates.tokens_trained(three, RATES)["sft"] == 3 * rates.tokens_trained(one, RATES)["sft"]


@pytest.mark.parametrize("limit", [11, 12, 15, 20])
def test_the_factor_fits_and_a_little_more_would_not(limit):
    found = minutes.fit(limit, OWN, MOST, predict)
    assert total(found["sizes"]) <= 60 * limit
    assert found["seconds"] == predict(found["sizes"])
    more = minutes.sizes_at(found["factor"] + 0.2, OWN, MOST)
    assert found["sizes"] == MOST or total(more) > 60 * limit


def test_more_minutes_never_make_a_size_smaller():
    found = [minutes.fit(limit, OWN, MOST, predict)["sizes"] for limit in (11, 14, 18, 60)]
    for few, more in zip(found, found[1:], strict=False):
        assert all(few[name] <= more[name] for name in OWN)
    assert found[0] != found[1] and found[-1] == MOST  # no more than the data have


def test_no_size_falls_below_the_least_nor_above_the_data():
    assert minutes.sizes_at(0, OWN, MOST) == minutes.LEAST
    assert minutes.sizes_at(0, OWN, MOST | {"data.train_rows": 12})["data.train_rows"] == 12


def test_too_few_minutes_say_how_many_the_least_takes(refused):
    least = total(minutes.LEAST) / 60
    named = -(-10 * least // 1) / 10
    assert minutes.fit(named, OWN, MOST, predict)["seconds"]
    with refused(f"--minutes 2: the least that shows the method takes {named:g} minutes here"):
        minutes.fit(2, OWN, MOST, predict)


def test_the_counts_of_data_are_those_of_the_package():
    everything = profiles.load("cpu", {"evaluate.items": None, "evaluate.choice_items": None})
    tasks = load_tasks(everything)
    assert {len(list(task.eval_docs)) for task in tasks.values()} == {rates.MINI_ITEMS}
    cloze = load_choices(everything)["cloze"]
    assert {len(list(task.eval_docs)) for task in cloze.values()} == {rates.CONTROL_ITEMS}
    probes = load_probes(None)
    assert len({probe.kind for probe in probes}) == rates.PROBE_KINDS
    assert len(probes) == rates.PROBE_KINDS * rates.PROBES


def test_a_run_is_told_how_long_it_takes(capsys, tmp_path, monkeypatch):
    shutil.copytree(starter.made("smoke"), tmp_path / "smoke")
    monkeypatch.setenv("SELFPROMPT_CACHE", str(tmp_path))
    profile = profiles.load("smoke")
    first = minutes._predict(profile)
    assert "measuring how fast" in capsys.readouterr().out
    assert minutes._predict(profile) == first
    assert "measuring" not in capsys.readouterr().out
    [kept] = (tmp_path / "rates").glob("*.json")
    os.utime(kept, (0, 0))
    minutes._predict(profile)
    assert "measuring how fast" in capsys.readouterr().out
    told = minutes.forecast_text({name: first[name] for name in ("sft", "infer")})
    assert f"about {(first['sft'] + first['infer']) / 60:.0f} minutes on this machine" in told
    assert "Fine-tune" in told and "--minutes" in told


def test_where_bfloat16_is_imitated_that_is_said_before_anything_is_measured(monkeypatch, capsys):
    monkeypatch.setenv("SELFPROMPT_BF16", "0")
    assert minutes._predict(profiles.load("cpu", {"dtype": "bfloat16"})) == {}
    told = capsys.readouterr().out
    assert "only imitates bfloat16" in told and "set dtype=float32" in told and "measuring" not in told


@pytest.mark.parametrize("profile, chapters", [("cpu", ["1", "2", "7"]), ("smoke", ["3", "4"])])
def test_nothing_is_measured_for_a_run_that_is_short_anyway(profile, chapters, capsys):
    some = [chapter for chapter in CHAPTERS.values() if chapter.label in chapters]
    assert minutes.predicted_seconds(profiles.load(profile), some) == {}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("given", ["0", "-3", "soon", "nan", "inf", ""])
def test_what_is_no_positive_number_is_refused(given, tmp_path, capsys):
    assert main(["run", "--profile", "smoke", f"--minutes={given}", "--out", str(tmp_path / "o")]) == 2
    told = capsys.readouterr().err
    assert told == f"error: --minutes {given}: give a number above 0, such as 30\n"
    assert not (tmp_path / "o").exists()


@pytest.fixture(params=["0", "1"], ids=["float32", "bfloat16"])
def measured(request, tmp_path, monkeypatch, capsys):
    """A run's folder with sizes, and what was printed, in either precision.

    300 minutes, because a processor may take 20 s for a step in bfloat16.
    """
    monkeypatch.setenv("SELFPROMPT_BF16", request.param)
    assert dry_run(tmp_path, 300) == 0
    kept = json.loads((tmp_path / "smoke" / "sizes.json").read_bytes())
    assert kept["dtype"] == {"0": "torch.float32", "1": "torch.bfloat16"}[request.param]
    return tmp_path, capsys.readouterr().out


def test_sizes_are_measured_kept_and_replaced(measured, capsys):
    out, told = measured
    path = out / "smoke" / "sizes.json"
    kept = path.read_bytes()
    found = json.loads(kept)
    assert all(found["rates"][name] > 0 for name in RATES)
    assert set(found["sizes"]) == set(OWN) - {"evaluate.items"}  # which --set gave
    assert [item.name for item in path.parent.iterdir()] == ["sizes.json"]  # no trained model
    assert "measuring how fast" in told and "of 300 minutes predicted" in told
    assert f"data      {found['sizes']['data.train_rows']} samples" in told

    assert dry_run(out, 300) == 0
    again = capsys.readouterr().out
    assert path.read_bytes() == kept and "measuring how fast" not in again
    assert again == told.split("\n", 1)[1]

    assert dry_run(out, 400) == 0
    assert "its sizes, for 300 minutes or other settings, are replaced" in capsys.readouterr().out
    assert json.loads(path.read_bytes())["asked"]["minutes"] == 400


def test_too_few_minutes_leave_no_sizes(tmp_path, capsys):
    assert dry_run(tmp_path, 1) == 2
    assert "error: --minutes 1: the least" in capsys.readouterr().err
    assert not (tmp_path / "smoke" / "sizes.json").exists()


def test_a_chapter_runs_with_the_sizes_as_if_set(tmp_path):
    more = ["--set", "data.question_rows=20", "--only", "1", "--no-book"]
    assert main([*SMOKE, *more, "--minutes", "300", "--out", str(tmp_path)]) == 0
    sizes = json.loads((tmp_path / "smoke" / "sizes.json").read_bytes())["sizes"]
    folder = tmp_path / "smoke" / "annotate"
    trained = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    record = json.loads((folder / "stage.json").read_bytes())
    assert len(trained) == sizes["data.train_rows"] > 10
    assert record["inputs"]["fields"]["data.train_rows"] == sizes["data.train_rows"]
