"""Chapter 5: does it answer better? Benchmarks, open questions, a judge, and how sure one may be.

`bench` runs the tasks through lm-eval, whose model `lm` asks in several `arms`; `measure` does so for all
models, and `items` is the table of what came out. `effects` and `contrasts` compare arms in it, and
`figures` draws them.
"""

from . import figures
from .arms import ARMS, GIVEN
from .bench import TASK_FOLDER, ask, data_note, load_tasks, overview, run, scored_tasks
from .contrasts import causes, contrasts, shown
from .effects import differences, groups, needed, seeds
from .items import UNREAD, accuracy, checked, disputed, read_table, readings, wins
from .lm import Arm, StartedLM
from .measure import measure, plan, save

__all__ = [
    "ARMS", "GIVEN", "TASK_FOLDER", "UNREAD", "Arm", "StartedLM", "accuracy", "ask", "causes", "checked", "contrasts",
    "data_note", "differences", "disputed", "figures", "groups", "load_tasks", "measure", "needed", "overview", "plan",
    "read_table", "readings", "run", "save", "scored_tasks", "seeds", "shown", "wins",
]
