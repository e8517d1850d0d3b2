"""The figure of likelihoods: what each contrast of models and prefixes comes to (chapter 5)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..stats import signed
from .base import BLUE, ORANGE, WIDTH, draw_interval, set_style

LINE = 0.6  # inches a contrast
FAINT = "#767676"
WITH_UNTUNED = r"\bbase, "  # in a contrast's label: "baseline, none − base, none"
FORMS = {"text": "Open questions"}  # the heading of a form, if not its name
SECTIONS = (  # title, look, and which rows
    ("Each begins as it was trained to", {"color": BLUE, "fmt": "D", "markersize": 10},
     lambda rows: rows.primary),
    ("One model with another beginning than its own", {"color": ORANGE, "fmt": "s"},
     lambda rows: ~rows.primary & rows.within_model),
    ("Other models", {"color": BLUE, "fmt": "o"}, lambda rows: ~rows.primary & ~rows.within_model),
)


def contrast_plot(contrasts: pd.DataFrame, axis: str, title: str = "") -> Axes:
    """Contrasts with their 95% intervals, the primary ones on top, zero in the middle.

    What is not interpreted is grey and hollow. The axis is made for all contrasts but those with
    the untuned model, which may lie far beyond: what ends outside has an arrow at the edge.

    Args:
        contrasts: rows of `likelihood_contrasts`, one a contrast: those of one form, and one task
            or `all`.
        axis: the measure in words, of `MEASURES`.
    """
    parts = [(name, look, contrasts[chosen(contrasts)]) for name, look, chosen in SECTIONS]
    return _draw_parts(parts, "contrast", axis, title)


def contrast_by_task_plot(contrasts: pd.DataFrame, axis: str, title: str = "",
                          mean: str = "mean of the tasks") -> Axes:
    """One contrast by task, each form for itself, with the mean of the tasks below (chapter 5).

    Args:
        contrasts: rows of `likelihood_contrasts` of one contrast and measure.
        mean: what the row of `all` tasks is called.
    """
    rows = contrasts.assign(whole=contrasts.task == "all").replace({"task": {"all": mean}})
    parts = [(FORMS.get(form, f"{form} form"), {"color": BLUE, "fmt": "o"}, rows[rows.form == form])
             for form in dict.fromkeys(rows.form)]
    return _draw_parts(parts, "task", axis, title)


def _draw_parts(parts: list[tuple[str, dict, pd.DataFrame]], label: str, axis: str,
                title: str) -> Axes:
    """A section for each part, with a line a row, named by the column `label`."""
    set_style()
    parts = [part for part in parts if len(part[2])]
    every = pd.concat([rows for _, _, rows in parts])
    _, axes = plt.subplots(figsize=(WIDTH, 1.9 + LINE * (len(every) + 1.1 * len(parts))))
    reach, place = _reach(every), 0.0
    axes.axvline(0, color="black", linewidth=1)
    for number, (name, look, rows) in enumerate(parts):
        if number:
            axes.axhline(place - 0.2, color="#cccccc", linewidth=1)
            place += 0.3
        _write(axes, place, name, fontweight="bold")
        place += 0.8
        for row in rows.itertuples():
            _draw(axes, row, getattr(row, label), place, look, reach)
            place += 1
    axes.set(xlim=(-reach, reach), ylim=(place - 0.2, -0.5), yticks=[], title=title)
    axes.grid(axis="y", visible=False)
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel(f"{axis}, 95% intervals\n← less likely    more likely →", fontsize="small")
    return axes


def _reach(contrasts: pd.DataFrame) -> float:
    """How far the axis goes on either side of zero."""
    near = contrasts[~contrasts.contrast.str.contains(WITH_UNTUNED)]
    ends = (near if len(near) else contrasts)[["difference", "low", "high"]]
    return 1.1 * float(np.nanmax(np.abs(ends.to_numpy()), initial=1e-6))


def _draw(axes: Axes, row, name: str, place: float, look: dict, reach: float) -> None:
    """One line: its name and its number, and below them the point with its interval."""
    if getattr(row, "whole", False):
        look = look | {"fmt": "D", "markersize": 10}
    if not row.interpreted:
        look = look | {"color": FAINT, "markerfacecolor": "white"}
    colour = "black" if row.interpreted else FAINT
    _write(axes, place, name, color=colour)
    number = signed(row.difference)
    ends = (row.difference, row.difference)
    if pd.notna(row.low):  # where all differ by the same there is no interval
        number += f" [{signed(row.low)}, {signed(row.high)}]"
        ends = (row.low, row.high)
    _write(axes, place, number, right=True, color=colour)
    draw_interval(axes, row.difference, *ends, place + 0.4, capsize=4, **look)
    for edge, outside in ((-0.97 * reach, ends[0] < -reach), (0.97 * reach, ends[1] > reach)):
        if outside:
            axes.plot(edge, place + 0.4, color=look["color"], marker=">" if edge > 0 else "<")


def _write(axes: Axes, place: float, text: str, right: bool = False, **look) -> None:
    axes.text(0.99 if right else 0.01, place, text, transform=axes.get_yaxis_transform(),
              va="center", ha="right" if right else "left",
              **{"fontsize": "small", "bbox": {"facecolor": "white", "lw": 0, "pad": 1}} | look)
