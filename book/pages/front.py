"""What the front page and the README show of a run: replies to read, and what was measured."""

import json
from pathlib import Path
from typing import Any

import found
import pandas as pd
from measurements import MEASURED
from rendering import LONGEST

from selfprompt_lib.evaluate.likelihood_report import (
    AGAINST_NEUTRAL,
    ANOTHER,
    PRIMARY,
    likelihood_text,
)
from selfprompt_lib.evaluate.report import overall_text
from selfprompt_lib.evaluate.results import BASELINE, OWN
from selfprompt_lib.pipeline import CHAPTERS
from selfprompt_lib.reading import read_json_lines
from selfprompt_lib.roles.fit import fit_text
from selfprompt_lib.sources import take_evenly_spaced

EXAMPLES = 3  # questions to show
SHOWN = PRIMARY, AGAINST_NEUTRAL, ANOTHER  # contrasts
ROOM = 0.9  # of the tokens that a reply may have: one that stays below ended by itself


def page_facts(root: Path) -> dict[str, Any]:
    """What every page of the run in `root` may tell.

    `report` as kept, `stages` of it by chapter, and `chapters` by label; `examples` and `measured`
    as below; `figure`, the file's name; `study`: facts of the kept study, or None.
    """
    report = json.loads((root / "report.json").read_text(encoding="utf-8"))
    stages, study = report["stages"], found.facts(MEASURED / "found")
    metrics = stages["evaluate"]["metrics"]
    limit = stages["infer"]["provenance"]["profile"]["infer"]["max_new_tokens"]
    chapters = [{"name": chapter.name, "label": chapter.label, "title": chapter.title,
                 "notebook": chapter.notebook.name} for chapter in CHAPTERS.values()]
    return {"report": report, "stages": stages, "chapters": chapters, "study": study,
            "examples": examples(root, limit), "figure": figure(metrics),
            "measured": measured(metrics, study)}


def examples(root: Path, limit: int) -> dict[str, Any]:
    """Held-out questions with the replies of both models, chosen by a rule that reads none.

    Of each domain the first question to which both replies ended by themselves; of these, three at
    even distances in the order of the file. Where no such question is, of all questions.

    Args:
        limit: tokens that a reply may have.

    Returns:
        `shown`: domain, question and two replies, each with model, role and answer; `ended` and
        `asked`: how many questions there were to choose from, and in all; `longest`: characters.
    """
    replies = {model: read_json_lines(root / "infer" / f"{model}.jsonl")
               for model in (OWN, BASELINE)}
    pairs = list(zip(*replies.values(), strict=True))
    ended = [pair for pair in pairs
             if all(row["role_tokens"] + row["answer_tokens"] < ROOM * limit for row in pair)]
    firsts: dict[str, Any] = {}
    for pair in ended or pairs:
        firsts.setdefault(pair[0]["domain"], pair)
    shown = [{"domain": pair[0]["domain"], "question": pair[0]["question"],
              "replies": list(zip(replies, pair, strict=True))}
             for pair in take_evenly_spaced(list(firsts.values()), EXAMPLES)]
    return {"shown": shown, "ended": len(ended), "asked": len(pairs), "longest": LONGEST}


def figure(metrics: dict[str, Any]) -> str:
    """Chapter 5's figure of open questions, or of benchmarks where none had a reference."""
    contrasts = metrics["likelihoods"]["contrasts"]
    of_open_questions = any(row["form"] == "text" for row in contrasts)
    return "contrasts.png" if of_open_questions else "differences.png"


def measured(metrics: dict[str, Any], study: dict[str, Any] | None) -> dict[str, str]:
    """What chapter 5 found of roles and answers, in its own words.

    Args:
        metrics: that chapter 5 recorded.
        study: facts of the kept study; where there is none, `accuracy` is of this run.
    """
    likelihoods, larger = metrics["likelihoods"], study["metrics"] if study else metrics
    rows = [row for row in likelihoods["contrasts"] if row["contrast"] in SHOWN]
    first = rows and (rows[0]["form"], rows[0]["measure"])  # open questions, where there were any
    contrasts = pd.DataFrame([row for row in rows if (row["form"], row["measure"]) == first])
    fit = likelihoods["fit"]
    return {
        "fit": fit_text(pd.DataFrame(fit)),
        "likelihoods": likelihood_text(contrasts.fillna(float("nan"))),
        "accuracy": overall_text(pd.Series(larger["difference"]), len(larger["tasks"])),
    }
