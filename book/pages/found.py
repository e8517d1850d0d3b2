"""The page *What we found*: the study of written answers, and those of likelihoods.

The first lies in book/measured/found, where `book/studies/keep_study.py` keeps it of a run; the
front page and the README tell of it, too.
"""

from functools import cache
from pathlib import Path
from typing import Any

import found_likelihood
import found_more
import pandas as pd
from measurements import MEASURED, is_kept, read_record
from rendering import render

from selfprompt_lib import plots
from selfprompt_lib.evaluate import (
    accuracy_of_seed,
    arm_contrasts,
    differences,
    gallery,
    needed_sizes,
    readings,
    report_text,
    role_contrasts,
    seed_differences,
    vs_chance,
)
from selfprompt_lib.evaluate.compare import ALL

PAIR = "self-prompt", "baseline"


def found_page(out: Path, measured: Path = MEASURED) -> str:
    """The page of the studies kept in `measured`; its figures are drawn into `out`."""
    study = facts(measured / "found")
    likelihood = found_likelihood.facts(measured / "likelihood", out)
    if not study and not likelihood:
        return ("# What we found\n\nNo measurement is kept here yet. "
                "[Measuring more](measuring.md) tells how to make one.\n")
    if study:
        draw(measured / "found", out)
    real, whole = (found_likelihood.benchmark_facts(measured / name, out)
                   for name in ("benchmarks", "benchmarks-whole"))
    more = found_more.facts(measured, out)
    return render("found.md.jinja",
                  (study or {}) | {"likelihood": likelihood, "real": real, "whole": whole,
                                  "more": more})


@cache
def facts(folder: Path) -> dict[str, Any] | None:
    """What the page says: tables as lists of rows, sentences, the record; None where none is."""
    if not is_kept(folder):
        return None
    items, record, main, other = _kept(folder)
    more = needed_sizes(items, *PAIR)
    metrics = record["stages"]["evaluate"]["metrics"]
    own = items[items.arm == "self-prompt"]
    return {
        "record": record, "metrics": metrics, "judge": _appendix(record, "judge"),
        "probes": _probe_rates(record),
        "profile": record["stages"]["evaluate"]["provenance"]["profile"],
        "level": vs_chance(items, metrics["chance"]), "right": _right(items),
        "arms": list(dict.fromkeys(items.arm)),
        "tasks": own.groupby("task", sort=False).item.nunique().to_dict(),
        "answer": report_text(main, other[other.contrast.str.startswith("its own")], more),
        "differences": main.to_dict("records"), "others": other.to_dict("records"),
        "needed": more.to_dict("records"),
        "readings": readings(items).set_index(["arm", "reader"]).to_dict("index"),
        "roles": own.groupby("seed").wrote_role.mean().to_dict(),
        "minutes": sum(stage["seconds"] for stage in record["stages"].values()) / 60,
    }


def _appendix(record: dict[str, Any], name: str) -> Any:
    """Metrics of an appendix; None where it has not run.

    A study that was kept before there were appendices has them in chapter 5's.
    """
    stage = record["stages"].get(name)
    return stage["metrics"] if stage else record["stages"]["evaluate"]["metrics"].get(name)


def _probe_rates(record: dict[str, Any]) -> list[dict[str, Any]]:
    found = _appendix(record, "robustness") or []
    return found["rates"] if isinstance(found, dict) else found


def _right(items: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Accuracy by arm and task, and over `all` tasks, which count the same."""
    share = items.groupby(["arm", "task"]).correct.mean()
    over_tasks = share.groupby("arm").mean()
    return share.to_dict() | {(str(arm), ALL): float(mean) for arm, mean in over_tasks.items()}


def draw(folder: Path, out: Path) -> None:
    """The study's figures as PNG files in `out`."""
    items, record, main, other = _kept(folder)
    seed = record["stages"]["evaluate"]["provenance"]["seed"]
    sides = "self-prompt better", "baseline better"
    plots.set_style()
    drawn = {
        "found-accuracy": plots.accuracy_by_task(accuracy_of_seed(items, seed)),
        "found-tasks": plots.forest_plot(main, *sides, "Self-prompt minus baseline"),
        "found-seeds": plots.seed_plot(seed_differences(items, *PAIR), main, *sides,
                                       "Each pair of models"),
        "found-others": plots.interval_plot(
            other, "difference", "contrast", zero=True, title="Other arms, and other roles",
            axis="points of accuracy, 95% intervals"),
    }
    if probes := _probe_rates(record):
        drawn["found-probes"] = gallery.probe_rates(pd.DataFrame(probes), "role")
    plots.save_figures(drawn, out)


@cache
def _kept(folder: Path) -> tuple[pd.DataFrame, dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Items and record, and the tables that words and figures need, which take seconds."""
    items = pd.read_parquet(folder / "items.parquet")
    others = pd.concat([role_contrasts(items), arm_contrasts(items)], ignore_index=True)
    return items, read_record(folder), differences(items, *PAIR), others
