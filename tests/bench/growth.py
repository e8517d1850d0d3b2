"""What ten times as many rows cost: annotation, training, asking, scoring and statistics (chapters 1 and 3 to 5).

`python tests/bench/growth.py` does each once with few rows and once with ten times as many, after one pass that does not count,
and prints seconds and their ratio. Ten is what a cost that grows with the rows alone would show; more means that something else
grows. Models are SmolLM2-135M; the annotator is asked through a server on this machine that replies after a fixed time.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import annotate
import pandas as pd
from fragment import report

from selfprompt_lib import models, profiles, sft, sources
from selfprompt_lib.decoding import Request
from selfprompt_lib.designs import get_design
from selfprompt_lib.evaluate import all_contrasts, all_sizes, gate
from selfprompt_lib.evaluate.likelihood import encode_pairs, score_ids
from selfprompt_lib.generate import encode_prefill, generate_ids, prompt_text
from selfprompt_lib.rows import STARTER_FOLDER, Sample, read_rows

TIMES = 10
KEPT = Path(__file__).parents[2] / "book" / "measured" / "likelihood" / "likelihoods.parquet"


def annotating(folder: Path) -> tuple[int, Callable[[int], float]]:
    """Roles asked for by the command, in a process of its own: seconds of asking, without its start."""
    return 1000, lambda rows: annotate.measure("ours", rows, 0.02, folder)["asking"]


def training(folder: Path) -> tuple[int, Callable[[int], float]]:
    """Chapter 3's training, steps alone."""
    profile = profiles.load("cpu")
    samples, design, runs = read_rows(STARTER_FOLDER / "train.jsonl", Sample), get_design("from-now-on"), itertools.count()

    def train(rows: int) -> float:
        part = sources.take_evenly_spaced(samples, rows)
        return sft.train(profile, part, design, folder / str(next(runs)))[2]["seconds"]

    return 16, train


def asking(_: Path) -> tuple[int, Callable[[int], float]]:
    """Replies of 32 tokens, as chapters 4 to 6 write them."""
    model, tokenizer = models.load(models.STARTER)
    samples = read_rows(STARTER_FOLDER / "train.jsonl", Sample)
    prompts = [encode_prefill(tokenizer, prompt_text(tokenizer, sample.question)) for sample in samples]
    prompts = sorted(prompts, key=len)[:160]

    def ask(rows: int) -> float:
        some = sources.take_evenly_spaced(prompts, rows)
        requests = [Request(prompt, 32) for prompt in some]
        return timed(lambda: generate_ids(model, requests, batch_size=16))

    return 16, ask


def scoring(_: Path) -> tuple[int, Callable[[int], float]]:
    """Likelihoods of answers behind their questions."""
    model, tokenizer = models.load(models.STARTER)
    samples = read_rows(STARTER_FOLDER / "train.jsonl", Sample)
    contexts = [prompt_text(tokenizer, sample.question) for sample in samples]
    pairs = encode_pairs(tokenizer, contexts, [sample.conversations[1] for sample in samples])
    pairs = sorted(((context[-256:], text[:256]) for context, text in pairs), key=lambda pair: len(pair[0]) + len(pair[1]))[:160]
    return 16, lambda rows: timed(lambda: score_ids(model, sources.take_evenly_spaced(pairs, rows)))


def deciding(_: Path) -> tuple[int, Callable[[int], float]]:
    """Chapter 5's gate, contrasts and sizes, of the kept study's table: with more items in each task."""
    table = pd.read_parquet(KEPT)

    def decide(rows: int) -> float:
        copies = [table.assign(item=table.item + f"-{number}") for number in range(rows // len(table))]
        more = pd.concat(copies, ignore_index=True)

        def work() -> None:
            gates = gate(more)
            all_contrasts(more, gates)
            all_sizes(more, gates)

        return timed(work)

    return len(table), decide


def timed(work: Callable) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


WORK = {"annotation": annotating, "training": training, "asking": asking, "scoring": scoring, "statistics": deciding}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=1, help="runs of each size; the median counts (default: 1)")
    parser.add_argument("--out", type=Path, help="also write the table as a fragment of the book")
    asked = parser.parse_args()
    table = []
    for name, prepare in WORK.items():
        with tempfile.TemporaryDirectory() as folder:
            rows, work = prepare(Path(folder))
            work(rows)  # the first pass is slower
            few, many = (statistics.median(work(count) for _ in range(asked.repeat)) for count in (rows, TIMES * rows))
        table.append({"": name, "rows": f"{rows:,}", "seconds": f"{few:.1f}", "ten times as many, seconds": f"{many:.1f}",
                      "ratio": f"{many / few:.1f}"})
    precision = str(models.dtype_for("auto")).removeprefix("torch.")
    report(f"What ten times as many rows cost, in {precision}; median of {asked.repeat}", table, asked.out)


if __name__ == "__main__":
    main()
