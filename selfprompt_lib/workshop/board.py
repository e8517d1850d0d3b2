"""`selfprompt board`: the runs of many laptops, each with its own seed, in one table and figure.

Every run has measured the same questions with models of another seed, so that together they say how
much of a single result is luck. The statistics are those of chapter 5, over items and seeds.
"""

import argparse
import base64
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from jinja2 import Template
from markdown_it import MarkdownIt

from .. import plots
from ..errors import require
from ..evaluate.compare import ALL, differences
from ..evaluate.contrasts import MEASURES, TEXT, gate, likelihood_contrasts
from ..evaluate.likelihood_report import QUESTIONS, likelihood_text, signed
from ..evaluate.report import overall_text
from ..evaluate.results import BASELINE, OWN, UNTUNED
from ..files import make_writable
from .handed_in import Run, gather, packed, places, read_run

PAGE = Path(__file__).parents[1] / "resources" / "templates" / "board.html.jinja"
TITLES = {contrast: question for contrast, question, _ in QUESTIONS[:3]}
ANSWERS = "Are written answers right more often?"
TOGETHER = "all together"


def together(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of several runs as one; the untuned model, which is the same in all, but once."""
    first, *others = tables
    return pd.concat([first, *(table[table.seed != UNTUNED] for table in others)],
                     ignore_index=True)


def board_table(runs: Sequence[Run]) -> tuple[pd.DataFrame, str]:
    """One row a laptop and question, and below one over all; and what those say, in Markdown.

    Columns: laptop, seeds, differs, question, unit, difference, low, high (95%), n (items).
    """
    usual = {name: pd.Series([run.made_with[name] for run in runs]).mode()[0]
             for name in runs[0].made_with}
    rows = []
    for run in runs:
        marks = [f"{name} {value}" for name, value in run.made_with.items() if value != usual[name]]
        seeds = ", ".join(map(str, sorted(run.seeds)))
        about = {"laptop": run.name, "seeds": seeds, "differs": "; ".join(marks)}
        rows.append(_effects(run.likelihoods, run.items)[0].assign(**about))
    likelihoods, items = (together([getattr(run, name) for run in runs])
                          for name in ("likelihoods", "items"))
    whole, text = _effects(likelihoods, items)
    count = sum(len(run.seeds) for run in runs)
    seeds = f"{count} seeds" if count > 1 else f"{count} seed"
    rows.append(whole.assign(laptop=TOGETHER, seeds=seeds, differs=""))
    table = pd.concat(rows, ignore_index=True)
    columns = ["laptop", "seeds", "differs", "question", "unit", "difference", "low", "high", "n"]
    return table[columns], text


def _effects(likelihoods: pd.DataFrame, items: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The questions of the board with their differences, and what they say."""
    measure = "nats" if (likelihoods.form == TEXT).any() else "log_odds"
    every = likelihood_contrasts(likelihoods, measure, gate(likelihoods))
    shown = every[(every.task == ALL) & every.contrast.isin(TITLES)]
    shown = shown.merge(shown[["form"]].head(1))
    answers = differences(items, OWN, BASELINE).iloc[-1]
    text = f"{likelihood_text(shown)}\n\n{overall_text(answers, items.task.nunique())}"
    rows = shown.assign(question=shown.contrast.map(TITLES), unit=shown.measure.map(MEASURES))
    last = answers.to_frame().T.assign(question=ANSWERS, unit="share of right answers")
    kept = ["question", "unit", "difference", "low", "high", "n"]
    return pd.concat([rows[kept], last[kept]], ignore_index=True), text


def sentence(table: pd.DataFrame) -> str:
    """The first question of the board in one sentence."""
    rows = table[table.question == table.question.iloc[0]]
    alone, whole = rows[rows.laptop != TOGETHER], rows.iloc[-1]
    above = int((alone.difference > 0).sum())
    return (f"{whole.question} {above} of {len(alone)} laptops see a difference above zero; all "
            f"together ({whole.seeds}) {signed(whole.difference)} {whole.unit}, 95% interval "
            f"{signed(whole.low)} to {signed(whole.high)}.")


def _wide(table: pd.DataFrame) -> pd.DataFrame:
    """The table to read: one line a laptop, one column a question."""
    about = ["laptop", "seeds", "differs"]
    effect = [signed(row.difference) if pd.isna(row.low) else  # both are the same
              f"{signed(row.difference)} [{signed(row.low)}, {signed(row.high)}]"
              for row in table.itertuples()]
    wide = table.assign(effect=effect).set_index([*about, "question"]).effect.unstack(sort=False)
    return wide.reset_index().rename_axis(columns=None)


def write_board(runs: Sequence[Run], told: Sequence[str], out: Path) -> str:
    """Write board.csv, board.png and board.html to `out`; returns what the board says, as text."""
    table, text = board_table(runs)
    make_writable(out)
    table.to_csv(out / "board.csv", index=False)
    plots.save_figures({"board": plots.board_plot(table, TOGETHER)}, out)
    wide = _wide(table)
    page = Template(PAGE.read_text(encoding="utf-8"), autoescape=True, trim_blocks=True).render(
        table=wide, sentence=sentence(table), text=MarkdownIt().render(text), told=told,
        figure=base64.b64encode((out / "board.png").read_bytes()).decode())
    (out / "board.html").write_text(page, encoding="utf-8")
    return "\n".join([wide.to_string(index=False), "", sentence(table), "", text, "", *told])


def command(given: argparse.Namespace) -> None:
    """Pack each run, or merge them all and print the table.

    Raises:
        UserError: as `gather`, or a packed file of that name is there already.
    """
    if given.pack:
        for name, place in (found for path in given.runs for found in places(path)):
            run = read_run(place, name)
            file = given.out / f"seed-{min(run.seeds)}.zip"
            require(not file.exists(), f"{file}: there already; rename it, or give another --out")
            make_writable(given.out)
            file.write_bytes(packed(place))
            print(f"{file}: hand this in ({file.stat().st_size / 1024:.0f} kB)")
        return
    runs, told = gather(given.runs)
    print(write_board(runs, told, given.out))
    print(f"written: {given.out / 'board.html'}, board.png and board.csv")
