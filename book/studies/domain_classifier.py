"""How well are questions sorted into the ten domains?

`python book/studies/domain_classifier.py --mirror FOLDER` renews the tables of the section *LIMA's
open questions* of the page *Measuring more* (book/measuring.md). It sets the classifier of
`selfprompt_lib.domains` beside a hand-labelled sample of LIMA's test prompts, and beside its rivals
on starter questions that they were not fitted on.
"""

import argparse
import sys
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pages import captioned, made_with, written_by
from pydantic import BaseModel, Field
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestCentroid

from selfprompt_lib import domains, stats
from selfprompt_lib.cli import run_command
from selfprompt_lib.errors import require
from selfprompt_lib.roles.metrics import load_embedder
from selfprompt_lib.rows import DOMAINS, read_rows

LABELS = domains.LABELS


class Label(BaseModel):
    """The domains that a reader gave to a test prompt: one or two, the main one first."""

    id: str
    domains: Annotated[list[Literal[DOMAINS]], Field(min_length=1, max_length=2)]


def labelled() -> list[Label]:
    """The hand-labelled sample: every fifth LIMA test prompt."""
    return read_rows(LABELS, Label)


def check(mirror: str | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How often the classifier agrees with the hand-labelled sample of LIMA's test prompts.

    Returns:
        The agreement with Wilson intervals (with either label, with the main one, and with either
        where the classifier is surer than in half of the cases), and the confusion of main label
        and prediction.

    Raises:
        UserError: as `domains.lima_test`, and a test file that is shorter than LIMA's.
    """
    labels = labelled()
    questions = {question.id: question.question for question in domains.lima_test(mirror)}
    require(all(label.id in questions for label in labels),
            f"{domains.LIMA} test: {len(questions)} rows; it has 300, get it anew")
    given = domains.classify([questions[label.id] for label in labels])
    predicted = [domain for domain, _ in given]
    sure = np.array([share for _, share in given])
    main = [label.domains[0] for label in labels]
    with_main = np.array([one == other for one, other in zip(predicted, main, strict=True)])
    with_either = np.array([domain in label.domains
                            for domain, label in zip(predicted, labels, strict=True)])
    kinds = {"either label": with_either, "main label": with_main,
             "either label, surer half": with_either[sure > np.median(sure)]}
    agreement = pd.DataFrame([{"agrees with": name, **_share("share", hits)}
                              for name, hits in kinds.items()])
    confusion = pd.crosstab(pd.Categorical(main, DOMAINS), pd.Categorical(predicted, DOMAINS),
                            rownames=["main label"], colnames=["classifier"], dropna=False)
    return agreement, confusion


def cross_validated(folds: int = 5, seed: int = 0) -> pd.DataFrame:
    """Accuracy of the classifier and of its rivals on starter questions they were not fitted on."""
    questions, experts, labels = domains.starter_vectors(load_embedder("starter"))
    rivals = {
        "nearest centroid": NearestCentroid(),
        "logistic regression, C=1": LogisticRegression(C=1, max_iter=1000),
        "logistic regression, C=10": LogisticRegression(C=10, max_iter=1000),
    }
    rows = []
    for name, model in rivals.items():
        for with_experts in (True, False):
            hits = []
            parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(questions, labels)
            for train, test in parts:
                vectors, targets = questions[train], labels[train]
                if with_experts:
                    vectors = np.concatenate([vectors, experts[train]])
                    targets = np.tile(targets, 2)
                hits.extend(model.fit(vectors, targets).predict(questions[test]) == labels[test])
            fitted_on = "questions and experts" if with_experts else "questions"
            rows.append({"classifier": name, "fitted on": fitted_on, **_share("accuracy", hits)})
    return pd.DataFrame(rows)


def _share(name: str, hits) -> dict[str, float]:
    rate = stats.rate(hits)
    return {name: rate.value, "low": rate.low, "high": rate.high, "n": rate.n}


def fragment(mirror: str | None) -> str:
    """All tables as Markdown, and what made them."""
    agreement, confusion = check(mirror)
    validated = cross_validated()
    tables = {
        "LIMA's test prompts: the classifier and the hand-labelled sample":
            [_row(row, "agrees with", "share") for row in agreement.to_dict("records")],
        "The same by main label": [
            {"domain": name, "prompts": str(row.sum()),
             "sorted otherwise": str(row.sum() - row[name])}
            for name, row in confusion.iterrows()],
        "Starter questions that it was not fitted on (cross-validation)": [
            {"fitted on": row["fitted on"], **_row(row, "classifier", "accuracy")}
            for row in validated.to_dict("records")],
    }
    made = f"*Measured on {made_with('torch', 'sentence-transformers', 'scikit-learn')}.*"
    return "\n".join([written_by("domain_classifier.py"), "", *captioned(tables), made, ""])


def _row(row: dict, name: str, value: str) -> dict[str, str]:
    interval = f"{row['low']:.0%} to {row['high']:.0%}"
    share = f"{row[value]:.0%}"
    return {name: row[name], value: share, "95% interval": interval, "n": str(row["n"])}


def main() -> None:
    """The command; raises UserError on bad input."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mirror",
                        help="a folder in the hub's layout; without it LIMA is read from the hub")
    parser.add_argument("--out", type=Path, default=Path("book/measured/domains.md"),
                        metavar="FILE.md",
                        help="where the tables are written (default: %(default)s)")
    given = parser.parse_args()
    text = fragment(given.mirror)
    given.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    sys.exit(run_command(main))
