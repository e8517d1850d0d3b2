"""Which samples are annotated, which are trained on, and what became of them."""

from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import require
from ..profiles import Profile
from ..rows import Role, Sample
from ..sources import take_evenly_spaced


def to_annotate(profile: Profile, samples: Sequence[Sample]) -> list[Sample]:
    """The samples that are annotated live: a few to look at, or all that will be trained on."""
    live = profile.annotate.train_on == "live"
    return take_evenly_spaced(samples, profile.data.train_rows if live else profile.annotate.samples)


def training_set(profile: Profile, samples: Sequence[Sample], rows: Sequence[dict[str, Any]]) -> list[Sample]:
    """The samples to train on, with reference roles or with those of the live `rows`."""
    if profile.annotate.train_on == "reference":
        return take_evenly_spaced([sample for sample in samples if sample.role], profile.data.train_rows)
    written = {row["id"]: Role(**row["role"]) for row in rows if row["role"]}
    chosen = [s.model_copy(update={"role": written[s.id]}) for s in samples if s.id in written]
    require(len(chosen) > 1, f"annotate: only {len(chosen)} of {len(rows)} roles came back well-formed; "
                             "use a stronger annotator (annotate.model), or annotate.train_on=reference")
    return chosen


def well_formed(rows: Sequence[dict[str, Any]]):
    """The share of rows that have a role, with its interval (a `stats.Estimate`)."""
    from .. import stats  # SciPy takes a second to load, which the command line need not wait for

    return stats.rate([row["outcome"] == "role" for row in rows])


def failures(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without a role: id, outcome, reason and the number of attempts."""
    return [{name: row.get(name) for name in ("id", "outcome", "reason", "attempt")} for row in rows if row["role"] is None]
