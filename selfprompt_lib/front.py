"""What the front page and the README show of a run: replies to read, and what was measured."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from .evaluate.likelihood_report import AGAINST_NEUTRAL, ANOTHER, PRIMARY, likelihood_text
from .evaluate.report import overall_text
from .evaluate.results import BASELINE, OWN
from .reading import read_json_lines
from .roles.fit import fit_text
from .sources import take_evenly_spaced

EXAMPLES, LONGEST = 3, 600  # questions to show; characters of a text before it is cut
SHOWN = PRIMARY, AGAINST_NEUTRAL, ANOTHER  # contrasts
ROOM = 0.9  # of the tokens that a reply may have: one that stays below ended by itself
MARKS = re.compile(r"([\\`*_\[\]&$~|@]|:(?=//))")  # what means something within a line of Markdown


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


def as_html(text: str) -> Markup:
    """A model's text as HTML in one line, for it must not end the block it stands in."""
    return Markup("<br>").join(escape(line) for line in shortened(text).splitlines())


def as_markdown(text: str) -> str:
    """A model's text in one line of Markdown, with nothing in it that Markdown would obey."""
    lines = (MARKS.sub(r"\\\1", line).replace("<", "&lt;") for line in shortened(text).splitlines())
    return "<br>".join(lines)


def shortened(text: str) -> str:
    """A text without the space around it, cut at a word where it is longer than `LONGEST`."""
    text = text.strip()
    return text if len(text) <= LONGEST else text[:LONGEST].rsplit(maxsplit=1)[0] + " …"


def measured(metrics: dict[str, Any], study: dict[str, Any] | None) -> dict[str, str]:
    """What chapter 5 found of roles and answers, in its own words.

    Args:
        metrics: that chapter 5 recorded.
        study: facts of the kept study; where there is none, `accuracy` is of this run.
    """
    found, larger = metrics["likelihoods"], study["metrics"] if study else metrics
    rows = [row for row in found["contrasts"] if row["contrast"] in SHOWN]
    first = rows and (rows[0]["form"], rows[0]["measure"])  # open questions, where there were any
    contrasts = pd.DataFrame([row for row in rows if (row["form"], row["measure"]) == first])
    return {
        "fit": fit_text(pd.DataFrame(found["fit"], columns=None if found["fit"] else ["roles"])),
        "likelihoods": likelihood_text(contrasts.fillna(float("nan"))),
        "accuracy": overall_text(pd.Series(larger["difference"]), len(larger["tasks"])),
    }
