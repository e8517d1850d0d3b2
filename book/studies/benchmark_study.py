"""Does a role help on the real benchmarks, and does it fit LIMA's prompts? Seed by seed.

`python book/studies/benchmark_study.py --set data.mirror=FOLDER` trains the three models of
`likelihood_study.py` and asks how likely they find the right options of the benchmarks, and which
roles they write for LIMA's 300 test prompts. What it keeps in book/measured/benchmarks stands on
the page *What we found*, below the questions of this project's own. Why these contrasts: *How sure
can one be?* (book/statistics.md).
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from likelihood_study import RECIPE, kept_before, save, settings_of, train_models
from seed_parts import add_seed_arguments, measure_seeds, read_seeds
from study_questions import in_both_forms

from selfprompt_lib import domains, infer, models, profiles, sources
from selfprompt_lib.cli import add_profile_arguments, run_command
from selfprompt_lib.designs import get_design
from selfprompt_lib.evaluate import likelihood_plan, load_tasks
from selfprompt_lib.evaluate.harness import Arm
from selfprompt_lib.evaluate.likelihood_measure import COLUMNS, measure_likelihoods
from selfprompt_lib.evaluate.options import measure_options
from selfprompt_lib.evaluate.prefixes import NOTHING
from selfprompt_lib.evaluate.results import BASE, OWN, UNTUNED
from selfprompt_lib.profiles import Profile
from selfprompt_lib.roles import fit_text, load_embedder, role_fit
from selfprompt_lib.rows import Question, Sample

ABOUT = """\
Train models with roles, without, and with a neutral paragraph, measure how likely each finds the
right options of the real benchmarks, in cloze form, and which roles are written for LIMA's test
prompts. Data come from the hub, or from a mirror of it (--set data.mirror=FOLDER). One seed is one
part: what is measured is taken up when the command runs again. No text is kept.
Exit status: 0 measured, 2 bad input."""
WORK = Path("runs/benchmarks")  # models, and what was measured of a seed
PLANS = ([], likelihood_plan(options=True))  # of open questions, of which there are none; of tasks
Tasks = dict[str, Any]


def measure(profile: Profile, seeds: Sequence[int], hours: float, out: Path) -> dict[str, Any]:
    """Measure seeds, one after the other, and keep what there is after each.

    Args:
        hours: no seed is begun that would end later, by how long those before it took.

    Raises:
        UserError: an `out` that holds a study of other settings, data that cannot be had.
    """
    settings = settings_of(profile, PLANS)
    kept = kept_before(settings, out)
    samples = sources.with_reference_roles(profile, sources.training_samples(profile))
    tasks = load_tasks(profile, in_both_forms(profile.evaluate.tasks))
    prompts = domains.lima_test(profile.data.mirror)
    left = [seed for seed in seeds if str(seed) not in kept["seeds"]]
    items = sum(len(list(task.eval_docs)) for task in tasks.values())
    print(f"{len(samples)} samples, {len(prompts)} prompts, {items} items in {len(tasks)} tasks;\n"
          f"{len(left)} of {len(seeds)} seeds to measure, of which the first tells the time")

    def add(seed: int, kept: dict[str, Any]) -> dict[str, Any]:
        kept = add_seed(profile.model_copy(update={"seed": seed}), samples, prompts, tasks, kept)
        save(profile, settings, kept, out)
        return kept

    return measure_seeds(left, kept, hours, out, add)


def add_seed(profile: Profile, samples: Sequence[Sample], prompts: Sequence[Question],
             tasks: Tasks, kept: dict[str, Any]) -> dict[str, Any]:
    """What is kept, with the profile's seed measured and put in; the untuned model but once."""
    began, again = time.monotonic(), BASE not in set(kept["rows"].model)
    places, trainings = train_models(profile, samples, WORK)
    cloze, letters = (forms(tasks, form) for form in ("cloze", "letters"))
    plan = [pair for pair in PLANS[1] if pair[0] != BASE or again]
    experts = [sample.role for sample in samples if sample.role]
    found = measure_likelihoods(profile, places, experts, {}, cloze, [], WORK, plan)
    parts = [kept["rows"], found["likelihoods"], letters_of_untuned(profile, letters, again)]
    wrote = found["roles"].groupby("task", sort=False).role.agg(lambda roles: roles.notna().mean())
    return {"rows": pd.concat([part for part in parts if len(part)], ignore_index=True),
            "seeds": kept["seeds"] | {str(profile.seed): {
                "minutes": round((time.monotonic() - began) / 60, 1), "trainings": trainings,
                "wrote_role": wrote.to_dict(),
                "prompts": prompt_roles(profile, places[OWN], prompts)}}}


def forms(tasks: Tasks, form: str) -> Tasks:
    """The tasks that are asked in one form: `cloze` or `letters`."""
    return {name: task for name, task in tasks.items() if name.endswith(f"_{form}")}


def letters_of_untuned(profile: Profile, letters: Tasks, again: bool) -> pd.DataFrame:
    """What the untuned model makes of letters, which tells whether it understands them at all."""
    if not again:
        return pd.DataFrame(columns=COLUMNS)
    model, tokenizer = models.load(profile.model, profile.dtype)
    rows = measure_options(model, tokenizer, letters, [Arm(NOTHING)])
    return rows.assign(model=BASE, seed=UNTUNED).reindex(columns=COLUMNS)


def prompt_roles(profile: Profile, place: str, prompts: Sequence[Question]) -> dict[str, Any]:
    """How many of LIMA's prompts got a role, and how many roles find their prompt."""
    model, tokenizer = models.load(place, profile.dtype)
    design = get_design(profile.design)
    roles = infer.write_roles(model, tokenizer, profile, design, prompts)
    fit = role_fit(load_embedder(profile.roles.embedder), design,
                   [row.question for row in prompts], {"the model's own": roles}, profile.seed)
    print(fit_text(fit))
    return {"asked": len(prompts), "wrote": sum(role is not None for role in roles),
            "fit": fit.to_dict("records")}


def main(arguments: list[str] | None = None) -> None:
    """The command; raises UserError on bad input."""
    parser = argparse.ArgumentParser(description=ABOUT,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_profile_arguments(parser, "data.mirror=FOLDER or evaluate.items=40")
    add_seed_arguments(parser, "0,1,2", "book/measured/benchmarks")
    given = parser.parse_args(arguments)
    fixed = {"data.benchmarks": "hub", "evaluate.items": 100}
    settings = RECIPE | fixed | profiles.parse_settings(given.set)
    profile = profiles.load(given.profile, settings)
    measure(profile, read_seeds(given.seeds), given.hours, given.out)


if __name__ == "__main__":
    sys.exit(run_command(main))
