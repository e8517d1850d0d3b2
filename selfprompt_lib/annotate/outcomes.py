"""Annotate the samples of a profile, and what is made of the rows that come back (chapter 1)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import require
from ..llm_client.ask import ask_rows
from ..llm_client.endpoint import Endpoint
from ..llm_client.limits import Price
from ..profiles import Profile
from ..rows import ANNOTATION, Conversation, Sample
from ..sources import take_evenly_spaced, with_reference_roles
from ..variety import summarize, vary
from .strategy_prompt import annotation_prompt

LIMA_ROWS = 1030


def samples_to_annotate(profile: Profile, samples: Sequence[Sample]) -> list[Sample]:
    """The samples that are annotated live: a few to look at, or all that are trained on."""
    live = profile.annotate.train_on == "live"
    count = profile.data.train_rows if live else profile.annotate.samples
    return take_evenly_spaced(samples, count)


async def annotate(endpoint: Endpoint, profile: Profile, samples: Sequence[Conversation],
                   folder: Path) -> list[dict[str, Any]]:
    """`ask_rows` for the samples, as the profile says (chapter 1)."""
    prompt = annotation_prompt(profile.annotate)
    return await ask_rows(endpoint, prompt, samples, folder)


def training_set(profile: Profile, samples: Sequence[Sample],
                 rows: Sequence[dict[str, Any]]) -> list[Sample]:
    """The samples to train on, with reference roles or with those of the live `rows`.

    They are varied as section `data` of the profile says (`variety`).

    Raises:
        UserError: fewer than two live roles, or too few samples for what they are to be.
    """
    if profile.annotate.train_on == "reference":
        return vary(profile, with_reference_roles(profile, samples))
    roles = {row["id"]: ANNOTATION.validate_python(row["role"]) for row in rows if row["role"]}
    chosen = [sample.model_copy(update={"role": roles[sample.id]})
              for sample in samples if sample.id in roles]
    require(len(chosen) > 1,
            f"annotate: only {len(chosen)} of {len(rows)} roles came back well-formed; use a "
            "stronger annotator (annotate.model), or annotate.train_on=reference")
    return vary(profile, chosen)


def well_formed(rows: Sequence[dict[str, Any]]):
    """The share of rows that have a role, with its Wilson interval (a `stats.Estimate`)."""
    from .. import stats  # SciPy takes a second to load, which the command need not wait for

    return stats.rate([row["outcome"] == "role" for row in rows])


def failures(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without a role: id, outcome, reason and the number of attempts."""
    names = ("id", "outcome", "reason", "attempt")
    return [{name: row.get(name) for name in names} for row in rows if row["role"] is None]


def lima_cost(profile: Profile, samples: Sequence[Sample], tokenizer: Any) -> dict[str, Any]:
    """What annotating LIMA's 1,030 rows would cost with `annotate.price_model` (`cost.json`).

    Lengths are those of these samples. Returns input_tokens, output_tokens, model and dollars
    (None where the price is unknown).
    """
    model = profile.annotate.price_model
    prompt = annotation_prompt(profile.annotate)
    tokens = prompt.estimate_tokens(samples, lambda text: len(tokenizer.encode(text)), LIMA_ROWS)
    return tokens | {"model": model, "dollars": Price(model).dollars(**tokens)}


def metrics(profile: Profile, samples: Sequence[Sample], rows: Sequence[dict[str, Any]],
            training: Sequence[Sample], cost: dict[str, Any]) -> dict[str, Any]:
    """What the record of chapter 1 says of a run."""
    return {
        "samples": len(samples),
        "live": len(rows),
        "well_formed": well_formed(rows),
        "outcomes": dict(Counter(row["outcome"] for row in rows).most_common()),
        "reply_tokens": sum(row["tokens"] for row in rows) / len(rows),
        "training_samples": len(training),
        "variety": summarize(profile, samples, training),
        "trained_on": profile.annotate.train_on,
        "lima_dollars": cost["dollars"],
        "price_model": cost["model"],
        "guideline": annotation_prompt(profile.annotate).version,
    }


def report_text(annotator: str, metrics: dict[str, Any]) -> str:
    """What chapter 1 found, as Markdown."""
    dollars = metrics["lima_dollars"]
    price = "has no known price" if dollars is None else f"would cost at least **${dollars:.2f}**"
    return (
        f"The annotator {annotator} wrote a well-formed role for **{metrics['well_formed']}** of "
        f"{metrics['live']} samples (95% Wilson interval). Annotating LIMA with "
        f"{metrics['price_model']} {price}. Whether well-formed roles are also *good* is the "
        "next chapter's question."
    )
