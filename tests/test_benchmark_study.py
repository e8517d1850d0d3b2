"""The study of the real benchmarks: one seed of the smoke model, on a mirror made of the mini benchmarks."""

import json
import re
import shutil

import benchmark_study as study
import found
import pandas as pd
import pytest
from measurements import MEASURED

from selfprompt_lib.evaluate.likelihood_measure import COLUMNS
from selfprompt_lib.evaluate.prefixes import likelihood_plan
from selfprompt_lib.roles import fit_text
from selfprompt_lib.rows import STARTER_FOLDER

SMALL = ("data.train_rows=4", "sft.epochs=1", "sft.batch_size=4", "sft.micro_batch_size=4", "evaluate.items=2",
         "evaluate.tasks=[strategyqa,openbookqa,gsm8k]")
PROMPTS = ("Why is the sky blue?", "Write a poem about rain.", "How do I mend a bicycle tyre?")


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """`command("--seeds", "0")`: the study's command with a tiny setting, in a folder of its own."""
    folder = tmp_path_factory.mktemp("study")
    shutil.copytree(STARTER_FOLDER, folder / "mirror")
    lima = folder / "mirror" / "GAIR" / "lima" / "plain_text"
    lima.mkdir(parents=True)
    rows = [json.dumps({"conversations": [prompt], "source": "test"}) for prompt in PROMPTS]
    (lima / "test.jsonl").write_text("\n".join(rows) + "\n")
    settings = [part for one in (*SMALL, "data.mirror=mirror") for part in ("--set", one)]

    def call(*more):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            study.main(["--profile", "smoke", *settings, "--seeds", "0", "--out", "kept", *more])
        return folder / "kept"

    return call


def test_a_seed_is_measured_kept_without_texts_and_taken_up_again(command, capsys, refused):
    out = command()
    assert "3 prompts, 8 items in 4 tasks;\n1 of 1 seeds to measure" in capsys.readouterr().out
    table, record = pd.read_parquet(out / "likelihoods.parquet"), json.loads((out / "record.json").read_text())
    assert list(table) == COLUMNS and table.log_odds.notna().all()
    cloze, letters = table[table.form == "cloze"], table[table.form == "letters"]
    assert {(row.model, row.prefix) for row in cloze.itertuples()} == set(likelihood_plan(options=True))
    assert set(letters.model) == {"base"} and set(letters.prefix) == {"none"}
    assert table.groupby(["task", "form"])["item"].nunique().to_dict() == {
        (task, form): 2 for task in ("openbookqa", "strategyqa") for form in ("cloze", "letters")}
    prompts = record["seeds"]["0"]["prompts"]
    assert prompts["asked"] == 3 and 0 <= prompts["wrote"] <= 3 and fit_text(pd.DataFrame(prompts["fit"]))
    assert not any(prompt in (out / "record.json").read_text() for prompt in PROMPTS)

    command()
    assert "0 of 1 seeds to measure" in capsys.readouterr().out
    with refused("--out kept", "other settings"):
        command("--set", "evaluate.items=3")
    with refused("--seeds 0;1", "commas"):
        command("--seeds", "0;1")


def test_what_we_found_tells_of_the_real_benchmarks_where_they_are_kept(command, tmp_path):
    for name in ("found", "likelihood"):
        (tmp_path / name).symlink_to(MEASURED / name)
    for name in ("benchmarks", "benchmarks-whole"):
        shutil.copytree(command(), tmp_path / name)
    page = found.found_page(tmp_path, tmp_path)
    part = page[page.index("## The real benchmarks"):page.index("## What it would take to know better")]
    assert not re.search(r"\bnan\b|\bNone\b(?! of)|<NA>|\{\{|\{%", part)
    assert "| strategyqa | cloze |" in part and "| openbookqa | letters |" in part
    assert "Seed 0: roles were written for" in part and "of 3." in part
    assert "### Whole test sets" in part and "1 training seed: 4 items" in part
    assert part.count("| nats a token |") == 2 and part.count("| PMI |") == 2
    assert part.count("| strategyqa | cloze |") == 2 and "{figure} benchmarks-whole.png" in part
    for name in re.findall(r"```\{figure\} (\S+)", part):
        assert (tmp_path / name).stat().st_size > 10_000
