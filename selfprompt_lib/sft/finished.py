"""Finished runs: the trained model and its record, kept under the run's name and taken up instead of training again."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from .. import models
from ..files import write_json
from ..pipeline.provenance import PACKAGE, describe
from ..profiles import Profile
from . import processes

NAME, RECORD = "finished", "run.json"


def take_up(folder: Path, profile: Profile) -> tuple[Any, Any, dict[str, Any]] | None:
    """The model, tokenizer and record of a finished run; None where the run in `folder` is not finished."""
    record = finished(folder)
    if record is None:
        return None
    if processes.is_main():
        print(f"taken up: this training is finished ({record['steps']} steps), {folder.name}")
    return *models.load(str(folder / NAME), profile.dtype), record


def finished(folder: Path) -> dict[str, Any] | None:
    """The record of a finished run, as `train` returns it; None where there is none."""
    path = folder / NAME / RECORD
    return json.loads(path.read_text(encoding="utf-8"))["record"] if path.is_file() else None


def keep(accelerator, model, tokenizer, record: dict[str, Any], folder: Path, profile: Profile) -> None:
    """Write a finished run as an ordinary checkpoint folder with `run.json`, whole or not at all.

    All processes take part, because each may hold a part of the weights; the main one writes.
    """
    weights = accelerator.get_state_dict(model)
    if model.config.get_text_config().tie_word_embeddings:  # gathered shards name them twice
        weights = {name: weight for name, weight in weights.items() if name not in model.all_tied_weights_keys}
    if accelerator.is_main_process:
        partial = folder / f"{NAME}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        model.save_pretrained(partial, state_dict=weights)
        tokenizer.save_pretrained(partial)
        write_json(partial / RECORD, {"record": record, "provenance": describe(profile)})
        shutil.rmtree(folder / NAME, ignore_errors=True)
        partial.rename(folder / NAME)
    accelerator.wait_for_everyone()


def copy(folder: Path, destination: Path) -> None:
    """Put a finished run's checkpoint, with its record, where other chapters look for it."""
    shutil.rmtree(destination, ignore_errors=True)
    shutil.copytree(folder / NAME, destination)


def code_digest() -> str:
    """A digest of the code that shapes a training: of this room, the loading of models, the designs."""
    files = [*sorted((PACKAGE / "sft").glob("*.py")), PACKAGE / "models.py", PACKAGE / "designs.py"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
