"""Trainings on disk: their names, finished runs that need not be trained again, and kept epochs."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .. import infer, models, stats
from ..designs import Design
from ..files import write_json
from ..profiles import Profile
from ..provenance import PACKAGE, describe
from ..rows import Question, Sample

FINISHED, RECORD = "finished", "run.json"


def run_name(profile: Profile, samples: Sequence[Sample], design: Design) -> str:
    """A short name for all that shapes a training: model, seed, recipe, design, samples and code.

    The number of processes is not part of it: they train one model together.
    """
    settings = profile.sft.model_dump(exclude={"seeds", "checkpoints"})
    recipe = [models.identity(profile.model), profile.dtype, profile.seed, settings, design.name,
              design.template, _code_digest()]
    rows = [sample.model_dump(mode="json") for sample in samples]
    digest = hashlib.sha256(json.dumps([recipe, rows]).encode()).hexdigest()
    return f"{design.name}-{digest[:12]}"


def _code_digest() -> str:
    """A digest of the code that shapes a training: sft, the loading of models, the designs."""
    files = [*sorted((PACKAGE / "sft").glob("*.py")), PACKAGE / "models.py", PACKAGE / "designs.py"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def save_model(model, tokenizer, folder: Path) -> None:
    """Save as an ordinary checkpoint folder, which any tool of the field can load (chapter 3)."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def read_finished_run(run: Path) -> dict[str, Any] | None:
    """The record of a finished run, as `train` returns it; None where there is none."""
    path = run / FINISHED / RECORD
    return json.loads(path.read_text(encoding="utf-8"))["record"] if path.is_file() else None


def save_finished_run(accelerator, model, tokenizer, record: dict[str, Any], run: Path,
                      profile: Profile) -> None:
    """Write a finished run as an ordinary checkpoint folder with `run.json`, whole or not at all.

    All processes take part, because each may hold a part of the weights; the main one writes.
    """
    weights = accelerator.get_state_dict(model)
    if model.config.get_text_config().tie_word_embeddings:  # gathered shards name them twice
        tied = model.all_tied_weights_keys
        weights = {name: weight for name, weight in weights.items() if name not in tied}
    if accelerator.is_main_process:
        partial = run / f"{FINISHED}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        model.save_pretrained(partial, state_dict=weights)
        tokenizer.save_pretrained(partial)
        write_json(partial / RECORD, {"record": record, "provenance": describe(profile)})
        shutil.rmtree(run / FINISHED, ignore_errors=True)
        partial.rename(run / FINISHED)
    accelerator.wait_for_everyone()


def copy_finished_run(run: Path, destination: Path) -> None:
    """Put a finished run's checkpoint, with its record, where other chapters look for it."""
    shutil.rmtree(destination, ignore_errors=True)
    shutil.copytree(run / FINISHED, destination)


def throughput_text(record: dict[str, Any]) -> str:
    """The tokens and seconds of a training, and its tokens a second, as a line (chapter 3)."""
    tokens, seconds = record["tokens"], record["seconds"]
    return f"{tokens} tokens in {seconds} s: {tokens / seconds:.0f} tokens a second"


def training_metrics(records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What chapter 3 reports of the models it compares, from their records by name."""
    first = next(iter(records.values()))  # samples and steps are the same in all
    return {
        "samples": first["samples"],
        "steps": first["steps"],
        "tokens": {name: record["tokens"] for name, record in records.items()},
        "seconds": {name: record["seconds"] for name, record in records.items()},
        "last_loss": {name: record["losses"][-1] for name, record in records.items()},
    }


def list_checkpoints(run: Path) -> list[Path]:
    """The checkpoint folders of a run, first epoch first."""
    return sorted(run.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))


def epoch_comparison(profile: Profile, run: Path, design: Design,
                     questions: Sequence[Question]) -> pd.DataFrame:
    """A row a kept epoch: loss on samples not trained on, rate of roles in replies (chapter 3).

    Nothing is picked: LIMA's authors saw held-out loss rise while answers became better (arXiv
    2305.11206, appendix B), so the lowest loss would choose wrongly.

    Returns:
        Columns epoch, loss (nats a token), rate, low, high (Wilson, 95%), n and checkpoint; empty
        where no epoch was kept.
    """
    rows = []
    for path in list_checkpoints(run):
        state = json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        losses = [entry["eval_loss"] for entry in state["log_history"] if "eval_loss" in entry]
        epoch = round(state["epoch"])
        loaded = models.load(str(path), profile.dtype)
        replies = infer.ask_questions(*loaded, profile, design, questions, label=f"epoch {epoch}")
        wrote = stats.rate([infer.wrote_role(row) for row in replies])
        rows.append({"epoch": epoch, "loss": losses[-1] if losses else float("nan"),
                     "rate": wrote.value, "low": wrote.low, "high": wrote.high, "n": wrote.n,
                     "checkpoint": path.name})
    return pd.DataFrame(rows)
