"""Chapter 7: runs side by side, made one by one or as a sweep.

`run_sets` puts runs into one table; `changes` says what differs between two and what each cost;
`curves` has measures over a swept field and pairs cells; `summary` puts it into words. What one run
measured, and its record, are made by `pipeline` (`sweep_results`), as for a sweep.
"""

from .changes import run_overview, run_seconds, what_changed
from .curves import (
    cell_contrasts,
    comparable_rows,
    contrast_curve,
    measured_rows,
    own_models,
    role_curve,
    written_curve,
)
from .run_sets import RunSet, read_runs
from .summary import cells_text
