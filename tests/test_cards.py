"""One card, many cards: real processes train the smoke model with DDP and with FSDP2 on a CPU, and are killed and resumed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.data_loader import SeedableRandomSampler
from accelerate.utils.launch import prepare_multi_gpu_env
from accelerate.utils.other import get_free_port
from conftest import forked
from safetensors.torch import load_file
from test_sft import two_processes
from transformers import AutoConfig, AutoModelForCausalLM

from selfprompt_lib import models, profiles, sft
from selfprompt_lib.designs import get_design
from selfprompt_lib.files import write_rows
from selfprompt_lib.provenance import PACKAGE
from selfprompt_lib.rows import STARTER_FOLDER, Sample, read_rows
from selfprompt_lib.sft.__main__ import main, parser
from selfprompt_lib.sft.trainer import StepSampler

SHORT = sorted(read_rows(STARTER_FOLDER / "train.jsonl", Sample), key=lambda sample: sum(map(len, sample.conversations)))
SAMPLES = SHORT[:11]  # no multiple of 2 × 2: the last round has to be filled up
SETTINGS = {"sft.residual_dropout": 0, "sft.micro_batch_size": 2, "sft.epochs": 3, "sft.checkpoints": 1, "sft.max_length": 96}
CONFIGURATIONS = PACKAGE / "resources" / "accelerate"


def arguments(out, rows, **more):
    given = [f"--set={name}={value}" for name, value in (SETTINGS | more).items()]
    return ["--profile", "smoke", "--data", str(rows), "--design", "from-now-on", "--out", str(out), *given]


def launch_options(kind):
    return ["--config_file", str(CONFIGURATIONS / f"{kind}.yaml"), "--num_processes=2", "--main_process_port=0",
            "-m", "selfprompt_lib.sft"]  # fmt: skip


def launch(kind, out, rows, dtype):
    """Two processes of `accelerate launch`, until they have ended."""
    command = [sys.executable, "-m", "accelerate.commands.launch", *launch_options(kind), *arguments(out, rows, dtype=dtype)]
    done = subprocess.run(command, text=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("tokens in the loss") == 1  # the audit is printed by the main process alone


def fork(kind, out, rows, dtype):
    """Two processes with the environment that `accelerate launch` gives, which need not load the libraries first."""
    options, _, _ = _validate_launch_command(launch_command_parser().parse_args(launch_options(kind)))
    given = prepare_multi_gpu_env(options) | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(get_free_port())}
    return [forked(train_as, str(rank), given, arguments(out, rows, dtype=dtype)) for rank in range(2)]


def train_as(rank, environment, given):
    os.environ |= environment | {"RANK": rank, "LOCAL_RANK": rank}
    torch.set_num_threads(1)
    sys.exit(main(given))


def kill_after_an_epoch(processes, out):
    alive = processes[0].is_alive
    while alive() and not list(out.glob("**/checkpoint-3/trainer_state.json")):
        time.sleep(0.05)
    assert alive(), "the run ended before it could be killed"
    for process in processes:
        process.kill()
        process.join()
    assert not list(out.glob("**/finished"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("rows") / "train.jsonl", [s.model_dump(mode="json") for s in SAMPLES])


@pytest.fixture(scope="module")
def runs(tmp_path_factory, rows):
    """The folders `sft` of runs: one process; two with DDP, killed and launched again; two with FSDP2.

    FSDP2 also computes in bfloat16, for it rounds weights itself: DDP is one process's computation, twice.
    """
    kinds = [("one", "float32"), ("ddp", "float32"), ("fsdp2", "float32"), ("one", "bfloat16"), ("fsdp2", "bfloat16")]
    folders = {(kind, dtype): tmp_path_factory.mktemp(f"{kind}-{dtype}") for kind, dtype in kinds}
    for (kind, dtype), folder in folders.items():
        if kind == "one":
            assert main(arguments(folder, rows, dtype=dtype)) == 0
        elif dtype == "bfloat16":
            processes = fork(kind, folder, rows, dtype)
            assert [process.join() or process.exitcode for process in processes] == [0, 0]
        else:
            if kind == "ddp":
                kill_after_an_epoch(fork(kind, folder, rows, dtype), folder)
            launch(kind, folder, rows, dtype)
    return {run: folder / "smoke" / "sft" for run, folder in folders.items()}


def record(folder):
    return json.loads((folder / "training.json").read_text())["self-prompt"]


@pytest.mark.parametrize("kind, parts, dtype, most", [
    ("ddp", 1, "float32", 1e-4),
    ("fsdp2", 2, "float32", 1e-4),
    ("fsdp2", 2, "bfloat16", 2e-3),
])  # fmt: skip
def test_two_processes_train_what_one_trains_killed_or_not(runs, kind, parts, dtype, most):
    one, two = record(runs["one", dtype]), record(runs[kind, dtype])
    assert (two["processes"], two["shards"]) == (2, parts)
    assert two["losses"] == pytest.approx(one["losses"], abs=most) and len(one["losses"]) == 9
    assert two["moved"] == pytest.approx(one["moved"][-len(two["moved"]) :], abs=1e-3)
    assert (two["tokens"], two["steps"]) == (one["tokens"], one["steps"])
    plain, weights = (load_file(runs[name, dtype] / "self-prompt" / "model.safetensors") for name in ("one", kind))
    start = load_file(Path(models.resolve("smoke")) / "model.safetensors")
    assert set(weights) == set(plain) == set(start)
    if dtype == "float32":
        assert max(float((weights[name] - plain[name]).abs().max()) for name in plain) < most
    assert distance(weights, plain) < 0.03 * distance(plain, start)  # AdamW makes whole steps of rounded gradients


def distance(one, other):
    return sum(float((one[name].float() - other[name].float()).square().sum()) for name in one) ** 0.5


@pytest.mark.parametrize("run", [("ddp", "float32"), ("fsdp2", "float32"), ("fsdp2", "bfloat16")], ids="-".join)
def test_the_saved_checkpoint_is_an_ordinary_one(runs, run):
    model = AutoModelForCausalLM.from_pretrained(runs[run] / "self-prompt")
    assert type(model).__name__ == "LlamaForCausalLM" and sum(p.numel() for p in model.parameters()) > 3e6
    assert model.dtype == getattr(torch, run[1])  # a finished run is saved in the profile's dtype
    kept = list(runs[run].glob("trainer/**/checkpoint-9/model.safetensors"))
    assert len(kept) == 1 and AutoModelForCausalLM.from_pretrained(kept[0].parent).dtype == torch.float32


@pytest.mark.parametrize("kind, dtype", [("one", "float32"), ("ddp", "float32"), ("fsdp2", "float32"), ("fsdp2", "bfloat16")])
def test_chapter_3_takes_the_finished_run_up_and_no_other(runs, kind, dtype, capsys):
    profile, design = profiles.load("smoke", SETTINGS | {"dtype": dtype}), get_design("from-now-on")
    folder = runs[kind, dtype]
    model, tokenizer, found = sft.train(profile, SAMPLES, design, folder / "trainer")
    assert "taken up" in capsys.readouterr().out and found == record(folder)
    sft.save_model(model, tokenizer, folder / "again")
    plain, weights = (load_file(folder / name / "model.safetensors") for name in ("self-prompt", "again"))
    assert all(bool((weights[name] == plain[name]).all()) for name in plain)
    for other in (SETTINGS | {"sft.epochs": 2}, SETTINGS | {"seed": 5}):
        home = folder / "trainer" / sft.run_name(profiles.load("smoke", other), SAMPLES, design)
        assert sft.read_finished_run(home) is None


def test_a_batch_that_does_not_come_out_even_is_refused(rows, tmp_path, monkeypatch, capsys):
    two_processes(monkeypatch)
    assert main(arguments(tmp_path, rows, **{"sft.batch_size": 6})) == 2
    assert "error: sft.micro_batch_size: 2 processes of 2 samples each do not divide sft.batch_size 6" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_steps_keep_their_samples_in_micro_batches_that_cost_alike():
    lengths, blank = [50, 10, 900, 20, 20, 80, 70, 30, 40, 60, 10], 11
    drawn = list(SeedableRandomSampler(range(11), data_seed=3))

    def sampler(rank=0, processes=1):
        order = SeedableRandomSampler(range(11), data_seed=3)
        return StepSampler(order, lengths, effective_batch_size=8, dp_size=processes, rank=rank, grad_accum=4 // processes)

    def rows(dealt):
        return sorted(row for micro_batch in dealt for row in micro_batch)

    dealt = list(sampler())
    assert len(sampler()) == len(dealt) == 6  # four of the first step, and two of the last, which has three samples
    assert rows(dealt[:4]) == sorted(drawn[:8]) and rows(dealt[4:]) == sorted(drawn[8:])
    with_longest = next(micro_batch for micro_batch in dealt if 2 in micro_batch)
    assert with_longest == [2] and max(map(len, dealt[:4])) > 2  # alone, so short ones are more than two
    four = [list(sampler(rank, processes=4)) for rank in range(4)]
    assert [len(each) for each in four] == [2] * 4 == [len(sampler(processes=4))] * 4
    assert rows(each[0] for each in four) == sorted(drawn[:8])
    assert rows(each[1] for each in four) == [*sorted(drawn[8:]), blank]  # three samples for four processes
    other = sampler()
    other.set_epoch(1)
    assert rows(other) == list(range(11)) and list(other) != dealt
    assert len(StepSampler(range(8), [1] * 8, effective_batch_size=4, dp_size=1, grad_accum=2)) == 4


def test_missing_rows_are_refused_with_the_mend(capsys, tmp_path):
    assert main(["--profile", "smoke", "--out", str(tmp_path)]) == 2
    mend = f"run chapter 1 first: python -m selfprompt_lib run --profile smoke --out {tmp_path} --only 1"
    assert mend in capsys.readouterr().err
    assert main(["--profile", "smoke", "--data", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl: missing; give a file of samples" in capsys.readouterr().err


def test_a_dry_run_states_the_cost_and_trains_nothing(capsys, rows, tmp_path):
    assert main([*arguments(tmp_path, rows), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("tokens in the loss", "optimizer steps", "memory planned, GB"))
    assert not list(tmp_path.iterdir())


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert all(option in said for action in parser()._actions for option in action.option_strings)


def test_the_plan_of_memory_for_each_option():
    mistral = AutoConfig.for_model("mistral")  # its defaults are Mistral-7B's shape
    table = sft.plan_table(mistral, profiles.load("mistral-7b"))
    whole, eight, lora = table.loc["full, AdamW"], table.loc["full, 8-bit AdamW"], table.loc["LoRA, rank 16"]
    assert whole.weights + whole.gradients + whole.optimizer == pytest.approx(16 * 7.2417, abs=0.1)
    assert eight.optimizer < whole.optimizer / 3 and lora.gradients < 0.2 and lora["24 GB card"]
    split = table.loc["full, 4 cards, FSDP2"]
    assert split.optimizer == pytest.approx(whole.optimizer / 4, abs=0.01) and split["80 GB card"] and not whole["80 GB card"]
    plain = sft.memory_plan(mistral, profiles.load("mistral-7b", {"sft.gradient_checkpointing": False}))
    assert eight["80 GB card"] and profiles.load("mistral-7b").sft.optimizer == "adamw_8bit"
    assert plain["copies"] == pytest.approx(2 * 7.2417, abs=0.01) and whole.copies == 0


def test_the_page_shows_the_plan():
    page = (PACKAGE.parent / "book" / "cards.md").read_text()
    table = sft.plan_table(AutoConfig.for_model("mistral"), profiles.load("mistral-7b"))
    for option, row in zip(table.index, table.astype(object).to_numpy().tolist(), strict=True):
        cells = [("fits" if value else "–") if isinstance(value, bool) else f"{value:.1f}" for value in row]
        assert f"| {option} | {' | '.join(cells)} |" in page


def test_the_card_script_measures_at_tiny_size(tmp_path):
    out = tmp_path / "card.json"
    script = Path(__file__).parent / "bench" / "card.py"
    subprocess.run([sys.executable, script, "--shape", "tiny", "--steps", "3", "--out", out], check=True, capture_output=True)
    result = json.loads(out.read_text())
    assert [row["settings"] for row in result["training"]] == ["ours", "TRL's defaults"]
    for row in result["training"]:  # on a busy machine the rate that is shared may be measured too low
        assert row["tokens a second"] > 0 and row["share of the product rate"] > 0
    assert {row["samples a step"] for row in result["training"]} == {8} and "ours" in out.with_suffix(".md").read_text()
