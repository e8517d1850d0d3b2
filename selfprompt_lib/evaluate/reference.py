"""Open questions without a judge: how near each arm comes to a reference answer, and how it writes (chapter 5).

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
from ..errors import require
from ..generate import prompt_text
from ..roles import metrics as measure
from ..rows import Question

MEASURES = {  # what `table` measures, in the words of a figure
    "likelihood": "log-likelihood of the reference (nats a token)",
    "similarity": "similarity to the reference (cosine)",
    "tokens": "length of the answer (tokens)",
    "repetition": "repeated four-word runs (share)",
}
RUN = 4  # words in a run, for repetition


@torch.inference_mode()
def likelihoods(model, tokenizer, questions: Sequence[Question], starts: Sequence[str] | None = None,
                batch_size: int = 8, label: str | None = None) -> list[float]:
    """Mean log-probability of each reference answer's tokens, in nats a token; nearer to 0 is likelier (chapter 5).

    The model reads the chat prompt, the start of the reply, and the reference, tokenized together as
    in training. The tokens of the reference are scored, the end of the turn is not.

    Args:
        starts: what stands before the reference in the reply, one a question, such as `written` gives.

    Raises:
        UserError: a question without a reference, or one that does not fit the model's context with it.
    """
    starts = list(starts or [""] * len(questions))
    texts = []
    for question, start in zip(questions, starts, strict=True):
        require(question.reference.strip(), f"question {question.id}: reference is empty; write one, or leave this measure out")
        texts.append((prompt_text(tokenizer, question.question) + start, question.reference))
    pairs = [_tokens(tokenizer, before, reference) for before, reference in texts]
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    for question, (ids, _) in zip(questions, pairs, strict=True):
        require(not context or len(ids) <= context, f"question {question.id}: {len(ids):,} tokens with its reference do not fit "
                                                    f"the model's context of {context:,}; shorten it, or take it out")
    order = sorted(range(len(pairs)), key=lambda place: len(pairs[place][0]))
    found = [0.0] * len(pairs)
    for first in tqdm(range(0, len(order), batch_size), desc=label, unit="batch", mininterval=1, disable=label is None):
        places = order[first : first + batch_size]
        for place, value in zip(places, _batch(model, [pairs[place] for place in places]), strict=True):
            found[place] = value
    return found


def _tokens(tokenizer, before: str, reference: str) -> tuple[list[int], int]:
    """The ids of both texts together, and the place where the reference begins."""
    read = tokenizer(before + reference, add_special_tokens=False, return_offsets_mapping=True)
    first = next(place for place, (_, end) in enumerate(read["offset_mapping"]) if end > len(before))
    return read["input_ids"], first


def _batch(model, pairs: Sequence[tuple[list[int], int]]) -> list[float]:
    """Blanks stand on the right, where causal attention does not look; logits are made for the references' places only."""
    width = max(len(ids) for ids, _ in pairs)
    rows = torch.tensor([ids + ids[-1:] * (width - len(ids)) for ids, _ in pairs], device=model.device)
    start = min(first for _, first in pairs) - 1
    logits = model(input_ids=rows, use_cache=False, logits_to_keep=torch.arange(start, width - 1, device=model.device)).logits
    values = []
    for row, own, (ids, first) in zip(rows, logits, pairs, strict=True):  # float32 for one row at a time
        values.append(-float(cross_entropy(own[first - 1 - start : len(ids) - 1 - start].float(), row[first : len(ids)])))
    return values


def written(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The role that each reply wrote, with the blank line after it, as a start for `likelihoods`; "" where it wrote none."""
    return [row["role"] + GAP if row["outcome"] == "role" else "" for row in rows]


def by_arm(baseline, tuned, tokenizer, questions: Sequence[Question], rows: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """`likelihoods` of the baseline, and of the self-prompt model behind the roles that it wrote in `rows` and behind none.

    Empty where a question has no reference answer, as LIMA's test prompts have none (chapter 5).
    """
    if not all(question.reference.strip() for question in questions):
        return {}
    return {
        "baseline": likelihoods(baseline, tokenizer, questions, label="baseline"),
        "self-prompt": likelihoods(tuned, tokenizer, questions, written(rows), label="self-prompt"),
        "self-prompt, no role": likelihoods(tuned, tokenizer, questions, label="self-prompt, no role"),
    }


def similarities(embedder, answers: Sequence[str], references: Sequence[str]) -> list[float]:
    """Cosine of each answer and its reference; 0 for an empty answer (chapter 5).

    MiniLM reads the first 256 word pieces of a text.
    """
    if not answers:
        return []
    cosines = (measure.embed(embedder, answers) * measure.embed(embedder, references)).sum(axis=1)
    return [float(cosine) if answer.strip() else 0.0 for cosine, answer in zip(cosines, answers, strict=True)]


def repetition(text: str) -> float:
    """Share of a text's four-word runs that stand in it before (seq-rep-4, arXiv 1908.04319, section 6.1; chapter 5).

    Words and not tokens, so that models with other tokenizers compare; 0 for fewer than four words.
    """
    words = text.lower().split()
    runs = [tuple(words[i : i + RUN]) for i in range(len(words) - RUN + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def table(arms: dict[str, Sequence[dict[str, Any]]], questions: Sequence[Question], embedder,
          likelihood: dict[str, Sequence[float]] | None = None) -> pd.DataFrame:
    """One row a question and arm: arm, item, domain, and the `MEASURES` (chapter 5).

    Args:
        arms: the rows of `infer.replies` for these questions, by arm.
        likelihood: what `likelihoods` gave, by arm. An arm that is only here has no replies, and no other measures.

    Raises:
        UserError: an arm with other questions than asked for, or with one twice.
    """
    likelihood = likelihood or {}
    ids = [question.id for question in questions]
    twice = [name for name, count in Counter(ids).items() if count > 1]
    require(not twice, f"questions: id {twice[:1]} occurs twice; make it unique")
    frames = []
    for arm in dict.fromkeys([*arms, *likelihood]):
        frame = pd.DataFrame({"arm": arm, "item": ids, "domain": [question.domain for question in questions]})
        given = likelihood.get(arm)
        require(given is None or len(given) == len(ids),
                f"arm {arm}: {len(given or ())} likelihoods for {len(ids)} questions; take both of the same questions")
        frame["likelihood"] = given if given is not None else np.nan
        frames.append(frame.assign(**_of_replies(arm, arms[arm], questions, embedder)) if arm in arms else frame)
    return pd.concat(frames, ignore_index=True).reindex(columns=["arm", "item", "domain", *MEASURES])


def _of_replies(arm: str, rows: Sequence[dict[str, Any]], questions: Sequence[Question], embedder) -> dict[str, list[float]]:
    wrong = [question.id for question, row in zip(questions, rows, strict=False) if question.id != row["id"]]
    require(len(rows) == len(questions) and not wrong,
            f"arm {arm}: its {len(rows)} replies are not those of the {len(questions)} questions, in their order"
            f"{f' (first: {wrong[0]})' if wrong else ''}; ask this arm the same questions")
    answers, references = [row["answer"] for row in rows], [question.reference for question in questions]
    alike = similarities(embedder, answers, references)
    return {"similarity": [cosine if text.strip() else np.nan for cosine, text in zip(alike, references, strict=True)],
            "tokens": [row["answer_tokens"] for row in rows], "repetition": [repetition(answer) for answer in answers]}


def differences(frame: pd.DataFrame, old: str, by_domain: bool = False) -> pd.DataFrame:
    """For each arm and measure, the mean difference to the arm `old` over the same questions (chapter 5).

    The interval is Student's t for paired differences, 95%. It is not there where all differences are
    equal, or there is one question only: they say nothing about their spread.

    Returns:
        Rows with arm, measure, (domain,) mean, old mean, difference, low, high and n questions.

    Raises:
        UserError: an arm `old` that is not in the table.
    """
    require(old in set(frame.arm), f"differences: no arm {old!r} in the table; it has {', '.join(dict.fromkeys(frame.arm))}")
    rows = []
    for measure_name in MEASURES:
        wide = frame.pivot(index=["domain", "item"], columns="arm", values=measure_name)
        for arm in dict.fromkeys(frame.arm):
            pair = wide[[arm, old]].dropna() if arm != old else wide.iloc[:0]
            for domain, part in pair.groupby(level="domain", sort=False) if by_domain else [("all", pair)]:
                if len(part):
                    rows.append({"arm": arm, "measure": measure_name, "domain": domain, **_difference(part[arm], part[old])})
    table = pd.DataFrame(rows, columns=["arm", "measure", "domain", "mean", "old mean", "difference", "low", "high", "n"])
    return table if by_domain else table.drop(columns="domain")


def _difference(new: pd.Series, old: pd.Series) -> dict[str, float]:
    change = (new - old).to_numpy()
    low = high = np.nan
    if np.ptp(change) > 0:
        low, high = ttest_1samp(change, 0).confidence_interval()
    return {"mean": new.mean(), "old mean": old.mean(), "difference": change.mean(), "low": float(low), "high": float(high),
            "n": len(change)}
