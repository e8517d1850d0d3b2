"""Chapter 6: prompt designs and other strategies, compared at equal data and budget.

Everything here takes the tables of `measure_designs`, in which a model is named by its design.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from . import infer, stats
from .ablate_measure import (
    PROMPT,
    TUNED_WITHOUT,
    is_worded_role,
    load_ablate_tasks,
    measure_designs,
    train_designs,
)
from .designs import get_design
from .evaluate.contrasts import Contrast, likelihood_contrasts
from .evaluate.likelihood_measure import OPEN
from .evaluate.prefixes import NEUTRAL, OWN_ROLE
from .evaluate.results import BASE, OTHER
from .profiles import Profile
from .roles import role_fit
from .rows import Question
from .two_way import variance_components

__all__ = ["design_accuracy", "design_contrasts", "design_fit", "design_spread",
           "load_ablate_tasks", "measure_designs", "rate_table", "report_text", "role_rates",
           "summarize", "train_designs"]
AGAINST_NONE = "minus the model tuned without"
AGAINST_NEUTRAL = "minus the neutral paragraph"
AGAINST_OTHER = "minus another question's"
IN_WORDS = {AGAINST_NONE: "Against the model tuned without any text",
            AGAINST_NEUTRAL: "Against the model with the neutral paragraph"}
TUNED, SEEDS = "tuned on each", "seeds of one design"
DRAWS = 2000


def role_rates(roles: pd.DataFrame, replies: pd.DataFrame) -> pd.DataFrame:
    """By design, how often it is written to open questions, and its tokens (chapter 6).

    Of a design behind the answer, from the whole replies. Columns: design, rate, low, high (Wilson,
    95%), n, tokens (the mean where it is written).
    """
    rows = []
    for name, part in roles[roles.task == OPEN].groupby("design", sort=False):
        wrote, tokens = part.role.notna(), part.tokens[part.role.notna()]
        if get_design(name).writes_role and not get_design(name).writes_first:
            part = replies[replies.design == name]
            wrote = [infer.wrote_role(row) for row in part.to_dict("records")]
            tokens = part.role_tokens[wrote]
        rows.append({"design": name, **stats.rate(list(wrote)).columns("rate"),
                     "tokens": tokens.mean() if len(tokens) else 0.0})
    return pd.DataFrame(rows, columns=["design", "rate", "low", "high", "n", "tokens"])


def rate_table(rates: pd.DataFrame):
    """The rates of `role_rates` as a page shows them."""
    percent = dict.fromkeys(["rate", "low", "high"], "{:.0%}")
    return rates.style.format(percent | {"tokens": "{:.0f}"}).hide(axis="index")


def design_fit(embedder, roles: pd.DataFrame, questions: Sequence[Question],
               seed: int = 0) -> pd.DataFrame:
    """`role_fit` of every design that wrote something: does it find its question (chapter 6)?"""
    texts = {row.id: row.question for row in questions}
    parts = []
    for name, part in roles[roles.task == OPEN].groupby("design", sort=False):
        if name != NEUTRAL:  # the same text for all
            asked = [texts[item] for item in part["item"]]
            parts.append(role_fit(embedder, get_design(name), asked, {name: list(part.role)}, seed))
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["roles"])
    return found.rename(columns={"roles": "design"})


def design_contrasts(table: pd.DataFrame, measure: str = "nats",
                     gates: pd.DataFrame | None = None) -> pd.DataFrame:
    """How much likelier answers are behind what a design writes than behind others (chapter 6).

    Each model stands behind its own text: against the model tuned without one, against the one
    tuned with a neutral paragraph, and against itself behind another question's text. Holm's
    correction is over the first two of all designs, and over the third for itself.

    Args:
        measure: `nats` of open questions, or `log_odds` of the right option.
        gates: which tasks are interpreted, as in `likelihood_contrasts`.

    Returns:
        Columns design, against, and those of `likelihood_contrasts`, in nats, over all questions.
    """
    designs = [name for name in dict.fromkeys(table.model) if name not in (TUNED_WITHOUT, BASE)]
    chosen = {}
    for name in designs:
        own, first = (name, OWN_ROLE), get_design(name).writes_first
        pairs = {AGAINST_NONE: ((TUNED_WITHOUT, OWN_ROLE), True)}
        if name != NEUTRAL:
            pairs[AGAINST_NEUTRAL] = (NEUTRAL, OWN_ROLE), True
            if first:
                pairs[AGAINST_OTHER] = (name, OTHER), False
        for against, (old, primary) in pairs.items():
            contrast = Contrast(own, old, primary)
            chosen[contrast.label] = name, against, contrast
    contrasts = [contrast for _, _, contrast in chosen.values()]
    found = likelihood_contrasts(table, measure, gates, contrasts)
    found = found[found.task == "all"]
    about = pd.DataFrame([chosen[label][:2] for label in found.contrast],
                         columns=["design", "against"], index=found.index)
    return pd.concat([about, found], axis=1).reset_index(drop=True)


def design_accuracy(table: pd.DataFrame) -> pd.DataFrame:
    """How often the right option is the likeliest behind a design's own text (Wilson, 95%)."""
    rows = table[(table.form == "cloze") & (table.prefix == OWN_ROLE)]
    found = []
    for name, part in rows.groupby("model", sort=False):
        right = stats.rate(part.right.astype(bool))
        found.append({"design": name} | right.columns("accuracy"))
    return pd.DataFrame(found, columns=["design", "accuracy", "low", "high", "n"])


def design_spread(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How much the wording matters: the spread of the mean likelihood over designs (chapter 6).

    For models tuned on each design, behind what they write (the mean of its seeds); for one model
    that gets the same texts as prompts: the untuned one and the baseline. The paper says that tuned
    models are the less sensitive (arXiv 2407.08995, section 5). Beside it stands the spread between
    the training seeds of a design, if there are some: the root of the designs' mean variance. Only
    role designs that stand before the answer.

    Returns:
        Columns what, spread (nats a token), low, high (95%, bootstrap over questions), of (how many
        designs or seeds), n (questions).
    """
    rows = table[(table.task == OPEN) & table.nats.notna()]
    names = [name for name in dict.fromkeys(rows.model) if name != BASE and is_worded_role(name)]
    own = rows[(rows.prefix == OWN_ROLE) & rows.model.isin(names)]
    wide = {TUNED: own.pivot_table(index="item", columns="model", values="nats")}
    for model, what in ((BASE, "prompted, untuned"), (TUNED_WITHOUT, "prompted, baseline")):
        part = rows[(rows.model == model) & rows.prefix.isin([PROMPT + name for name in names])]
        wide[what] = part.pivot(index="item", columns="prefix", values="nats")
    seeds = own.seed.nunique()
    if seeds > 1:
        wide[SEEDS] = own.pivot(index="item", columns=["model", "seed"], values="nats")
    found = []
    for what, some in wide.items():
        some = some.dropna()
        if min(some.shape) > 1:
            of = seeds if what == SEEDS else some.shape[1]
            by_item = some.to_numpy().reshape(len(some), -1, of)  # shape (items, sets, columns)
            spread = _spread(by_item.swapaxes(0, 1), seed)
            found.append({"what": what, **spread, "of": of, "n": len(some)})
    return pd.DataFrame(found, columns=["what", "spread", "low", "high", "of", "n"])


def _spread(values: np.ndarray, seed: int) -> dict[str, float]:
    """The standard deviation between columns without what items make of it, with its interval.

    Args:
        values: shape (sets, items, columns); of several sets, the root of the mean variance.
    """
    items = values.shape[1]
    drawn = np.random.default_rng(seed).integers(items, size=(DRAWS, items))
    samples = values[:, drawn]  # shape (sets, draws, items, columns)
    low, high = np.quantile(_between_columns(samples), [0.025, 0.975])
    return {"spread": float(_between_columns(values)), "low": float(low), "high": float(high)}


def _between_columns(values: np.ndarray) -> np.ndarray:
    """The same without an interval; shape (sets, ..., items, columns) becomes (...)."""
    of_mean = variance_components(values, shares=False)  # columns take the place of its seeds
    of_column = values.shape[-1] * (of_mean.seeds - of_mean.residual)  # shape (sets, ...)
    return np.sqrt(np.maximum(0.0, of_column.mean(axis=0)))


def summarize(profile: Profile, rates: pd.DataFrame, fit: pd.DataFrame, contrasts: pd.DataFrame,
              accuracy: pd.DataFrame, spread: pd.DataFrame,
              records: dict[str, list[dict]]) -> dict[str, Any]:
    """The metrics that chapter 6 records, for pages; `records` are of `train_designs`."""
    tables = {"role_rates": rates, "fit": fit, "contrasts": contrasts, "accuracy": accuracy,
              "spread": spread}
    found = {name: table.astype(object).where(table.notna(), None).to_dict("records")
             for name, table in tables.items()}
    return found | {
        "designs": list(profile.ablate.designs), "seeds": profile.ablate.seeds,
        "equal": profile.ablate.equal,
        "samples": {name: runs[0]["samples"] for name, runs in records.items()},
        "training_tokens": {name: runs[0]["tokens"] for name, runs in records.items()},
        "training_seconds": {name: sum(run["seconds"] for run in runs)
                             for name, runs in records.items()}}


def count_differences(rows: pd.DataFrame) -> tuple[int, int]:
    """How many rows of `design_contrasts` are likelier, and less likely, after Holm (chapter 6)."""
    seen = rows[rows.p_holm < 0.05]
    return int((seen.difference > 0).sum()), int((seen.difference < 0).sum())


def report_text(rates: pd.DataFrame, contrasts: pd.DataFrame, spread: pd.DataFrame) -> str:
    """Is it written, does it make answers likelier, does the wording matter? (chapter 6)"""
    rates = rates[~rates.design.isin([TUNED_WITHOUT, NEUTRAL])]
    text = (f"{(rates.rate >= 0.9).sum()} of {len(rates)} role designs were written for at least "
            "90% of the questions. ")
    for against, told in IN_WORDS.items():
        rows = contrasts[contrasts.against == against]
        if len(rows):
            above, below = count_differences(rows)
            designs = f"{len(rows)} designs"
            if NEUTRAL in set(rows.design):
                designs += ", the neutral paragraph among them,"
            text += (f"{told}, each model behind its own text finds the reference answers likelier "
                     f"with {above} of {designs} and less likely with {below}, "
                     "after Holm's correction; the differences lie between "
                     f"{stats.signed(rows.difference.min())} and "
                     f"{stats.signed(rows.difference.max())} nats a token. ")
    parts = [f"{row.what}, {row.spread:.3f} [{row.low:.3f}, {row.high:.3f}]"
             for row in spread.itertuples()]
    if parts:
        text += f"The spread, in nats a token: {'; '.join(parts)}."
    return text.strip()
