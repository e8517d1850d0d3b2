"""Domains for questions that come without one, such as LIMA's test prompts (chapters 4 and 5).

A logistic regression on MiniLM vectors of the starter training questions and of their experts. It
was chosen by cross-validation on the starter data, against nearest centroids and other strengths,
by a few points that are within the noise; its errors on LIMA are measured with labels given by
hand. `book/studies/domain_classifier.py` shows both.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from .files import hub_rows
from .roles.metrics import embed, load_embedder
from .rows import STARTER_FOLDER, Conversation, Question, Sample, parse_rows, read_rows

LIMA = "GAIR/lima"
LABELS = Path(__file__).parent / "resources" / "domains" / "lima-test.jsonl"


def classify(questions: Sequence[str]) -> list[tuple[str, float]]:
    """The likeliest of the ten domains for each question, and its probability (chapter 5)."""
    if not questions:
        return []
    minilm, model = _fitted()
    shares = model.predict_proba(embed(minilm, questions))  # (questions, domains)
    best = shares.argmax(axis=1)
    return [(str(domain), float(share))
            for domain, share in zip(model.classes_[best], shares.max(axis=1), strict=True)]


def lima_test(mirror: str | None = None) -> list[Question]:
    """LIMA's 300 test prompts as questions without references, with domains by `classify`.

    They come from the hub or a mirror of it (arXiv 2305.11206); a conversation gives its first
    turn. One prompt stands in LIMA's training set too.

    Raises:
        UserError: no such file in the mirror, no access to the hub, a row that is no conversation.
    """
    rows = parse_rows(hub_rows(LIMA, "plain_text", "test", mirror), Conversation, f"{LIMA} test")
    domains = classify([row.question for row in rows])
    return [Question(id=f"lima-test-{index}", domain=domain, question=row.question)
            for index, (row, (domain, _)) in enumerate(zip(rows, domains, strict=True))]


def starter_vectors(minilm) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of the starter training questions, vectors of their experts, and their domains."""
    samples = read_rows(STARTER_FOLDER / "train.jsonl", Sample)
    questions = embed(minilm, [sample.question for sample in samples])
    experts = embed(minilm, [sample.role.expert for sample in samples])
    return questions, experts, np.array([sample.domain for sample in samples])


@cache
def _fitted():
    """The embedder and the classifier. scikit-learn is slow to load, and only this needs it."""
    from sklearn.linear_model import LogisticRegression

    minilm = load_embedder("starter")
    questions, experts, domains = starter_vectors(minilm)
    model = LogisticRegression(max_iter=1000)
    return minilm, model.fit(np.concatenate([questions, experts]), np.tile(domains, 2))
