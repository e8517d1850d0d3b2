"""Chapter 2: measure roles, look at them, and have people read them.

`metrics` has the embedder and the figures for any role file, `compare` sets annotators side by
side, and `review` makes the sheet for raters and reads it back.
"""

from .compare import (
    agreement_with_reference,
    annotator_agreement,
    compare_role_sets,
    live_role_table,
    question_likeness,
    rater_agreement,
    rater_metrics,
    read_role_files,
    roles_report,
    rows_that_pass,
    same_samples,
)
from .fit import fit_text, role_fit
from .metrics import (
    answer_leaks,
    chance_found_among,
    closest_roles,
    common_experts,
    embed,
    expert_nouns,
    fit_by_group,
    grouping_column,
    least_fitting,
    load_embedder,
    map_coordinates,
    near_duplicates,
    question_ranks,
    role_clusters,
    role_table,
    summarize_roles,
)
from .review import (
    CRITERIA,
    STRATEGY_CRITERIA,
    between_raters,
    read_sheet,
    review_sheet,
    verdicts,
)
