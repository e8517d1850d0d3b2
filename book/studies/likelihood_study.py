"""How likely do models find good answers behind a role, another text, or none? Seed by seed.

`python book/studies/likelihood_study.py --seeds 0,1,2` trains three models a seed (with roles,
without, and with a neutral paragraph), measures each behind every prefix of the plan, and keeps the
table in book/measured/likelihood. Why these contrasts: *How sure can one be?*
(book/statistics.md).
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from seed_parts import add_seed_arguments, measure_seeds, read_seeds
from study_questions import LIMA_LONGEST, LIMA_QUESTIONS, OPEN, all_tasks, open_questions

from selfprompt_lib import models, profiles, sft, sources
from selfprompt_lib.cli import add_profile_arguments, run_command
from selfprompt_lib.designs import get_design
from selfprompt_lib.digests import path_digest
from selfprompt_lib.errors import require
from selfprompt_lib.evaluate import (
    all_contrasts,
    all_sizes,
    gate,
    likelihood_plan,
    likelihood_text,
    save_items,
)
from selfprompt_lib.evaluate.likelihood_measure import COLUMNS, Plan, measure_likelihoods
from selfprompt_lib.evaluate.open_ended import likelihoods
from selfprompt_lib.evaluate.prefixes import NEUTRAL
from selfprompt_lib.evaluate.report import records
from selfprompt_lib.evaluate.results import BASE, BASELINE, OWN
from selfprompt_lib.files import write_json
from selfprompt_lib.profiles import Profile
from selfprompt_lib.provenance import describe
from selfprompt_lib.reading import user_path
from selfprompt_lib.roles import fit_text, load_embedder, role_fit
from selfprompt_lib.rows import Question, Sample
from selfprompt_lib.settings import Data
from selfprompt_lib.sft.runs import FINISHED

ABOUT = """\
Train models with roles, without, and with a neutral paragraph, measure how likely each finds good
answers behind each prefix, and keep the table of likelihoods, without texts, as Parquet, with a
record of what made it. One seed is one part: what is measured is taken up when the command runs
again, and a seed that is added later joins the others.
Exit status: 0 measured, 2 bad input."""
# The default run's training; tried on `heldout.jsonl`, so the unseen questions are the test.
RECIPE = {"data.train_rows": 64, "sft.epochs": 1, "sft.batch_size": 4, "sft.micro_batch_size": 4,
          "sft.learning_rate": 3e-4, "infer.max_new_tokens": 96, "evaluate.items": 60}
TRAIN = {"starter": {"data.train": "starter"},
         "lima-role": {"data.train": "lima-role", "data.train_rows": 200,
                       "data.longest": LIMA_LONGEST}}
READ = {"name": True, "model": True, "dtype": True, "design": True, "data": True, "sft": True,
        "infer": True, "roles": {"embedder"},
        "evaluate": {"tasks", "items", "subset_seed", "include_path"}}
WORK = Path("runs/likelihood")  # models, and what was measured of a seed
Plans = tuple[Plan, Plan]  # of open questions, and of tasks with options


def measure(profile: Profile, seeds: Sequence[int], plans: Plans, hours: float,
            out: Path, lima: bool = False) -> dict[str, Any]:
    """Measure seeds, one after the other, and keep what there is after each.

    Args:
        hours: no seed is begun that would end later, by how long those before it took.
        lima: ask LIMA's questions too, whose answers others wrote.

    Raises:
        UserError: an `out` that holds a study of other settings.
    """
    samples = sources.take_evenly_spaced(sources.training_samples(profile),
                                         profile.data.train_rows)
    sources.check_roles(profile, samples)
    questions = open_questions(profile, lima)
    tasks = all_tasks(profile) if plans[1] else {}
    settings = settings_of(profile, plans)
    kept = kept_before(settings, out)
    left = [seed for seed in seeds if str(seed) not in kept["seeds"]]
    expected = expected_hours(profile, samples, questions, tasks, plans, kept)
    print(f"{len(samples)} samples, {sum(map(len, questions.values()))} open questions, "
          f"{sum(len(list(task.eval_docs)) for task in tasks.values())} items in {len(tasks)} "
          f"tasks;\n{len(left)} of {len(seeds)} seeds to measure, {expected:.2g} hours each")

    def add(seed: int, kept: dict[str, Any]) -> dict[str, Any]:
        run = profile.model_copy(update={"seed": seed})
        kept = add_seed(run, samples, questions, tasks, plans, kept)
        save(profile, settings, kept, out)
        return kept

    return measure_seeds(left, kept, hours, out, add)


def expected_hours(profile: Profile, samples: Sequence[Sample],
                   questions: dict[str, Sequence[Question]], tasks: dict[str, Any], plans: Plans,
                   kept: dict[str, Any]) -> float:
    """Hours of a seed: as those before it took, or by how long a few questions take here.

    By letters, of which a training reads each three times forth and back, and a role has as many
    as its limit allows, each written as fast as five are read.
    """
    minutes = [seed["minutes"] for seed in kept["seeds"].values()]
    if minutes:
        return sum(minutes) / len(minutes) / 60
    some = next(iter(questions.values()))[:8]
    model, tokenizer = models.load(profile.model, profile.dtype)
    began = time.monotonic()
    likelihoods(model, tokenizer, some)
    seconds = (time.monotonic() - began) / sum(len(row.question + row.reference) for row in some)
    trained = 3 * profile.sft.epochs * 3 * sum(len("".join(row.conversations)) for row in samples)
    role = 4 * profile.infer.max_new_tokens
    answers = [len(row.question + row.reference) for rows in questions.values() for row in rows]
    options = [len(task.doc_to_text(doc)) for task in tasks.values() for doc in task.eval_docs]
    read = [len(plan) * (sum(sizes) + role * len(sizes))
            for plan, sizes in zip(plans, (answers, options), strict=True)]
    written = 5 * role * (len(answers) + len(options))
    return seconds * (trained + sum(read) + written) / 3600


def add_seed(profile: Profile, samples: Sequence[Sample],
             questions: dict[str, Sequence[Question]], tasks: dict[str, Any], plans: Plans,
             kept: dict[str, Any]) -> dict[str, Any]:
    """What is kept, with the profile's seed measured and put in; the untuned model but once."""
    seed, began = profile.seed, time.monotonic()
    again = BASE not in set(kept["rows"].model)
    places, trainings = train_models(profile, samples, WORK)
    plan, tasks_plan = ([pair for pair in some if pair[0] != BASE or again] for some in plans)
    found = measure_likelihoods(
        profile, places, [sample.role for sample in samples if sample.role], questions, tasks,
        plan, WORK, tasks_plan)
    minutes = (time.monotonic() - began) / 60
    parts = [part for part in (kept["rows"], found["likelihoods"]) if len(part)]
    rows = pd.concat(parts, ignore_index=True)
    written = found["roles"][found["roles"].task.isin(OPEN)]
    fit = role_fit(load_embedder(profile.roles.embedder), get_design(profile.design),
                   written.question, {"the model's own": list(written.role)}, seed)
    print(fit_text(fit))
    wrote = found["roles"].groupby("task", sort=False).role.agg(lambda roles: roles.notna().mean())
    seeds = kept["seeds"] | {str(seed): {
        "minutes": round(minutes, 1), "precision": describe(profile)["precision"],
        "fit": fit.to_dict("records"),
        "wrote_role": wrote.to_dict(), "trainings": trainings}}
    return {"rows": rows, "seeds": seeds}


def train_models(profile: Profile, samples: Sequence[Sample],
                 folder: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Where the models lie that are measured, and the records of those that were trained."""
    places, records = {BASE: profile.model}, {}
    for name, design in ((OWN, profile.design), (BASELINE, "none"), (NEUTRAL, NEUTRAL)):
        records[name] = sft.train(profile, samples, get_design(design), folder)[2]
        places[name] = str(folder / records[name]["checkpoints"] / FINISHED)
    return places, records


def kept_before(settings: dict[str, Any], out: Path) -> dict[str, Any]:
    """The rows and the record of seeds that `out` has, none where it has none.

    Raises:
        UserError: an `out` that holds a study of other settings.
    """
    record = out / "record.json"
    if not record.is_file():
        return {"rows": pd.DataFrame(columns=COLUMNS), "seeds": {}}
    before = json.loads(record.read_text(encoding="utf-8"))
    fields, off = before["settings"]["profile"], Data().model_dump(mode="json")
    fields["data"] = off | fields["data"]  # a field that is newer than the study has to be off
    fields["evaluate"].setdefault("include_path", None)
    require(before["settings"] == settings,
            f"--out {out}: holds a study of other settings; give another folder")
    seeds = {seed: {"precision": before["provenance"]["precision"]} | found
             for seed, found in before["seeds"].items()}
    return {"rows": pd.read_parquet(out / "likelihoods.parquet"), "seeds": seeds}


def settings_of(profile: Profile, plans: Plans) -> dict[str, Any]:
    """What is the same for all seeds of a study, in fields that it reads, without a path.

    A mirror holds the hub's data, wherever it lies, and is read where these are trained on or
    options are asked of; of the user's own tasks the content counts.
    """
    fields = profile.model_dump(mode="json", include=READ)
    reads_hub = profile.data.train != "starter" or plans[1]
    fields["data"]["mirror"] = "FOLDER" if profile.data.mirror and reads_hub else None
    own_tasks = fields["evaluate"]["include_path"]
    fields["evaluate"]["include_path"] = own_tasks and path_digest(user_path(own_tasks))
    return {"profile": fields, "plans": [list(map(list, plan)) for plan in plans]}


def save(profile: Profile, settings: dict[str, Any], kept: dict[str, Any], out: Path) -> None:
    """Write the table without texts, and the record with what it says, each whole or not at all.

    LIMA's questions, which only some seeds were asked, are in the table alone.
    """
    save_items(kept["rows"], out / "likelihoods.parquet")
    asked_always = kept["rows"][kept["rows"].task != LIMA_QUESTIONS]
    gates = gate(asked_always)
    contrasts, sizes = all_contrasts(asked_always, gates), all_sizes(asked_always, gates)
    tables = {"gate": gates, "contrasts": contrasts, "sizes": sizes}
    found = {name: records(table) for name, table in tables.items()}
    text = likelihood_text(contrasts, sizes, gates)
    about = describe(profile) | {"seed": sorted(map(int, kept["seeds"]))}
    about["profile"] = settings["profile"]
    write_json(out / "record.json", {
        "settings": settings, "provenance": about, "seeds": kept["seeds"],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"), "text": text, **found})
    print(text)


def main(arguments: list[str] | None = None) -> None:
    """The command; raises UserError on bad input."""
    parser = argparse.ArgumentParser(description=ABOUT,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_profile_arguments(parser, "evaluate.items=40 or data.mirror=FOLDER")
    parser.add_argument("--train", choices=TRAIN, default="starter",
                        help="what is trained on (default: %(default)s)")
    parser.add_argument("--plan", choices=("short", "full"), default="full",
                        help="which prefixes stand before open answers (default: %(default)s)")
    parser.add_argument("--choices", choices=("none", "short", "full"), default="short",
                        help="the same for options, which are many (default: %(default)s)")
    parser.add_argument("--lima-answers", action="store_true",
                        help="ask LIMA's questions too, of samples that none is trained on")
    add_seed_arguments(parser, "0,1,2,3,4", "book/measured/likelihood")
    given = parser.parse_args(arguments)
    settings = RECIPE | TRAIN[given.train] | profiles.parse_settings(given.set)
    profile = profiles.load(given.profile, settings)
    plans = (likelihood_plan(given.plan == "full"),
             [] if given.choices == "none" else likelihood_plan(given.choices == "full"))
    measure(profile, read_seeds(given.seeds), plans, given.hours, given.out,
            given.lima_answers)


if __name__ == "__main__":
    sys.exit(run_command(main))
