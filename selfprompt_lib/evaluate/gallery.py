"""Robustness, and the measures without a judge: figures, a table, and a gallery of failures."""

import html

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import stats
from ..plots import WIDTH, draw_interval_groups, interval_plot
from .open_ended import MEASURES as OPEN_MEASURES
from .robustness import ALL_PROBES
from .robustness import MEASURES as PROBE_MEASURES

SHOWN = 320  # characters of a text in the gallery


def probe_rates(summary: pd.DataFrame, measure: str) -> Axes:
    """One of `robustness.MEASURES` by kind of probe, arms side by side (appendix A2).

    Args:
        summary: what `robustness.summarize_probes` gave.
    """
    frame = summary[summary.measure == measure]
    frame = frame.sort_values("kind", key=lambda kind: kind == ALL_PROBES, kind="stable")
    axes = interval_plot(frame, "value", "kind", group="arm", title=PROBE_MEASURES[measure],
                         axis="share of probes, 95% intervals")
    axes.set_xlim(-0.03, 1.03)
    if measure == "fits":
        axes.axvline(0.5, color="black", linewidth=1, linestyle=":")  # what chance would give
    axes.axhline(frame.kind.nunique() - 1.5, color="black", linewidth=0.8)  # above all probes
    return axes


def open_ended_changes(changes: pd.DataFrame, old: str) -> Figure:
    """Mean paired differences of each arm to `old`, one panel a measure (chapter 5).

    Args:
        changes: what `open_ended.mean_changes` gave over all domains.
    """
    names = [name for name in OPEN_MEASURES if (changes.measure == name).any()]
    height = len(names) * (1.5 + 0.34 * changes.arm.nunique())
    figure, panels = plt.subplots(len(names), 1, figsize=(WIDTH, height), squeeze=False)
    for axes, name in zip(panels[:, 0], names, strict=True):
        part = changes[changes.measure == name]
        draw_interval_groups(axes, part, "difference", "arm", "arm", side_by_side=False)
        axes.axvline(0, color="black", linewidth=1)
        axes.margins(x=0.12)
        axes.set_title(OPEN_MEASURES[name].capitalize(), fontsize="small")
    panels[-1, 0].set_xlabel(f"difference to {old}, 95% intervals")
    return figure


def probe_overview(summary: pd.DataFrame):
    """The rates over all probes, as a table for readers (appendix A2)."""
    rows = summary[summary.kind == ALL_PROBES]
    told = [str(stats.Estimate(row.value, row.low, row.high, row.n)) for row in rows.itertuples()]
    shown = rows.assign(**{"rate [95% interval]": told}).replace({"measure": PROBE_MEASURES})
    return shown.drop(columns=["kind", "value", "low", "high"]).style.hide(axis="index")


def failure_cards(frame: pd.DataFrame, count: int = 12):
    """The first of `robustness.probe_failures`, to read; long texts are cut (appendix A2)."""
    from IPython.display import HTML

    cards = [_card(row) for row in frame.head(count).to_dict("records")]
    return HTML("".join(cards) or "<p>Nothing went wrong in these probes.</p>")


def _card(row: dict) -> str:
    asked = row["question"] if row["question"].strip() else f"({row['note'] or 'nothing'})"
    parts = {"asked": asked, "role": row["role"] or "(none)",
             "answer": row["answer"].strip() or "(none)"}
    style = "margin:2px 0;overflow-wrap:anywhere;white-space:pre-wrap"
    lines = "".join(f'<div style="{style}"><b>{name}</b> {html.escape(_cut(text))}</div>'
                    for name, text in parts.items())
    head = f"<b>{html.escape(row['kind'])}</b>: {html.escape(row['what went wrong'])}"
    frame = "border-left:4px solid #DE8F05;padding:2px 10px;margin:12px 0"
    return f'<div style="{frame}">{head}{lines}</div>'


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} … {text[-SHOWN // 2 :]}"
