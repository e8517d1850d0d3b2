"""`selfprompt compare`: runs that lm-eval itself logged, paired item by item."""

import shutil

import pandas as pd
import pytest
import torch
from lm_eval.evaluator import simple_evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM

from selfprompt_lib import models
from selfprompt_lib.__main__ import main
from selfprompt_lib.evaluate.logged_samples import compare_runs, newest_samples
from selfprompt_lib.files import write_rows
from selfprompt_lib.rows import STARTER_FOLDER
from selfprompt_lib.stats import mcnemar_p, tango
from selfprompt_lib.tasks import TASKS_FOLDER

CLOZE = """
task: cloze
dataset_path: json
dataset_kwargs: {data_files: {test: ITEMS}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{options}}"
doc_to_target: key
metric_list: [{metric: acc}, {metric: acc_norm}, {metric: acc_mutual_info}]
"""


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """Two models of chance, which lm-eval ran on a task of likelihoods and on one of replies."""
    folder = tmp_path_factory.mktemp("logged")
    rows = [{"question": f"{n}?", "options": ["a", "b", "c", "d"], "key": n % 4} for n in range(60)]
    items = write_rows(folder / "items.jsonl", rows)
    (folder / "cloze.yaml").write_text(CLOZE.replace("ITEMS", str(items)))
    manager = TaskManager(include_path=[str(folder), str(TASKS_FOLDER)], include_defaults=False,
                          metadata={"data": str(STARTER_FOLDER), "items": 20})  # fmt: skip
    model, tokenizer = models.load("smoke", "float32")
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        tracker = EvaluationTracker(output_path=str(folder / name))
        model = AutoModelForCausalLM.from_config(model.config)
        done = simple_evaluate(model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=16), task_manager=manager,
                               tasks=["cloze", "selfprompt_strategyqa"], gen_kwargs="max_gen_toks=4",
                               log_samples=True, bootstrap_iters=0, evaluation_tracker=tracker)  # fmt: skip
        tracker.save_results_aggregated(results=done, samples=done["samples"])
        for task, samples in done["samples"].items():
            tracker.save_results_samples(task, samples)
    return folder


def scores(folder):
    return pd.read_json(newest_samples(folder)["cloze"], lines=True).set_index("doc_id").sort_index().acc == 1


def test_two_runs_are_paired_item_by_item(logged):
    table, notes = compare_runs(logged / "one", logged / "two")
    assert list(table.task) == ["cloze", "selfprompt_strategyqa", "all"] and notes == []
    assert list(table.scored[:2]) == ["acc, none", "exact_match, tolerant"]
    new, old = scores(logged / "two"), scores(logged / "one")
    low, high = map(float, tango((new & ~old).sum(), (old & ~new).sum(), len(new)))
    first = table.iloc[0]
    assert (first.difference, first.low, first.high) == pytest.approx((new.mean() - old.mean(), low, high))
    assert first.p == pytest.approx(mcnemar_p(new, old)) and (first.accuracy_old, first.accuracy_new) == (old.mean(), new.mean())
    assert first.chance == 0.25 and first.at_chance and pd.isna(table.chance[1])


def test_the_command_prints_and_writes_and_overwrites_nothing(logged, tmp_path, capsys):
    given = ["compare", str(logged / "one"), str(logged / "two"), "--metric", "acc_norm", "--out", str(tmp_path / "out")]
    assert main(given) == 2 and "no metric acc_norm; it has exact_match, unread" in capsys.readouterr().err
    shutil.copytree(logged, tmp_path / "runs")
    next((tmp_path / "runs" / "two").rglob("samples_selfprompt*")).unlink()
    given[1:3] = [str(tmp_path / "runs" / name) for name in ("one", "two")]
    assert main(given) == 0
    said = capsys.readouterr().out
    assert "selfprompt_strategyqa: left out, only one of the runs has it" in said
    assert "acc_norm, none" in said and "At chance in both runs, so not to be interpreted: cloze." in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"differences.csv", "differences.png"}
    assert main(given) == 2 and "give a new folder" in capsys.readouterr().err


def test_what_cannot_be_paired_is_refused(logged, tmp_path, refused):
    shutil.copytree(logged / "two", tmp_path / "two")
    path = newest_samples(tmp_path / "two")["cloze"]
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-3]))
    with refused(str(path), "not the items", "60 and 57 items, of which 57 are the same", "--limit"):
        compare_runs(logged / "one", tmp_path / "two")
    path.write_text("".join([*lines[:-1], '{"doc_id": 1}\n']))
    with refused(f"{path}, line 60: no doc, doc_hash, filter, metrics, resps"):
        compare_runs(logged / "one", tmp_path / "two")
    path.write_text("".join(lines).replace('"acc": 0.0', '"acc": 0.5'))
    with refused("acc is not 0 or 1", "--metric: acc, acc_norm, acc_mutual_info"):
        compare_runs(logged / "one", tmp_path / "two")
    path.write_text("".join([*lines, lines[0]]))
    with refused(f"{path}: doc_id 0 occurs twice", "one run alone"):
        compare_runs(logged / "one", tmp_path / "two")
    with refused("nothing: no such folder", "--output_path"):
        compare_runs(logged / "one", tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with refused("no samples of lm-eval", "--log_samples"):
        compare_runs(logged / "one", tmp_path / "empty")
