"""The page of the paper's open questions: numbers by hand, missing parts, and what is kept for it."""

import json

import beyond
import beyond_sweeps
import keep_designs
import keep_sweep
import numpy as np
import pandas as pd
import pytest
from measurements import MEASURED

from selfprompt_lib import compare_runs, profiles, stats
from selfprompt_lib.designs import NAMES, STRATEGIES
from selfprompt_lib.errors import UserError
from selfprompt_lib.pipeline.sweep_results import COLUMNS
from selfprompt_lib.provenance import describe

SECTIONS = {"designs": "## Does the wording matter?", "sweeps": "## How much data", "choice": "## When not"}
GAINS = {"none": [0, 0, 0, 0], "neutral": [-0.1, -0.2, -0.1, -0.2], "from-now-on": [0.1, 0.2, 0.3, 0.4],
         "title-only": [0.0, 0.3, -0.1, 0.2], "plan": [-0.5, -0.4, -0.5, -0.4]}  # nats over none, a question each


def rows_of(model, values, prefix="own role", seed=0, **more):
    return [{"model": model, "seed": seed, "prefix": prefix, "task": "open questions", "form": "text", "item": f"q{number}",
             "stratum": "law" if number < 2 else "coding", "nats": value - 2} | more for number, value in enumerate(values)]


def designs(folder, seeds=(0,)):
    rows = [row for seed in seeds for name, values in GAINS.items() for row in rows_of(name, values, seed=seed)]
    rows += rows_of("base", [-0.3] * 4, "none", -1)
    rows += rows_of("from-now-on", [0, 0.1, 0.1, 0.2], "other question's role")  # 0.1 to 0.2 below the own
    for model, seed in (("base", -1), ("none", 0)):  # the same texts as prompts: 2 nats apart
        rows += [row for name, values in (("from-now-on", [1] * 4), ("title-only", [-1] * 4))
                 for row in rows_of(model, values, f"as a prompt: {name}", seed)]
    pd.DataFrame(rows).reindex(columns=[*compare_columns()]).to_parquet(folder / "likelihoods.parquet")
    roles = [{"task": "open questions", "item": f"q{number}", "stratum": "", "design": name, "seed": 0,
              "wrote": name != "none" and number > 0, "tokens": 10 * number} for name in GAINS for number in range(4)]
    pd.DataFrame(roles).to_parquet(folder / "roles.parquet")
    made = describe(profiles.load("cpu"))
    (folder / "record.json").write_text(json.dumps({
        "settings": made.pop("profile"), "provenance": made, "seconds": 90, "command": "python -m selfprompt_lib run --only 6",
        "metrics": {"fit": [{"design": "plan", "part": "whole role", "found": 0.5}], "seeds": len(seeds),
                    "samples": dict.fromkeys(GAINS, 64), "training_tokens": dict.fromkeys(GAINS, 12345),
                    "training_seconds": dict.fromkeys(GAINS, 30)}}))


def options(folder):
    """Items of two tasks: the untuned model can do one of them, and `title-only` is right more often."""
    right = {"base": [1] * 18 + [0] * 2, "none": [1, 0] * 10, "neutral": [1, 0] * 10, "title-only": [1] * 20}
    rows = [{"model": name, "seed": -1 if name == "base" else 0, "prefix": "none" if name == "base" else "own role",
             "task": task, "form": "cloze", "item": f"{task}-{number}", "stratum": "", "options": 2,
             "right": bool(value and not (task == "arc" and name == "base")),
             "log_odds": value + number / 100 + (name == "title-only") * number / 10, "log_odds_pmi": number / 7 - value}
            for name, values in right.items() for task in ("piqa", "arc") for number, value in enumerate(values)]
    pd.DataFrame(rows).reindex(columns=compare_columns()).to_parquet(folder / "likelihoods.parquet")
    record = json.loads((folder.parent / "designs" / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps(record))


def compare_columns():
    return [name for name in COLUMNS if name not in ("chapter", "tokens")]


def sweep(folder, cells=(8, 100)):
    folder.mkdir(parents=True)
    rows, records = [], {}
    for size in cells:
        cell = f"train_rows={size}"
        for name, values in (("none", [0] * 4), ("from-now-on", [size / 100] * 2 + [size / 50] * 2)):
            rows += rows_of(name, values, cell=cell, **{"data.train_rows": size, "chapter": "ablate"})
            rows += rows_of(name, values, cell=cell, form="role", right=name != "none",
                            **{"data.train_rows": size, "chapter": "ablate"})
        profile = profiles.load("cpu", {"data.train_rows": size})
        records[cell] = {"fields": {"data.train_rows": size}, "settings": {"data.train_rows": size}, "profile": "cpu",
                         "seed": 0, "seconds": {"annotate": 60, "ablate": 60}, "tokens": 10, "data": {}, "code": {},
                         "provenance": describe(profile)}
    table = pd.DataFrame(rows).reindex(columns=["cell", "data.train_rows", *COLUMNS])
    table.loc[table.form != "role", "nats"], table.loc[table.form == "role", "nats"] = table.nats, np.nan
    flags = dict.fromkeys(["right", "right_sum", "right_pmi"], "boolean")
    table.assign(question="A text.").astype(flags).to_parquet(folder / "sweep.parquet")
    (folder / "cells.json").write_text(json.dumps(records))
    (folder / "sweep.json").write_text(json.dumps({
        "profile": "cpu", "settings": {"data.questions": "/home/anna/selfprompt_lib/q.jsonl"}, "chapters": ["1", "6"],
        "grid": {"data.train_rows": list(cells)}, "cells": {cell: one["fields"] for cell, one in records.items()}}))


def choice(folder):
    rows, gaps = [], []
    for number in range(8):  # a role brings 1 where the model would write one, and costs 0.5 elsewhere
        wants = number % 4 < 2
        gaps.append({"task": "unseen questions", "item": f"q{number}", "seed": 0, "gap": 1.0 if wants else -1.0})
        for prefix, value in (("own role", 1 if wants else -0.5), ("none", 0)):
            rows.append({"model": "self-prompt", "seed": 0, "prefix": prefix, "task": "unseen questions", "form": "text",
                         "item": f"q{number}", "nats": value + number / 100})
    pd.DataFrame(rows).to_parquet(folder / "likelihoods-0.5.parquet")
    pd.DataFrame(gaps).to_parquet(folder / "gaps-0.5.parquet")
    (folder / "record.json").write_text(json.dumps({"0.5": {"minutes": 3.0, "provenance": describe(profiles.load("cpu"))}}))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page with one section alone, by the section's name, and the figures beside it."""
    found = {}
    for name, make in {"designs": designs, "choice": choice, "sweeps": lambda folder: sweep(folder / "rows")}.items():
        measured, out = tmp_path_factory.mktemp("measured"), tmp_path_factory.mktemp("page")
        (measured / name).mkdir()
        make(measured / name)
        found[name] = beyond.beyond_page(out, measured), out
    return found


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_stands_where_its_measurement_is_kept_and_no_other_does(pages, name):
    page, out = pages[name]
    assert {section for section, title in SECTIONS.items() if title in page} == {name}
    figures = {line.split()[-1] for line in page.splitlines() if line.startswith("```{figure}")}
    assert figures == {path.name for path in out.iterdir()} and figures
    missing = next(line for line in page.splitlines() if line.startswith("**Not measured yet"))
    assert ("wordings; other strategies" in missing) == (name != "designs")
    assert ("how many samples;" in missing) == (name != "sweeps") and ("which rule" in missing) == (name != "choice")
    assert not any(word in page for word in ("nan", "None", "<NA>", "{{", "{%"))


def test_without_any_measurement_the_page_says_so(tmp_path):
    page = beyond.beyond_page(tmp_path, tmp_path)
    assert not any(title in page for title in SECTIONS.values()) and list(tmp_path.iterdir()) == []
    assert page.count(";") >= 8 and "reworded copies" in page


def test_wordings_and_strategies_by_hand(pages):
    page = pages["designs"][0].replace("\N{NO-BREAK SPACE}", " ")
    rows = {}  # of both tables of a section
    for line in page.splitlines():
        if line.startswith("| `"):
            rows[line.split("|")[1].strip(" `")] = rows.get(line.split("|")[1].strip(" `"), "") + line
    assert "75% [30, 95] | 20 |" in rows["from-now-on"]  # three of four, of 10, 20 and 30 tokens
    assert "| +0.250 [" in rows["from-now-on"].replace("\\*", "")
    assert "| +0.400" in rows["from-now-on"] and "| +0.150" in rows["from-now-on"]
    assert "| 50% | – | 12,345 |" in rows["plan"] and "| −0.450" in rows["plan"] and "| −0.300" in rows["plan"]
    assert "64 samples of starter in 16 steps" in page and "4 held-out open questions;" in page
    # Means 0.25 and 0.1: a standard deviation of 0.106 at most; as prompts 2 nats apart: √2, without noise.
    assert "differ by 1.414 [1.414, 1.414] (untuned) and 1.414" in page and "as the paper says" in page
    assert "less likely with 1, after Holm" in page.split("## Can other")[1]
    short = page.split("## In plain words")[1].split("\n## ")[0]
    assert "0 of 2 wordings" in short and "likelier with 0 of them and less likely with 0." in short
    assert "0 of 1 strategies" in short and "likelier with 0 of them and less likely with 1." in short


def test_strategies_of_more_seeds_are_kept_apart(tmp_path):
    """The wordings say how far seeds are apart, as the strategies' measurement tells it: here they are the same."""
    for name, seeds in (("designs", (0,)), ("strategies", (0, 1, 2))):
        (tmp_path / name).mkdir()
        designs(tmp_path / name, seeds)
    wordings, strategies = beyond.beyond_page(tmp_path, tmp_path).split("## Can other")
    told = "The 3 training seeds of `from-now-on` differ by 0.000 [0.000, 0.000]"
    assert "1 training seed," in wordings and told in wordings and "From the next section" in wordings
    assert "3 training seeds," in strategies and told in strategies
    assert "| `plan` |" in strategies and "| `plan` |" not in wordings and "| `title-only` |" not in strategies


def test_wordings_at_equal_tokens_stand_beside_those_at_equal_samples(tmp_path):
    for name in ("designs", "designs-tokens"):
        assert "At equal tokens" not in beyond.beyond_page(tmp_path, tmp_path)
        (tmp_path / name).mkdir()
        designs(tmp_path / name)
    record = json.loads((tmp_path / "designs-tokens" / "record.json").read_text())
    record["metrics"]["samples"] |= {"neutral": 48, "from-now-on": 50, "title-only": 60}
    (tmp_path / "designs-tokens" / "record.json").write_text(json.dumps(record))
    table = pd.read_parquet(tmp_path / "designs-tokens" / "likelihoods.parquet")
    table.loc[(table.model == "from-now-on") & (table.prefix == "own role"), "nats"] += 0.2
    table.to_parquet(tmp_path / "designs-tokens" / "likelihoods.parquet")
    page = beyond.beyond_page(tmp_path, tmp_path).split("### At equal tokens")[1].split("## Can other")[0]
    row = next(line for line in page.splitlines() if line.startswith("| `from-now-on`")).replace("\\*", "")
    assert row.startswith("| `from-now-on` | 50 | 12,345 | +0.250 [") and "| +0.450 [" in row
    assert "64 samples have 12,345 tokens, and the others get 48 to 60 samples" in page and "| `plan` |" not in page


def test_both_sections_on_designs_are_corrected_together(tmp_path):
    for name in ("designs", "strategies"):
        (tmp_path / name).mkdir()
        designs(tmp_path / name)
    found = beyond.page_facts(tmp_path)
    both = pd.concat([found[name]["drawn"] for name in ("designs", "strategies")])
    assert both.primary.nunique() == 2 and both.primary.sum() == found["designs"]["tests"] + found["strategies"]["tests"]
    for _, family in both.groupby("primary"):
        assert list(family.p_holm) == pytest.approx(stats.holm(list(family.p)))
    assert f"over all {both.primary.sum()} comparisons" in beyond.beyond_page(tmp_path, tmp_path)


@pytest.mark.parametrize("field, value, words", [
    ("data.train_rows", 64, "64 samples"), ("data.shuffled_roles", 0.3, "30% wrong roles"),
    ("data.domains", 1, "1 domain"), ("data.domains", "null", "all domains"),
    ("data.without_role", 1.0, "100% samples without a role")])
def test_a_value_of_a_swept_field_in_words(field, value, words):
    assert beyond_sweeps.cell_words(field, value) == words


def test_a_sweep_by_hand(pages):
    page = pages["sweeps"][0].replace("\N{NO-BREAK SPACE}", " ")
    assert "| 8 samples | 100% [51, 100] | +0.120" in page and "| 100 samples | 100% [51, 100] | +1.500" in page
    assert "`train_rows=100` +1.380 nats a token" in page  # of the gain, and as the baseline stays, of the level
    short = page.split("## In plain words")[1].split("\n## ")[0]
    assert "for at least 90% of the questions from 8 samples on. A role brings more with 100 samples (+1.380" in short
    assert "8 samples in 2 steps, 64" not in page and "8 samples in 2 steps, 100 samples in 25 steps" in page
    assert "--set data.questions=" in page and "--grid data.train_rows=8,100 --out FOLDER" in page


def test_the_rules_of_a_choice_by_hand(pages):
    page = pages["choice"][0]
    assert "| 50% | unseen questions | always | 100% | +0.250 [" in page
    assert "| 50% | unseen questions | model's choice | 50% | +0.500" in page
    assert "| 50% | unseen questions | gap | 50% | +0.500" in page
    assert "over all 5 comparisons" in page


def test_chapter_6_has_the_curves_of_chapter_5(tmp_path):
    sweep(tmp_path / "rows")
    rows = compare_runs.comparable_rows(compare_runs.read_runs([str(tmp_path / "rows")]).pooled())
    curve = compare_runs.contrast_curve(rows)
    assert curve.curve.tolist() == ["minus baseline"] * 2 and curve.value.tolist() == pytest.approx([0.12, 1.5])


def run_folder(root, settings, seed=0):
    """What chapter 6 leaves behind, of three questions: the role behind the answer is in the replies alone."""
    folder = root / "ablate"
    folder.mkdir(parents=True)
    likely = rows_of("none", [0, 0, 0], seed=seed) + rows_of("base", [0] * 3, "as a prompt: title-only", -1)
    pd.DataFrame(likely).to_parquet(folder / "likelihoods.parquet")
    roles = [{"task": "open questions", "item": f"q{number}", "stratum": "law", "question": "A text.", "tokens": 7,
              "role": "A text." if name == "title-only" else None, "design": name, "seed": seed}
             for name in ("title-only", "after-answer") for number in range(3)]
    pd.DataFrame(roles).to_parquet(folder / "roles.parquet")
    replies = [{"id": "q1", "domain": "law", "question": "A text.", "reply": "A text.", "answer": "A text.", "role": "A text.",
                "outcome": "role", "role_tokens": 9, "design": name, "seed": seed} for name in ("title-only", "after-answer")]
    (folder / "replies.jsonl").write_text("\n".join(map(json.dumps, replies)))
    profile = profiles.load("cpu", settings | {"seed": seed})
    made = describe(profile)
    made["profile"]["data"]["questions"] = "/home/anna/selfprompt_lib/q.jsonl"
    designs = profile.ablate.designs
    metrics = {"seeds": profile.ablate.seeds, "designs": designs, "equal": "samples", "fit": ["of these alone"]}
    metrics |= {name: dict.fromkeys(designs, 7) for name in ("samples", "training_tokens", "training_seconds")}
    (folder / "stage.json").write_text(json.dumps({"chapter": "ablate", "metrics": metrics, "seconds": 5.0,
                                                   "finished": "2026-11-28", "provenance": made}))
    return root


def everything(folder):
    texts = [path.read_text() for path in folder.glob("*.json")]
    return "\n".join([*texts, *(pd.read_parquet(path).to_csv() for path in folder.glob("*.parquet"))])


def test_designs_are_kept_without_texts_and_paths(tmp_path):
    run, out = run_folder(tmp_path / "run", {"ablate.seeds": 1, "ablate.designs": ["none", "title-only"]}), tmp_path / "kept"
    keep_designs.main([str(run), "--out", str(out)])
    assert "A text." not in everything(out) and "/home" not in everything(out)
    roles = pd.read_parquet(out / "roles.parquet").set_index(["design", "item"])
    assert len(roles) == 4 and roles.wrote.all() and roles.tokens["after-answer", "q1"] == 9
    command = json.loads((out / "record.json").read_text())["command"].splitlines()
    assert [line.split("--only ")[1][0] for line in command] == ["1", "6"]
    assert "--set data.questions=selfprompt_lib/q.jsonl --set 'ablate.designs=[none, title-only]'" in command[1]
    keep_designs.main([str(run), "--out", str(out)])  # the same study is renewed
    other = run_folder(tmp_path / "other", {"sft.epochs": 2})
    with pytest.raises(UserError, match="other settings"):
        keep_designs.main([str(other), "--out", str(out)])
    for path in (tmp_path, run / "ablate"):
        with pytest.raises(UserError, match="chapter 6 has not finished"):
            keep_designs.main([str(path), "--out", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()


def test_right_options_by_hand(tmp_path):
    for name, make in (("designs", designs), ("designs-options", options)):
        (tmp_path / name).mkdir()
        make(tmp_path / name)
    (tmp_path / "page").mkdir()
    page = beyond.beyond_page(tmp_path / "page", tmp_path).replace("\N{NO-BREAK SPACE}", " ")
    part = page.split("### Right options")[1].split("\n## ")[0]
    assert "asked 20 items of real benchmarks (piqa; arc is left out" in part
    assert "| `none` | 50% | – |" in part and "| `title-only` | 100% | +50.0\\* [" in part
    assert "| `neutral` | 50% | +0.0 [" in part and part.index("| `title-only`") < part.index("| `neutral`")
    assert "likelier with 1 and less likely with 0 of 2 designs" in part and "by PMI it is" in part
    assert "seen with 1 of 2" in part and (tmp_path / "page" / "beyond-options.png").exists()
    assert "how many answers are right is seen to differ with 1" in page.split("## Does the wording")[0]
    assert not any(word in part for word in ("nan", "None", "{{", "{%"))


def test_further_seeds_are_added_to_those_kept(tmp_path, monkeypatch):
    out = tmp_path / "kept"
    settings = {"ablate.designs": ["none", "title-only"], "ablate.seeds": 1}
    monkeypatch.setenv("SELFPROMPT_BF16", "1")
    keep_designs.main([str(run_folder(tmp_path / "first", settings)), "--out", str(out)])
    beyond_next = run_folder(tmp_path / "far", settings, seed=2)
    with pytest.raises(UserError, match="holds the seeds 0 to 0; give the same seeds, or a run with seed=1"):
        keep_designs.main([str(beyond_next), "--out", str(out)])
    monkeypatch.setenv("SELFPROMPT_BF16", "0")
    more = run_folder(tmp_path / "more", settings | {"ablate.seeds": 2}, seed=1)
    keep_designs.main([str(more), "--out", str(out)])
    record, table = json.loads((out / "record.json").read_text()), pd.read_parquet(out / "likelihoods.parquet")
    assert record["settings"]["seed"] == 0 and record["settings"]["ablate"]["seeds"] == record["metrics"]["seeds"] == 3
    assert record["provenance"]["precision"] == "bfloat16, from seed 1 on float32"
    assert "fit" not in record["metrics"] and record["metrics"]["training_seconds"] == {"none": 14, "title-only": 14}
    assert record["seconds"] == 10 and "--set ablate.seeds=3" in record["command"]
    assert len(table[table.model == "base"]) == 3, "what is asked of no trained model is asked once"
    assert table[table.model == "none"].groupby("seed").size().to_dict() == {0: 3, 1: 3}
    assert pd.read_parquet(out / "roles.parquet").groupby("seed").size().to_dict() == {0: 4, 1: 4}


def test_a_sweep_is_kept_without_texts_and_paths(tmp_path):
    sweep(tmp_path / "sweep")
    kept = ["--name", "rows", "--out", str(tmp_path / "kept")]
    keep_sweep.main([str(tmp_path / "sweep"), *kept])
    text = everything(tmp_path / "kept" / "rows")
    assert "A text." not in text and "/home" not in text and "selfprompt_lib/q.jsonl" in text
    assert len(pd.read_parquet(tmp_path / "kept" / "rows" / "sweep.parquet")) == 32
    for change, said in (({"settings": {}}, "another settings"), ({"cells": {"train_rows=8": {}, "x": {}}}, "1 of 2 cells")):
        record = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
        other = tmp_path / said.replace(" ", "-")
        sweep(other)
        (other / "sweep.json").write_text(json.dumps(record | change))
        with pytest.raises(UserError, match=said):
            keep_sweep.main([str(other), *kept])
    with pytest.raises(UserError, match="no sweep has finished there"):
        keep_sweep.main([str(tmp_path), *kept])
    with pytest.raises(UserError, match="small letters"):
        keep_sweep.main([str(tmp_path / "sweep"), "--name", "../rows"])


def test_cells_are_added_to_those_that_are_kept_and_the_page_says_which_precision_each_had(tmp_path):
    sweep(tmp_path / "first")
    sweep(tmp_path / "second", cells=(100, 200))
    cells = json.loads((tmp_path / "second" / "cells.json").read_text())
    for name, cell in cells.items():
        cell["provenance"]["precision"] = {"train_rows=100": "float32", "train_rows=200": "bfloat16"}[name]
    (tmp_path / "second" / "cells.json").write_text(json.dumps(cells))
    for name in ("first", "second"):
        keep_sweep.main([str(tmp_path / name), "--name", "rows", "--out", str(tmp_path / "kept")])
    kept = json.loads((tmp_path / "kept" / "rows" / "sweep.json").read_text())
    assert kept["grid"] == {"data.train_rows": [8, 100, 200]}
    assert list(kept["cells"]) == ["train_rows=8", "train_rows=100", "train_rows=200"]
    rows = pd.read_parquet(tmp_path / "kept" / "rows" / "sweep.parquet")
    assert rows.cell.value_counts().to_dict() == dict.fromkeys(kept["cells"], 16)
    measured = compare_runs.read_runs([str(tmp_path / "kept" / "rows")]).records
    measured["train_rows=8"]["provenance"]["precision"] = "float32"
    assert beyond_sweeps.precisions(measured, "data.train_rows") == "float32 for 8, 100; bfloat16 for 200"
    del measured["train_rows=200"]
    assert beyond_sweeps.precisions(measured, "data.train_rows") == "float32"


def test_the_committed_measurements_have_all_wordings_and_strategies():
    facts = beyond.page_facts(MEASURED)
    assert set(facts["designs"]["names"]) == set(NAMES) and set(facts["strategies"]["names"]) == set(STRATEGIES)
    assert facts["designs"]["profile"]["data"]["questions"].endswith("unseen.jsonl") and facts["ladder"]["gate"]
