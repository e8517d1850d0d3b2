"""Whether the roles that a model wrote fit their questions (chapter 5)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from ..designs import Design
from .metrics import OTHER_QUESTIONS, chance_found_among, embed, question_ranks

WHOLE, WITHOUT_TASK = "whole role", "without its last sentence"


def without_task(role: str, design: Design) -> str:
    """A role without what it says of the task, which restates the question: "Your task is to …"."""
    before, request, _ = design.template.partition("{request}")
    marker = before.rpartition("}")[2].strip() if request else ""
    return role.rpartition(marker)[0].strip() or role if marker else role


def role_fit(embedder, design: Design, questions: Sequence[str],
             roles: dict[str, Sequence[str | None]], seed: int = 0) -> pd.DataFrame:
    """How often a role finds its question among a hundred, by likeness (chapter 5).

    Each set of roles also as if every role belonged to another question, which finds less than
    guessing (one in `among`), as good roles put their own question first; and each both whole and
    without the sentence that restates the question.

    Args:
        roles: sets of roles by name, such as the model's own and a reference; one a question, None
            where there is none (or NaN, as tables have it). Those questions are left out, for this
            set.

    Returns:
        Columns roles, part, found (share; the mean of the chances to be first), low, high (95%,
        Wilson's interval, which is wide enough for chances too), shuffled, n, among (questions).
    """
    rows = []
    for name, texts in roles.items():
        pairs = [(question, role) for question, role in zip(questions, texts, strict=True)
                 if isinstance(role, str) and role]
        if len(pairs) < 2:
            continue
        asked = embed(embedder, [question for question, _ in pairs])
        for part, cut in ((WHOLE, lambda role, _: role), (WITHOUT_TASK, without_task)):
            vectors = embed(embedder, [cut(role, design) for _, role in pairs])
            chances, by_chance = (
                chance_found_among(question_ranks(asked, vectors, shuffled, seed))
                for shuffled in (False, True))
            low, high = proportion_confint(chances.sum(), len(pairs), method="wilson")
            rows.append({"roles": name, "part": part, "found": float(np.mean(chances)),
                         "low": float(low), "high": float(high),
                         "shuffled": float(np.mean(by_chance)), "n": len(pairs),
                         "among": min(len(pairs), OTHER_QUESTIONS + 1)})
    return pd.DataFrame(rows, columns=["roles", "part", "found", "low", "high", "shuffled", "n",
                                       "among"])


def fit_text(table: pd.DataFrame) -> str:
    """What `role_fit` found, in plain words (chapter 5)."""
    if table.empty:
        return "Fewer than two roles were written: their fit cannot be measured."
    sentences = []
    for name, part in table.groupby("roles", sort=False):
        whole, rest = part.set_index("part").loc[[WHOLE, WITHOUT_TASK]].itertuples()
        sentences.append(
            f"Of the {whole.n} roles ({name}) {_share(whole)} find their own question first among "
            f"{whole.among}; without the sentence that restates the question {_share(rest)} do. "
            f"By guessing it would be {1 / whole.among:.0%}; roles of other questions find theirs "
            f"in {whole.shuffled:.0%}.")
    return " ".join(sentences)


def _share(row) -> str:
    return f"{row.found:.0%} [{row.low:.0%}, {row.high:.0%}]"
