"""Domains for questions that come without one: LIMA's test prompts among the ten of the starter data (chapter 5).

A logistic regression on MiniLM vectors of the starter training questions and of their experts. It was chosen by
cross-validation on the starter data, against nearest centroids and other strengths (`cross_validated`), by a few points that
are within the noise.
Its errors on LIMA are measured with labels given by hand (`labelled`, `check`).
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from . import stats
from .errors import require
from .hub import hub_rows
from .roles import metrics as measure
from .rows import DOMAINS, STARTER_FOLDER, Conversation, Question, Sample, parse_rows, read_rows

LIMA = "GAIR/lima"
LABELS = Path(__file__).parent / "resources" / "domains" / "lima-test.jsonl"


class Label(BaseModel):
    """The domains that a reader gave to one of `lima_test`'s questions: one or two, the main one first."""

    id: str
    domains: Annotated[list[Literal[DOMAINS]], Field(min_length=1, max_length=2)]  # type: ignore[valid-type]


def classify(questions: Sequence[str]) -> list[tuple[str, float]]:
    """The likeliest of the ten domains for each question, and its probability (chapter 5)."""
    if not questions:
        return []
    embedder, model = _fitted()
    shares = model.predict_proba(measure.embed(embedder, questions))
    return [(str(model.classes_[best]), float(row[best])) for row, best in zip(shares, shares.argmax(axis=1), strict=True)]


def lima_test(mirror: str | None = None) -> list[Question]:
    """LIMA's 300 test prompts as questions without references, with domains by `classify` (chapter 5).

    They come from the hub or a mirror of it (arXiv 2305.11206); a conversation gives its first turn. One
    prompt stands in LIMA's training set too.

    Raises:
        UserError: no such file in the mirror, no access to the hub, a row that is no conversation.
    """
    rows = parse_rows(hub_rows(LIMA, "plain_text", "test", mirror), Conversation, f"{LIMA} test")
    domains = classify([row.question for row in rows])
    return [Question(id=f"lima-test-{index}", domain=domain, question=row.question)
            for index, (row, (domain, _)) in enumerate(zip(rows, domains, strict=True))]


def labelled() -> list[Label]:
    """The hand-labelled sample: every fifth LIMA test prompt (chapter 5)."""
    return read_rows(LABELS, Label)


def check(mirror: str | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How often the classifier agrees with the hand-labelled sample of LIMA's test prompts (chapter 5).

    Returns:
        The agreement with Wilson intervals (with either label, with the main one, and with either where
        the classifier is surer than in half of the cases), and the confusion of main label and prediction.

    Raises:
        UserError: as `lima_test`, and a test file that is shorter than LIMA's.
    """
    labels, questions = labelled(), {question.id: question.question for question in lima_test(mirror)}
    require(all(label.id in questions for label in labels), f"{LIMA} test: {len(questions)} rows; it has 300, get it anew")
    given = classify([questions[label.id] for label in labels])
    either = np.array([domain in label.domains for label, (domain, _) in zip(labels, given, strict=True)])
    main = np.array([domain == label.domains[0] for label, (domain, _) in zip(labels, given, strict=True)])
    sure = np.array([share for _, share in given])
    kinds = {"either label": either, "main label": main, "either label, surer half": either[sure > np.median(sure)]}
    rates = {name: stats.rate(hits) for name, hits in kinds.items()}
    agreement = pd.DataFrame([{"agrees with": name, "share": r.value, "low": r.low, "high": r.high, "n": r.n}
                              for name, r in rates.items()])
    names = pd.Categorical([label.domains[0] for label in labels], DOMAINS), pd.Categorical([d for d, _ in given], DOMAINS)
    return agreement, pd.crosstab(*names, rownames=["main label"], colnames=["classifier"], dropna=False)


def cross_validated(folds: int = 5, seed: int = 0) -> pd.DataFrame:
    """Accuracy of the classifier and of its rivals on starter questions they were not fitted on (chapter 5)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.neighbors import NearestCentroid

    questions, experts, domains = _vectors(measure.embedder("starter"))
    rivals = {"nearest centroid": NearestCentroid()} | {
        f"logistic regression, C={c}": LogisticRegression(C=c, max_iter=1000) for c in (1, 10)}
    rows = []
    for name, model in rivals.items():
        for experts_too in (True, False):
            hits = []
            for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(questions, domains):
                fitted = model.fit(*_examples(questions[train], experts[train], domains[train], experts_too))
                hits.extend(fitted.predict(questions[test]) == domains[test])
            r = stats.rate(hits)
            rows.append({"classifier": name, "fitted on": "questions and experts" if experts_too else "questions",
                         "accuracy": r.value, "low": r.low, "high": r.high, "n": r.n})
    return pd.DataFrame(rows)


@cache
def _fitted():
    from sklearn.linear_model import LogisticRegression

    embedder = measure.embedder("starter")
    return embedder, LogisticRegression(max_iter=1000).fit(*_examples(*_vectors(embedder)))


def _vectors(embedder) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    samples = read_rows(STARTER_FOLDER / "train.jsonl", Sample)
    return (measure.embed(embedder, [sample.question for sample in samples]),
            measure.embed(embedder, [sample.role.expert for sample in samples]), np.array([s.domain for s in samples]))


def _examples(questions: np.ndarray, experts: np.ndarray, domains: np.ndarray, experts_too: bool = True):
    return (np.concatenate([questions, experts]), np.tile(domains, 2)) if experts_too else (questions, domains)
