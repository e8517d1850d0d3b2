"""The page *Answers to the paper's open questions*, from the measurements in book/measured.

`beyond_designs` tells of wordings and of other strategies, `beyond_sweeps` of training data,
`beyond_ladder` of models, `beyond_choice` of when to write no role. Each section is there where its
measurement is kept, and left out where it is not. Scripts of book/studies make the measurements.
"""

from pathlib import Path
from typing import Any

import beyond_choice
import beyond_designs
import beyond_ladder
import beyond_options
import beyond_sweeps
import beyond_tokens
from measurements import MEASURED, is_kept
from rendering import render

from selfprompt_lib import plots


def beyond_page(out: Path, measured: Path = MEASURED) -> str:
    """The page of the measurements kept in `measured`; its figures are drawn into `out`."""
    found = page_facts(measured)
    parts = [(beyond_designs, found["designs"]), (beyond_designs, found["options"]),
             (beyond_designs, found["strategies"]),
             (beyond_ladder, found["ladder"]), (beyond_choice, found["choice"])]
    parts += [(beyond_sweeps, one) for one in (*found["sweeps"].values(), found["without_role"])]
    for section, facts in parts:
        if facts:
            plots.save_figures(section.figures(facts), out)
    return render("beyond.md.jinja", found)


def page_facts(measured: Path) -> dict[str, Any]:
    """What each section says, None where its measurement is not kept.

    Keys: designs, equal_tokens, options, strategies, sweeps (by name), ladder, choice,
    without_role, and missing: what is not measured yet. In each section, `drawn` holds the tables
    of its figures.
    """
    sweeps = {name: beyond_sweeps.facts(measured / "sweeps" / name)
              for name in beyond_sweeps.SWEEPS
              if (measured / "sweeps" / name / "sweep.json").is_file()}
    ladder, choice = measured / "ladder.json", measured / "choice"
    found = _design_facts(measured) | {
        "ladder": beyond_ladder.facts(ladder) if ladder.is_file() else None,
        "choice": beyond_choice.facts(choice) if is_kept(choice) else None,
        "without_role": sweeps.pop(beyond_sweeps.WITHOUT_ROLE, None), "sweeps": sweeps}
    return found | {"missing": _missing(found)}


def _design_facts(measured: Path) -> dict[str, Any]:
    """Both sections on designs, their tests corrected together.

    Where strategies have no measurement of their own, that of the designs tells of them.
    """
    designs = strategies = measured / "designs"
    if is_kept(measured / "strategies"):
        strategies = measured / "strategies"
    read = {
        "designs": beyond_designs.read_section(designs),
        "strategies": beyond_designs.read_section(strategies, of_strategies=True)}
    beyond_designs.correct_together([section for section in read.values() if section])
    told = {name: section and beyond_designs.facts(section) for name, section in read.items()}
    return told | {
        "equal_tokens": beyond_tokens.facts(measured / "designs-tokens", read["designs"]),
        "options": beyond_options.facts(measured / "designs-options") if read["designs"] else None}


def _missing(found: dict[str, Any]) -> list[str]:
    """What a reader should not look for on this page yet."""
    whole = {"wordings": found["designs"], "other strategies": found["strategies"],
             "which model": found["ladder"],
             "whether a model chooses when to write no role": found["without_role"],
             "which rule of writing no role is best": found["choice"]}
    parts = [f"{title[0].lower()}{title[1:]}" for name, (title, _) in beyond_sweeps.SWEEPS.items()
             if name not in found["sweeps"] and name != beyond_sweeps.WITHOUT_ROLE]
    return [name for name, part in whole.items() if not part] + parts
