"""When is it better to write no role? Models tuned with some role-free samples, and four rules.

`python book/studies/role_choice_study.py --shares 0.25,0.5` trains a model for each share of
role-free samples, takes the likelihood of good answers behind a role and behind none, and keeps it
in book/measured/choice. The page *Answers to the paper's open questions* shows what always, never,
the model's own choice and a threshold bring, task by task.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from selfprompt_lib import annotate, profiles, sft, sources
from selfprompt_lib.cli import add_profile_arguments, run_command
from selfprompt_lib.designs import GAP, Design, get_design
from selfprompt_lib.devices import alone_on_card
from selfprompt_lib.errors import require
from selfprompt_lib.evaluate import load_tasks, save_items
from selfprompt_lib.evaluate.asked import AskedModel
from selfprompt_lib.evaluate.contrasts import TEXT
from selfprompt_lib.evaluate.likelihood import encode_pairs
from selfprompt_lib.evaluate.likelihood_measure import (
    COLUMNS,
    OpenQuestions,
    score_behind,
    written_items,
)
from selfprompt_lib.evaluate.prefixes import NOTHING, OWN_ROLE
from selfprompt_lib.evaluate.results import OWN
from selfprompt_lib.files import write_json
from selfprompt_lib.generate import prompt_text
from selfprompt_lib.profiles import Profile
from selfprompt_lib.provenance import describe
from selfprompt_lib.rows import STARTER_FOLDER, Question, read_rows
from selfprompt_lib.sft.runs import FINISHED

CONTROLS = ("arc_easy_cloze", "piqa_cloze")  # tasks that a small model can do
RECIPE = {"sft.micro_batch_size": 4, "evaluate.items": 60}


def measure_share(profile: Profile, trainings: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Likelihoods behind a role and behind none, and gaps, of the profile's model."""
    samples = annotate.training_set(profile, sources.training_samples(profile), [])
    record = sft.train(profile, samples, get_design(profile.design), trainings)[2]
    place = str(trainings / record["checkpoints"] / FINISHED)
    questions = read_rows(STARTER_FOLDER / "unseen.jsonl", Question)
    tasks = load_tasks(profile, CONTROLS)
    return measure_choice(place, profile, {"unseen questions": questions}, tasks,
                          trainings / "parts")


@torch.inference_mode()
def role_gaps(model, tokenizer, design: Design, questions: Sequence[str]) -> np.ndarray:
    """For each question, how much likelier a role is to begin the reply than anything else.

    The log-probability of the first token of the design's opening, less that of the likeliest other
    token there, in nats, shape (questions,). Above zero the greedy reply begins like a role. A bare
    answer that begins with the same token counts as one.

    Raises:
        UserError: a design that writes no role, or writes it behind the answer.
    """
    require(design.writes_first,
            f"design {design.name}: writes no role before an answer, so that a reply's beginning "
            "tells nothing; take another design")
    prompts = [prompt_text(tokenizer, question) for question in questions]
    pairs = encode_pairs(tokenizer, prompts, [design.opening.rstrip()] * len(prompts))
    alone_on_card(model)
    gaps = []
    for context, opening in pairs:
        ids = torch.tensor([context], device=model.device)
        logits = model(ids, use_cache=False, logits_to_keep=1).logits[0, -1].float()
        role = logits[opening[0]].item()
        logits[opening[0]] = -torch.inf
        gaps.append(role - logits.max().item())
    return np.array(gaps)


def measure_choice(place: str, profile: Profile, open_questions: OpenQuestions,
                   tasks: dict[str, Any], folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the rules are judged by: likelihoods and gaps, for the profile's design and seed.

    Every question gets a role, also where the model would write none: its beginning is forced.

    Args:
        place: of a model tuned with some role-free samples.
        tasks: of `load_tasks`, such as `openbookqa_cloze`; none: open questions alone.
        folder: where what is measured is kept, to be taken up.
    """
    design, model = get_design(profile.design), AskedModel(place, folder)
    items = written_items(model, profile, open_questions, tasks, forced=True)
    gaps = role_gaps(*model.load(profile), design, items.question.tolist())
    roles = [role + GAP if role else "" for role in items.role.fillna("")]
    behind = {OWN_ROLE: roles, NOTHING: [""] * len(items)}
    table = score_behind(model, profile, open_questions, tasks, items.drop(columns="role"),
                         behind, behind).assign(model=OWN, seed=profile.seed)
    forms = items.task.str.extract(r"_(cloze|letters)$")[0].fillna(TEXT)  # as the table has them
    named = items.assign(form=forms, task=items.task.str.replace(r"_(cloze|letters)$", "",
                                                                 regex=True))
    return table.reindex(columns=COLUMNS), named.assign(seed=profile.seed, gap=gaps)


def keep(out: Path, profile: Profile, share: float, minutes: float,
         tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """Write one share's rows without texts, and what they were made with."""
    likelihoods, gaps = tables
    name = f"{share:g}"
    save_items(likelihoods, out / f"likelihoods-{name}.parquet")
    save_items(gaps.drop(columns=["question", "role"], errors="ignore"),
               out / f"gaps-{name}.parquet")
    record = out / "record.json"
    there = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    there[name] = {"minutes": round(minutes, 1), "provenance": describe(profile),
                   "finished": datetime.now(UTC).isoformat(timespec="seconds")}
    write_json(record, there)


def main(arguments: list[str] | None = None) -> None:
    """The command; raises UserError on bad input."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    add_profile_arguments(parser, "data.train_rows=200")
    parser.add_argument("--shares", default="0.25,0.5", metavar="0.25,0.5",
                        help="shares of role-free samples (default: %(default)s)")
    parser.add_argument("--trainings", type=Path, default=Path("runs/choice"), metavar="FOLDER",
                        help="where trainings are kept and taken up (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("book/measured/choice"), metavar="FOLDER",
                        help="where it is kept (default: %(default)s)")
    given = parser.parse_args(arguments)
    chosen: dict[float, dict[str, Any]] = {}
    for text in given.shares.split(","):
        try:
            share = float(text)
        except ValueError:
            share = -1.0
        require(0 < share < 1, f"--shares {given.shares}: write numbers between 0 and 1 with "
                               "commas between them, such as 0.25,0.5")
        chosen[share] = {"data.without_role": share}
    settings = RECIPE | profiles.parse_settings(given.set)
    for share, fields in chosen.items():
        profile, began = profiles.load(given.profile, settings | fields), time.monotonic()
        tables = measure_share(profile, given.trainings)
        keep(given.out, profile, share, (time.monotonic() - began) / 60, tables)
        print(f"share {share:g} is kept in {given.out}")


if __name__ == "__main__":
    sys.exit(run_command(main))
