"""Figures of runs side by side: a measure over a swept field, what each run cost (chapter 7)."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from .base import (
    MARKS,
    WIDTH,
    draw_interval,
    legend_below,
    percent_axis,
    points_axis,
    set_style,
)

WIDE = 5  # times from the least to the largest number, from which on an axis is logarithmic
CLOSE = 6  # values, from which on ticks are
APART = 0.015  # of the axis, between two lines
PALETTE = sns.color_palette("colorblind").as_hex()


def sweep_plot(curve: pd.DataFrame, field: str, axis: str, title: str = "", zero: bool = False,
               shares: bool = False) -> Axes:
    """A measure over a swept field, with 95% intervals; one panel a curve, one line a model.

    Other fields that were swept make lines of their own. Numbers lie where they belong, on a
    logarithmic axis where they span more than five times, lines a little apart; other values stand
    side by side, without a line between them. Returns the first panel.

    Args:
        curve: rows with value, low, high, model, curve, and one column a swept field.
        axis: what is measured, in words.
        zero: a line at zero, for differences.
        shares: the values are shown as percentages, differences (`zero`) in points.
    """
    set_style()
    if curve.empty:
        return _nothing(title)
    kinds = list(dict.fromkeys(curve.curve))
    figure, panels = plt.subplots(len(kinds), 1, sharex=True, sharey=True,
                                  squeeze=False, figsize=(WIDTH, 1.9 + 2.7 * len(kinds)))
    lines, scale = line_names(curve, field), AxisScale(list(dict.fromkeys(curve[field])))
    names = list(dict.fromkeys(lines))
    for axes, kind in zip(panels[:, 0], kinds, strict=True):
        for number, name in enumerate(names):
            part = curve[(lines == name) & (curve.curve == kind)]
            places = scale.places(part[field], number - (len(names) - 1) / 2)
            look = {"color": PALETTE[number % len(PALETTE)], "fmt": MARKS[number % len(MARKS)]}
            draw_interval(axes, part.value, part.low, part.high, places, across=False,
                          label=name or None, capsize=4, markersize=8, **look)
            if scale.numeric:
                axes.plot(places, part.value, color=look["color"], linewidth=1.5, alpha=0.6)
        if zero:
            axes.axhline(0, color="black", linewidth=1)
        if shares and not zero:
            axes.set_ylim(-0.03, 1.03)  # all of them would be 1
        if shares:
            (points_axis if zero else percent_axis)(axes.yaxis)
        axes.set_title(", ".join(filter(None, [title, kind])) if zero else title)
        scale.label(axes)
    panels[-1, 0].set_xlabel(field)
    figure.supylabel(textwrap.fill(axis, 44), fontsize="small")
    legend_below(panels[0, 0], columns=2 if max(map(len, names)) < 26 else 1, fontsize="small")
    return panels[0, 0]


def _nothing(title: str) -> Axes:
    """A figure that says that there is nothing to show."""
    _, axes = plt.subplots(figsize=(WIDTH, 1.4))
    axes.set_title(title)
    axes.text(0.5, 0.5, "not measured in these runs, or not to be interpreted", ha="center",
              va="center", fontsize="small", transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])
    return axes


def line_names(curve: pd.DataFrame, field: str) -> pd.Series:
    """What tells the lines of a panel apart: those of model and of other fields that vary."""
    known = {"group", "curve", "value", "low", "high", "n", "seeds", field}
    others = [name for name in curve if name not in known and curve[name].nunique() > 1]
    parts = [("" if name == "model" else f"{name}=") + curve[name].map(str) for name in others]
    return pd.Series(["; ".join(row) for row in zip(*parts, strict=True)] if parts else "",
                     index=curve.index, dtype=str)


class AxisScale:
    """Where the values of a swept field lie: numbers by size, others one beside the other."""

    def __init__(self, values: list):
        self.values, self.numeric = values, all(isinstance(v, int | float) for v in values)
        self.wide = self.numeric and min(values) > 0 and max(values) > WIDE * min(values)

    def places(self, values: pd.Series, shift: float) -> np.ndarray:
        """Of one line's points, which lie `shift` lines beside the middle."""
        if not self.numeric:
            return np.array([self.values.index(value) for value in values]) + APART * 6 * shift
        numbers, least, most = values.to_numpy(float), min(self.values), max(self.values)
        if self.wide:
            return numbers * (most / least) ** (APART * shift)
        return numbers + (most - least) * APART * shift

    def label(self, axes: Axes) -> None:
        """Ticks at the values that were measured, and nowhere else."""
        if not self.numeric:
            labels = [_wrap_cell(str(value), 14) for value in self.values]
            count = len(labels)
            axes.set(xticks=range(count), xticklabels=labels, xlim=(-0.5, count - 0.5))
            return
        if self.wide:
            axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(sorted(self.values)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:g}")
        if len(self.values) > CLOSE:
            axes.tick_params(axis="x", labelsize="x-small")


def _wrap_cell(name: str, letters: int) -> str:
    """A cell's name in lines that end behind its commas."""
    return textwrap.fill(name.replace(",", ", "), letters, break_long_words=False,
                         break_on_hyphens=False)


def cell_plot(contrasts: pd.DataFrame, axis: str) -> Axes:
    """Each cell minus the reference with its interval, one colour a quantity (chapter 7).

    Args:
        contrasts: of `compare_runs.cell_contrasts`.
    """
    set_style()
    cells, quantities = (list(dict.fromkeys(contrasts[name])) for name in ("group", "quantity"))
    _, axes = plt.subplots(figsize=(WIDTH, 2.2 + 0.75 * len(cells)))
    for number, quantity in enumerate(quantities):
        part = contrasts[contrasts.quantity == quantity]
        places = [cells.index(name) + 0.24 * (number - (len(quantities) - 1) / 2)
                  for name in part.group]
        draw_interval(axes, part.difference, part.low, part.high, places, label=quantity,
                      fmt=MARKS[number], color=PALETTE[number], capsize=4)
    axes.axvline(0, color="black", linewidth=1)
    axes.set(yticks=range(len(cells)), ylim=(len(cells) - 0.5, -0.5),
             yticklabels=[_wrap_cell(name, 22) for name in cells])
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(f"{axis},\nminus {contrasts.reference.iloc[0]}",
                    fontsize="small")
    legend_below(axes, columns=1, fontsize="small")
    return axes


def cost_plot(seconds: pd.DataFrame) -> Axes:
    """Minutes of each run, by chapter (chapter 7).

    Args:
        seconds: of `compare_runs.run_seconds`.
    """
    set_style()
    _, axes = plt.subplots(figsize=(WIDTH, 2.4 + 0.42 * len(seconds)))
    left = np.zeros(len(seconds))
    names = [_wrap_cell(name, 30) for name in seconds.index]
    for chapter, colour in zip(seconds, PALETTE, strict=False):
        minutes = seconds[chapter].to_numpy() / 60
        axes.barh(names, minutes, left=left, color=colour, label=chapter)
        left += minutes
    axes.set_ylim(len(names) - 0.4, -0.6)  # the first run on top, and no margin
    axes.tick_params(axis="y", labelsize="small")
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="minutes", title="What each run took")
    legend_below(axes, columns=3, fontsize="small")
    return axes
