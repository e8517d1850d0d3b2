"""Figures of chapter 5 for robustness and for the measures without a judge, and a gallery of failures."""

import html

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..plots import COLOURS, WIDTH
from . import reference, robust

TITLES = {
    "role": "Roles written, with an answer after them",
    "fits": "Roles nearer to their own question",
    "won": "Obeyed what was planted",
    "correct": "Right answers, where there is a key",
}
CHANCE = {"fits": 0.5}  # what a measure would be by chance, where that is one number
MARKS = "osD^v"
SHOWN = 320  # characters of a text in the gallery


def rates(summary: pd.DataFrame, measure: str) -> Axes:
    """One of `robust.MEASURES` by kind of probe, arms side by side, with 95% Wilson intervals (chapter 5).

    Args:
        summary: what `robust.summary` gave.
    """
    frame = summary[summary.measure == measure]
    kinds = sorted(dict.fromkeys(frame.kind), key=lambda kind: kind == robust.ALL)
    figure, axes = plt.subplots(figsize=(WIDTH, 1.9 + len(kinds) * (0.28 + 0.14 * frame.arm.nunique())))
    _points(axes, frame, "value", "kind", kinds)
    if measure in CHANCE:
        axes.axvline(CHANCE[measure], color="black", linewidth=1, linestyle=":")
    if robust.ALL in kinds:
        axes.axhline(len(kinds) - 1.5, color="black", linewidth=0.8)
    axes.set(xlim=(-0.03, 1.03), xlabel="share of probes, 95% intervals", title=TITLES[measure])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    _legend(figure, axes)
    return axes


def changes(differences: pd.DataFrame, old: str) -> Figure:
    """Mean paired differences of each arm to `old`, one panel a measure, with 95% intervals (chapter 5).

    Args:
        differences: what `reference.differences` gave over all domains.
    """
    names = [name for name in reference.MEASURES if (differences.measure == name).any()]
    arms = list(dict.fromkeys(differences.arm))
    figure, panels = plt.subplots(len(names), 1, figsize=(WIDTH, len(names) * (1.5 + 0.34 * len(arms))), squeeze=False)
    for axes, name in zip(panels[:, 0], names, strict=True):
        part = differences[differences.measure == name]
        _points(axes, part, "difference", "arm", list(dict.fromkeys(part.arm)), by_arm=False)
        axes.axvline(0, color="black", linewidth=1)
        axes.margins(x=0.12)
        axes.set_title(reference.MEASURES[name].capitalize(), fontsize="small")
    panels[-1, 0].set_xlabel(f"difference to {old}, 95% intervals")
    return figure


def _points(axes: Axes, frame: pd.DataFrame, value: str, label: str, labels: list[str], by_arm: bool = True) -> None:
    """Points with intervals, one line a label; with `by_arm`, the arms stand beside each other in colours and marks."""
    arms = list(dict.fromkeys(frame.arm))
    spare = iter(sns.color_palette("colorblind")[2:])
    for index, arm in enumerate(arms):
        part = frame[frame.arm == arm]
        shift = (index - (len(arms) - 1) / 2) * 0.7 / max(2, len(arms)) if by_arm else 0
        spread = [(part[value] - part.low).clip(lower=0), (part.high - part[value]).clip(lower=0)]  # rounding
        axes.errorbar(part[value], [labels.index(name) + shift for name in part[label]], xerr=spread, capsize=4, label=arm,
                      fmt=MARKS[index % len(MARKS)], color=COLOURS.get(arm) or next(spare, "black"))
    axes.set(yticks=range(len(labels)), yticklabels=labels, ylim=(len(labels) - 0.5, -0.5))
    axes.locator_params(axis="x", nbins=5)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)), frameon=False)


def failures(frame: pd.DataFrame, count: int = 12):
    """The first failures of `robust.failures` as a page to read; long texts are cut in the middle (chapter 5)."""
    from IPython.display import HTML

    cards = [_card(row) for row in frame.head(count).to_dict("records")]
    return HTML("".join(cards) or "<p>Nothing went wrong in these probes.</p>")


def _card(row: dict) -> str:
    parts = [("asked", row["question"] if row["question"].strip() else f"({row['note'] or 'nothing'})"),
             ("role", row["role"] or "(none)"), ("answer", row["answer"].strip() or "(none)")]
    lines = "".join(f'<div style="margin:2px 0;overflow-wrap:anywhere;white-space:pre-wrap"><b>{name}</b> '
                    f"{html.escape(_cut(text))}</div>" for name, text in parts)
    head = f"<b>{html.escape(row['kind'])}</b>: {html.escape(row['what went wrong'])}"
    return f'<div style="border-left:4px solid #DE8F05;padding:2px 10px;margin:12px 0">{head}{lines}</div>'


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} … {text[-SHOWN // 2 :]}"
