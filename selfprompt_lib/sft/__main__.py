"""Chapter 3's training alone, on one card or many: `accelerate launch -m selfprompt_lib.sft --profile mistral-7b`."""

import argparse
import sys
import time
from pathlib import Path

import datasets
from transformers import logging

from .. import models, profiles, sft, sources
from ..designs import DESIGNS, Design, get_design
from ..errors import UserError, require
from ..files import write_json
from ..pipeline.stage import run_folder, writable
from ..profiles import Profile
from ..rows import Sample, read_rows
from . import processes
from .train import identity

PLACES = {"none": "baseline"}  # the others lie under their own name; the profile's design under self-prompt


def parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    top = argparse.ArgumentParser(prog="python -m selfprompt_lib.sft",
                                  description="Fine-tune as chapter 3 does, on any number of cards")
    profiles.add_arguments(top, run=True)
    top.add_argument("--data", type=Path, metavar="FILE", help="JSONL file of samples (chapter 1's training rows without it)")
    top.add_argument("--design", action="append", choices=list(DESIGNS), help="what to train; may be repeated "
                     "(the profile's design and none without it)")
    top.add_argument("--dry-run", action="store_true", help="say what would be trained and what it needs; train nothing")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Train; returns the exit status (2 for an error that the user can mend, said by the main process alone)."""
    given = parser().parse_args(arguments)
    try:
        return _run(given)
    except UserError as error:
        if not processes.is_main():
            time.sleep(10)  # the launcher ends all processes as soon as one ends: the main one speaks first
        else:
            print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if processes.is_main():
            print("stopped; finished epochs are kept where sft.checkpoints is set, run again to go on", file=sys.stderr)
        return 130


def _run(given: argparse.Namespace) -> int:
    if not processes.is_main():
        datasets.disable_progress_bars()
        logging.disable_progress_bar()
    profile = profiles.load(given.profile, profiles.parse_settings(given.set), given.seed)
    processes.accumulation(profile.sft)
    root = run_folder(Path(given.out).expanduser().absolute(), profile.name)
    samples = _samples(given, root, profile)
    designs = [get_design(name) for name in given.design or (profile.design, "none")]
    with processes.join().local_main_process_first():
        models.resolve(profile.model)
    runs = [(one, design) for one in sft.seeds(profile) for design in designs]
    for one, design in runs:
        _state(one, samples, design, root / "sft" / "trainer")
    if not given.dry_run:
        writable(root / "sft")
        curves = {place(design, one, profile.seed): _train(one, samples, design, root / "sft", profile.seed)
                  for one, design in runs}
        if processes.is_main():
            print(write_json(root / "sft" / "training.json", curves))
    processes.join().destroy_process_group()
    return 0


def place(design: Design, profile: Profile, first: int) -> str:
    """The folder in `<out>/<profile>/sft/` that chapter 3 gives to a design's model; `first` is the first seed."""
    name = "self-prompt" if design.name == profile.design else PLACES.get(design.name, design.name)
    return name if profile.seed == first else f"{name}-seed{profile.seed}"


def _samples(given: argparse.Namespace, root: Path, profile: Profile) -> list[Sample]:
    path = given.data or root / "annotate" / "train.jsonl"
    again = f"python -m selfprompt_lib run --profile {profile.name} --out {given.out} --only 1"
    require(path.is_file(), f"{path}: missing; " + ("give a JSONL file of samples with --data" if given.data else
                                                    f"run chapter 1 first: {again}"))
    return read_rows(path, Sample)


def _state(profile: Profile, samples: list[Sample], design: Design, folder: Path) -> None:
    """What a training is and needs, before it starts; printed once."""
    model, tokenizer = models.shape(profile.model)
    found = sft.preflight(profile, samples, design, model, tokenizer)
    if processes.is_main():
        done = sft.finished(folder / identity(profile, samples, design))
        print(f"design {design.name}, seed {profile.seed}" + (": already trained" if done else ""))
        print(found[["check", "value"]].to_string(index=False, header=False), flush=True)


def _train(profile: Profile, samples: list[Sample], design: Design, folder: Path, first: int) -> dict:
    """One training, unless it is finished; the main process also puts the model where chapter 3 does."""
    home = folder / "trainer" / identity(profile, samples, design)
    aside = sources.held_out(profile, samples) if design.writes_role else ()
    record = sft.finished(home) or sft.train(profile, samples, design, folder / "trainer", aside, leave=True)[2]
    if processes.is_main():
        sft.copy(home, folder / place(design, profile, first))
    return record


if __name__ == "__main__":
    sys.exit(main())
