"""The ladder of models: what each rung can do before it is tuned, and what roles do to it after.

`python book/studies/model_ladder.py` measures the gate of chapter 5 for the models that can be had
here: arc_easy and piqa, by the texts of the options (cloze) and by their letters. With `--train`,
each is tuned with roles, without, and with a neutral paragraph, and measured as in chapter 6.
"""

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from selfprompt_lib import ablate, models, profiles, sources, starter
from selfprompt_lib.cli import run_command
from selfprompt_lib.designs import get_design
from selfprompt_lib.errors import require
from selfprompt_lib.evaluate import Arm, gate, load_choices, measure_options
from selfprompt_lib.evaluate.prefixes import NOTHING
from selfprompt_lib.evaluate.report import records
from selfprompt_lib.evaluate.results import BASE, UNTUNED
from selfprompt_lib.files import write_json
from selfprompt_lib.profiles import Profile
from selfprompt_lib.provenance import describe, peak_memory_gb
from selfprompt_lib.rows import STARTER_FOLDER, Question, read_rows

ABOUT = """\
Measure the accuracy of untuned models on arc_easy and piqa, by the options' texts and by their
letters, with Wilson intervals; with --train also what a tuning with roles does. What is measured
is taken up when the command runs again; a model that is added later joins the others.
Exit status: 0 measured, 2 bad input."""
CONTROLS = ["arc_easy", "piqa"]  # tasks that a small model can do
SETTINGS = {"evaluate.choices": CONTROLS, "evaluate.choice_items": 60, "data.train_rows": 32,
            "ablate.tasks": [], "ablate.question_rows": 2, "infer.max_new_tokens": 96}
WORK = Path("runs/ladder")


def measure_gate(profile: Profile) -> dict[str, Any]:
    """The gate of chapter 5 for the untuned model, in both forms, and how long it took."""
    tasks = load_choices(profile)
    model, tokenizer = models.load(profile.model, profile.dtype)
    began = time.perf_counter()
    rows = measure_options(model, tokenizer, tasks["cloze"] | tasks["letters"], [Arm(NOTHING)])
    found = gate(rows.assign(model=BASE, seed=UNTUNED))
    return {"gate": records(found), "seconds": round(time.perf_counter() - began, 1),
            "parameters": model.num_parameters(), "provenance": describe(profile),
            "identity": models.identity(profile.model)}


def measure_trained(profile: Profile) -> dict[str, Any]:
    """Roles, none and neutral: what each writes, and how likely answers are behind it."""
    designs = ["none", "neutral", get_design(profile.design).name]
    settings = profile.ablate.model_copy(update={"designs": tuple(designs)})
    profile = profile.model_copy(update={"ablate": settings})
    samples = sources.take_evenly_spaced(sources.training_samples(profile),
                                         profile.data.train_rows)
    questions = read_rows(STARTER_FOLDER / "unseen.jsonl", Question)
    trained = ablate.train_designs(profile, samples, WORK)
    found = ablate.measure_designs(profile, trained, samples, questions, {}, WORK, WORK)
    likelihoods, written = found["likelihoods"], (found["roles"], found["replies"])
    return {"design": designs[-1], "samples": len(samples), "questions": len(questions),
            "role_rates": records(ablate.role_rates(*written)),
            "contrasts": records(ablate.design_contrasts(likelihoods)),
            "seconds": {name: runs[0]["seconds"] for name, runs in trained.items()},
            "tokens": {name: runs[0]["tokens"] for name, runs in trained.items()},
            "peak_gb": peak_memory_gb(), "provenance": describe(profile)}


def measure(names: list[str], settings: dict[str, Any], train: bool, out: Path) -> None:
    """Measure the models that are not measured yet, and keep what there is after each part."""
    kept = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {"models": {}}
    require(not out.is_file() or "models" in kept,
            f"--out {out}: exists and was not written by this command; give another name")
    for name in names:
        profile = profiles.load("cpu", SETTINGS | settings | {"model": name})
        of_model = kept["models"].setdefault(name, {})
        for part, make, wanted in (("gate", measure_gate, True),
                                   ("trained", measure_trained, train)):
            if wanted and part not in of_model:
                found = make(profile)
                of_model |= found if part == "gate" else {part: found}
                kept["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
                write_json(out, kept)
                print(f"{name}: {part} kept in {out}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """The command; raises UserError on bad input."""
    parser = argparse.ArgumentParser(description=ABOUT,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(starter.FROM_PYPI), metavar="NAME,NAME",
                        help="names, hub ids or checkpoint folders (default: %(default)s)")
    parser.add_argument("--train", action="store_true", help="tune them, too")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE",
                        help="change a field of the profile cpu, for example dtype=float32")
    parser.add_argument("--out", type=Path, default=Path("book/measured/ladder.json"),
                        metavar="FILE", help="where it is kept (default: %(default)s)")
    given = parser.parse_args(arguments)
    names = [name.strip() for name in given.models.split(",") if name.strip()]
    require(names, "--models: give at least one name")
    measure(names, profiles.parse_settings(given.set), given.train, given.out)


if __name__ == "__main__":
    sys.exit(run_command(main))
