"""The likelihood study: one seed of the smoke model measured, kept, and taken up again."""

import json
import re
import shutil

import found
import found_more
import likelihood_study as study
import numpy as np
import pandas as pd
import pytest
import study_questions as questions
from measurements import MEASURED

from selfprompt_lib import models
from selfprompt_lib.designs import DESIGNS, GAP
from selfprompt_lib.evaluate.likelihood_measure import COLUMNS
from selfprompt_lib.evaluate.open_ended import likelihoods
from selfprompt_lib.evaluate.prefixes import RoleSources, likelihood_plan, neutral_texts
from selfprompt_lib.rows import STARTER_FOLDER, Question, Sample, read_rows

SMALL = ("data.train_rows=4", "data.question_rows=2", "sft.epochs=1", "sft.batch_size=4", "sft.micro_batch_size=4",
         "infer.max_new_tokens=16", "evaluate.items=2")


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """`command("--plan", "short")`: the study's command with a tiny setting, in a folder of its own."""
    folder = tmp_path_factory.mktemp("study")
    settings = [part for one in SMALL for part in ("--set", one)]

    def call(*more):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            study.main(["--profile", "smoke", *settings, "--seeds", "0", "--plan", "short", "--out", "kept", *more])
        return folder / "kept"

    return call


def test_a_seed_is_measured_kept_without_texts_and_taken_up_again(command, capsys, refused):
    out = command()
    assert "1 of 1 seeds to measure" in capsys.readouterr().out
    table, record = pd.read_parquet(out / "likelihoods.parquet"), json.loads((out / "record.json").read_text())
    assert list(table) == COLUMNS
    assert {(row.model, row.prefix) for row in table.itertuples()} == set(likelihood_plan())
    assert set(table.seed[table.model == "base"]) == {-1} and set(table.seed[table.model != "base"]) == {0}
    assert table.groupby(["task", "form"])["item"].nunique().to_dict() == {
        ("arc_easy", "cloze"): 2, ("arc_easy", "letters"): 2, ("piqa", "cloze"): 2, ("piqa", "letters"): 2,
        ("open questions", "text"): 2, ("unseen questions", "text"): 2}
    assert len(table) == 12 * len(likelihood_plan()) and (table.nats < 0).all()
    assert table.log_odds.notna().equals(table.form != "text")
    assert record["provenance"]["profile"]["model"] == "smoke" and record["provenance"]["seed"] == [0]
    assert {row["measure"] for row in record["contrasts"]} >= {"nats"} and "Does a role help?" in record["text"]
    assert set(record["seeds"]["0"]["trainings"]) == {"self-prompt", "baseline", "neutral"}

    command()
    assert "0 of 1 seeds to measure" in capsys.readouterr().out
    with refused("--out kept", "other settings"):
        command("--choices", "none")
    with refused("--seeds 0;1", "commas"):
        command("--seeds", "0;1")

    base = models.load("smoke", "auto")
    asked = study.sources.take_evenly_spaced(read_rows(STARTER_FOLDER / "heldout.jsonl", Question), 2)
    own = table[(table.model == "base") & (table.task == "open questions")]
    assert list(own.nats) == pytest.approx(likelihoods(*base, asked), abs=0.02)


def test_other_tasks_of_the_user_s_own_are_another_study_wherever_they_lie(tmp_path):
    def settings(folder, content):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "mine.yaml").write_text(content)
        chosen = study.profiles.load("smoke", {"evaluate.include_path": str(tmp_path / folder)})
        return study.settings_of(chosen, ((), ()))

    first = settings("one", "task: mine")
    assert first == settings("two", "task: mine") != settings("one", "task: other")
    assert str(tmp_path) not in json.dumps(first)


def test_lima_s_questions_are_the_same_in_every_study_and_none_is_trained_on():
    short = [Sample(id=f"lima-{number}", conversations=(f"question {number}", "answer")) for number in range(240)]
    long = Sample(id="long", conversations=("question", "a" * questions.LIMA_LONGEST))
    turns = Sample(id="turns", conversations=("one", "answer", "two", "answer"))
    found = questions.lima_questions([*short, long, turns])
    trained = study.sources.take_evenly_spaced([*short, turns], questions.LIMA_TRAINED)
    asked = {row.id for row in found}
    assert asked == {sample.id for sample in short} - {sample.id for sample in trained} and len(asked) >= 40
    assert found[0].reference == "answer"


def test_the_page_what_we_found_begins_with_the_kept_likelihoods(command, tmp_path):
    (tmp_path / "found").symlink_to(MEASURED / "found")
    before = found.found_page(tmp_path, tmp_path)
    assert "## In plain words" in before and "###" not in before and "unseen" not in before

    out = command()
    (tmp_path / "likelihood").symlink_to(out)
    page = found.found_page(tmp_path, tmp_path)
    assert not re.search(r"\bnan\b|\bNone\b(?! of)|<NA>|\{\{|\{%", page) and "real benchmarks\n" not in page
    first, older = page.split("## The earlier study")
    assert before.rpartition("## How it was measured")[2] == older.rpartition("### How it was measured")[2]
    assert all(f"\n### {title}\n" in older for title in re.findall("\n## (.*)\n", before))
    for name in re.findall(r"```\{figure\} (\S+)", first):
        assert (tmp_path / name).stat().st_size > 10_000
    record = json.loads((out / "record.json").read_text())
    unseen = next(row for row in record["contrasts"] if row["primary"] and row["task"] == "unseen questions")
    cell = f"| **{unseen['contrast']}** | {unseen['difference']:+.3f} ".replace("-", "−").replace("self−prompt", "self-prompt")
    assert cell in first and first.count("not seen to do better than guessing") + first.count("| yes") >= 1
    assert "Seed 0: roles were written for" in first and "*Does a role help?*" in first


def test_the_neutral_model_is_trained_on_the_beginning_of_what_stands_before_answers():
    samples = read_rows(STARTER_FOLDER / "train.jsonl", Sample)[::20]
    design, neutral, tokenizer = DESIGNS["from-now-on"], DESIGNS["neutral"], models.load("smoke", "float32")[1]
    items = pd.DataFrame({"role": [design.role_text(sample.role) for sample in samples]})
    given = neutral_texts(items, RoleSources([], design, tokenizer))
    for sample, text in zip(samples, given, strict=True):
        trained, text = neutral.role_text(sample.role), text.removesuffix(GAP)
        shorter, longer = sorted([trained, text], key=len)
        assert longer.startswith(shorter.rstrip(".")) and len(shorter) > 0.8 * len(longer)


def test_a_study_with_more_samples_stands_beside_the_first_and_is_paired_by_item_and_seed(tmp_path):
    """The kept study, and a copy of three seeds in which the self-prompt model is better by 0.05 behind its own role."""
    (tmp_path / "likelihood").symlink_to(MEASURED / "likelihood")
    assert found_more.facts(tmp_path, tmp_path) is None
    table = pd.read_parquet(MEASURED / "likelihood" / "likelihoods.parquet").query("seed < 3")
    own = (table.model == "self-prompt") & (table.prefix == "own role")
    noise = np.random.default_rng(0).normal(0, 0.01, own.sum())
    table.loc[own, "nats"] += 0.05 + noise - noise.mean()
    record = json.loads((MEASURED / "likelihood" / "record.json").read_text())
    record["seeds"] = {seed: record["seeds"][seed] for seed in "012"}
    for training in record["seeds"]["0"]["trainings"].values():
        training |= {"samples": 200, "steps": 50}
    (tmp_path / "likelihood-200").mkdir()
    table.to_parquet(tmp_path / "likelihood-200" / "likelihoods.parquet")
    (tmp_path / "likelihood-200" / "record.json").write_text(json.dumps(record))
    shutil.copytree(tmp_path / "likelihood-200", tmp_path / "likelihood-lima")
    record["settings"]["profile"]["data"] |= {"train": "lima-role", "longest": 1600}
    (tmp_path / "likelihood-lima" / "record.json").write_text(json.dumps(record))

    page = found.found_page(tmp_path, tmp_path)
    first = json.loads((MEASURED / "likelihood" / "record.json").read_text())["seeds"]
    size = first["0"]["trainings"]["self-prompt"]["samples"]
    assert re.search(rf"\| {size} samples \| \d+ \| {len(first)} \|", page) and "| 200 samples | 50 | 3 |" in page
    changed = float(re.search(r"gain over the baseline changes by \+(0\.\d+)", page)[1])
    assert changed == pytest.approx(0.05, abs=0.004) and "on the 3 seeds that both have" in page
    assert "**200 samples of LIMA against 200 samples**" in page and "of at most 1,600 characters" in page
    assert "likelihood_study.py --train lima-role --seeds 0,1,2" in page
    top = page.split("## Unseen, and tried")[0]
    assert "| 64 samples, 5 seeds | **less likely** |" in top  # better by 0.05, the others are not
    for label in ("200 samples", "200 samples of LIMA"):
        assert re.search(rf"\| {label}, 3 seeds \| (\*\*likelier|no difference).* \| \*\*likelier\*\* \|\n", top)
    assert (tmp_path / "likelihood-samples.png").stat().st_size > 10_000



def test_whose_answers_a_role_makes_likelier_is_asked_of_the_seeds_that_were_asked_both(tmp_path):
    """A copy of the study with LIMA's questions in one seed, on which the gain is smaller by 0.05."""
    (tmp_path / "likelihood").symlink_to(MEASURED / "likelihood")
    shutil.copytree(MEASURED / "likelihood", tmp_path / "likelihood-lima")
    table = pd.read_parquet(MEASURED / "likelihood" / "likelihoods.parquet").query("seed < 3")
    lima = table[(table.task == "unseen questions") & (table.seed == 1)].assign(task=questions.LIMA_QUESTIONS)
    lima["item"] = "lima-" + lima["item"].astype(str)
    lima.loc[(lima.model == "self-prompt") & (lima.prefix == "own role"), "nats"] -= 0.05
    pd.concat([table, lima]).to_parquet(tmp_path / "likelihood-lima" / "likelihoods.parquet")
    record = json.loads((MEASURED / "likelihood" / "record.json").read_text())
    record["settings"]["profile"]["data"] |= {"train": "lima-role", "longest": 1600}
    record["seeds"] = {seed: record["seeds"][seed] for seed in "012"}
    record["seeds"]["1"]["precision"] = "float32"
    (tmp_path / "likelihood-lima" / "record.json").write_text(json.dumps(record))

    page = found.found_page(tmp_path, tmp_path)
    told = page.split("## Whose answers?")[1]
    rows = re.findall(r"\| \d+ samples of LIMA \| (this project|LIMA) \| 1 \| (.)(0\.\d+)", told)
    (_, sign, here), (_, other, there) = rows
    gains = [float(number) * (1 if mark == "+" else -1) for mark, number in ((sign, here), (other, there))]
    assert gains[1] - gains[0] == pytest.approx(-0.05, abs=0.0011) and "is −0.050 [" in told
    assert "It falls, as it would if it were style" in told and "in bfloat16 and float32 on" in page
    assert "it would take references that others wrote" not in page
    assert "| the same; answers by LIMA's authors, 1 seed | **less likely** |" in page.split("## Unseen, and tried")[0]
    assert (tmp_path / "likelihood-answers.png").stat().st_size > 10_000
