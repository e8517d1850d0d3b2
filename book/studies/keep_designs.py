"""Keep what chapter 6 of a run found, as a small artefact to commit.

`python book/studies/keep_designs.py runs/cpu` renews book/measured/designs, from which the page
*Answers to the paper's open questions* (book/beyond.md) takes what it says of wordings and of other
strategies, whenever the book is built.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from kept_paths import without_paths

from selfprompt_lib import infer, profiles
from selfprompt_lib.ablate_measure import PROMPT
from selfprompt_lib.cli import run_command
from selfprompt_lib.designs import get_design
from selfprompt_lib.errors import require
from selfprompt_lib.evaluate import save_items
from selfprompt_lib.evaluate.likelihood_measure import OPEN
from selfprompt_lib.evaluate.results import BASE
from selfprompt_lib.files import write_json
from selfprompt_lib.pipeline.chapters import read_json
from selfprompt_lib.profiles import Profile
from selfprompt_lib.reading import read_json_lines

KEPT = ["task", "item", "stratum", "design", "seed", "wrote", "tokens"]
SAME_FOR_SEEDS = ("designs", "equal", "samples", "training_tokens")
TABLES = ("likelihoods.parquet", "roles.parquet", "replies.jsonl")
ABOUT = """\
Keep what chapter 6 of a run found: its tables without texts, as Parquet, and its settings, metrics
and provenance, as JSON. A run with the seeds that follow on those kept is added to them. The book's
page "Answers to the paper's open questions" is made from this.
Exit status: 0 kept, 2 bad input."""


def keep(run: Path, out: Path) -> Path:
    """Write `likelihoods.parquet`, `roles.parquet` and `record.json` of a run's folder into `out`.

    A run with the seeds that follow on those kept is added to them.

    Raises:
        UserError: no finished chapter 6 there, or an `out` that holds a study of other settings.
    """
    folder = run / "ablate"
    stage = read_json(folder / "stage.json")
    lacking = [name for name in TABLES if not (folder / name).is_file()]
    require(stage and stage.get("chapter") == "ablate" and not lacking,
            f"{run}: chapter 6 has not finished there; run it first (--only 6), and give the run's "
            "folder, such as runs/cpu")
    made = dict(stage["provenance"])
    record = {
        "settings": without_paths(made.pop("profile")), "provenance": made,
        "metrics": stage["metrics"], "seconds": stage["seconds"], "finished": stage["finished"]}
    tables = {
        "likelihoods": pd.read_parquet(folder / "likelihoods.parquet"),
        "roles": written(pd.read_parquet(folder / "roles.parquet"),
                         pd.DataFrame(read_json_lines(folder / "replies.jsonl")))}
    before = read_json(out / "record.json")
    require(not out.exists() or before, f"--out {out}: is no study's folder; give another")
    if before and _adds_seeds(before["settings"], record["settings"], out):
        record = _with_more_seeds(before, record)
        tables["likelihoods"] = _of_trained(tables["likelihoods"])
        tables = {name: pd.concat([pd.read_parquet(out / f"{name}.parquet"), table],
                                  ignore_index=True) for name, table in tables.items()}
    for name, table in tables.items():
        save_items(table, out / f"{name}.parquet")
    profile = Profile.model_validate(record["settings"])
    told = {"command": command(profile.name, without_paths(profiles.flatten(profile)))}
    return write_json(out / "record.json", record | told)


def _adds_seeds(before: dict[str, Any], now: dict[str, Any], out: Path) -> bool:
    """Whether a run goes on with the seeds of what is kept; False where it is the same anew.

    Raises:
        UserError: neither.
    """
    (first, count), (start, more) = _seeds(before), _seeds(now)
    same = _with_seeds(now, first, count) == before
    require(same, f"--out {out}: holds a study of other settings; give another folder")
    again = (start, more) == (first, count)
    require(again or start == first + count,
            f"--out {out}: holds the seeds {first} to {first + count - 1}; give the same seeds, or "
            f"a run with seed={first + count}")
    return not again


def _of_trained(table: pd.DataFrame) -> pd.DataFrame:
    """Without the untuned model and without prompts, which were asked with the first seeds."""
    return table[(table.model != BASE) & ~table.prefix.str.startswith(PROMPT)]


def _seeds(settings: dict[str, Any]) -> tuple[int, int]:
    """The first seed of a study, and how many."""
    return settings["seed"], settings["ablate"]["seeds"]


def _with_seeds(settings: dict[str, Any], first: int, count: int) -> dict[str, Any]:
    return settings | {"seed": first, "ablate": settings["ablate"] | {"seeds": count}}


def _with_more_seeds(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The record of both runs, without what was told of one of them alone, such as fit."""
    first, count = _seeds(before["settings"])
    start, more = _seeds(now["settings"])
    earlier, later = before["provenance"]["precision"], now["provenance"]["precision"]
    both = earlier if earlier.endswith(later) else f"{earlier}, from seed {start} on {later}"
    old, new = before["metrics"], now["metrics"]
    seconds = {name: of_design + new["training_seconds"][name]
               for name, of_design in old["training_seconds"].items()}
    return now | {
        "settings": _with_seeds(before["settings"], first, count + more),
        "provenance": now["provenance"] | {"precision": both, "seed": first},
        "metrics": {name: old[name] for name in SAME_FOR_SEEDS} | {
            "seeds": count + more, "training_seconds": seconds},
        "seconds": before["seconds"] + now["seconds"]}


def written(roles: pd.DataFrame, replies: pd.DataFrame) -> pd.DataFrame:
    """Whether each design was written, without texts; of one behind the answer, in whole replies.

    Those were asked to `ablate.question_rows` questions only.
    """
    parts = [roles.assign(wrote=roles.role.notna())]
    for name in roles.design.unique():
        design = get_design(name)
        if design.writes_role and not design.writes_first:
            mine, table = replies[replies.design == name], parts[0]
            parts[0] = table[~((table.design == name) & (table.task == OPEN))]
            parts.append(mine.assign(
                task=OPEN, item=mine["id"], stratum=mine.domain, tokens=mine.role_tokens,
                wrote=[infer.wrote_role(row) for row in mine.to_dict("records")]))
    return pd.concat([part[KEPT] for part in parts], ignore_index=True)


def command(name: str, settings: dict[str, Any]) -> str:
    """The two commands that make such a run: of chapter 1, and of chapter 6."""
    usual = profiles.flatten(profiles.load(name))
    changed = [f"{field}={_yaml(value)}" for field, value in settings.items()
               if value != usual[field]]
    options = "".join(f" --set {shlex.quote(pair)}" for pair in changed)
    return "\n".join(f"python -m selfprompt_lib run --profile {name} --no-book --only {label}"
                     f"{options}" for label in ("1", "6"))


def _yaml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


def main(arguments: list[str] | None = None) -> None:
    """The command; raises UserError on bad input."""
    parser = argparse.ArgumentParser(description=ABOUT,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER", help="such as runs/cpu")
    parser.add_argument("--out", type=Path, default=Path("book/measured/designs"),
                        metavar="FOLDER", help="where it is kept (default: %(default)s)")
    given = parser.parse_args(arguments)
    print(keep(given.run, given.out))


if __name__ == "__main__":
    sys.exit(run_command(main))
