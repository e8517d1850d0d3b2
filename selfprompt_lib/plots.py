"""Figures in one style: seaborn, colour-blind safe, large enough for a phone and a projector."""

import html
import textwrap

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

WIDTH = 6.8  # inches: narrow, so that the letters stay large on a phone
COLOURS = {"base": "#949494", "baseline": "#DE8F05", "self-prompt": "#0173B2"}


def style() -> None:
    """Set the book's figure style; the first cell of every notebook calls it."""
    sns.set_theme(context="talk", style="whitegrid", palette="colorblind", font_scale=0.85,
                  rc={"figure.figsize": (WIDTH, 4), "figure.dpi": 110, "axes.titlesize": "medium",
                      "axes.titlelocation": "left", "figure.constrained_layout.use": True})
    pd.set_option("display.max_colwidth", 90, "display.precision", 2)


def show_text(text: object, width: int = 76) -> None:
    """Print text wrapped at `width` letters, so that no line runs out of the page; line breaks stay."""
    for line in str(text).splitlines():
        print(textwrap.fill(line, width, break_on_hyphens=False))


def intervals(frame: pd.DataFrame, value: str, label: str, *, group: str | None = None, title: str = "",
              axis: str = "", zero: bool = False) -> Axes:
    """Points with their 95% intervals (columns `low`, `high`) as percentages, one line a `label`."""
    labels, groups = list(dict.fromkeys(frame[label])), list(dict.fromkeys(frame[group])) if group else [None]
    palette = dict(zip(groups, sns.color_palette("colorblind", len(groups)), strict=True))
    names = [textwrap.fill(str(name), 24) for name in labels]
    figure, axes = plt.subplots(figsize=(WIDTH, 1.6 + 0.34 * len(frame) + 0.2 * "".join(names).count("\n")))
    for index, name in enumerate(groups):
        part = frame[frame[group] == name] if group else frame
        shift = (index - (len(groups) - 1) / 2) * 0.22
        places = [labels.index(item) + shift for item in part[label]]
        spread = [(part[value] - part["low"]).clip(lower=0), (part["high"] - part[value]).clip(lower=0)]  # rounding
        colour = COLOURS.get(name, palette[name])
        axes.errorbar(part[value], places, xerr=spread, fmt="o" if index % 2 == 0 else "s", color=colour, capsize=4, label=name)
    if zero:
        axes.axvline(0, color="black", linewidth=1)
    axes.set(yticks=range(len(labels)), yticklabels=names, title=title, xlabel=axis)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=6)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if group:
        figure.legend(loc="outside lower center", ncols=min(3, len(groups)), frameon=False)
    return axes


def losses(runs: dict[str, list[dict]]) -> Axes:
    """Training loss by optimizer step, one line a model, with the range of its seeds where there are several (chapter 3)."""
    rows = [{"step": step, "loss": loss, "model": name} for name, records in runs.items() for record in records
            for step, loss in enumerate(record["losses"], 1)]
    axes = sns.lineplot(pd.DataFrame(rows), x="step", y="loss", hue="model", style="model", markers=True, palette=COLOURS,
                        errorbar=("pi", 100))
    seeds = max(map(len, runs.values()))
    title = f"Training loss: mean of {seeds} seeds and their range" if seeds > 1 else "Training loss"
    axes.set(xlabel="optimizer step", ylabel="loss (nats a token)", title=title)
    axes.legend(title=None)
    return axes


def choices(frame: pd.DataFrame) -> Axes:
    """What each kept epoch can do: loss on samples not trained on, and the rate of roles with its interval (chapter 3)."""
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(WIDTH, 5.4))
    sns.lineplot(frame, x="epoch", y="loss", marker="o", color=COLOURS["self-prompt"], ax=above)
    above.set(ylabel="loss (nats a token)", title="Samples not trained on")
    spread = [(frame.rate - frame.low).clip(lower=0), (frame.high - frame.rate).clip(lower=0)]
    below.errorbar(frame.epoch, frame.rate, yerr=spread, fmt="o-", capsize=4, color=COLOURS["self-prompt"])
    below.set(xlabel="epoch", ylabel="roles written", ylim=(-0.02, 1.02), xticks=frame.epoch)
    below.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return below


def bars(counts: pd.Series, axis: str, title: str = "") -> Axes:
    """Horizontal bars of plain counts, largest first (no estimate, so no interval)."""
    counts = counts.sort_values(ascending=False)
    figure, axes = plt.subplots(figsize=(WIDTH, 1.4 + 0.4 * len(counts)))
    sns.barplot(x=counts.values, y=counts.index.astype(str), color="#0173B2", ax=axes)
    axes.set(xlabel=axis, ylabel="", title=title)
    return axes


def ranks(found, by_chance, title: str = "") -> Axes:
    """How many roles find their own question within the first k, against shuffled roles (chapter 2)."""
    rows = [{"k": k + 1, "share": float((ranking <= k).mean()), "roles": name}
            for name, ranking in (("with their own question", found), ("shuffled", by_chance)) for k in range(10)]
    axes = sns.lineplot(pd.DataFrame(rows), x="k", y="share", hue="roles", style="roles", markers=True)
    axes.set(xlabel="own question among the first k", ylabel="share of roles", ylim=(0, 1.02), title=title)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(title=None)
    return axes


def lengths(frame: pd.DataFrame, column: str, by: str, axis: str, title: str = "") -> Axes:
    """Spread of a length by group: every row as a point, with the median marked (chapters 2 and 4)."""
    figure, axes = plt.subplots(figsize=(WIDTH, 1.4 + 0.45 * frame[by].nunique()))
    sns.stripplot(frame, x=column, y=by, color="#0173B2", alpha=0.5, jitter=0.2, ax=axes)
    sns.pointplot(frame, x=column, y=by, estimator="median", errorbar=None, linestyle="none", marker="|",
                  markersize=22, color="black", ax=axes)
    axes.set(xlabel=axis, ylabel="", title=title)
    return axes


def tokens(pairs: list[tuple[str, bool]]):
    """A conversation's tokens as coloured text: those in the loss are filled and underlined (chapter 3)."""
    from IPython.display import HTML

    spans = []
    for text, in_loss in pairs:
        look = "background:#0173B2;color:#fff;text-decoration:underline" if in_loss else "background:#e6e6e6;color:#222"
        shown = html.escape(text).replace("\n", "↵<br>")
        spans.append(f'<span style="{look};padding:1px 2px;margin:1px;border-radius:3px">{shown}</span>')
    key = "Blue, underlined: in the loss. Grey: context only. ↵ is a line break."
    return HTML(f'<div style="font-family:monospace;line-height:1.9;font-size:0.9em">{"".join(spans)}<p>{key}</p></div>')


def role_map(places, groups, title: str = "") -> Axes:
    """Roles as points, coloured and marked by group; neighbours are alike (chapter 2)."""
    groups = list(groups)  # a column would be matched by its index
    names = list(dict.fromkeys(groups))
    figure, axes = plt.subplots(figsize=(WIDTH, WIDTH))
    sns.scatterplot(x=places[:, 0], y=places[:, 1], hue=groups, style=groups, hue_order=names, style_order=names,
                    palette=sns.color_palette("colorblind", len(names)), s=60, linewidth=0.3, ax=axes)
    axes.set(xticks=[], yticks=[], xlabel="alike roles lie close together; far distances mean little", ylabel="", title=title)
    axes.get_legend().remove()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, markerscale=1.4)
    return axes


def fits(sets: dict[str, tuple], title: str = "") -> Axes:
    """Likeness of role and question for several sets of roles, each with its own questions and with shuffled ones (chapter 2)."""
    rows = [{"roles": name, "with": kind, "likeness": value} for name, pair in sets.items()
            for kind, values in zip(("their own question", "a shuffled one"), pair, strict=True) for value in values]
    frame = pd.DataFrame(rows, columns=["roles", "with", "likeness"])
    figure, axes = plt.subplots(figsize=(WIDTH, 1.6 + 1.1 * len(sets)))
    sns.boxplot(frame, x="likeness", y="roles", hue="with", palette=["#0173B2", "#DE8F05"], fliersize=2, ax=axes)
    axes.set(xlabel="cosine of role and question", ylabel="", title=title)
    if sets:
        axes.get_legend().remove()
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return axes


def sample_lengths(lengths: pd.DataFrame, limit: int) -> Axes:
    """Tokens of each training sample, longest first: the answer, which the loss counts, and the question (chapter 3)."""
    ordered = lengths.sort_values("tokens", ascending=False, ignore_index=True)
    figure, axes = plt.subplots(figsize=(WIDTH, 3.4))
    axes.bar(ordered.index, ordered.answer, width=1.0, color="#0173B2", label="in the loss")
    axes.bar(ordered.index, ordered.tokens - ordered.answer, width=1.0, bottom=ordered.answer, color="#c4c4c4", label="context")
    if ordered.tokens.max() > 0.8 * limit:
        axes.axhline(limit, color="black", linestyle="--", linewidth=1, label="longest sample that is kept whole")
    axes.set(xlabel="samples, longest first", ylabel="tokens", title="Length of the samples")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return axes


def moved(lesson: pd.DataFrame) -> Axes:
    """The share of weights that one step changes, by learning rate and number format (chapter 3)."""
    axes = sns.lineplot(lesson, x="learning rate", y="share", hue="weights in", style="weights in", markers=True)
    axes.set(xscale="log", xlabel="learning rate (size of one step)", ylabel="share of weights changed", ylim=(-0.03, 1.05))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.legend(title="weights in")
    axes.set_title("What one step changes")
    return axes


def plan(table: pd.DataFrame) -> Axes:
    """GB on one card for each way to train, by what takes them, and the cards that have as much (chapter 3)."""
    parts = table[["weights", "copies", "gradients", "optimizer", "activations"]].astype(float)
    axes = parts.plot.barh(stacked=True, figsize=(WIDTH, 4.6), color=sns.color_palette("colorblind"), width=0.7)
    sizes = [int(name.split()[0]) for name in table if name.endswith("GB card")]
    cards = [card for card in sizes if card < 1.6 * parts.sum(axis=1).max()]
    for card in cards:
        axes.axvline(card, color="black", linestyle="--", linewidth=1)
    if cards:
        axes.secondary_xaxis("top").set_xticks(cards, [f"{card} GB card" for card in cards], fontsize="x-small")
    axes.invert_yaxis()
    axes.set(xlabel="GB on one card, by plan", ylabel="")
    figure = axes.get_figure()
    axes.get_legend().remove()
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return axes
