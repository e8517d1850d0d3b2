"""`selfprompt compare OLD NEW`: two folders of `lm_eval --log_samples`, item by item.

lm-eval compares two runs as if they had been asked different questions. Asked the same ones, a
paired test sees smaller differences: exact McNemar and Tango's interval for each task, Holm over
the tasks, and the smallest difference that so many items show.
"""

import argparse
import re
from pathlib import Path

import pandas as pd

from .. import plots, stats
from ..errors import require
from ..files import make_writable
from ..reading import read_placed_rows
from .compare import ALL, differences
from .report import points
from .results import UNTUNED

SAMPLES = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d+)\.jsonl")
OLD, NEW = "old", "new"
KINDS = {"doc_id": int, "doc_hash": str, "filter": str, "metrics": list, "resps": list}


def compare_runs(old: Path, new: Path, metric: str | None = None,
                 filter_name: str | None = None) -> tuple[pd.DataFrame, list[str]]:
    """The paired differences of two runs of lm-eval, and what was left out (page *Benchmarks*).

    Args:
        old, new: folders that `lm_eval --log_samples --output_path` wrote; of each task the newest
            file counts.
        metric, filter_name: of lm-eval, such as `acc_norm` and `strict-match`; a task's first
            metric and last filter without them.

    Returns:
        The rows of `compare.differences`, new minus old, with `scored` (metric and filter), both
        accuracies and guessing's (empty where it is unknown), and `at_chance`: neither run is
        better than guessing there, so that its row tells nothing of the models.

    Raises:
        UserError: no samples, no task in common, other items, or a metric that is not 0 or 1.
    """
    files, others = newest_samples(old), newest_samples(new)
    tasks = [task for task in files if task in others]
    require(tasks, f"{new}: no task in common with {old}, which has {', '.join(files)}")
    notes = [f"{task}: left out, only one of the runs has it"
             for task in sorted(set(files) ^ set(others))]
    parts, rows = [], []
    for task in tasks:
        pair = [read_scores(found[task], metric, filter_name) for found in (files, others)]
        require(pair[0].scored.equals(pair[1].scored) and pair[0].doc_hash.equals(pair[1].doc_hash),
                f"{others[task]}: not the items, metric and filter of {files[task]}: "
                f"{_unlike(*pair)}; run both with the same task, --limit and seed")
        rows.append({"task": task, **_rates(*pair)})
        parts += [scores.assign(task=task, arm=arm, seed=UNTUNED)
                  for scores, arm in zip(pair, (OLD, NEW), strict=True)]
    items = pd.concat(parts).rename_axis("item").reset_index()
    return differences(items, NEW, OLD).merge(pd.DataFrame(rows), how="left"), notes


def newest_samples(folder: Path) -> dict[str, Path]:
    """The newest file of samples of each task beneath a folder, by task.

    Raises:
        UserError: no such folder, no samples in it, or those of several models.
    """
    require(folder.is_dir(), f"{folder}: no such folder; give lm_eval's --output_path")
    found: dict[str, list[tuple[str, Path]]] = {}
    for path in folder.rglob("samples_*.jsonl"):
        if name := SAMPLES.fullmatch(path.name):
            found.setdefault(name["task"], []).append((name["date"], path))
    require(found, f"{folder}: no samples of lm-eval in it; run lm_eval with --log_samples and "
            "--output_path")
    folders = sorted({path.parent for dated in found.values() for _, path in dated})
    require(len(folders) == 1, f"{folder}: samples lie in {len(folders)} folders beneath it, as of "
            f"several models; give one of them, such as {folders[0]}")
    return {task: max(dated)[1] for task, dated in sorted(found.items())}


def read_scores(path: Path, metric: str | None, filter_name: str | None) -> pd.DataFrame:
    """The scores of one file, by doc_id: `correct`, `doc_hash`, `options` and `scored`.

    Raises:
        UserError: a line that is no sample of lm-eval; the file lacks the metric or the filter; the
            metric has values other than 0 and 1.
    """
    rows = read_placed_rows(path)
    for place, row in rows:
        lacking = {"doc_id", "doc_hash", "filter", "metrics", "resps", "doc"} - set(row)
        require(not lacking, f"{path}, {place}: no {', '.join(sorted(lacking))}; it is no "
                "sample of lm-eval 0.4.9 or newer")
        odd = [name for name, kind in KINDS.items() if not isinstance(row[name], kind)]
        odd = odd or [name for name in row["metrics"] if str(name) not in row]
        require(not odd and row["metrics"],
                f"{path}, {place}: {odd[:1] or 'metrics'} is missing, or is of another kind than "
                "lm-eval writes; log the samples anew")
    filters, metrics = list(dict.fromkeys(row["filter"] for _, row in rows)), rows[0][1]["metrics"]
    chosen, measure = filter_name or filters[-1], metric or metrics[0]
    require(chosen in filters, f"{path}: no filter {chosen}; it has {', '.join(filters)}")
    require(measure in metrics, f"{path}: no metric {measure}; it has {', '.join(metrics)}")
    table = pd.DataFrame([
        {"doc_id": row["doc_id"], "doc_hash": row["doc_hash"], "correct": row[measure],
         "options": _options(row), "scored": f"{measure}, {chosen}"}
        for _, row in rows if row["filter"] == chosen])
    require(table.correct.isin([0, 1]).all(), f"{path}: {measure} is not 0 or 1 for each item; "
            f"choose another with --metric: {', '.join(metrics)}")
    twice = list(table.doc_id[table.doc_id.duplicated()])
    require(not twice, f"{path}: doc_id {', '.join(map(str, twice[:3]))} occurs twice; log the "
            "samples of one run alone")
    return table.set_index("doc_id").sort_index()


def _options(row: dict) -> int | None:
    """Among how many options an item asks to choose; None where it does not, or none tells."""
    likelihoods = len(row["resps"])  # one for each option; two with acc_mutual_info
    if likelihoods > 1:
        return likelihoods // 2 if "acc_mutual_info" in row["metrics"] else likelihoods
    options = row["doc"].get("options") if isinstance(row["doc"], dict) else None
    return len(options) or None if isinstance(options, list | dict) else None


def _unlike(old: pd.DataFrame, new: pd.DataFrame) -> str:
    """How the items of two runs differ, in a few words."""
    if set(old.scored) != set(new.scored):
        return f"scored by {' and '.join(new.scored.unique())}, not {old.scored.iloc[0]}"
    both = old.index.intersection(new.index)
    other = int((old.doc_hash[both] != new.doc_hash[both]).sum())
    return f"{len(old)} and {len(new)} items, of which {len(both) - other} are the same"


def _rates(old: pd.DataFrame, new: pd.DataFrame) -> dict:
    rates = [stats.rate(scores.correct) for scores in (old, new)]
    chance = (1 / old.options).mean() if old.options.notna().all() else None
    return {"scored": old.scored.iloc[0], "accuracy_old": rates[0].value,
            "accuracy_new": rates[1].value, "chance": chance,
            "at_chance": chance is not None and max(one.low for one in rates) <= chance}


def report(table: pd.DataFrame) -> str:
    """The table as text, with what its last row says in words."""
    percent = "{:.1%}".format
    shown = pd.DataFrame({
        "task": table.task, "scored by": table.scored.fillna(""), "items": table.n,
        "old": table.accuracy_old.map(percent, na_action="ignore"),
        "new": table.accuracy_new.map(percent, na_action="ignore"),
        "chance": table.chance.map(percent, na_action="ignore"),
        "points [95% interval]": [
            f"{points(row.difference)} [{points(row.low)}, {points(row.high)}]"
            for row in table.itertuples()],
        "p": table.p.map("{:.3f}".format), "Holm": table.p_holm.map("{:.3f}".format),
        "could see": table.smallest.map(percent)}).fillna("")
    text = [shown.to_string(index=False)]
    if gated := list(table.task[table.at_chance.eq(True)]):
        text.append(f"At chance in both runs, so not to be interpreted: {', '.join(gated)}.")
    seen = table[(table.task != ALL) & (table.p_holm < 0.05) & ~table.at_chance.eq(True)]
    text.append("After Holm's correction a difference remains in: " + ", ".join(seen.task) + "."
                if len(seen) else "After Holm's correction no difference remains in any task.")
    text.append("'could see': the smallest difference that so many items show four times in five.")
    return "\n".join(text)


def compare_command(given: argparse.Namespace) -> None:
    """Print the comparison; write it where `--out` says.

    Raises:
        UserError: as `compare_runs`, or `--out` holds a comparison already.
    """
    if given.out:
        kept = [name for name in ("differences.csv", "differences.png")
                if (given.out / name).exists()]
        require(not kept, f"--out {given.out}: {' and '.join(kept)} there; give a new folder")
        make_writable(given.out)
    table, notes = compare_runs(given.old, given.new, given.metric, given.filter)
    print("\n".join([*notes, report(table)]))
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        table.to_csv(given.out / "differences.csv", index=False)
        axes = plots.forest_plot(table, f"{given.new.name} better", f"{given.old.name} better")
        axes.figure.savefig(given.out / "differences.png", bbox_inches="tight", dpi=150)

