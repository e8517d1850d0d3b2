"""Reading the answer out of a reply (chapter 5): a strict and a tolerant reader for each kind.

The way of a reply: `strip_role` takes the role off and `candidates.normalize` Markdown and LaTeX;
the module of its kind finds candidates by `candidates.answer_candidates` ("The answer is B", "####
18") and on lines that are an answer and nothing else; `candidates.resolve` takes what they agree
on. The strict reader wants the asked form. The tolerant one also follows a reply that corrects
itself ("Wait, no. The answer is C."), and takes hedges, other words and the text of an option.
Neither guesses: an unclear reply is `NO_ANSWER`.
"""

from typing import Literal

from ..designs import DESIGNS, get_design
from ..thoughts import split_thought
from . import NO_ANSWER
from .candidates import normalize
from .letters import Options
from .numbers import extract_number
from .programs import extract_program
from .yes_no import extract_yes_no

KINDS = ("choice", "yes_no", "number", "code")


def extract_answer(kind: str, reader: Literal["strict", "tolerant"], reply: str, doc: dict) -> str:
    """The answer that a reply gives, read after its role; `NO_ANSWER` where there is none.

    `kind` is one of `KINDS`. A choice is read as its letter (`doc` has `options`), a verdict as
    `yes` or `no`, a number without commas, units and needless zeros, and code as a program (`doc`
    has `prompt` and `entry_point`); `doc["design"]` names what was written first, where that is no
    role. What the strict reader reads is what the tolerant one reads, or `NO_ANSWER`. Used in
    chapter 5.
    """
    answer = strip_role(reply, doc.get("design"))
    found = _extract(kind, answer, doc, strict=False) or NO_ANSWER
    if reader == "tolerant" or _extract(kind, answer, doc, strict=True) == found:
        return found
    return NO_ANSWER


def strip_role(reply: str, design: str | None = None) -> str:
    """The reply without thoughts and the role that any prompt design wrote first (chapter 5).

    Empty where the role never ends, or the reply is cut off within a thought.

    Args:
        design: a strategy or a YAML file of the user's, whose text is looked for, too. It is not by
            itself: an answer to another model's question may well begin with "Plan:".
    """
    answer = split_thought(reply).answer
    own = [get_design(design)] if design else []
    for each in [*DESIGNS.values(), *own]:
        part = each.read(answer.lstrip())
        if part.outcome != "missing":
            return part.answer
    return answer


def _extract(kind: str, answer: str, doc: dict, strict: bool) -> str | None:
    if kind == "code":
        return extract_program(answer, doc["prompt"], doc["entry_point"], strict)
    answer = normalize(answer)
    if kind == "choice":
        return Options(doc["options"]).read(answer, strict)
    return extract_yes_no(answer, strict) if kind == "yes_no" else extract_number(answer, strict)
