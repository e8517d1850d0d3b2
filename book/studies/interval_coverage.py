"""Do the intervals and tests of chapter 5 keep their promise? Draws from worlds of known truth.

`python book/studies/interval_coverage.py` renews the page *How sure can one be?*
(book/statistics.md): it writes `statistics.md` (tables and what they say), `statistics.json` (all
numbers) and `statistics.svg` into book/measured. About 80 seconds on two cores.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from jinja2 import StrictUndefined, Template
from matplotlib.ticker import PercentFormatter
from pages import captioned, made_with, written_by
from simulated_worlds import BOOK, HARD, ITEMS, ONE_SEED, SEEDS, SEVERAL_SEEDS, TASKS, run
from statsmodels.stats.proportion import proportion_confint

from selfprompt_lib import plots
from selfprompt_lib.cli import run_command

PROMISED = (0.93, 0.97)
SENTENCES = Path(__file__).with_name("interval_coverage.md.jinja")


def write(found: dict[str, pd.DataFrame], folder: Path, repeats: int) -> None:
    """Write statistics.md, statistics.json and statistics.svg into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "statistics.md").write_text(fragment(found, repeats), encoding="utf-8")
    kinds = []
    for kind, part in found.items():
        lines = part.round(5).to_json(orient="records", lines=True).strip().splitlines()
        kinds.append(f'"{kind}": [\n' + ",\n".join(lines) + "\n]")
    numbers = f'{{"repeats": {repeats},\n' + ",\n".join(kinds) + "}\n"
    (folder / "statistics.json").write_text(numbers, encoding="utf-8")
    with plt.rc_context({"svg.hashsalt": "statistics"}):  # the same numbers make the same file
        picture(found["coverage"]).savefig(folder / "statistics.svg", metadata={"Date": None})


def fragment(found: dict[str, pd.DataFrame], repeats: int) -> str:
    """What the tables say, all tables as Markdown, and what made them."""
    covered = found["coverage"]
    hard = covered.world.isin([world.name for world in HARD])
    tables = {
        "How often the book's 95% interval held the truth "
        "(bold: beyond 93 to 97 by more than the simulation's error)": book_rows(covered[~hard]),
        "The same where the intervals' assumptions fail": book_rows(covered[hard]),
        "One seed: other intervals (lowest and highest over the worlds of the first table)":
            other_rows(covered[~hard], ONE_SEED),
        "Several seeds: other intervals": other_rows(covered[~hard], SEVERAL_SEEDS),
        f"{TASKS} tasks without a true difference: how often any of them was called one":
            family_rows(found["family"]),
        "How often the smallest visible difference was seen (80 are promised)":
            power_rows(found["power"]),
    }
    made = f"*{repeats:,} draws of each cell, {made_with('numpy', 'scipy', 'statsmodels')}.*"
    return "\n".join([
        written_by("interval_coverage.py"), "",
        "What the tables say:", "", sentences(found), "",
        "All numbers are shares of 100. The simulation's own 95% error is about "
        f"{error(95, repeats):.0f} near 95 and {error(80, repeats):.0f} near 80.", "",
        *captioned(tables), made, "",
    ])


def sentences(found: dict[str, pd.DataFrame]) -> str:
    """What the tables say: interval_coverage.md.jinja with the tables' own figures."""
    usual = found["coverage"][~found["coverage"].world.isin([world.name for world in HARD])]
    book, alike = usual[usual.method == usual.seeds.map(BOOK)], usual.world.iloc[0]
    seen = found["power"].assign(share=100 * found["power"].found / found["power"].repeats)
    alarms = {(row.world == alike, row.seeds, row.n): 100 * row.false / row.repeats
              for row in found["family"].itertuples()}
    template = Template(SENTENCES.read_text(encoding="utf-8"), undefined=StrictUndefined)
    return template.render(
        cells=len(book),
        missed=[cell for cell in book.itertuples() if outside(cell.held, cell.repeats)],
        ends={method: ends(100 * part.coverage) for method, part in usual.groupby("method")},
        alarms=alarms,
        several=max(rate for (_, seeds, _), rate in alarms.items() if seeds > 1),
        seen_one=ends(seen[seen.seeds == 1].share),
        seen_several=ends(seen[seen.seeds > 1].share),
        smallest={row.seeds: 100 * row.smallest for row in seen.itertuples()
                  if (row.world, row.n) == (alike, 250)},
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


def outside(hits: int, n: int) -> bool:
    """Whether a share lies outside what was promised by more than the simulation's error."""
    least, most = proportion_confint(int(hits), int(n), method="wilson")
    return bool(most < PROMISED[0] or least > PROMISED[1])


def book_rows(covered: pd.DataFrame) -> list[dict[str, str]]:
    """The book's intervals: a row a world and number of seeds, a column a number of items."""
    rows = []
    for (world, seeds), part in covered.groupby(["world", "seeds"], sort=False):
        row = {"world": world, "seeds": str(seeds)}
        for cell in part[part.method == BOOK[seeds]].itertuples():
            bold = "**" if outside(cell.held, cell.repeats) else ""
            row[f"{cell.n:,} items"] = f"{bold}{share(cell.held, cell.repeats)}{bold}"
        rows.append(row)
    return rows


def other_rows(covered: pd.DataFrame, methods: Iterable[str]) -> list[dict[str, str]]:
    """Range of coverage over the worlds: a row a method and number of seeds."""
    rows = []
    for method in methods:
        for seeds, part in covered[covered.method == method].groupby("seeds"):
            row = {"interval": method, "seeds": str(seeds)}
            for n in ITEMS:
                cells = 100 * part[part.n == n].coverage
                row[f"{n:,} items"] = f"{cells.min():.1f}–{cells.max():.1f}" if len(cells) else "–"
            rows.append(row)
    return rows


def family_rows(found: pd.DataFrame) -> list[dict[str, str]]:
    """False alarms over a family of tests, and the coverage of the pooled interval."""
    return [{
        "world": row.world.removeprefix("no difference, "), "seeds": str(row.seeds),
        "items a task": f"{row.n:,}", "without Holm": share(row.uncorrected, row.repeats),
        "with Holm": share(row.false, row.repeats),
        "the mean's interval held": share(row.pooled, row.repeats),
    } for row in found.itertuples()]


def power_rows(found: pd.DataFrame) -> list[dict[str, str]]:
    """The smallest visible differences and how often they were seen."""
    return [{
        "world": row.world.removeprefix("no difference, "), "seeds": str(row.seeds),
        "items": f"{row.n:,}", "smallest, points": f"{100 * row.smallest:.1f}",
        "seen": share(row.found, row.repeats),
    } for row in found.itertuples()]


def picture(covered: pd.DataFrame) -> plt.Figure:
    """Coverage of every method in every cell; the band is what was promised."""
    plots.set_style()
    covered = covered[~covered.world.isin([world.name for world in HARD])]
    panels = [(seeds, ONE_SEED if seeds == 1 else SEVERAL_SEEDS) for seeds in SEEDS]
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
                label = f"{n:,} items" if (seeds, place) == (1, 0) else None
                axes.plot(cells, [place + shift] * len(cells), marker, color=colour,
                          markersize=6, alpha=0.8, label=label)
        axes.set(yticks=range(len(methods)), yticklabels=list(methods),
                 title=f"{seeds} seed{'s' * (seeds > 1)}")
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    every[-1].set_xlabel("95% intervals that held the truth, a mark a world", fontsize="small")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return figure


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("book/measured"),
                        help="folder for statistics.md, .json and .svg (default: %(default)s)")
    parser.add_argument("--repeats", "--repeat", type=int, default=2000,
                        help="draws of each cell (default: %(default)s)")
    options = parser.parse_args()
    write(run(options.repeats), options.out, options.repeats)


if __name__ == "__main__":
    sys.exit(run_command(main))
