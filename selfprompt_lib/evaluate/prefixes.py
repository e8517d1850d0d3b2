"""What stands before an answer: texts, and which model gets which (chapter 5).

A role may change an answer by what it says, or by being a paragraph that stands before it. The
texts here, put in the place of a role, are there to tell these apart: before an answer whose
likelihood is taken (`PREFIXES`), or before one that is written (`SUBSTITUTED_ROLES`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..designs import GAP, Design, neutral_text
from ..generate import count_tokens
from ..infer import roles_of_others
from ..rows import Role
from .results import BASE, BASELINE, EXPERT, IRRELEVANT, NO_ROLE, OTHER, OWN

NEUTRAL = "neutral"  # the model tuned with a paragraph before every answer that is no role
NOTHING, OWN_ROLE, NEUTRAL_TEXT, REPEATED = (
    "none", "own role", "neutral text", "question repeated")
# Says nothing of any question; long enough to be cut to the length of any role.
ASIDE = Path(__file__).parents[1] / "resources" / "evaluate" / "aside.txt"
USUAL_LENGTH = 40  # tokens of what stands for a role where the model wrote no role at all


@dataclass(frozen=True)
class RoleSources:
    """What a substituted role is made of, besides the items: see `SUBSTITUTED_ROLES`."""

    experts: Sequence[Role]
    design: Design
    tokenizer: Any
    seed: int = 0


def nothing(items: pd.DataFrame, sources: RoleSources) -> list[str]:
    """No text: the answer begins at once."""
    return [""] * len(items)


def own_roles(items: pd.DataFrame, sources: RoleSources) -> list[str]:
    """The role that the self-prompt model wrote for the item; no text where it wrote none."""
    return [role + GAP if role else "" for role in items.role.fillna("")]


def other_items_roles(items: pd.DataFrame, sources: RoleSources) -> list[str]:
    """For each item the role of another one of its task: see `roles_of_others`."""
    return [role + GAP if role else "" for _, part in items.groupby("task", sort=False)
            for role in roles_of_others(list(part.role))]


def random_experts(items: pd.DataFrame, sources: RoleSources) -> list[str]:
    """Roles of training samples; their request would be about the sample's own question."""
    drawn = np.random.default_rng(sources.seed).integers(len(sources.experts), size=len(items))
    general = {"request": "answer the question"}
    found = [sources.experts[place] for place in drawn]
    roles = [role.model_copy(update=general) if isinstance(role, Role) else role for role in found]
    return [sources.design.role_text(role) + GAP for role in roles]


def irrelevant_roles(items: pd.DataFrame, sources: RoleSources) -> list[str]:
    """A text about nothing, as long in tokens as the role that the model wrote for the item."""
    text = sources.design.opening + " ".join(ASIDE.read_text(encoding="utf-8").split())
    return _as_long_as_roles(text, items, sources.tokenizer)


def neutral_texts(items: pd.DataFrame, sources: RoleSources) -> list[str]:
    """The neutral model's paragraph about answering, as long in tokens as the item's role."""
    return _as_long_as_roles(neutral_text(), items, sources.tokenizer)


def repeated_questions(items: pd.DataFrame, sources: RoleSources) -> list[str]:
    """The question itself as the first paragraph, as long as it is."""
    return [" ".join(question.split()) + GAP for question in items.question]


def no_roles(items: pd.DataFrame, sources: RoleSources) -> list[None]:
    """None for each item: the reply may not begin as a role does."""
    return [None] * len(items)


def cut_text(text: str, length: int, tokenizer) -> str:
    """The beginning of a text, `length` tokens or a few less: it ends with a whole word and a stop.

    A shorter text is left as it is.
    """
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets = encoded["offset_mapping"]
    if len(offsets) <= length:
        return text
    end = offsets[max(length - 2, 0)][1]  # one token is for the stop
    kept = text[:end].rpartition(" ")[0] if text[end].isalnum() else text[:end]
    return kept.rstrip(" .,") + "."


def _as_long_as_roles(text: str, items: pd.DataFrame, tokenizer) -> list[str]:
    """The text cut to each item's role; to the usual one where the model wrote none."""
    written = items.role.notna()
    lengths = np.array(count_tokens(tokenizer, items.role.fillna("").tolist()))
    usual = int(np.median(lengths[written])) if written.any() else USUAL_LENGTH
    lengths = np.where(written, lengths, usual)
    return [cut_text(text, int(length), tokenizer) + GAP for length in lengths]


MakeTexts = Callable[[pd.DataFrame, RoleSources], Sequence[str | None]]
PREFIXES: dict[str, MakeTexts] = {
    NOTHING: nothing,
    OWN_ROLE: own_roles,
    OTHER: other_items_roles,
    EXPERT: random_experts,
    IRRELEVANT: irrelevant_roles,
    NEUTRAL_TEXT: neutral_texts,
    REPEATED: repeated_questions,
}
# Each arm of `profiles.ARMS` in which the self-prompt model gets a role that it did not write.
SUBSTITUTED_ROLES: dict[str, MakeTexts] = {
    OTHER: other_items_roles,
    EXPERT: random_experts,
    IRRELEVANT: irrelevant_roles,
    NO_ROLE: no_roles,
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
