"""Speed of fine-tuning on this machine, beside TRL's own command and the machine's limit (chapter 3).

`python tests/bench/sft.py` trains SmolLM2-135M on 48 starter samples, and with `--mirror FOLDER` on 48 rows of LIMA
instead, in processes of their own, and prints a table: real tokens a second (padding not counted), the ratio to
`trl sft` with its defaults, and the share of the limit, which is the machine's rate of matrix products, measured
before and after each run, divided by 6 x parameters.

Our stage runs with glibc's allocator, and once more with TCMalloc where the system has it. Where the processor has no
bfloat16 multiplication, TRL's default of bf16 is very slow, so `trl sft --bf16 false` stands beside it. Both peers are
timed on their first steps only (`--peer-steps`); our stage trains all rows.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from fragment import report, spread

from selfprompt_lib import models, profiles, sft, sources
from selfprompt_lib.designs import get_design
from selfprompt_lib.pipeline.notebooks import GLIBC, training_environment
from selfprompt_lib.provenance import peak_memory_gb
from selfprompt_lib.sft.memory import matmul_rate, parameter_counts

ROWS, LENGTH, BATCH = 48, 1024, 8  # the last two are TRL's defaults
MICRO_BATCHES = ", micro-batches of "


def profile_of(data: str, mirror: str | None, dtype: str = "auto", rows: int = 2, epochs: int = 1) -> profiles.Profile:
    """TRL's default recipe in a profile, so that both train the same; only what makes it fast differs.

    Args:
        rows: in a micro-batch; by default two, as the profile has it.
    """
    return profiles.load("cpu", {
        "data.train": data, "data.mirror": mirror, "dtype": dtype, "sft.epochs": epochs, "sft.batch_size": BATCH,
        "sft.micro_batch_size": rows,
        "sft.learning_rate": 2e-5, "sft.final_learning_rate": 0.0, "sft.weight_decay": 0.0, "sft.max_length": LENGTH})


def training_rows(profile: profiles.Profile):
    """48 rows whose question leaves room for an answer, and their design: with the role where the data has roles."""
    samples = [sample for sample in sources.training_samples(profile) if len(sample.conversations[0]) < 3 * LENGTH]
    samples = sources.take_evenly_spaced(samples, ROWS)
    return samples, get_design("from-now-on" if samples[0].role else "none")


def limit() -> float:
    """Tokens a second if the machine did nothing but the products of training, in the faster of two precisions.

    Measured for five seconds: many processors are faster than that in the first second after a rest.
    """
    fast = max((torch.float32, torch.bfloat16), key=matmul_rate)
    return matmul_rate(fast, 5) / (6 * weights())


def ours(data: str, mirror: str | None, dtype: str, rows: str, epochs: str, folder: str) -> None:
    """In a process of its own: train all rows and print what the table needs."""
    profile = profile_of(data, mirror, dtype, int(rows), int(epochs))
    _, _, record = sft.train(profile, *training_rows(profile), Path(folder))
    print(json.dumps({"tokens": record["tokens"], "seconds": record["seconds"], "loss": record["losses"][-1],
                      "peak": peak_memory_gb()}))


def peer(rows: Path, steps: int, folder: str, *more: str) -> dict[str, float]:
    """`trl sft` with its defaults for so many steps; what it logged itself."""
    command = [Path(sys.executable).with_name("trl"), "sft", "--model_name_or_path", models.resolve(models.STARTER),
               "--dataset_name", rows, "--use_cpu", "true", "--output_dir", folder, "--max_steps", steps, "--logging_steps", 1,
               "--report_to", "none", "--save_strategy", "no", *more]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    logged = dict(re.findall(r"'(num_tokens|train_runtime)': '?([\d.e+]+)", done.stdout + done.stderr))
    return {"tokens": float(logged["num_tokens"]), "seconds": float(logged["train_runtime"])}


def measure(name: str, data: str, mirror: str | None, rows: Path, steps: int, epochs: int) -> dict[str, float]:
    """One run between two measurements of the limit."""
    before = limit()
    with tempfile.TemporaryDirectory() as folder:
        if name.startswith("trl"):
            found = peer(rows, steps, folder, *name.split()[2:])
        else:
            dtype = "float32" if "float32" in name else "auto"
            allocator = training_environment() if "TCMalloc" in name else GLIBC
            together = name.partition(MICRO_BATCHES)[2] or "2"
            command = [sys.executable, __file__, "ours", data, mirror or "", dtype, together, str(epochs), folder]
            done = subprocess.run(command, check=True, stderr=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, text=True, env=os.environ | allocator)
            found = json.loads(done.stdout.splitlines()[-1])
    speed, most = found["tokens"] / found["seconds"], (before + limit()) / 2
    return found | {"speed": speed, "limit": most, "share": speed / most}


def weights() -> int:
    """Parameters of the starter model."""
    from transformers import AutoConfig

    return parameter_counts(AutoConfig.from_pretrained(models.resolve(models.STARTER)))["model"]


def table(data: str, mirror: str | None, options: argparse.Namespace) -> tuple[str, list[dict[str, str]]]:
    """Run every method `--repeat` times in turn: a caption, and a row a method with medians and ranges."""
    samples, design = training_rows(profile_of(data, mirror))
    fast = models.dtype_for("auto") == torch.bfloat16
    runs = {"trl sft": [], **({} if fast else {"trl sft --bf16 false": []}), "our stage": []}
    if "LD_PRELOAD" in training_environment():
        runs["our stage, TCMalloc"] = []
    runs |= {f"our stage{MICRO_BATCHES}{together}": [] for together in options.micro_batches}
    with tempfile.TemporaryDirectory() as rows:
        lines = [json.dumps({"messages": sft.to_messages(sample, design)}) + "\n" for sample in samples]
        Path(rows, "train.jsonl").write_text("".join(lines), encoding="utf-8")
        for turn in range(options.repeat):
            for name, found in runs.items():
                if name != "trl sft" or fast or turn < options.slow_repeat:
                    found.append(measure(name, data, mirror, Path(rows), options.peer_steps, options.epochs))
                    print(f"{data}: {name}, run {turn + 1}: {found[-1]}", flush=True)
        reference = measure("our stage, float32", data, mirror, Path(rows), 0, options.epochs) if fast else runs["our stage"][-1]
    times = "" if options.epochs == 1 else f", {options.epochs} times"
    caption = f"{len(samples)} rows of {data}{times}, {int(runs['our stage'][0]['tokens']):,} tokens"
    last = runs["our stage"][-1]["loss"]
    caption += f"; last loss {last:.4f}" + (f", in float32 {reference['loss']:.4f}" if fast else ", computed in float32")
    runs = {name: found for name, found in runs.items() if found}
    return caption, [row(name, runs) for name in runs]


def row(name: str, runs: dict[str, list[dict[str, float]]]) -> dict[str, str]:
    """A method's line of the table, with its ratio to each peer that was run."""
    middle = {peer: statistics.median(run["speed"] for run in found) for peer, found in runs.items()}
    ratios = {f"times `{peer}`": f"{middle[name] / middle[peer]:.1f}" for peer in runs if peer.startswith("trl")}
    return {"": f"`{name}`" if name.startswith("trl") else name,
            "real tokens a second": spread([run["speed"] for run in runs[name]]), **ratios,
            "limit": spread([run["limit"] for run in runs[name]]),
            "share of the limit": spread([run["share"] for run in runs[name]], ".0%"),
            "peak memory, GiB": f"{max(run.get('peak', 0) for run in runs[name]) or '–'}", "runs": str(len(runs[name]))}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--mirror", help="a folder in the hub's layout that holds LIMA, to train on")
    options.add_argument("--repeat", type=int, default=3, help="runs of each method (default: 3)")
    options.add_argument("--slow-repeat", type=int, default=1, help="runs of trl sft where bf16 is imitated (default: 1)")
    options.add_argument("--micro-batches", type=int, nargs="*", default=[], metavar="ROWS",
                         help="train with micro-batches of so many rows, too, such as 1 4 8")
    options.add_argument("--epochs", type=int, default=1, help="how often our stage trains all rows (default: 1)")
    options.add_argument("--peer-steps", type=int, default=1, help="steps of 8 rows that trl sft is timed on (default: 1)")
    options.add_argument("--out", type=Path, help="also write the tables as a fragment of the book")
    options = options.parse_args()
    caption, rows = table("GAIR/lima" if options.mirror else "starter", options.mirror, options)
    report(caption, rows, options.out)


if __name__ == "__main__":
    if sys.argv[1:2] == ["ours"]:
        ours(sys.argv[2], sys.argv[3] or None, *sys.argv[4:])
    else:
        main()
