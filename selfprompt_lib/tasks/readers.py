"""Reading the answer out of a reply (chapter 5): a strict and a tolerant reader for each kind of item.

A reply makes claims: "The answer is B", "#### 18", a line that is an answer and nothing else. Both readers take
what the claims agree on. The strict one wants the asked form. The tolerant one also follows a reply that corrects
itself ("Wait, no. The answer is C."), and takes hedges, other words and the text of an option. Neither guesses:
an unclear reply is `[none]`.
"""

from typing import Literal

from ..designs import DESIGNS
from . import letters, programs, quantities, verdicts
from .claims import tidy

NONE = "[none]"
KINDS = ("choice", "yes_no", "number", "code")


def read(kind: str, how: Literal["strict", "tolerant"], reply: str, doc: dict) -> str:
    """The answer that a reply gives, read after its role; `[none]` where there is none (chapter 5).

    `kind` is one of `KINDS`. A choice is read as its letter (`doc` has `options`), a verdict as `yes` or `no`,
    a number without commas, units and needless zeros, and code as a program (`doc` has `prompt` and
    `entry_point`). What the strict reader reads is what the tolerant one reads, or `[none]`.
    """
    answer = strip_role(reply)
    found = _answer(kind, answer, doc, strict=False) or NONE
    return found if how == "tolerant" or _answer(kind, answer, doc, strict=True) == found else NONE


def strip_role(reply: str) -> str:
    """The reply without the role that any prompt design wrote in front of it; empty where the role never ends."""
    for design in DESIGNS.values():
        part = design.read(reply.lstrip())
        if part.outcome != "missing":
            return part.answer
    return reply


def _answer(kind: str, answer: str, doc: dict, strict: bool) -> str | None:
    if kind == "code":
        return programs.program(answer, doc["prompt"], doc["entry_point"], strict)
    if kind == "choice":
        return letters.letter(tidy(answer), doc["options"], strict)
    return (verdicts.verdict if kind == "yes_no" else quantities.number)(tidy(answer), strict)
