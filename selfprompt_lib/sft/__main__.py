"""Chapter 3's training alone, on one card or many.

`accelerate launch -m selfprompt_lib.sft --profile mistral-7b`
"""

import argparse
import sys
import time
from pathlib import Path

import datasets
from transformers import logging

from .. import models, sft, sources
from ..cli import add_profile_arguments, chosen_profile, run_command
from ..designs import DESIGNS, Design, get_design
from ..errors import require
from ..files import make_writable, run_folder, trainings_folder, write_json
from ..profiles import Profile, seed_name, seed_profiles, trained_designs
from ..reading import user_path
from ..rows import Sample, read_rows
from .trainer import accumulation_steps, this_process


def parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    top = argparse.ArgumentParser(prog="python -m selfprompt_lib.sft",
                                  description="Fine-tune as chapter 3 does, on any number of cards")
    add_profile_arguments(top, run=True)
    top.add_argument("--data", type=user_path, metavar="FILE",
                     help="file of samples (chapter 1's training rows without it)")
    top.add_argument("--design", action="append", choices=list(DESIGNS),
                     help="what to train; may be repeated (default: those of chapter 3)")
    top.add_argument("--dry-run", action="store_true",
                     help="say what would be trained and what it needs; train nothing")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Train; returns the exit status: 2 for an error that the user can mend."""
    given = parser().parse_args(arguments)
    process = this_process()

    def tell(message: str) -> None:
        if process.is_main_process:
            print(message, file=sys.stderr)
        else:
            time.sleep(10)  # the launcher ends all processes as soon as one ends: main prints first

    return run_command(_train_designs, given, process, tell=tell,
                       kept="finished epochs are kept where sft.checkpoints is set")


def _train_designs(given: argparse.Namespace, process) -> None:
    if not process.is_main_process:
        datasets.disable_progress_bars()
        logging.disable_progress_bar()
    profile = chosen_profile(given)
    accumulation_steps(profile.sft)  # refuses a batch that does not come out even
    root = run_folder(user_path(given.out).absolute(), profile.name)
    samples = _samples(given, root, profile)
    designs = [get_design(name) for name in given.design or ()]
    designs = designs or list(trained_designs(profile).values())
    with process.local_main_process_first():  # the starter model is made once
        models.check(profile.model)
    runs = [(one, design) for one in seed_profiles(profile) for design in designs]
    for one, design in runs:
        _print_audit(one, samples, design, trainings_folder(root), len(runs), process)
    if not given.dry_run:
        make_writable(root / "sft")
        curves = {}
        for one, design in runs:
            folder = root / "sft" / model_folder(design, one, profile.seed)
            curves[folder.name] = _train_once(one, samples, design, folder)
        if process.is_main_process:
            print(write_json(root / "sft" / "training.json", curves))
    this_process().destroy_process_group()


def model_folder(design: Design, profile: Profile, first_seed: int) -> str:
    """The folder in `<out>/<profile>/sft/` that chapter 3 gives to a design's model."""
    name = {"none": "baseline", profile.design: "self-prompt"}.get(design.name, design.name)
    return seed_name(name, profile.seed, first_seed)


def _samples(given: argparse.Namespace, root: Path, profile: Profile) -> list[Sample]:
    path = given.data or root / "annotate" / "train.jsonl"
    mend = "give a file of samples with --data"
    if not given.data:
        mend = ("run chapter 1 first: python -m selfprompt_lib run "
                f"--profile {profile.name} --out {given.out} --only 1")
    require(path.exists(), f"{path}: missing; {mend}")
    return read_rows(path, Sample)


def _print_audit(profile: Profile, samples: list[Sample], design: Design, folder: Path, count: int,
                 process) -> None:
    """What a training is and needs, before it starts; printed once."""
    found = sft.preflight(profile, samples, design, *models.shape(profile.model), folder, count)
    if process.is_main_process:
        done = sft.reusable_run(folder / sft.run_name(profile, samples, design), profile)
        print(f"design {design.name}, seed {profile.seed}" + (": already trained" if done else ""))
        print(found[["check", "value"]].to_string(index=False, header=False), flush=True)


def _train_once(profile: Profile, samples: list[Sample], design: Design, folder: Path) -> dict:
    """One training, unless it is finished; its model goes to `folder`, where chapter 3 has it."""
    trainings = trainings_folder(folder.parents[1])
    record = sft.reusable_run(trainings / sft.run_name(profile, samples, design), profile)
    if record is None:
        held_out = sources.validation_samples(profile, samples) if design.writes_role else ()
        record = sft.train(profile, samples, design, trainings, held_out)[2]
    if this_process().is_main_process:
        sft.copy_finished_run(trainings / record["checkpoints"], folder)
    return record


if __name__ == "__main__":
    sys.exit(main())
