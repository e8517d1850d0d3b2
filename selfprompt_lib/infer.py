"""Chapter 4: ask a tuned model, take role and answer apart, and steer the role."""

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from . import stats
from .designs import GAP, Design
from .generate import ask, count_tokens
from .profiles import Profile
from .rows import ROLE, Question, Role, StrategyText
from .sampling import Sampling
from .sources import take_evenly_spaced

SAME_ANSWER = 80  # letters at the beginning of two answers that make them the same
ROLE_TOKENS = 128  # of a role that is written alone: twice as many as most have
ReplyRow = dict[str, Any]


def ask_questions(model, tokenizer, profile: Profile, design: Design,
                  questions: Sequence[Question], *, roles: Sequence[str | None] | None = None,
                  without_role: bool = False, label: str = "asking") -> list[ReplyRow]:
    """One row a question: outcome, role, answer and their tokens (chapters 3 to 6, appendix A2).

    Replies are to be read, so their tokens are drawn as the profile says, with its seed.

    Args:
        roles: role texts to force, one a question (None: not forced); the model goes on after
            them.
        without_role: forbid the first token of the design's opening, so that the reply cannot
            begin with a role.
    """
    settings = profile.infer
    texts = ask(
        model, tokenizer, [question.question for question in questions],
        max_new_tokens=settings.max_new_tokens, batch_size=settings.batch_size,
        sampling=sampling_of(profile),
        no_repeat_ngram_size=settings.no_repeat_ngram_size, label=label,
        prefills=[role + GAP if role else "" for role in roles] if roles else None,
        forbid_first=[design.opening] if without_role else ())
    parts = [design.read(text) for text in texts]
    role_tokens = count_tokens(tokenizer, [part.role or "" for part in parts])
    answer_tokens = count_tokens(tokenizer, [part.answer for part in parts])
    return [
        {"id": question.id, "domain": question.domain, "question": question.question,
         "reply": texts[i], "outcome": parts[i].outcome, "role": parts[i].role,
         "answer": parts[i].answer, "role_tokens": role_tokens[i],
         "answer_tokens": answer_tokens[i]}
        for i, question in enumerate(questions)
    ]


def write_roles(model, tokenizer, profile: Profile, design: Design,
                questions: Sequence[Question], forced: bool = False) -> list[str | None]:
    """The role that the model writes for each question, greedily, and no answer (chapter 5).

    It ends with its line, so that a list below it is no part of it. None where it writes none, or
    one of more than `ROLE_TOKENS` tokens. With `forced` each begins with the design's opening.
    """
    lines = ask(model, tokenizer, [question.question for question in questions],
                max_new_tokens=ROLE_TOKENS, batch_size=profile.infer.batch_size, one_line=True,
                prefills=[design.opening] * len(questions) if forced else None,
                label="writing roles")
    return [design.read(line.rstrip() + GAP).role if line != line.rstrip() else None
            for line in lines]


def sampling_of(profile: Profile) -> Sampling | None:
    """How a profile draws tokens; None for greedy decoding."""
    settings = profile.infer
    if not settings.temperature:
        return None
    return Sampling(settings.temperature, settings.top_p, settings.repetition_penalty, profile.seed)


def wrote_role(row: ReplyRow) -> bool:
    """Whether a reply has a role that ends, with an answer after it."""
    return row["outcome"] == "role" and bool(row["answer"].strip())


def outcome_counts(arms: dict[str, Sequence[ReplyRow]]) -> pd.DataFrame:
    """How many replies of each model have which outcome (chapter 4)."""
    counts = {name: pd.Series([row["outcome"] for row in rows], dtype=str).value_counts()
              for name, rows in arms.items()}
    return pd.DataFrame(counts).fillna(0).astype(int)


def role_rates(arms: dict[str, Sequence[ReplyRow]]) -> pd.DataFrame:
    """The rate of roles written by each model, with its Wilson interval (chapter 4)."""
    rates = {name: rate_of_roles(rows) for name, rows in arms.items()}
    return pd.DataFrame({"model": name, **rate.columns("rate")} for name, rate in rates.items())


def rate_of_roles(rows: Sequence[ReplyRow]) -> stats.Estimate:
    """How many of these replies have a role that ends, with an answer after it."""
    return stats.rate([wrote_role(row) for row in rows])


def named_experts(rows: Sequence[ReplyRow], design: Design) -> pd.Series:
    """The expert that each written role names, up to the first stop or clause (chapter 4)."""
    pattern = re.escape(design.opening) + r"(.+?)(?:\.|,| who | that |$)"
    return pd.DataFrame(rows).role.dropna().astype(str).str.extract(pattern)[0].rename("expert")


def tokens_by_part(rows: Sequence[ReplyRow]) -> pd.DataFrame:
    """The tokens of roles and of answers, one row each, for a figure (chapter 4)."""
    columns = {"role_tokens": "role", "answer_tokens": "answer"}
    frame = pd.DataFrame(rows)[list(columns)].rename(columns=columns)
    return frame.melt(var_name="part", value_name="tokens")


def forced_role(design: Design, expert: str, question: str) -> str:
    """A role of one's own in a design, for a question (chapter 4).

    In the design of another strategy, a text that speaks of the expert.
    """
    task = f"answer: {question.rstrip(' .?!')}"
    if design.strategy != ROLE:
        text = f"Think of {expert}, and {task}."
        return design.role_text(StrategyText(strategy=design.strategy, text=text))
    return design.role_text(Role(expert=expert, brings="That habit shapes every reply.",
                                 request=task))


def roles_of_others(roles: Sequence[str | None]) -> list[str | None]:
    """For each place the role of another one, half of them further on (chapters 4 and 5).

    Where that one has no role, or the same text as this place's own, the next that has another;
    None where none has.
    """
    count, half = len(roles), max(1, len(roles) // 2)
    steps = [*range(half, count), *range(1, half)]
    found = []
    for place, own in enumerate(roles):
        others = (roles[(place + step) % count] for step in steps)
        found.append(next((other for other in others
                           if isinstance(other, str) and other and other != own), None))
    return found


def swap_roles(model, tokenizer, profile: Profile, design: Design, questions: Sequence[Question],
               replies: Sequence[ReplyRow], count: int) -> tuple[list[ReplyRow], list[ReplyRow]]:
    """Ask some questions again, with their own role and with another question's (chapter 4).

    Both times a question's tokens are drawn with the same random numbers, so that only the role
    makes a difference. Greedy decoding would give that too, but a small model then goes in circles.
    Left out are questions without a role of their own, and those for which no other one has one.

    Args:
        replies: what the model wrote to all questions by itself.
        count: questions to ask again, at most, at even distances.

    Returns:
        The rows of the replies with their own role, and of those with another's.
    """
    own = [row["role"] if wrote_role(row) else None for row in replies]
    both = zip(questions, own, roles_of_others(own), strict=True)
    some = take_evenly_spaced([row for row in both if row[1] and row[2]], count)
    how = model, tokenizer, profile, design, [row[0] for row in some]
    return (ask_questions(*how, roles=[row[1] for row in some], label="own role"),
            ask_questions(*how, roles=[row[2] for row in some], label="swapped"))


def swap_table(own: Sequence[ReplyRow], swapped: Sequence[ReplyRow]) -> pd.DataFrame:
    """The answers of `swap_roles` side by side (chapter 4)."""
    return pd.DataFrame({"question": [row["question"] for row in own],
                         "with its own role": [row["answer"] for row in own],
                         "with another's": [row["answer"] for row in swapped]})


def role_length_text(quartiles: Sequence[float] | None) -> str:
    """How many tokens a role took: the median, and the middle half of the roles (chapter 4)."""
    if quartiles is None:
        return "No role was written."
    low, median, high = quartiles
    return (f"A role took {median:.0f} tokens (the median; the middle half of the roles {low:.0f} "
            f"to {high:.0f}).")


def summarize_replies(self_prompt: Sequence[ReplyRow], baseline: Sequence[ReplyRow],
                      own: Sequence[ReplyRow], swapped: Sequence[ReplyRow],
                      design: Design) -> dict[str, Any]:
    """What chapter 4 found, for the run's record.

    Args:
        self_prompt, baseline: the replies of both models to the same questions.
        own, swapped: those of `swap_roles`.
    """
    frame, control = pd.DataFrame(self_prompt), pd.DataFrame(baseline)
    lengths = frame.role_tokens[list(map(wrote_role, self_prompt))]
    same = [row["answer"][:SAME_ANSWER] == new["answer"][:SAME_ANSWER]
            for row, new in zip(own, swapped, strict=True)]
    return {
        "questions": len(frame),
        "role_rate": {"self-prompt": rate_of_roles(self_prompt),
                      "baseline": rate_of_roles(baseline)},
        "outcomes": frame.outcome.value_counts().to_dict(),
        "role_tokens": lengths.quantile([0.25, 0.5, 0.75]).tolist() if len(lengths) else None,
        "answer_tokens": {"self-prompt": float(frame.answer_tokens.mean()),
                          "baseline": float(control.answer_tokens.mean())},
        "distinct_experts": int(named_experts(self_prompt, design).nunique()),
        "unchanged_by_swap": stats.rate(same) if same else None,  # no role to swap was written
    }
