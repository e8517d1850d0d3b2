"""The simulation's tables and figure as the book shows them; `simulate` writes them (chapter 5)."""

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from jinja2 import StrictUndefined, Template
from matplotlib.ticker import PercentFormatter
from statsmodels.stats.proportion import proportion_confint

from .. import plots
from .simulate import HARD, ITEMS, ONE, SEEDS, SEVERAL, TASKS

PROMISED = (0.93, 0.97)
BOOK = {1: "Tango", 3: "crossed", 5: "crossed"}
TEMPLATES = Path(__file__).parents[1] / "resources" / "templates"
LIBRARIES = ("numpy", "scipy", "statsmodels")


def write(found: dict[str, pd.DataFrame], folder: Path, repeats: int) -> None:
    """Write statistics.md, statistics.json and statistics.svg into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "statistics.md").write_text(fragment(found, repeats), encoding="utf-8")
    rows = {kind: part.round(5).to_json(orient="records", lines=True).strip().splitlines() for kind, part in found.items()}
    kinds = [f'"{kind}": [\n' + ",\n".join(lines) + "\n]" for kind, lines in rows.items()]
    (folder / "statistics.json").write_text(f'{{"repeats": {repeats},\n' + ",\n".join(kinds) + "}\n", encoding="utf-8")
    with plt.rc_context({"svg.hashsalt": "statistics"}):  # the same numbers make the same file
        picture(found["coverage"]).savefig(folder / "statistics.svg", metadata={"Date": None})


def fragment(found: dict[str, pd.DataFrame], repeats: int) -> str:
    """What the tables say, all tables as Markdown, and what made them."""
    covered = found["coverage"]
    hard = covered.world.isin([world.name for world in HARD])
    lines = ["<!-- Written by python -m selfprompt_lib.evaluate.simulate: run it again rather than change this. -->", "",
             "What the tables say:", "", said(found), "",
             f"All numbers are shares of 100. The simulation's own 95% error is about {error(95, repeats):.0f} near 95 and "
             f"{error(80, repeats):.0f} near 80.", ""]
    for caption, table in {
        "How often the book's 95% interval held the truth (bold: beyond 93 to 97 by more than the simulation's error)":
            book_rows(covered[~hard]),
        "The same where the intervals' assumptions fail": book_rows(covered[hard]),
        "One seed: other intervals (lowest and highest over the worlds of the first table)": others(covered[~hard], ONE),
        "Several seeds: other intervals": others(covered[~hard], SEVERAL),
        f"{TASKS} tasks without a true difference: how often any of them was called one": families(found["family"]),
        "How often the smallest visible difference was seen (80 are promised)": powers(found["power"]),
    }.items():
        head = list(table[0])
        lines += [f"**{caption}**", "", "| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1),
                  *("| " + " | ".join(row.values()) + " |" for row in table), ""]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    where = f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()} with {os.cpu_count()} cores; {versions}"
    return "\n".join([*lines, f"*{repeats:,} draws of each cell, {where}.*", ""])


def said(found: dict[str, pd.DataFrame]) -> str:
    """What the tables say: the sentences of templates/statistics.md.jinja with the tables' own figures."""
    usual = found["coverage"][~found["coverage"].world.isin([world.name for world in HARD])]
    own, alike = usual[usual.method == usual.seeds.map(BOOK)], usual.world.iloc[0]
    seen = found["power"].assign(share=100 * found["power"].found / found["power"].repeats)
    alarms = {(row.world == alike, row.seeds, row.n): 100 * row.false / row.repeats for row in found["family"].itertuples()}
    return Template((TEMPLATES / "statistics.md.jinja").read_text(encoding="utf-8"), undefined=StrictUndefined).render(
        cells=len(own), missed=[cell for cell in own.itertuples() if outside(cell.held, cell.repeats)],
        ends={method: ends(100 * part.coverage) for method, part in usual.groupby("method")}, alarms=alarms,
        several=max(rate for (_, seeds, _), rate in alarms.items() if seeds > 1),
        seen_one=ends(seen[seen.seeds == 1].share), seen_several=ends(seen[seen.seeds > 1].share),
        smallest={row.seeds: 100 * row.smallest for row in seen.itertuples() if (row.world, row.n) == (alike, 250)},
    )


def ends(percent: pd.Series) -> str:
    """The lowest and the highest share."""
    return f"{percent.min():.1f} to {percent.max():.1f}"


def share(hits: int, n: int) -> str:
    """A simulated share in percent."""
    return f"{100 * hits / n:.1f}"


def error(percent: float, n: int) -> float:
    """Half of the 95% interval of a simulated share, in points."""
    low, high = proportion_confint(round(percent * n / 100), n, method="wilson")
    return 50 * (high - low)


def outside(hits: int, n: int, low: float = PROMISED[0], high: float = PROMISED[1]) -> bool:
    """Whether a share lies outside what was promised by more than the simulation's error."""
    least, most = proportion_confint(int(hits), int(n), method="wilson")
    return bool(most < low or least > high)


def book_rows(covered: pd.DataFrame) -> list[dict[str, str]]:
    """The book's intervals: one row a world and number of seeds, one column a number of items; bold where outside."""
    rows = []
    for (world, seeds), part in covered.groupby(["world", "seeds"], sort=False):
        row = {"world": world, "seeds": str(seeds)}
        for cell in part[part.method == BOOK[seeds]].itertuples():
            mark = "**" if outside(cell.held, cell.repeats) else ""
            row[f"{cell.n:,} items"] = f"{mark}{share(cell.held, cell.repeats)}{mark}"
        rows.append(row)
    return rows


def others(covered: pd.DataFrame, methods: Iterable[str]) -> list[dict[str, str]]:
    """Range of coverage over the worlds: one row a method and number of seeds, one column a number of items."""
    rows = []
    for method in methods:
        for seeds, part in covered[covered.method == method].groupby("seeds"):
            row = {"interval": method, "seeds": str(seeds)}
            for n in ITEMS:
                cells = 100 * part[part.n == n].coverage
                row[f"{n:,} items"] = f"{cells.min():.1f}–{cells.max():.1f}" if len(cells) else "–"
            rows.append(row)
    return rows


def families(found: pd.DataFrame) -> list[dict[str, str]]:
    """False alarms over a family of tests, before and after Holm, and the coverage of the pooled interval."""
    return [{"world": row.world.removeprefix("no difference, "), "seeds": str(row.seeds), "items a task": f"{row.n:,}",
             "without Holm": f"{100 * row.uncorrected / row.repeats:.1f}", "with Holm": share(row.false, row.repeats),
             "the mean's interval held": share(row.pooled, row.repeats)} for row in found.itertuples()]


def powers(found: pd.DataFrame) -> list[dict[str, str]]:
    """The smallest visible differences and how often they were seen."""
    return [{"world": row.world.removeprefix("no difference, "), "seeds": str(row.seeds), "items": f"{row.n:,}",
             "smallest, points": f"{100 * row.smallest:.1f}", "seen": share(row.found, row.repeats)}
            for row in found.itertuples()]


def picture(covered: pd.DataFrame) -> plt.Figure:
    """Coverage of every method in every cell with its error; the band is what was promised."""
    plots.style()
    covered = covered[~covered.world.isin([world.name for world in HARD])]
    panels = [(seeds, ONE if seeds == 1 else SEVERAL) for seeds in SEEDS]
    figure, every = plt.subplots(len(panels), 1, sharex=True, figsize=(plots.WIDTH, 8.4),
                                 height_ratios=[len(methods) for _, methods in panels])
    for axes, (seeds, methods) in zip(every, panels, strict=True):
        axes.axvspan(*PROMISED, color="#0173B2", alpha=0.15, linewidth=0)
        axes.axvline(0.95, color="#0173B2", linewidth=1)
        for place, method in enumerate(methods):
            colour = "#0173B2" if method == BOOK[seeds] else "#949494"
            part = covered[(covered.method == method) & (covered.seeds == seeds)]
            for n, marker, shift in zip(ITEMS, "os^", (-0.22, 0, 0.22), strict=True):
                cells = part[part.n == n].coverage
                axes.plot(cells, [place + shift] * len(cells), marker, color=colour, markersize=6, alpha=0.8,
                          label=f"{n:,} items" if (seeds, place) == (1, 0) else None)
        axes.set(yticks=range(len(methods)), yticklabels=list(methods), title=f"{seeds} seed{'s' * (seeds > 1)}")
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    every[-1].set_xlabel("95% intervals that held the truth, a mark a world", fontsize="small")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return figure
