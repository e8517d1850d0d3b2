"""Open questions without a judge: how near an arm is to a reference, how it writes (chapter 5).

None of these measures says which reply is better. They show what changed, and in which direction.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp

from ..errors import require
from ..generate import prompt_text
from ..roles.metrics import embed
from ..rows import Question
from ..stats import ROUNDING
from .likelihood import encode_pairs, score_ids

MEASURES = {  # column of `measure_replies` → the words of a figure
    "similarity": "similarity to the reference (cosine)",
    "tokens": "length of the answer (tokens)",
    "repetition": "repeated four-word runs (share)",
}


def likelihoods(model, tokenizer, questions: Sequence[Question],
                prefills: Sequence[str] | None = None, label: str | None = None) -> list[float]:
    """Mean log-probability of each reference answer's tokens; nearer to 0 is likelier (chapter 5).

    In nats a token. The model reads the chat prompt, the start of the reply, and the reference,
    tokenized together as in training. The tokens of the reference are scored, the end of the turn
    is not.

    Args:
        prefills: what stands before the reference in the reply, one a question, such as the roles
            that `prefixes.own_roles` gives.
        label: as in `score_ids`.

    Raises:
        UserError: a question without a reference, or one that does not fit the model's context
            with it.
    """
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    before = [prompt_text(tokenizer, question.question) + prefill for question, prefill
              in zip(questions, prefills or [""] * len(questions), strict=True)]
    pairs = encode_pairs(tokenizer, before, [question.reference for question in questions])
    for question, (start, reference) in zip(questions, pairs, strict=True):
        require(question.reference.strip(),
                f"question {question.id}: reference is empty; write one, or leave this measure out")
        length = len(start) + len(reference)
        require(not context or length <= context,
                f"question {question.id}: {length:,} tokens with its reference do not fit the "
                f"model's context of {context:,}; shorten it, or take it out")
    scores = score_ids(model, pairs, label)
    return [score / len(reference)
            for (score, _), (_, reference) in zip(scores, pairs, strict=True)]


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
                    embedder) -> pd.DataFrame:
    """One row a question and arm: arm, item, domain, and the `MEASURES` (chapter 5).

    Args:
        arms: the rows of `infer.ask_questions` for these questions, by arm.

    Raises:
        UserError: an arm with other questions than asked for, or with one twice.
    """
    ids = [question.id for question in questions]
    twice = [name for name, count in Counter(ids).items() if count > 1]
    require(not twice, f"questions: id {twice[:1]} occurs twice; make it unique")
    domains = [question.domain for question in questions]
    frames = [pd.DataFrame({"arm": arm, "item": ids, "domain": domains,
                            **_measures_of(arm, rows, questions, embedder)})
              for arm, rows in arms.items()]
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


def mean_changes(frame: pd.DataFrame, old: str) -> pd.DataFrame:
    """For each arm and measure, the mean difference to the arm `old` (chapter 5).

    Over the same questions. The interval is Student's t for paired differences, 95%. It is not
    there where all differences are equal, or there is one question only: they say nothing about
    their spread.

    Returns:
        Rows with arm, measure, mean, old mean, difference, low, high and n questions.

    Raises:
        UserError: an arm `old` that is not in the table, unless that is empty: no question had a
            reference.
    """
    arms = list(dict.fromkeys(frame.arm))
    require(old in arms or frame.empty,
            f"mean_changes: no arm {old!r} in the table; it has {', '.join(arms)}")
    rows = []
    for measure in MEASURES:
        wide = frame.pivot(index=["domain", "item"], columns="arm", values=measure)
        for arm in arms:
            pairs = wide[[arm, old]].dropna() if arm != old else wide.iloc[:0]
            if len(pairs):
                rows.append({"arm": arm, "measure": measure, **_change(pairs[arm], pairs[old])})
    return pd.DataFrame(rows, columns=["arm", "measure", "mean", "old mean", "difference", "low",
                                       "high", "n"])


def _change(new: pd.Series, old: pd.Series) -> dict[str, float]:
    change = (new - old).to_numpy()
    low = high = np.nan
    if change.var() > ROUNDING:
        low, high = ttest_1samp(change, 0).confidence_interval()
    return {"mean": new.mean(), "old mean": old.mean(), "difference": change.mean(),
            "low": float(low), "high": float(high), "n": len(change)}
