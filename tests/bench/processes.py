"""One process against two, with DDP and FSDP2, on a CPU: the largest difference of the loss curves (chapter 3).

`python tests/bench/processes.py` trains SmolLM2-135M for a few steps on short starter rows and prints a table.
Dropout is 0, because processes draw different masks. `--profile smoke` takes the toy model.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors.torch import load_file

from selfprompt_lib.files import write_rows
from selfprompt_lib.provenance import PACKAGE
from selfprompt_lib.rows import STARTER_FOLDER, Sample, read_rows

SETTINGS = {"sft.batch_size": 4, "sft.micro_batch_size": 1, "sft.max_length": 192, "sft.learning_rate": 1e-4,
            "sft.final_learning_rate": 1e-5, "sft.residual_dropout": 0, "dtype": "float32"}


def train(kind: str, profile: str, rows: Path, out: Path) -> tuple[dict, dict, float]:
    """One training in processes of its own: its record, its weights, and its seconds."""
    launch = ["-m", "accelerate.commands.launch", "--config_file", PACKAGE / "resources" / "accelerate" / f"{kind}.yaml",
              "--num_processes", "2", "--main_process_port", "0"]
    command = [sys.executable, *(launch if kind != "one process" else []), "-m", "selfprompt_lib.sft", "--profile", profile,
               "--data", rows, "--design", "from-now-on", "--out", out, *(f"--set={k}={v}" for k, v in SETTINGS.items())]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    took, folder = time.perf_counter() - began, out / profile / "sft"
    record = json.loads((folder / "training.json").read_text())["self-prompt"]
    return record, load_file(folder / "self-prompt" / "model.safetensors"), took


def main() -> None:
    """Train three times and print how far the two are from the one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--profile", default="cpu", choices=("cpu", "smoke"))
    parser.add_argument("--rows", type=int, default=9)
    parser.add_argument("--kinds", nargs="+", default=("ddp", "fsdp2"), choices=("ddp", "fsdp2"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        starter = read_rows(STARTER_FOLDER / "train.jsonl", Sample)
        short = sorted(starter, key=lambda s: sum(map(len, s.conversations)))[: given.rows]
        rows = write_rows(Path(work) / "rows.jsonl", short)
        for kind in ("one process", *given.kinds):
            record, weights, seconds = train(kind, given.profile, rows, Path(work) / kind)
            if kind == "one process":
                one, plain = record, weights
            loss = max(abs(a - b) for a, b in zip(record["losses"], one["losses"], strict=True))
            weight = max(float((weights[name] - plain[name]).abs().max()) for name in plain)
            first, last = record["losses"][0], record["losses"][-1]
            print(f"{kind:<12} {record['steps']} steps, weights in {record['shards']} parts, {seconds:5.1f} s; losses "
                  f"{first:.4f} … {last:.4f}; farthest: loss {loss:.1e}, weight {weight:.1e}", flush=True)


if __name__ == "__main__":
    main()
