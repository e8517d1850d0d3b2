"""Chapter 5: does it answer better? Benchmarks, open questions, a judge, and how sure one may be.

`bench` runs the tasks through lm-eval, whose model `lm` asks in several `arms`; `measure` does so for all
models, and `items` is the table of what came out. `effects` and `contrasts` compare arms in it, `figures` draws
them and `words` says what they mean.

Open questions: `reference` measures what needs no judge, `examine` asks a judge about `planted` pairs, and `judge`
asks it about real ones, whose `verdicts` are counted; `sheet` is for people. `robust` probes with unusual
questions, which `gallery` shows. `committed_study` is the page "What we found".
"""

from . import figures
from .arms import ARMS, GIVEN
from .bench import ask, chance, data_note, load_tasks, overview, run, scored_tasks
from .contrasts import causes, contrasts, shown
from .effects import differences, groups, needed, seeds
from .items import UNREAD, accuracy, checked, disputed, read_table, readings, wins
from .lm import Arm, StartedLM
from .measure import measure, plan, save
from .words import found, level, summary

__all__ = [
    "ARMS", "GIVEN", "UNREAD", "Arm", "StartedLM", "accuracy", "ask", "causes", "chance", "checked", "contrasts",
    "data_note", "differences", "disputed", "figures", "found", "groups", "level", "load_tasks", "measure", "needed",
    "overview", "plan", "read_table", "readings", "run", "save", "scored_tasks", "seeds", "shown", "summary", "wins",
]
