"""The page *Answers to the paper's open questions*, from the measurements in book/measured.

`designs` tells of wordings, `strategies` of other strategies (where it is not there, `designs`
does), `sweeps` of training data, `ladder` of models, `choice` of when to write no role. Each
section is there where its measurement is kept, and left out where it is not.
`selfprompt_lib.book` makes the page, scripts of book/studies the measurements.
"""

from functools import cache, partial
from pathlib import Path
from typing import Any

from .. import plots
from . import choice, designs, ladder, sweeps


@cache
def page_facts(measured: Path) -> dict[str, Any]:
    """What each section says, None where its measurement is not kept.

    Keys: designs, strategies, sweeps (by name), ladder, choice, without_role, and missing: what is
    not measured yet.
    """
    kept = {name: sweeps.facts(measured / "sweeps" / name) for name in sweeps.SWEEPS
            if (measured / "sweeps" / name / "sweep.json").is_file()}
    found = _design_facts(measured) | {
        "ladder": _where(measured, ladder.facts, "ladder.json"),
        "choice": _where(measured / "choice", choice.facts),
        "without_role": kept.pop(sweeps.WITHOUT_ROLE, None), "sweeps": kept}
    return found | {"missing": _missing(found)}


def _design_facts(measured: Path) -> dict[str, Any]:
    """Both sections on designs, their tests corrected together."""
    apart = (measured / "strategies" / "record.json").is_file()
    read = {
        "designs": _where(measured / "designs", designs.read_section),
        "strategies": _where(measured / ("strategies" if apart else "designs"),
                             partial(designs.read_section, of_strategies=True))}
    designs.correct_together([section for section in read.values() if section])
    return {name: section and designs.facts(section) for name, section in read.items()}


def _where(folder: Path, facts: Any, single: str = "") -> Any | None:
    """What `facts` makes of a folder with a record, or of a file in it; None where none is."""
    path = folder / (single or "record.json")
    return facts(path if single else folder) if path.is_file() else None


def _missing(found: dict[str, Any]) -> list[str]:
    """What a reader should not look for on this page yet."""
    whole = {"wordings": found["designs"], "other strategies": found["strategies"],
             "which model": found["ladder"],
             "whether a model chooses when to write no role": found["without_role"],
             "which rule of writing no role is best": found["choice"]}
    parts = [title.lower() for name, (title, _) in sweeps.SWEEPS.items()
             if name not in found["sweeps"] and name != sweeps.WITHOUT_ROLE]
    return [name for name, part in whole.items() if not part] + parts


def draw(measured: Path, out: Path) -> None:
    """The page's figures as PNG files in `out`."""
    found = page_facts(measured)
    parts = [(designs, found["designs"]), (designs, found["strategies"]),
             (ladder, found["ladder"]), (choice, found["choice"])]
    parts += [(sweeps, one) for one in (*found["sweeps"].values(), found["without_role"])]
    for module, facts in parts:
        if facts:
            plots.save_figures(module.figures(facts), out)
