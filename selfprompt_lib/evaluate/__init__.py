"""Chapter 5: does it answer better? Benchmarks, open questions, a judge, and how sure one may be.

`bench` runs the tasks through lm-eval, whose model `lm` asks in several `arms`; `measure` does so for all
models, and `items` is the table of what came out.
"""

from .arms import ARMS, GIVEN
from .bench import TASK_FOLDER, ask, data_note, load_tasks, run, scored_tasks
from .items import UNREAD, accuracy, checked, disputed, read_table, readings, wins
from .lm import Arm, StartedLM
from .measure import measure, plan, save

__all__ = [
    "ARMS", "GIVEN", "TASK_FOLDER", "UNREAD", "Arm", "StartedLM", "accuracy", "ask", "checked", "data_note", "disputed",
    "load_tasks", "measure", "plan", "read_table", "readings", "run", "save", "scored_tasks", "wins",
]
