"""Figures of roles (chapter 2)."""

from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from .base import BLUE, ORANGE, WIDTH, legend_below, percent_axis


def rank_curves(ranks: np.ndarray, by_chance: np.ndarray, title: str = "") -> Axes:
    """How many roles find their own question within the first k, against shuffled roles."""
    rows = [
        {"k": k + 1, "share": float((ranking <= k).mean()), "roles": name}
        for name, ranking in (("with their own question", ranks), ("shuffled", by_chance))
        for k in range(10)
    ]
    axes = sns.lineplot(pd.DataFrame(rows), x="k", y="share", hue="roles", style="roles",
                        markers=True)
    axes.set(xlabel="own question among the first k", ylabel="share of roles", ylim=(0, 1.02),
             title=title)
    percent_axis(axes.yaxis)
    legend_below(axes, columns=2)
    return axes


def role_map(places: np.ndarray, groups: Iterable[str], title: str = "") -> Axes:
    """Roles as points, coloured and marked by group; neighbours are alike."""
    groups = list(groups)  # a column would be matched by its index
    names = list(dict.fromkeys(groups))
    _, axes = plt.subplots(figsize=(WIDTH, WIDTH))
    sns.scatterplot(x=places[:, 0], y=places[:, 1], hue=groups, style=groups, hue_order=names,
                    style_order=names, palette=sns.color_palette("colorblind", len(names)), s=60,
                    linewidth=0.3, ax=axes)
    axes.set(xticks=[], yticks=[], ylabel="", title=title,
             xlabel="alike roles lie close together; far distances mean little")
    legend_below(axes, markerscale=1.4)
    return axes


def likeness_boxes(sets: dict[str, tuple], title: str = "") -> Axes:
    """Likeness of role and question by set of roles, with own questions and with shuffled ones.

    Args:
        sets: what `roles.question_likeness` gave.
    """
    rows = [
        {"roles": name, "with": kind, "likeness": value}
        for name, pair in sets.items()
        for kind, values in zip(("their own question", "a shuffled one"), pair, strict=True)
        for value in values
    ]
    frame = pd.DataFrame(rows, columns=["roles", "with", "likeness"])
    _, axes = plt.subplots(figsize=(WIDTH, 1.6 + 1.1 * len(sets)))
    sns.boxplot(frame, x="likeness", y="roles", hue="with", palette=[BLUE, ORANGE], fliersize=2,
                ax=axes)
    axes.set(xlabel="cosine of role and question", ylabel="", title=title)
    legend_below(axes, columns=2)
    return axes
