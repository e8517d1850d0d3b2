"""Chapter 7: runs side by side. Curves and contrasts against values worked out by hand."""

import json
import shutil

import nbformat
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfprompt_lib import compare_runs, plots, profiles
from selfprompt_lib.evaluate.contrasts import MEASURES
from selfprompt_lib.pipeline import CHAPTERS, start_chapter
from selfprompt_lib.pipeline.inputs import why_run
from selfprompt_lib.pipeline.sweep_results import run_record

PROVENANCE = {"selfprompt_lib": "1", "python": "3.12", "libraries": {"trl": "1.16"}, "precision": "float32",
              "profile": {"name": "smoke", "seed": 0, "model": "smoke", "data": {"train_rows": 10}}}  # fmt: skip
GAINS = {8: [0.1, 0.3], 100: [0.4, 0.8]}  # own role minus baseline, by train_rows and item


def rows(gains=GAINS, seeds=(0,), items="abcd"):
    """Rows of a sweep over data.train_rows: the baseline at -2, the own role above it by the gain."""
    found = []
    for size, of_item in gains.items():
        for seed in seeds:
            for item, gain in zip(items, of_item, strict=False):
                one = {"cell": f"train_rows={size}", "data.train_rows": size, "chapter": "evaluate", "seed": seed,
                       "task": "open questions", "item": item, "stratum": ""}
                own = one | {"model": "self-prompt", "prefix": "own role"}
                plain = one | {"model": "baseline", "prefix": "none"}
                neutral = one | {"model": "neutral", "prefix": "neutral text"}
                found += [own | {"form": "text", "nats": gain - 2}, plain | {"form": "text", "nats": -2.0},
                          neutral | {"form": "text", "nats": gain - 2},
                          own | {"form": "role", "right": item != "a" or size == 100, "tokens": 5.0},
                          own | {"form": "written", "right": True}, plain | {"form": "written", "right": item == "a"},
                          own | {"prefix": "no role", "form": "written", "right": False}]  # fmt: skip
    table = pd.DataFrame(found).assign(options=None, log_odds=None, log_odds_pmi=None)
    return table.astype({"right": "boolean"})


def sweep(folder, table, field="data.train_rows"):
    """The three files of a sweep, with this table."""
    values = table.drop_duplicates("cell").set_index("cell")[field].to_dict()
    cells = {name: {"fields": {field: value}, "profile": "smoke", "seconds": {"sft": 60.0}, "tokens": 1000, "data": {},
                    "code": {"sft/train.py": "a"}, "provenance": PROVENANCE, "settings": {field: value}}
             for name, value in values.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.json").write_text(json.dumps({"profile": "smoke"}))
    (folder / "cells.json").write_text(json.dumps(cells))
    table.to_parquet(folder / "sweep.parquet")
    return folder


def read(folder, table, field="data.train_rows"):
    return compare_runs.read_runs([str(sweep(folder, table, field))])


def test_curves_have_the_values_that_are_worked_out_by_hand(tmp_path):
    table = compare_runs.comparable_rows(read(tmp_path / "s", rows()).pooled())
    curve = compare_runs.contrast_curve(table).set_index(["data.train_rows", "curve"])
    assert curve.value.round(9).to_dict() == {(8, "minus baseline"): 0.2, (8, "minus neutral"): 0, (100, "minus baseline"): 0.6,
                                              (100, "minus neutral"): 0}  # fmt: skip
    first = curve.loc[(8, "minus baseline")]
    reach = 12.7062 * 0.1  # t with one degree of freedom; the two items deviate 0.1 from their mean
    assert (first.low, first.high) == (pytest.approx(0.2 - reach, abs=1e-3), pytest.approx(0.2 + reach, abs=1e-3))
    written = compare_runs.role_curve(table).set_index("data.train_rows")
    assert written.value.to_dict() == {8: 0.5, 100: 1} and written.low[8] == pytest.approx(0.0945, abs=1e-3)  # Wilson, 1 of 2
    answers = compare_runs.written_curve(table)
    assert answers.value.tolist() == [0.5, 0.5] and answers.curve.unique() == ["minus baseline"]


def test_a_cell_minus_the_reference_is_the_mean_of_item_differences_with_holm(tmp_path):
    three = GAINS | {50: [0.1, 0.3]}
    table = compare_runs.comparable_rows(read(tmp_path / "s", rows(three)).pooled())
    found = compare_runs.cell_contrasts(table).set_index(["quantity", "group"])
    level = found.loc["behind its own role"]
    assert level.difference.round(9).to_dict() == {"train_rows=100": 0.4, "train_rows=50": 0}
    assert level.p_holm["train_rows=100"] == pytest.approx(2 * level.p["train_rows=100"])
    shifted = rows(three)
    both = shifted["data.train_rows"] == 100
    shifted.loc[both & (shifted.form == "text"), "nats"] += 1  # all models of a cell become better
    again = compare_runs.cell_contrasts(compare_runs.comparable_rows(read(tmp_path / "t", shifted).pooled()))
    again = again.set_index(["quantity", "group"]).difference.round(9)
    assert again["behind its own role", "train_rows=100"] == 1.4 and again["gain over the baseline", "train_rows=100"] == 0.4


@settings(max_examples=20)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=4), st.integers(1, 3))
def test_a_cell_compared_with_itself_differs_by_exactly_nothing(tmp_path_factory, gains, seeds):
    table = rows({8: gains, 9: gains}, seeds=range(seeds))
    found = compare_runs.cell_contrasts(read(tmp_path_factory.mktemp("s") / "s", table).pooled())
    assert (found.difference == 0).all() and (found.p_holm == 1).all() and len(found) == 2
    assert "0 of 1 cells differ" in compare_runs.cells_text(found, pd.DataFrame({"run": [], "versions": []}), "nats")


def test_cells_that_differ_in_the_seed_are_one_point_unless_the_seed_is_asked_for(tmp_path):
    table = pd.concat([rows(seeds=[seed]).assign(cell=lambda part, seed=seed: part.cell + f",seed={seed}") for seed in (0, 1)])
    folder = sweep(tmp_path / "s", table)
    cells = json.loads((folder / "cells.json").read_text())
    for name, about in cells.items():
        about["fields"]["seed"] = int(name[-1])
    (folder / "cells.json").write_text(json.dumps(cells))
    runs = compare_runs.read_runs([str(folder)])
    assert runs.swept == ["data.train_rows", "run seed"] and runs.axis("first") == "data.train_rows"
    pooled = compare_runs.contrast_curve(runs.pooled())
    assert pooled.seeds.unique().tolist() == [2] and pooled.group.nunique() == 2
    alone = compare_runs.contrast_curve(runs.pooled("seed"))
    assert alone.seeds.unique().tolist() == [1] and alone.group.nunique() == 4 and set(alone["run seed"]) == {0, 1}
    assert set(plots.sweep.line_names(alone, "run seed")) == {"data.train_rows=8", "data.train_rows=100"}


def test_designs_of_chapter_6_are_lines_of_their_own(tmp_path):
    one = rows().replace({"model": {"self-prompt": "title-only", "baseline": "none"}}).assign(chapter="ablate")
    more = one[one.model == "title-only"].replace({"model": {"title-only": "plan"}})
    table = compare_runs.comparable_rows(read(tmp_path / "s", pd.concat([one, more])).pooled())
    assert compare_runs.own_models(table) == ["title-only", "plan"]
    assert compare_runs.contrast_curve(table).groupby("model").value.max().round(9).to_dict() == {"title-only": 0.6, "plan": 0.6}
    axes = plots.sweep_plot(compare_runs.contrast_curve(table), "data.train_rows", "nats", zero=True)
    assert axes.get_xscale() == "log" and [len(panel.containers) for panel in axes.figure.axes] == [2, 2]
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == ["title-only", "plan"]
    axes = plots.sweep_plot(compare_runs.contrast_curve(table).astype({"data.train_rows": str}), "data.train_rows", "nats")
    assert [label.get_text() for label in axes.figure.axes[-1].get_xticklabels()] == ["8", "100"]


def test_what_changed_names_fields_versions_data_and_shared_code():
    first = {"provenance": PROVENANCE, "data": {"annotate/train.jsonl": "a" * 64}, "code": {"x.py": "1", "only.py": "2"}}
    other = PROVENANCE | {"libraries": {"trl": "1.17"}, "profile": PROVENANCE["profile"] | {"data": {"train_rows": 20}}}
    second = {"provenance": other, "data": {"annotate/train.jsonl": "b" * 64}, "code": {"x.py": "3"}}
    found = compare_runs.what_changed(first, second)
    assert [tuple(row) for row in found.to_numpy()] == [
        ("field", "data.train_rows", "10", "20"), ("version", "trl", "1.16", "1.17"),
        ("data", "annotate/train.jsonl", "a" * 10, "b" * 10), ("code", "x.py", "1", "3")]  # fmt: skip
    assert compare_runs.what_changed(first, first).empty


def test_a_run_of_other_versions_is_compared_and_marked(tmp_path):
    folder = sweep(tmp_path / "s", rows())
    cells = json.loads((folder / "cells.json").read_text())
    cells["train_rows=100"]["provenance"]["libraries"]["trl"] = "1.17"
    (folder / "cells.json").write_text(json.dumps(cells))
    runs = compare_runs.read_runs([str(folder)])
    overview = compare_runs.run_overview(runs)
    assert overview.versions.tolist() == ["as the first", "other versions"] and overview.minutes.tolist() == [1, 1]
    said = compare_runs.cells_text(compare_runs.cell_contrasts(runs.pooled()), overview, "nats")
    assert "Made with other versions or code than the first: `train_rows=100`" in said


def test_what_cannot_be_compared_is_refused(tmp_path, refused):
    runs = read(tmp_path / "s", rows())
    with refused("sft.epochs", "those that do: data.train_rows"):
        runs.axis("sft.epochs")
    with refused("runs: nowhere", "no such folder"):
        compare_runs.read_runs(["nowhere"])
    with refused("is no run's folder", "such as runs/cpu"):
        compare_runs.read_runs([str(tmp_path)])
    for wrong in ([], [7], "runs/cpu"):
        with refused("is no list of folders"):
            compare_runs.read_runs(wrong)
    with refused("is named twice; name it once"):
        compare_runs.read_runs([str(tmp_path / "s"), str(tmp_path / "s" / ".." / "s")])
    table = rows(GAINS | {50: [0.1, 0.2]})
    table["chapter"] = table["data.train_rows"].map({8: "evaluate", 50: "ablate", 100: "ablate"})
    with refused("train_rows=100 has rows of ablate alone, others have not"):
        compare_runs.comparable_rows(read(tmp_path / "mixed", table).pooled())
    with refused("one run alone"):
        read(tmp_path / "one", rows({8: [0.1, 0.2]}))
    with refused("no item in common", "same questions"):
        other = rows({100: [0.1, 0.2]}, items="xy")
        compare_runs.cell_contrasts(read(tmp_path / "o", pd.concat([rows({8: [0.1, 0.2]}), other])).pooled())
    with refused("no training seed in common"):
        other = rows({100: [0.1, 0.2]}, seeds=[1])
        compare_runs.cell_contrasts(read(tmp_path / "p", pd.concat([rows({8: [0.1, 0.2]}), other])).pooled())
    with refused("no item of ['more']", "every task with the same seeds"):
        both = rows(seeds=[0, 1])
        more = both[both.seed == 0].assign(task="more")
        compare_runs.cell_contrasts(read(tmp_path / "q", pd.concat([both, more])).pooled())
    with refused("no cell 'best'", "train_rows=8, train_rows=100"):
        compare_runs.cell_contrasts(runs.pooled(), reference="best")
    with refused("measure: no 'bits'", *MEASURES):
        compare_runs.comparable_rows(runs.pooled(), "bits")
    with refused("log_odds was not measured", "there are: nats"):
        compare_runs.comparable_rows(runs.pooled(), "log_odds")
    with refused("07_compare.ipynb: runs is 'runs/cpu', but must be a list of folders", "-y 'runs: ["):
        start_chapter("compare", {"profile": "smoke", "runs": "runs/cpu", "field": "first", "measure": "nats"})


def changed_copy(road, place):
    """The finished run once more, as if it had trained on another number of rows."""
    for path in [path for kind in ("stage.json", "*.parquet", "*.jsonl") for path in (road / "smoke").glob(f"*/{kind}")]:
        (place / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place / path.parent.name / path.name)
    for path in place.glob("*/stage.json"):
        record = json.loads(path.read_text())
        record["provenance"]["profile"]["data"]["train_rows"] = 200
        path.write_text(json.dumps(record))
    return place


def test_the_notebook_compares_two_ordinary_runs_and_runs_again_when_one_of_them_changes(road, tmp_path):
    import papermill

    other = changed_copy(road, tmp_path / "other" / "smoke")
    folders, chapter = [str(road / "smoke"), str(other)], CHAPTERS["compare"]
    given = {"profile": "smoke", "out": str(tmp_path / "out"), "runs": folders}
    root = tmp_path / "out" / "smoke"
    (root / "nbs").mkdir(parents=True)
    papermill.execute_notebook(chapter.notebook, chapter.executed_notebook(root), given, progress_bar=False)
    shown = str(nbformat.read(chapter.executed_notebook(root), 4))
    assert "data.train_rows" in shown and "0 of 1 cells differ after Holm" in shown
    rows_there = [json.loads(line) for line in (root / "compare" / "contrasts.jsonl").read_text().splitlines()]
    assert [row["difference"] for row in rows_there] == [0, 0]
    profile = profiles.load("smoke")
    assert why_run(chapter, profile, root) == []
    record = json.loads((other / "evaluate" / "stage.json").read_text())
    record["outputs"]["likelihoods.parquet"] = "another"
    (other / "evaluate" / "stage.json").write_text(json.dumps(record))
    assert why_run(chapter, profile, root) == [f"runs: {other}"]
    (other / "annotate" / "stage.json").unlink()
    assert "annotate" not in run_record(other)["seconds"]


def test_what_no_run_measured_makes_an_empty_curve():
    """The book's kept sweep has open questions and no tasks."""
    cells = compare_runs.read_runs(["book/measured/sweeps/rows"])
    rows = compare_runs.comparable_rows(cells.pooled("first"), "nats")
    samples = {record["fields"]["data.train_rows"] for record in cells.records.values()}
    curve = compare_runs.contrast_curve(rows, "nats")  # seeds are pooled
    assert set(curve["data.train_rows"]) == samples and len(curve) == len(samples) > 1
    for empty in (compare_runs.contrast_curve(rows, "log_odds"), compare_runs.written_curve(rows)):
        assert len(empty) == 0 and {"group", "curve", "value"} <= set(empty)
