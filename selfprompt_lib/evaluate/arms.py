"""The arms of chapter 5: which model is asked, and with which role.

To ask what a role does, the same model must answer the same item with another one. So the
self-prompt model is asked again with substituted roles, which it did not write for the item.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..designs import GAP, Design
from ..generate import count_tokens
from ..infer import roles_of_others
from ..rows import Role
from .harness import Arm, ItemKey
from .results import EXPERT, IRRELEVANT, MANUAL, NO_ROLE, OTHER

# Role-play prompting sets a role in one round and answers in the next (arXiv 2308.07702, section
# 3). Its roles are made for one data set each; this one is fixed for all tasks.
ROLE_PLAY_ROUNDS = (
    {"role": "user", "content":
        "From now on, you are a careful expert who is asked hard questions in many fields. You "
        "read each question twice, think of what it really asks, and give the answer that is "
        "right."},
    {"role": "assistant", "content":
        "I am glad to be that expert. I will read each question twice and give the answer that is "
        "right. Please ask."},
)
# Says nothing of any question; long enough to be cut to the length of any role.
ASIDE = Path(__file__).parents[1] / "resources" / "evaluate" / "aside.txt"
USUAL_LENGTH = 40  # tokens of what stands for a role where the model wrote no role at all


def plain_arm(name: str) -> Arm:
    """An arm asked the bare question; `role-play` gets its fixed role in the round before."""
    return Arm(name, rounds=ROLE_PLAY_ROUNDS if name == MANUAL else ())


@dataclass(frozen=True)
class RoleSources:
    """What a substituted role is made of, besides the items: see `SUBSTITUTED_ROLES`."""

    experts: Sequence[Role]
    design: Design
    tokenizer: Any
    seed: int = 0


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
    return [cut_text(text, int(length), sources.tokenizer) + GAP
            for length in role_lengths(items, sources.tokenizer)]


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


def role_lengths(items: pd.DataFrame, tokenizer) -> np.ndarray:
    """The tokens of each item's role; where the model wrote none, what its roles usually have."""
    written = items.role.notna()
    lengths = np.array(count_tokens(tokenizer, items.role.fillna("").tolist()))
    usual = int(np.median(lengths[written])) if written.any() else USUAL_LENGTH
    return np.where(written, lengths, usual)


def no_roles(items: pd.DataFrame, sources: RoleSources) -> list[None]:
    """None for each item: the reply may not begin as a role does."""
    return [None] * len(items)


# Each arm of `profiles.ARMS` in which the self-prompt model gets a role that it did not write.
SUBSTITUTED_ROLES: dict[str, Callable[[pd.DataFrame, RoleSources], Sequence[str | None]]] = {
    OTHER: other_items_roles,
    EXPERT: random_experts,
    IRRELEVANT: irrelevant_roles,
    NO_ROLE: no_roles,
}


def substituted_arms(names: Sequence[str], items: pd.DataFrame, sources: RoleSources) -> list[Arm]:
    """The arms in which the self-prompt model answers with a role it did not write (chapter 5).

    Args:
        names: arms of `SUBSTITUTED_ROLES`; others are left out.
        items: what it wrote by itself, one row an item.

    A role counts as part of the reply's length, as the model's own does.
    """
    keys: list[ItemKey] = list(zip(items.task, items.item, strict=True))
    arms = []
    for name in [name for name in SUBSTITUTED_ROLES if name in names]:
        prefills = dict(zip(keys, SUBSTITUTED_ROLES[name](items, sources), strict=True))
        arms.append(Arm(name, prefills=prefills, opening=sources.design.opening))
    return arms
