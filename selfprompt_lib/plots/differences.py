"""Figures of paired differences, each with its interval (chapter 5)."""

import textwrap
from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from .base import (
    BLUE,
    ORANGE,
    WIDTH,
    draw_interval,
    interval_plot,
    legend_below,
    points_axis,
    set_style,
)

LINE_HEIGHT = 0.42  # inches
SEEN = "dimgrey"  # thin intervals, which must not look like grid lines
LETTERS = 26  # of a name in one line


def accuracy_by_task(table: pd.DataFrame) -> Axes:
    """Accuracy of the models by task, with Wilson intervals.

    Args:
        table: rows of `evaluate.accuracy`, for one training seed.
    """
    return interval_plot(table, "accuracy", "task", group="arm", title="Accuracy by task",
                         axis="accuracy, 95% Wilson intervals")


def forest_plot(table: pd.DataFrame, better: str = "", worse: str = "", title: str = "") -> Axes:
    """Paired differences by task, and the mean over tasks as a diamond set apart.

    Args:
        table: rows of `compare.differences`, the last one `all`.
        better, worse: what lies right and left of zero, such as "self-prompt better".
    """
    tasks, whole = table[table.task != "all"], table[table.task == "all"].iloc[0]
    axes = _difference_axes(len(tasks) + 1.6, title)
    for place, row in enumerate(tasks.itertuples()):
        draw_interval(axes, row.difference, row.low, row.high, place, fmt="o", capsize=4,
                      color=BLUE)
    below = len(tasks) + 0.4
    axes.axhline(len(tasks) - 0.3, color="#cccccc", linewidth=1)
    axes.axvline(whole.difference, color=BLUE, linewidth=1, linestyle=":", zorder=0)
    axes.fill([whole.low, whole.difference, whole.high, whole.difference],
              [below, below - 0.28, below, below + 0.28], color=BLUE)
    names = [f"{textwrap.fill(row.task, LETTERS)} ({row.n:,})" for row in tasks.itertuples()]
    _label_lines(axes, [*range(len(tasks)), below], [*names, "mean of the tasks"])
    _label_sides(axes, better, worse)
    return axes


def seed_plot(
    seeds: pd.DataFrame, table: pd.DataFrame, better: str = "", worse: str = "", title: str = ""
) -> Axes:
    """Each pair of models as a point, by task and over all, beside the interval.

    Args:
        seeds: rows of `compare.seed_differences`.
        table: rows of `compare.differences` of the same arms.
    """
    axes = _difference_axes(len(table) * 1.15, title)
    interval = "95%, over items and seeds" if table.seeds.max() > 1 else "95%, over items"
    for place, row in enumerate(table.itertuples()):
        axes.plot([row.low, row.high], [place] * 2, color=BLUE, linewidth=9, alpha=0.25,
                  solid_capstyle="butt", label=None if place else interval)
        axes.plot([row.difference] * 2, [place - 0.22, place + 0.22], color=BLUE, linewidth=2.5,
                  label=None if place else "mean")
        pairs = seeds[seeds.task == row.task].sort_values("seed").difference
        offsets = np.linspace(-0.14, 0.14, len(pairs)) if len(pairs) > 1 else np.zeros(len(pairs))
        axes.plot(pairs, place + offsets, "o", color="black", markersize=6, zorder=3,
                  label=None if place else "one pair of models")
    names = table.task.replace("all", "mean of the tasks")
    _label_lines(axes, range(len(table)), [textwrap.fill(name, LETTERS) for name in names])
    _label_sides(axes, better, worse)
    legend_below(axes, columns=2, fontsize="small")
    return axes


def subject_plot(groups: pd.DataFrame, better: str = "", worse: str = "", title: str = "") -> Axes:
    """Groups and their subjects: as seen (thin), and after shrinkage (bold), with intervals.

    Args:
        groups: rows of `subjects.subject_differences`. Subjects stand below their group, largest
            shrunk difference first.
    """
    parts = []
    for name in groups[groups.level == "group"].name:
        part = groups[groups.group == name]
        subjects = part[part.level == "subject"].sort_values("shrunk", ascending=False)
        parts += [part[part.level == "group"].head(1), subjects]
    rows = list(pd.concat(parts).itertuples())
    axes = _difference_axes(len(rows), title, line=0.31)
    for place, row in enumerate(rows):
        is_group = row.level == "group"
        draw_interval(axes, row.difference, row.low, row.high, place - 0.16, color=SEEN,
                      fmt="o", markersize=5, elinewidth=1.5, label=None if place else "as seen")
        draw_interval(axes, row.shrunk, row.shrunk_low, row.shrunk_high, place + 0.16,
                      color=ORANGE if is_group else BLUE, fmt="D" if is_group else "o",
                      markersize=9 if is_group else 6, elinewidth=2.5,
                      label={0: "shrunk, group", 1: "shrunk, subject"}.get(place))
    names = [textwrap.fill(row.name.replace("_", " "), 34) + f" ({row.n:,})" for row in rows]
    _label_lines(axes, range(len(rows)), names)
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set(fontsize="small", fontweight="bold" if row.level == "group" else "normal")
    _label_sides(axes, better, worse)
    legend_below(axes, fontsize="small")
    return axes


def _difference_axes(lines: float, title: str, line: float = LINE_HEIGHT) -> Axes:
    set_style()
    _, axes = plt.subplots(figsize=(WIDTH, 1.7 + line * lines))
    axes.set_title(title, loc="left")
    axes.axvline(0, color="black", linewidth=1)
    axes.grid(axis="y", visible=False)
    return axes


def _label_lines(axes: Axes, places: Iterable[float], names: list[str]) -> None:
    places = list(places)
    axes.set_yticks(places, names)
    axes.set_ylim(max(places) + 0.7, min(places) - 0.7)


def _label_sides(axes: Axes, better: str, worse: str) -> None:
    """The axis of differences, in points, with zero always in sight and what either side means."""
    low, high = axes.get_xlim()
    reach = max(0.01, high, -low)
    axes.set_xlim(min(low, -0.25 * reach), max(high, 0.25 * reach))
    axes.locator_params(axis="x", nbins=6)
    points_axis(axes.xaxis)
    left, right = f"← {worse}" if worse else "", f"{better} →" if better else ""
    between = "   " if len(left + right) < 44 else "\n"
    sides = between.join(filter(None, (left, right)))
    lines = filter(None, ("points of accuracy, 95% intervals", sides))
    axes.set_xlabel("\n".join(lines), fontsize="small")
