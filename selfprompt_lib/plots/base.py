"""The style of the figures, and those that several chapters draw."""

import itertools
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, PercentFormatter

from .. import stats

WIDTH = 6.8  # inches: narrow, so that the letters stay large on a phone
COLOURS = {"base": "#949494", "baseline": "#DE8F05", "self-prompt": "#0173B2",
           "neutral": "#029E73"}
BLUE, GREY, ORANGE = COLOURS["self-prompt"], COLOURS["base"], COLOURS["baseline"]
MARKS = "osD^v"


def set_style() -> None:
    """Set the book's figure style: colour-blind safe, large enough for a phone and a projector.

    The first cell of every notebook calls it.
    """
    sns.set_theme(
        context="talk", style="whitegrid", palette="colorblind", font_scale=0.85,
        rc={"figure.figsize": (WIDTH, 4), "figure.dpi": 110, "axes.titlesize": "medium",
            "axes.titlelocation": "left", "figure.constrained_layout.use": True,
            "text.parse_math": False},  # a label may hold a model's words, with any $ signs
    )
    pd.set_option("display.max_colwidth", 90, "display.precision", 2)


def save_figures(drawn: dict[str, Axes], folder: Path) -> None:
    """Save figures as `<name>.png` in a folder, and close them."""
    for name, axes in drawn.items():
        axes.get_figure().savefig(folder / f"{name}.png", dpi=150)
        plt.close(axes.get_figure())


def show_text(text: object, width: int = 76) -> None:
    """Print text wrapped at `width` letters; its own line breaks stay."""
    for line in str(text).splitlines():
        print(textwrap.fill(line, width, break_on_hyphens=False))


LEGEND_LINE = 50  # characters that fit below a figure side by side


def percent_axis(axis: Axis) -> None:
    """Shares on this axis are shown as whole percentages."""
    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def points_label(value: float, _=None) -> str:
    """A difference in points with its sign, as the axes show it: 0.05 is +5."""
    return stats.signed(100 * value, ".3g") if abs(value) > 1e-9 else "0"


def points_axis(axis: Axis) -> None:
    """Differences of shares on this axis are shown in points, with their sign."""
    axis.set_major_formatter(FuncFormatter(points_label))


def legend_below(axes: Axes, columns: int = 3, **look) -> None:
    """The legend of `axes` below the figure, where it covers nothing; none for a single entry."""
    handles, labels = axes.get_legend_handles_labels()
    if axes.get_legend():
        axes.get_legend().remove()
    if len(labels) > 1:
        axes.figure.legend(handles, labels, loc="outside lower center", frameon=False,
                           ncols=min(columns, len(labels)), **look)


def draw_interval(axes: Axes, value, low, high, place, across: bool = True, **look) -> None:
    """Points with their intervals, `across` or upright; numbers or sequences of one length.

    A bound that rounding left on the wrong side of its value is drawn at the value.
    """
    reach = np.reshape([np.subtract(value, low), np.subtract(high, value)], (2, -1)).clip(min=0)
    x, y = (value, place) if across else (place, value)
    axes.errorbar(x, y, **{"xerr" if across else "yerr": reach}, **look)


def draw_interval_groups(
    axes: Axes, frame: pd.DataFrame, value: str, label: str, group: str | None = None,
    side_by_side: bool = True,
) -> list[str]:
    """Points with intervals (columns `low`, `high`), one line a `label`, one colour a `group`.

    With `side_by_side` the groups of a label stand below each other. Returns the labels, top first.
    """
    labels = list(dict.fromkeys(frame[label]))
    groups = list(dict.fromkeys(frame[group])) if group else [None]
    taken = {COLOURS.get(name) for name in groups}
    palette = sns.color_palette("colorblind").as_hex()
    spare = itertools.cycle(colour for colour in palette if colour.upper() not in taken)
    step = min(0.22, 0.7 / len(groups)) if side_by_side else 0
    for index, name in enumerate(groups):
        part = frame[frame[group] == name] if group else frame
        shift = (index - (len(groups) - 1) / 2) * step
        places = [labels.index(item) + shift for item in part[label]]
        draw_interval(axes, part[value], part.low, part.high, places, capsize=4, label=name,
                      fmt=MARKS[index % len(MARKS)], color=COLOURS.get(name) or next(spare))
    axes.set(yticks=range(len(labels)), yticklabels=labels, ylim=(len(labels) - 0.5, -0.5))
    axes.locator_params(axis="x", nbins=6)
    return labels


def interval_plot(
    frame: pd.DataFrame, value: str, label: str, *, group: str | None = None, title: str = "",
    axis: str = "", zero: bool = False, shares: bool = True,
) -> Axes:
    """Percentages with their 95% intervals (columns `low`, `high`), one line a `label`.

    With `zero`, differences in points, and a line at zero. Without `shares`, plain numbers.
    """
    names = {name: textwrap.fill(str(name), 24) for name in frame[label]}
    broken = "".join(names.values()).count("\n")
    _, axes = plt.subplots(figsize=(WIDTH, 1.6 + 0.34 * len(frame) + 0.2 * broken))
    labels = draw_interval_groups(axes, frame, value, label, group)
    if zero:
        axes.axvline(0, color="black", linewidth=1)
    axes.set(yticklabels=[names[name] for name in labels], title=title, xlabel=axis)
    if shares:
        (points_axis if zero else percent_axis)(axes.xaxis)
    if group:
        long = sum(len(str(name)) for name in frame[group].unique()) > LEGEND_LINE
        legend_below(axes, columns=1 if long else 3)
    return axes


def bar_chart(counts: pd.Series, axis: str, title: str = "") -> Axes:
    """Horizontal bars of plain counts, largest first (no estimate, so no interval)."""
    counts = counts.sort_values(ascending=False)
    _, axes = plt.subplots(figsize=(WIDTH, 1.4 + 0.4 * len(counts)))
    sns.barplot(x=counts.values, y=counts.index.astype(str), color=BLUE, ax=axes)
    axes.set(xlabel=axis, ylabel="", title=title)
    return axes


def length_plot(frame: pd.DataFrame, column: str, by: str, axis: str, title: str = "") -> Axes:
    """A length by group: every row as a point, with the median marked (chapters 2 and 4)."""
    _, axes = plt.subplots(figsize=(WIDTH, 1.4 + 0.45 * frame[by].nunique()))
    sns.stripplot(frame, x=column, y=by, color=BLUE, alpha=0.5, jitter=0.2, ax=axes)
    sns.pointplot(frame, x=column, y=by, estimator="median", errorbar=None, linestyle="none",
                  marker="|", markersize=22, color="black", ax=axes)
    axes.set(xlabel=axis, ylabel="", title=title)
    return axes
