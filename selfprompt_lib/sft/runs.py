"""Trainings on disk: their names, finished runs that need not be trained again, and kept epochs."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .. import infer, models
from ..checkpoints import file_fault, told_saving, weight_files
from ..designs import Design
from ..digests import PACKAGE, code_digest, text_digest
from ..files import copy_folder, make_writable, write_json
from ..models import TEMPLATES
from ..profiles import Profile
from ..provenance import describe
from ..rows import Question, Sample
from .conversation import to_messages
from .trainer import this_process

FINISHED, PARTIAL, RECORD = "finished", "finished.partial", "run.json"
SHARDS = "shards"  # where the checkpoints of a training on several cards lie, each in its parts


def run_name(profile: Profile, samples: Sequence[Sample], design: Design) -> str:
    """A short name for all that shapes a training: model, seed, recipe, design, messages and code.

    The number of processes is not part of it: they train one model together. Of the samples it is
    what is trained on: roles that a design does not write change nothing.
    """
    settings = profile.sft.model_dump(exclude={"seeds", "checkpoints", "neutral"})
    code = [*sorted((PACKAGE / "sft").glob("*.py")), PACKAGE / "models.py", PACKAGE / "designs.py"]
    templates = [path.read_text(encoding="utf-8") for path in sorted(TEMPLATES.glob("*.jinja"))
                 if path.name in ("base.jinja", "smollm2_training.jinja")]
    recipe = [models.identity(profile.model)["digest"], profile.dtype,
              os.environ.get("SELFPROMPT_BF16"), profile.seed, settings, design.name,
              code_digest(*code), templates]
    messages = [to_messages(sample, design) for sample in samples]
    return f"{design.name}-{text_digest([recipe, messages])[:12]}"


def save_model(model, tokenizer, folder: Path, **weights: Any) -> None:
    """Save as an ordinary checkpoint folder, which any tool of the field can load (chapter 3).

    Raises:
        UserError: it cannot be written.
    """
    with told_saving(folder):
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder, **weights)
        tokenizer.save_pretrained(folder)


def try_saving(model, tokenizer, run: Path) -> None:
    """Save the untrained model where the trained one will be written, and leave it there.

    What cannot be saved is found before the first step, and room on the disk stays taken.
    """
    if this_process().is_main_process:
        make_writable(run)
        save_model(model, tokenizer, run / PARTIAL)


def read_finished_run(run: Path) -> dict[str, Any] | None:
    """The record of a finished run, as `train` returns it; None where there is no whole one."""
    files = weight_files(run / FINISHED)
    if not files or any(map(file_fault, [run / FINISHED / RECORD, *files])):
        return None
    return json.loads((run / FINISHED / RECORD).read_text(encoding="utf-8"))["record"]


def reusable_run(run: Path, profile: Profile) -> dict[str, Any] | None:
    """The record of a finished run that has as many checkpoints as the profile keeps, else None."""
    return read_finished_run(run) if has_checkpoints(run, profile) else None


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
        save_model(model, tokenizer, run / PARTIAL, state_dict=weights)
        write_json(run / PARTIAL / RECORD, {"record": record, "provenance": describe(profile)})
        shutil.rmtree(run / FINISHED, ignore_errors=True)  # a damaged one
        (run / PARTIAL).rename(run / FINISHED)
    accelerator.wait_for_everyone()


def copy_finished_run(run: Path, destination: Path) -> None:
    """Put a finished run's checkpoint, with its record, where other chapters look for it."""
    with told_saving(destination):
        copy_folder(run / FINISHED, destination)


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


def report_text(metrics: dict[str, Any], replies: dict[str, Sequence[dict]], asked: int) -> str:
    """What chapter 3 found, as Markdown.

    Args:
        metrics: of `training_metrics`, with `probe_roles`: how often the model wrote a role.
        replies: of each model, by name, to the same unseen questions.
        asked: the number of questions that chapter 4 asks.
    """
    wrote = {name: sum(map(infer.wrote_role, rows)) for name, rows in replies.items()}
    count = len(replies["self-prompt"])
    return (
        f"After {metrics['steps']} optimizer steps on {metrics['samples']} samples, the "
        f"self-prompt model began {wrote['self-prompt']} of {count} unseen questions with a role "
        f"and went on to an answer; the baseline {wrote['baseline']}, the base model "
        f"{wrote['base']}. So few questions say little of the rate (95% Wilson interval: "
        f"{metrics['probe_roles']}). The next chapter asks {asked}."
    )


def list_checkpoints(run: Path) -> list[Path]:
    """The whole checkpoint folders of a run, first epoch first."""
    return [path for path in _checkpoint_folders(run) if not checkpoint_fault(path)]


def checkpoint_count(run: Path) -> int:
    """How many checkpoints a run has kept, whether one card trained it or several."""
    return sum(len(_checkpoint_folders(place)) for place in (run, run / SHARDS))


def has_checkpoints(run: Path, profile: Profile) -> bool:
    """Whether a finished run has kept as many checkpoints as the profile wants."""
    return checkpoint_count(run) >= min(profile.sft.checkpoints, int(profile.sft.epochs))


def drop_checkpoints(run: Path) -> None:
    """Take away all checkpoints, so that a training begins at its first step."""
    if this_process().is_main_process:
        for path in (*_checkpoint_folders(run), run / SHARDS):
            shutil.rmtree(path, ignore_errors=True)
    this_process().wait_for_everyone()


def last_checkpoint(run: Path) -> str | None:
    """The last whole checkpoint, to go on from; torn ones, which a kill leaves, are taken away."""
    for path in _checkpoint_folders(run):
        if this_process().is_main_process and (fault := checkpoint_fault(path)):
            print(f"{path}: not used: {fault}")
            shutil.rmtree(path)
    this_process().wait_for_everyone()
    whole = list_checkpoints(run)
    return str(whole[-1]) if whole else None


def _checkpoint_folders(run: Path) -> list[Path]:
    found = [path for path in run.glob("checkpoint-*") if path.name[11:].isdecimal()]
    return sorted(found, key=lambda path: int(path.name[11:]))


def checkpoint_fault(folder: Path) -> str:
    """Why a trainer's checkpoint cannot be gone on from; empty where it is whole.

    The trainer writes no mark of its own, so each file is looked at: its header and its end.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if fault := file_fault(path):
            return f"{path.name}: {fault}"
    shards = [path.parent.name for path in folder.glob("*/.metadata")]  # FSDP2's, written last
    needed = {"trainer_state.json": "trainer_state.json", "scheduler": "scheduler.pt",
              "optimizer": "optimizer*", "random numbers": "rng_state*.pth"}
    lacking = [what for what, pattern in needed.items() if not list(folder.glob(pattern))]
    if not shards:
        files = weight_files(folder)
        lacking += [path.name for path in files if not path.is_file()] or ["weights"] * (not files)
    elif len(shards) < len([path for path in folder.iterdir() if path.is_dir()]):
        lacking.append("the list of a part's pieces")
    return f"half-written (no {', '.join(lacking)})" if lacking else ""


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
        rows.append({"epoch": epoch, "loss": losses[-1] if losses else float("nan"),
                     **infer.rate_of_roles(replies).columns("rate"), "checkpoint": path.name})
    return pd.DataFrame(rows)
