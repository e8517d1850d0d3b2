"""Chapter 2: measure roles, look at them, and have people read them.

`measure` has the embedder and the figures for any role file, `compare` sets annotators side by
side, and `review` makes the sheet for readers and reads it back.
"""

from .compare import agreement, from_files, likeness, live_table, same_samples, side_by_side
from .metrics import (
    by_group,
    clusters,
    common_experts,
    embed,
    embedder,
    fit_table,
    found_among,
    given_away,
    grouping,
    least_fitting,
    map_of,
    near_duplicates,
    relevance,
    summary,
    table,
)
from .review import CRITERIA, between_readers, read_sheet, review_sheet, verdicts

__all__ = [
    "CRITERIA", "agreement", "between_readers", "by_group", "clusters", "common_experts", "embed", "embedder",
    "fit_table", "found_among", "from_files", "given_away", "grouping", "least_fitting", "likeness", "live_table",
    "map_of", "near_duplicates", "read_sheet", "relevance", "review_sheet", "same_samples", "side_by_side", "summary",
    "table", "verdicts",
]
