"""Chapter 5: does it answer better? Benchmarks, open questions, a judge, and how sure one may be.

`lm` asks, `bench` runs the tasks, `items` is the table of what came out.
"""

from .bench import TASK_FOLDER, data_note, run, scored_tasks, task_manager
from .items import UNREAD, accuracy, differences, wins
from .lm import StartedLM, trigger

__all__ = [
    "TASK_FOLDER", "UNREAD", "StartedLM", "accuracy", "data_note", "differences", "run", "scored_tasks", "task_manager",
    "trigger", "wins",
]
