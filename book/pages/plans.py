"""The plans of the page *Teaching this book*: who does what when, and when the machine is ready.

Minutes of people are written down in plans.yaml; those of the machine come from a run's report, so
that they are never older than the book.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict

from selfprompt_lib.pipeline import CHAPTERS
from selfprompt_lib.workshop.handed_in import packed

PLANS = Path(__file__).with_name("plans.yaml")
MOST = 20  # times as slow as the measured machine, beyond which nobody asks


class Slot(BaseModel):
    """A part of a plan; see the head of plans.yaml."""

    model_config = ConfigDict(extra="forbid")

    minutes: int
    title: str
    text: str
    starts: list[str] = []
    uses: list[str] = []
    all_done: bool = False


class Plan(BaseModel):
    """A plan, such as half a day, with its slots in order."""

    model_config = ConfigDict(extra="forbid")

    name: str
    about: str
    minutes: int
    prepared: list[str]
    slots: list[Slot]


class Timed(NamedTuple):
    """A slot with its times, all in minutes from the plan's begin.

    `done`: when the chapters that it starts are finished; `ready`: when what it uses is; both are
    None where there is nothing.
    """

    slot: Slot
    begin: int
    end: int
    done: float | None
    ready: float | None

    @property
    def late(self) -> float:
        """Minutes that a class would wait for the machine."""
        return max(0.0, (self.ready or 0.0) - self.begin)


def read_plans() -> list[Plan]:
    """The plans, shortest first."""
    return [Plan(**plan) for plan in yaml.safe_load(PLANS.read_text(encoding="utf-8"))]


def timetable(plan: Plan, seconds: dict[str, float], slower: float = 1.0) -> list[Timed]:
    """The plan with its times, on a machine `slower` times as slow as that of `seconds`.

    Args:
        seconds: by chapter, as measured in a run.
    """
    rows, begin, free = [], 0, 0.0
    ready = dict.fromkeys(plan.prepared, 0.0)
    for slot in plan.slots:
        needed = [ready[name] for name in slot.uses] + [free] * slot.all_done
        free = max(free, begin) if slot.starts else free
        for name in slot.starts:
            free += slower * seconds[name] / 60
            ready.setdefault(name, free)
        end = begin + slot.minutes
        rows.append(Timed(slot, begin, end, free if slot.starts else None,
                          max(needed, default=None)))
        begin = end
    return rows


def slowest(plan: Plan, seconds: dict[str, float]) -> float:
    """How many times as slow a machine may be that is never late, in tenths; at most `MOST`."""
    fits = (tenth / 10 for tenth in range(1, 10 * MOST + 1)
            if not any(row.late for row in timetable(plan, seconds, tenth / 10)))
    return max(fits, default=0.0)


def page_facts(root: Path, stages: dict[str, Any]) -> dict[str, Any]:
    """What the page tells of a run in `root`.

    `plans`: the plans on the machine that needed the seconds of `stages`, those of the report, as
    `plan_facts`; `pack_kb`: the size of the file that a laptop hands in.
    """
    seconds = {name: stage["seconds"] for name, stage in stages.items()}
    return {"plans": [plan_facts(plan, seconds) for plan in read_plans()],
            "pack_kb": -(-len(packed(root)) // 1024)}


def plan_facts(plan: Plan, seconds: dict[str, float]) -> dict[str, Any]:
    """A plan as the page shows it, with times in words.

    `slots`: begin, minutes, title, text, and what the machine has to do; `late`: title of the first
    slot at which a class would wait, and how long, or None; `slowest`: as the function says.
    """
    rows = timetable(plan, seconds)
    late = next((row for row in rows if row.late), None)
    return {
        "name": plan.name, "about": plan.about, "length": clock(plan.minutes),
        "slots": [{"begin": clock(row.begin), "minutes": row.slot.minutes,
                   "title": row.slot.title, "text": row.slot.text, "machine": machine_text(row)}
                  for row in rows],
        "end": clock(rows[-1].end), "minutes": sum(row.slot.minutes for row in rows),
        "late": late and {"title": late.slot.title, "wait": clock(late.late)},
        "slowest": slowest(plan, seconds),
    }


def clock(minutes: float) -> str:
    """Minutes as hours and minutes, rounded up: 75.2 is 1:16."""
    whole = -int(-minutes // 1)
    return f"{whole // 60}:{whole % 60:02}"


def machine_text(row: Timed) -> str:
    """What the machine has to do with a slot, in a few words of Markdown."""
    parts = []
    if row.ready is not None:
        late = -int(-row.late // 1)
        what = _chapters(row.slot.uses) if row.slot.uses else "all that was started"
        parts.append(f"needs {what}: " + (f"**{late} min late**" if late else
                                          f"ready {clock(row.ready) if row.ready else 'before'}"))
    if row.done is not None:
        begun = f"starts {_chapters(row.slot.starts)}"
        parts.append(f"{begun}: done {clock(row.done)}")
    return "; ".join(parts)


def _chapters(names: Sequence[str]) -> str:
    """`chapters 1 to 6` for neighbours, `chapter 4` for a single one."""
    labels = [CHAPTERS[name].label for name in names]
    return (f"chapter {labels[0]}" if len(labels) == 1 else
            f"chapters {labels[0]} to {labels[-1]}")
