"""Open questions without a judge: how near an arm is to a reference, how it writes (chapter 5).

None of these measures says which reply is better. They show what changed, and in which direction.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import ttest_1samp
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from ..designs import GAP
from ..devices import alone_on_card
from ..errors import require
from ..generate import prompt_text
from ..roles.metrics import embed
from ..rows import Question
from ..stats import ROUNDING

MEASURES = {  # column of `measure_replies` → the words of a figure
    "likelihood": "log-likelihood of the reference (nats a token)",
    "similarity": "similarity to the reference (cosine)",
    "tokens": "length of the answer (tokens)",
    "repetition": "repeated four-word runs (share)",
}


@torch.inference_mode()
def likelihoods(model, tokenizer, questions: Sequence[Question],
                prefills: Sequence[str] | None = None, batch_size: int = 8,
                label: str | None = None) -> list[float]:
    """Mean log-probability of each reference answer's tokens; nearer to 0 is likelier (chapter 5).

    In nats a token. The model reads the chat prompt, the start of the reply, and the reference,
    tokenized together as in training. The tokens of the reference are scored, the end of the turn
    is not.

    Args:
        prefills: what stands before the reference in the reply, one a question, such as the roles
            that `written_roles` gives.
        label: what the progress bar says; None shows none.

    Raises:
        UserError: a question without a reference, or one that does not fit the model's context
            with it.
    """
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    sequences = []
    for question, prefill in zip(questions, prefills or [""] * len(questions), strict=True):
        require(question.reference.strip(),
                f"question {question.id}: reference is empty; write one, or leave this measure out")
        before = prompt_text(tokenizer, question.question) + prefill
        ids, first = _encode(tokenizer, before, question.reference)
        require(not context or len(ids) <= context,
                f"question {question.id}: {len(ids):,} tokens with its reference do not fit the "
                f"model's context of {context:,}; shorten it, or take it out")
        sequences.append((ids, first))
    alone_on_card(model)
    by_length = sorted(range(len(sequences)), key=lambda place: len(sequences[place][0]))
    found = [0.0] * len(sequences)
    starts = range(0, len(by_length), batch_size)
    for start in tqdm(starts, desc=label, unit="batch", mininterval=1, disable=label is None):
        places = by_length[start : start + batch_size]
        values = _score_batch(model, [sequences[place] for place in places])
        for place, value in zip(places, values, strict=True):
            found[place] = value
    return found


def _encode(tokenizer, before: str, reference: str) -> tuple[list[int], int]:
    """The ids of both texts together, and the place where the reference begins."""
    encoded = tokenizer(before + reference, add_special_tokens=False, return_offsets_mapping=True)
    offsets = enumerate(encoded["offset_mapping"])
    first = next(place for place, (_, end) in offsets if end > len(before))
    return encoded["input_ids"], first


def _score_batch(model, sequences: Sequence[tuple[list[int], int]]) -> list[float]:
    """Mean log-probability of each sequence's ids from its place on.

    Padding stands on the right, where causal attention does not look. Logits are made for the
    references' places only, and taken to float32 for one row at a time.
    """
    width = max(len(ids) for ids, _ in sequences)
    padded = [ids + ids[-1:] * (width - len(ids)) for ids, _ in sequences]
    input_ids = torch.tensor(padded, device=model.device)  # (batch, width)
    start = min(first for _, first in sequences) - 1  # the logits at a place are of the next token
    places = torch.arange(start, width - 1, device=model.device)
    logits = model(input_ids=input_ids, use_cache=False, logits_to_keep=places).logits
    values = []
    for row, row_logits, (ids, first) in zip(input_ids, logits, sequences, strict=True):
        reference = row_logits[first - 1 - start : len(ids) - 1 - start].float()
        values.append(-float(cross_entropy(reference, row[first : len(ids)])))
    return values


def written_roles(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The role that each reply wrote, with the blank line after it; "" where it wrote none."""
    return [row["role"] + GAP if row["outcome"] == "role" else "" for row in rows]


def likelihoods_by_arm(baseline, tuned, tokenizer, questions: Sequence[Question],
                       rows: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """`likelihoods` of the baseline, and of the self-prompt model behind its roles and behind none.

    Its own roles are those of its replies, `rows`. Empty where a question has no reference answer,
    as LIMA's test prompts have none (chapter 5).
    """
    if not all(question.reference.strip() for question in questions):
        return {}
    no_role, roles = "self-prompt, no role", written_roles(rows)
    return {
        "baseline": likelihoods(baseline, tokenizer, questions, label="baseline"),
        "self-prompt": likelihoods(tuned, tokenizer, questions, roles, label="self-prompt"),
        no_role: likelihoods(tuned, tokenizer, questions, label=no_role),
    }


def similarities(embedder, answers: Sequence[str], references: Sequence[str]) -> list[float]:
    """Cosine of each answer and its reference; 0 for an empty answer (chapter 5).

    MiniLM reads the first 256 word pieces of a text.
    """
    if not answers:
        return []
    cosines = (embed(embedder, answers) * embed(embedder, references)).sum(axis=1)
    return [float(cosine) if answer.strip() else 0.0
            for cosine, answer in zip(cosines, answers, strict=True)]


def repetition(text: str) -> float:
    """Share of a text's four-word runs that stand in it before (chapter 5).

    This is seq-rep-4 (arXiv 1908.04319, section 6.1) with words and not tokens, so that models with
    other tokenizers compare; 0 for fewer than four words.
    """
    words = text.lower().split()
    runs = list(zip(words, words[1:], words[2:], words[3:], strict=False))
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def measure_replies(arms: dict[str, Sequence[dict[str, Any]]], questions: Sequence[Question],
                    embedder, likelihood: dict[str, Sequence[float]] | None = None) -> pd.DataFrame:
    """One row a question and arm: arm, item, domain, and the `MEASURES` (chapter 5).

    Args:
        arms: the rows of `infer.ask_questions` for these questions, by arm.
        likelihood: what `likelihoods` gave, by arm. An arm that is only here has no replies, and no
            other measures.

    Raises:
        UserError: an arm with other questions than asked for, or with one twice.
    """
    likelihood = likelihood or {}
    ids = [question.id for question in questions]
    twice = [name for name, count in Counter(ids).items() if count > 1]
    require(not twice, f"questions: id {twice[:1]} occurs twice; make it unique")
    frames = []
    for arm in dict.fromkeys([*arms, *likelihood]):
        frame = pd.DataFrame({"arm": arm, "item": ids, "domain": [row.domain for row in questions]})
        if arm in likelihood:
            values = likelihood[arm]
            require(len(values) == len(ids),
                    f"arm {arm}: {len(values)} likelihoods for {len(ids)} questions; take both of "
                    "the same questions")
            frame["likelihood"] = values
        if arm in arms:
            frame = frame.assign(**_measures_of(arm, arms[arm], questions, embedder))
        frames.append(frame)
    columns = ["arm", "item", "domain", *MEASURES]
    return pd.concat(frames, ignore_index=True).reindex(columns=columns)


def _measures_of(arm: str, rows: Sequence[dict[str, Any]], questions: Sequence[Question],
                 embedder) -> dict[str, list[float]]:
    both = zip(questions, rows, strict=False)
    wrong = [question.id for question, row in both if question.id != row["id"]]
    where = f" (first: {wrong[0]})" if wrong else ""
    require(len(rows) == len(questions) and not wrong,
            f"arm {arm}: its {len(rows)} replies are not those of the {len(questions)} questions, "
            f"in their order{where}; ask this arm the same questions")
    answers = [row["answer"] for row in rows]
    references = [question.reference for question in questions]
    cosines = similarities(embedder, answers, references)
    return {
        "similarity": [cosine if text.strip() else np.nan
                       for cosine, text in zip(cosines, references, strict=True)],
        "tokens": [row["answer_tokens"] for row in rows],
        "repetition": [repetition(answer) for answer in answers],
    }


def mean_changes(frame: pd.DataFrame, old: str, by_domain: bool = False) -> pd.DataFrame:
    """For each arm and measure, the mean difference to the arm `old` (chapter 5).

    Over the same questions. The interval is Student's t for paired differences, 95%. It is not
    there where all differences are equal, or there is one question only: they say nothing about
    their spread.

    Returns:
        Rows with arm, measure, (domain,) mean, old mean, difference, low, high and n questions.

    Raises:
        UserError: an arm `old` that is not in the table.
    """
    arms = list(dict.fromkeys(frame.arm))
    require(old in arms, f"mean_changes: no arm {old!r} in the table; it has {', '.join(arms)}")
    rows = []
    for measure in MEASURES:
        wide = frame.pivot(index=["domain", "item"], columns="arm", values=measure)
        for arm in arms:
            pairs = wide[[arm, old]].dropna() if arm != old else wide.iloc[:0]
            domains = pairs.groupby(level="domain", sort=False) if by_domain else [("all", pairs)]
            for domain, part in domains:
                if len(part):
                    change = _change(part[arm], part[old])
                    rows.append({"arm": arm, "measure": measure, "domain": domain, **change})
    columns = ["mean", "old mean", "difference", "low", "high", "n"]
    table = pd.DataFrame(rows, columns=["arm", "measure", "domain", *columns])
    return table if by_domain else table.drop(columns="domain")


def _change(new: pd.Series, old: pd.Series) -> dict[str, float]:
    change = (new - old).to_numpy()
    low = high = np.nan
    if change.var() > ROUNDING:
        low, high = ttest_1samp(change, 0).confidence_interval()
    return {"mean": new.mean(), "old mean": old.mean(), "difference": change.mean(),
            "low": float(low), "high": float(high), "n": len(change)}
