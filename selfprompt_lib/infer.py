"""Chapter 4: ask a tuned model, take role and answer apart, and steer the role."""

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from . import stats
from .designs import GAP, Design
from .generate import ask, count_tokens
from .profiles import Profile
from .rows import Question, Role


def replies(model, tokenizer, profile: Profile, design: Design, questions: Sequence[Question], *,
            roles: Sequence[str] | None = None, without_role: bool = False, label: str = "asking") -> list[dict[str, Any]]:
    """One row a question: outcome, role, answer and their tokens (chapters 4 and 6).

    Args:
        roles: role texts to force, one a question; the model goes on after them.
        without_role: forbid the first token of the design's opening, so that the reply cannot
            begin with a role.
    """
    texts = ask(
        model, tokenizer, [question.question for question in questions],
        max_new_tokens=profile.infer.max_new_tokens, batch_size=profile.infer.batch_size, label=label,
        no_repeat_ngram_size=profile.infer.no_repeat_ngram_size,
        prefills=[role + GAP for role in roles] if roles else None,
        forbid_first=[design.opening] if without_role else (),
    )
    parts = [design.read(text) for text in texts]
    role_tokens = count_tokens(tokenizer, [part.role or "" for part in parts])
    answer_tokens = count_tokens(tokenizer, [part.answer for part in parts])
    return [
        {"id": question.id, "domain": question.domain, "question": question.question, "reply": text,
         "outcome": part.outcome, "role": part.role, "answer": part.answer, "role_tokens": cost, "answer_tokens": rest}
        for question, text, part, cost, rest in zip(questions, texts, parts, role_tokens, answer_tokens, strict=True)
    ]


def wrote_role(row: dict[str, Any]) -> bool:
    """Whether a reply has a role that ends, with an answer after it."""
    return row["outcome"] == "role" and bool(row["answer"].strip())


def swapped(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Another question's role for each row: the roles moved on by half their number."""
    shift = len(rows) // 2
    return [rows[(i + shift) % len(rows)]["role"] or "" for i in range(len(rows))]


def forced(design: Design, expert: str, question: str) -> str:
    """A role of one's own in a design, for a question."""
    return design.role_text(Role(expert=expert, brings="That habit shapes every reply.", request=f"answer: {question}"))


def role_rates(arms: dict[str, Sequence[dict[str, Any]]]) -> pd.DataFrame:
    """The rate of roles written by each model, with its Wilson interval."""
    rates = {name: stats.rate([wrote_role(row) for row in rows]) for name, rows in arms.items()}
    return pd.DataFrame([{"model": name, "rate": r.value, "low": r.low, "high": r.high, "n": r.n} for name, r in rates.items()])


def expert_pattern(design: Design) -> str:
    """A regular expression whose group is the expert in a role of this design."""
    return re.escape(design.opening) + r"(.+?)(?:\.|,| who | that |$)"


def token_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Tokens of roles and answers in long form, for a figure."""
    return frame.melt(value_vars=["role_tokens", "answer_tokens"], var_name="part", value_name="tokens").replace(
        {"role_tokens": "role", "answer_tokens": "answer"})
