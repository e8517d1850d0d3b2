"""The figure of a workshop's board: each laptop's effect, and that of all together."""

import textwrap

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from .base import BLUE, ORANGE, draw_interval, set_style

PANEL, LINE = 4.6, 0.36  # inches: a question's width, a laptop's height


def board_plot(table: pd.DataFrame, together: str) -> Axes:
    """One panel a question with a point a laptop, and below them the diamond of all.

    Args:
        table: of `workshop.board.board_table`; a laptop that differs gets a star.
        together: the name of the rows over all laptops.
    """
    set_style()
    questions, laptops = (list(dict.fromkeys(table[name])) for name in ("question", "laptop"))
    size = (PANEL * len(questions), 2.6 + LINE * len(laptops))
    figure, panels = plt.subplots(1, len(questions), sharey=True, figsize=size, squeeze=False)
    for axes, question in zip(panels[0], questions, strict=True):
        rows = table[table.question == question]
        alone, whole = rows[rows.laptop != together], rows[rows.laptop == together]
        look = {"fmt": "o", "color": BLUE, "markersize": 7, "elinewidth": 1.5}
        draw_interval(axes, alone.difference, alone.low, alone.high, range(len(alone)), **look)
        draw_interval(axes, whole.difference, whole.low, whole.high, [len(alone)], fmt="D",
                      color=ORANGE, markersize=13, elinewidth=4, capsize=6)
        axes.axvline(0, color="black", linewidth=1)
        axes.axhline(len(alone) - 0.5, color="#cccccc", linewidth=1)
        axes.set(title=textwrap.fill(question, 24), ylim=(len(laptops) - 0.4, -0.6))
        axes.set_xlabel(textwrap.fill(rows.unit.iloc[0], 30), fontsize="small")
        axes.locator_params(axis="x", nbins=4)
        axes.grid(axis="y", visible=False)
    first = table.drop_duplicates("laptop")
    names = [f"seed {row.seeds}{' *' if row.differs else ''}" for row in first.itertuples()]
    panels[0][0].set_yticks(range(len(laptops)), [*names[:-1], together])
    return panels[0][0]
