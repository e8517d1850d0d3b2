"""Figures of differences, each with its interval (chapter 5)."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from .. import plots
from .results import UNTUNED, accuracy

BLUE, GREY, ORANGE = plots.COLOURS["self-prompt"], "#949494", plots.COLOURS["baseline"]
LINE, LETTERS = 0.42, 26  # inches for a line of a figure; letters of a name before it is broken


def forest(table: pd.DataFrame, better: str = "", worse: str = "", title: str = "") -> Axes:
    """Paired differences by task, and the mean over tasks as a diamond set apart.

    Args:
        table: rows of `compare.differences`, the last one `all`.
        better, worse: what lies right and left of zero, such as "self-prompt better".
    """
    tasks, whole = table[table.task != "all"], table[table.task == "all"].iloc[0]
    axes = _canvas(len(tasks) + 1.6, title)
    for place, row in enumerate(tasks.itertuples()):
        axes.errorbar(row.difference, place, xerr=_reach(row.difference, row.low, row.high), fmt="o", color=BLUE, capsize=4)
    below = len(tasks) + 0.4
    axes.axhline(len(tasks) - 0.3, color="#cccccc", linewidth=1)
    axes.axvline(whole.difference, color=BLUE, linewidth=1, linestyle=":", zorder=0)
    axes.fill([whole.low, whole.difference, whole.high, whole.difference], [below, below - 0.28, below, below + 0.28], color=BLUE)
    names = [f"{_broken(row.task)} ({row.n:,})" for row in tasks.itertuples()]
    _names(axes, [*range(len(tasks)), below], [*names, "mean of the tasks"])
    _towards(axes, better, worse)
    return axes


def by_task(items: pd.DataFrame, seed: int) -> Axes:
    """Accuracy of untuned model, baseline and self-prompt model by task for one training seed, with Wilson intervals."""
    chosen = items[items.arm.isin(["base", "baseline", "self-prompt"]) & items.seed.isin([UNTUNED, seed])]
    return plots.intervals(accuracy(chosen), "accuracy", "task", group="arm", axis="accuracy, 95% Wilson intervals",
                           title="Accuracy by task")


def by_seed(seeds: pd.DataFrame, table: pd.DataFrame, better: str = "", worse: str = "", title: str = "") -> Axes:
    """Each pair of models as a point, by task and over all, beside the interval over items and seeds.

    Args:
        seeds: rows of `compare.seed_differences`.
        table: rows of `compare.differences` of the same arms.
    """
    axes = _canvas(len(table) * 1.15, title)
    names = ("95%, over items and seeds" if table.seeds.max() > 1 else "95%, over items", "mean", "one pair of models")
    for place, row in enumerate(table.itertuples()):
        labels = names if place == 0 else (None,) * 3
        axes.plot([row.low, row.high], [place] * 2, color=BLUE, linewidth=9, alpha=0.25, solid_capstyle="butt", label=labels[0])
        axes.plot([row.difference] * 2, [place - 0.22, place + 0.22], color=BLUE, linewidth=2.5, label=labels[1])
        pairs = seeds[seeds.task == row.task].sort_values("seed").difference
        offsets = np.linspace(-0.14, 0.14, len(pairs)) if len(pairs) > 1 else np.zeros(len(pairs))
        axes.plot(pairs, place + offsets, "o", color="black", markersize=6, zorder=3, label=labels[2])
    _names(axes, range(len(table)), ["mean of the tasks" if task == "all" else _broken(task) for task in table.task])
    _towards(axes, better, worse)
    axes.get_figure().legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return axes


def subjects(groups: pd.DataFrame, better: str = "", worse: str = "", title: str = "") -> Axes:
    """Groups and their subjects: what was seen (faint) and what is left after shrinkage (bold), with intervals.

    Args:
        groups: rows of `subjects.subject_differences`. Subjects stand below their group, largest shrunk difference first.
    """
    rows = []
    for name in groups[groups.level == "group"].name:
        part = groups[groups.group == name]
        rows += [part[part.level == "group"].iloc[0], *(row for _, row in part[part.level == "subject"].sort_values(
            "shrunk", ascending=False).iterrows())]
    axes = _canvas(len(rows), title, line=0.31)
    for place, row in enumerate(rows):
        colour, size = (ORANGE, 9) if row.level == "group" else (BLUE, 6)
        axes.errorbar(row.difference, place - 0.16, xerr=_reach(row.difference, row.low, row.high), color=GREY, alpha=0.7,
                      fmt="o", markersize=4, elinewidth=1, label="as seen" if place == 0 else None)
        axes.errorbar(row.shrunk, place + 0.16, xerr=_reach(row.shrunk, row.shrunk_low, row.shrunk_high), color=colour,
                      fmt="D" if row.level == "group" else "o", markersize=size, elinewidth=2.5,
                      label={0: "shrunk, group", 1: "shrunk, subject"}.get(place))
    _names(axes, range(len(rows)), [_broken(row["name"].replace("_", " "), 34) + f" ({row.n:,})" for row in rows])
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set(fontsize="x-small", fontweight="bold" if row.level == "group" else "normal")
    _towards(axes, better, worse)
    axes.get_figure().legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return axes


def points(value: float, _=None) -> str:
    """A difference in points with its sign, as the axes show it: 0.05 is +5."""
    return f"{100 * value:+.3g}".replace("-", "−") if abs(value) > 1e-9 else "0"


def _canvas(lines: float, title: str, line: float = LINE) -> Axes:
    plots.style()
    _, axes = plt.subplots(figsize=(plots.WIDTH, 1.7 + line * lines))
    axes.set_title(title, loc="left")
    axes.axvline(0, color="black", linewidth=1)
    axes.grid(axis="y", visible=False)
    return axes


def _reach(value: float, low: float, high: float) -> list[list[float]]:
    return [[max(0.0, value - low)], [max(0.0, high - value)]]  # rounding


def _broken(name: str, letters: int = LETTERS) -> str:
    return "\n".join(textwrap.wrap(name, letters)) or name


def _names(axes: Axes, places, names: list[str]) -> None:
    places = list(places)
    axes.set_yticks(places, names)
    axes.set_ylim(max(places) + 0.7, min(places) - 0.7)


def _towards(axes: Axes, better: str, worse: str) -> None:
    """The axis of differences, in points, with zero always in sight and what either side means."""
    low, high = axes.get_xlim()
    reach = max(0.01, high, -low)
    axes.set_xlim(min(low, -0.25 * reach), max(high, 0.25 * reach))
    axes.locator_params(axis="x", nbins=6)
    axes.xaxis.set_major_formatter(FuncFormatter(points))
    sides = [side for side in (f"← {worse}" if worse else "", f"{better} →" if better else "") if side]
    sides = ["   ".join(sides)] if len("".join(sides)) < 44 else sides
    axes.set_xlabel("\n".join(["points of accuracy, 95% intervals", *filter(None, sides)]), fontsize="small")
