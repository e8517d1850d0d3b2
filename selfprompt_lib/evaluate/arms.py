"""The arms: which model is asked, and with which role.

A role can only be said to cause a difference where the same model answers the same item with another one.
So the self-prompt model is asked again with roles that it did not write for the item.
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from ..designs import GAP, Design
from ..generate import count_tokens
from ..profiles import ARMS
from ..rows import Role
from .lm import Arm, Key

BASE, BASELINE, MANUAL, OWN, OTHER, EXPERT, IRRELEVANT, NONE = ARMS
GIVEN = (OTHER, EXPERT, IRRELEVANT, NONE)  # roles that the self-prompt model did not write for the item

# Role-play prompting sets a role in one round and answers in the next (arXiv 2308.07702, section 3). Its roles are
# made for one data set each; this one is fixed for all tasks.
ROUNDS = (
    {"role": "user", "content": "From now on, you are a careful expert who is asked hard questions in many fields. You read each "
                                "question twice, think of what it really asks, and give the answer that is right."},
    {"role": "assistant", "content": "I am glad to be that expert. I will read each question twice and give the answer that is "
                                     "right. Please ask."},
)
# Says nothing of any question; long enough to be cut to the length of any role.
ASIDE = Path(__file__).parents[1] / "resources" / "evaluate" / "aside.txt"


def plain(name: str) -> Arm:
    """An arm that is asked the bare question; `role-play` gets its fixed role in the round before."""
    return Arm(name, rounds=ROUNDS if name == MANUAL else ())


def given(names: Sequence[str], items: pd.DataFrame, experts: Sequence[Role], design: Design, tokenizer,
          seed: int = 0) -> list[Arm]:
    """The arms in which the self-prompt model answers with a given role (chapter 5).

    Args:
        items: what it wrote by itself, one row an item.
        experts: roles to draw the random expert from: those that it was trained on.

    Each role takes from the room of the reply, as the model's own does. Where the model wrote no role for an
    item, the irrelevant one has the median length, and another question with a role lends its role.
    """
    keys: list[Key] = list(zip(items.task, items.item, strict=True))
    roles = {OTHER: _others(items), EXPERT: _experts(experts, design, len(items), seed),
             IRRELEVANT: _irrelevant(items, design, tokenizer), NONE: [None] * len(items)}
    return [Arm(name, starts=dict(zip(keys, texts, strict=True)), opening=design.opening)
            for name, texts in roles.items() if name in names]


def _others(items: pd.DataFrame) -> list[str]:
    """For each item the role of another one of its task: the next behind half of them that has a role."""
    found = []
    for _, part in items.groupby("task", sort=False):
        roles = list(part.role)
        half = max(1, len(roles) // 2)
        for place in range(len(roles)):
            turn = [roles[(place + step) % len(roles)] for step in chain(range(half, len(roles)), range(1, half))]
            role = next((role for role in turn if isinstance(role, str)), None)
            found.append(role + GAP if role else "")
    return found


def _experts(experts: Sequence[Role], design: Design, count: int, seed: int) -> list[str]:
    drawn = np.random.default_rng(seed).integers(len(experts), size=count)
    return [design.role_text(experts[i].model_copy(update={"request": "answer the question"})) + GAP for i in drawn]


def _irrelevant(items: pd.DataFrame, design: Design, tokenizer) -> list[str]:
    has_role = items.role.map(lambda role: isinstance(role, str))
    lengths = pd.Series(count_tokens(tokenizer, [role if has else "" for role, has in zip(items.role, has_role, strict=True)]))
    usual = int(lengths[has_role.to_numpy()].median()) if has_role.any() else 40
    aside = tokenizer.encode(design.opening + " ".join(ASIDE.read_text(encoding="utf-8").split()), add_special_tokens=False)
    return [tokenizer.decode(aside[: (length if has else usual) - 1]).rstrip(" .,") + "." + GAP
            for length, has in zip(lengths, has_role, strict=True)]
