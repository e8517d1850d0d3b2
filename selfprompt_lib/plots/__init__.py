"""The book's figures, all in one style, and text that fits the page.

`base` has the style and what every chapter draws, `roles` the figures of chapter 2, `training`
those of chapter 3, `differences` the paired differences of chapter 5, `likelihood` its
contrasts of likelihoods, `sweep` those of runs side by side, and `board` the figure of a class.
"""

from .base import (
    COLOURS,
    WIDTH,
    bar_chart,
    draw_interval,
    draw_interval_groups,
    interval_plot,
    legend_below,
    length_plot,
    percent_axis,
    save_figures,
    set_style,
    show_text,
)
from .board import board_plot
from .differences import accuracy_by_task, forest_plot, seed_plot, subject_plot
from .likelihood import contrast_by_task_plot, contrast_plot
from .roles import likeness_boxes, rank_curves, role_map
from .sweep import cell_plot, cost_plot, sweep_plot
from .training import (
    dropout_curves,
    epoch_plot,
    loss_curves,
    memory_bars,
    sample_length_bars,
    show_tokens,
    update_fraction_curves,
)
