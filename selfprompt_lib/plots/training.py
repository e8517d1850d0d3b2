"""Figures of training (chapter 3)."""

import html

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .base import BLUE, COLOURS, WIDTH, draw_interval, legend_below, percent_axis


def show_tokens(pairs: list[tuple[str, bool]]):
    """A conversation's tokens as coloured text: those in the loss are filled and underlined."""
    from IPython.display import HTML

    spans = []
    for text, in_loss in pairs:
        look = "background:#e6e6e6;color:#222"
        if in_loss:
            look = f"background:{BLUE};color:#fff;text-decoration:underline"
        shown = html.escape(text).replace("\n", "↵<br>")
        look += ";padding:1px 2px;margin:1px;border-radius:3px"
        spans.append(f'<span style="{look}">{shown}</span>')
    key = "Blue, underlined: in the loss. Grey: context only. ↵ is a line break."
    return HTML('<div style="font-family:monospace;line-height:1.9;font-size:0.9em">'
                f'{"".join(spans)}<p>{key}</p></div>')


def sample_length_bars(lengths: pd.DataFrame, limit: int) -> Axes:
    """Tokens of each sample, longest first: the answer, which the loss counts, and the question."""
    ordered = lengths.sort_values("tokens", ascending=False, ignore_index=True)
    answer, question = ordered.answer, ordered.tokens - ordered.answer
    _, axes = plt.subplots(figsize=(WIDTH, 3.4))
    axes.bar(ordered.index, answer, width=1.0, color=BLUE, label="in the loss")
    axes.bar(ordered.index, question, width=1.0, bottom=answer, color="#c4c4c4", label="context")
    if ordered.tokens.max() > 0.8 * limit:
        axes.axhline(limit, color="black", linestyle="--", linewidth=1,
                     label="longest sample that is kept whole")
    axes.set(xlabel="samples, longest first", ylabel="tokens", title="Length of the samples")
    legend_below(axes)
    return axes


def dropout_curves(rates: dict[str, list[float]]) -> Axes:
    """The rate of dropout at each layer, one line a recipe."""
    rows = [{"layer": layer, "rate": rate, "recipe": name}
            for name, recipe in rates.items() for layer, rate in enumerate(recipe, 1)]
    _, axes = plt.subplots(figsize=(WIDTH, 3.2))
    sns.lineplot(pd.DataFrame(rows), x="layer", y="rate", hue="recipe", style="recipe",
                 markers=True, palette="colorblind", ax=axes)
    axes.set(xlabel="layer of the model, first to last", ylabel="rate",
             ylim=(-0.01, None), title="Residual dropout by layer")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    percent_axis(axes.yaxis)
    legend_below(axes)
    return axes


def loss_curves(runs: dict[str, list[dict]]) -> Axes:
    """Training loss by optimizer step, one line a model, with the range of its seeds."""
    rows = [
        {"step": step, "loss": loss, "model": name}
        for name, records in runs.items()
        for record in records
        for step, loss in enumerate(record["losses"], 1)
    ]
    axes = sns.lineplot(pd.DataFrame(rows), x="step", y="loss", hue="model", style="model",
                        markers=True, palette=COLOURS, errorbar=("pi", 100))
    seeds = max(map(len, runs.values()))
    title = "Training loss"
    if seeds > 1:
        title += f": mean of {seeds} seeds and their range"
    axes.set(xlabel="optimizer step", ylabel="loss (nats a token)", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(axes)
    return axes


def epoch_plot(frame: pd.DataFrame) -> Axes:
    """What each kept epoch can do: loss on samples not trained on, and how many roles it writes."""
    _, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(WIDTH, 5.4))
    sns.lineplot(frame, x="epoch", y="loss", marker="o", color=BLUE, ax=above)
    above.set(ylabel="loss (nats a token)", title="Samples not trained on")
    draw_interval(below, frame.rate, frame.low, frame.high, frame.epoch, across=False,
                  fmt="o-", capsize=4, color=BLUE)
    below.set(xlabel="epoch", ylabel="roles written", ylim=(-0.02, 1.02), xticks=frame.epoch)
    percent_axis(below.yaxis)
    return below


def update_fraction_curves(table: pd.DataFrame) -> Axes:
    """The share of weights that one step changes, by learning rate and number format."""
    axes = sns.lineplot(table, x="learning rate", y="share", hue="weights in", style="weights in",
                        markers=True)
    axes.set(xscale="log", xlabel="learning rate (size of one step)",
             ylabel="share of weights changed", ylim=(-0.03, 1.05))
    axes.xaxis.set_major_formatter("{x:.0e}")  # the usual one writes formulas
    percent_axis(axes.yaxis)
    axes.legend(title="weights in")
    axes.set_title("What one step changes")
    return axes


def memory_bars(table: pd.DataFrame) -> Axes:
    """GB on one card for each way to train, by what takes them, and the cards that have as much."""
    parts = table[["weights", "copies", "gradients", "optimizer", "activations"]].astype(float)
    axes = parts.plot.barh(stacked=True, figsize=(WIDTH, 4.6), width=0.7,
                           color=sns.color_palette("colorblind"))
    sizes = [int(name.split()[0]) for name in table if name.endswith("GB card")]
    cards = [size for size in sizes if size < 1.6 * parts.sum(axis=1).max()]
    for card in cards:
        axes.axvline(card, color="black", linestyle="--", linewidth=1)
    if cards:
        names = [f"{card} GB card" for card in cards]
        axes.secondary_xaxis("top").set_xticks(cards, names, fontsize="x-small")
    axes.invert_yaxis()
    axes.set(xlabel="GB on one card, by plan", ylabel="")
    legend_below(axes, fontsize="small")
    return axes
