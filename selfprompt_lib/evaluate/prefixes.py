"""What stands before an answer whose likelihood is taken: texts, and which model gets which.

A role may change an answer by what it says, or by being a paragraph that stands before it. The
prefixes here, put in the place of a role, are there to tell these apart (chapter 5).
"""

from collections.abc import Callable, Sequence
from itertools import product

import pandas as pd

from ..designs import GAP, neutral_text
from .arms import (
    RoleSources,
    cut_text,
    irrelevant_roles,
    other_items_roles,
    random_experts,
    role_lengths,
)
from .results import BASE, BASELINE, EXPERT, IRRELEVANT, OTHER, OWN

NEUTRAL = "neutral"  # the model tuned with a paragraph before every answer that is no role
NOTHING, OWN_ROLE, NEUTRAL_TEXT, REPEATED = (
    "none", "own role", "neutral text", "question repeated")


def nothing(items: pd.DataFrame, sources: RoleSources) -> list[str]:
    """No text: the answer begins at once."""
    return [""] * len(items)


def own_roles(items: pd.DataFrame, sources: RoleSources) -> list[str]:
    """The role that the self-prompt model wrote for the item; no text where it wrote none."""
    return [role + GAP if role else "" for role in items.role.fillna("")]


def neutral_texts(items: pd.DataFrame, sources: RoleSources) -> list[str]:
    """The neutral model's paragraph about answering, as long in tokens as the item's role."""
    return [cut_text(neutral_text(), int(length), sources.tokenizer) + GAP
            for length in role_lengths(items, sources.tokenizer)]


def repeated_questions(items: pd.DataFrame, sources: RoleSources) -> list[str]:
    """The question itself as the first paragraph, as long as it is."""
    return [" ".join(question.split()) + GAP for question in items.question]


PREFIXES: dict[str, Callable[[pd.DataFrame, RoleSources], Sequence[str | None]]] = {
    NOTHING: nothing,
    OWN_ROLE: own_roles,
    OTHER: other_items_roles,
    EXPERT: random_experts,
    IRRELEVANT: irrelevant_roles,
    NEUTRAL_TEXT: neutral_texts,
    REPEATED: repeated_questions,
}
# Enough for both primary contrasts, and to tell what a role says from that it is there.
SHORT_PLAN = (
    (BASE, NOTHING), (BASELINE, NOTHING), (BASELINE, OWN_ROLE), (NEUTRAL, NEUTRAL_TEXT),
    (OWN, OWN_ROLE), (OWN, NOTHING), (OWN, OTHER), (OWN, NEUTRAL_TEXT), (OWN, REPEATED),
)

# The same for options, of which there are many more.
SHORT_OPTIONS_PLAN = (
    (BASE, NOTHING), (BASELINE, NOTHING), (NEUTRAL, NEUTRAL_TEXT), (OWN, OWN_ROLE), (OWN, OTHER))


def prefix_texts(names: Sequence[str], items: pd.DataFrame,
                 sources: RoleSources) -> dict[str, list[str]]:
    """The text of each prefix for each item, in the order of the items, with the gap after it.

    Args:
        names: of `PREFIXES`.
        items: one row an item, those of a task together, with columns task, question and role:
            what the self-prompt model wrote by itself, or nothing.

    Where no other item has a role there is no text of another's.
    """
    return {name: [text or "" for text in PREFIXES[name](items, sources)] for name in names}


def likelihood_plan(full: bool = False, options: bool = False) -> list[tuple[str, str]]:
    """The pairs of model and prefix that are measured: the few that answer, or `full`: all.

    Args:
        options: for the options of items, not for the answers to open questions.
    """
    if full:
        return list(product((BASE, BASELINE, NEUTRAL, OWN), PREFIXES))
    return list(SHORT_OPTIONS_PLAN if options else SHORT_PLAN)
