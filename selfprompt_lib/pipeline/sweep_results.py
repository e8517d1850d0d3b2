"""The results of a sweep: one tidy table over all cells, and what each cell was made with.

Both are made of a run's folder, so that runs made one by one are compared in the same way as cells
(chapter 7).
"""

from pathlib import Path
from typing import Any

import pandas as pd

from ..digests import text_digest
from ..errors import require
from ..files import run_folder, write_json
from ..reading import read_json_lines
from .chapters import read_records
from .sweep_grid import value_text

COLUMNS = ["chapter", "model", "seed", "prefix", "task", "form", "item", "stratum", "options",
           "nats", "log_odds", "log_odds_pmi", "right", "right_sum", "right_pmi", "tokens"]
WRITTEN, ROLE = "written", "role"  # forms of rows that are no likelihoods
OPEN = "held-out questions"
# The model of an arm of chapter 5, and what stands before its answer; of chapter 6 see `_arm`.
ARMS = {"base": ("base", "none"), "baseline": ("baseline", "none"),
        "role-play": ("baseline", "role-play"), "self-prompt": ("self-prompt", "own role")}
VERSIONS = ("selfprompt_lib", "commit", "python", "libraries", "precision")


def write_results(out: Path, record: dict[str, Any]) -> list[str]:
    """Write `sweep.parquet` and `cells.json` anew, from all cells of `sweep.json` that are there.

    Returns:
        The cells that were made with other versions than most, in words.
    """
    tables, cells = [], {}
    for name, fields in record["cells"].items():
        root = run_folder(out / "cells" / name, record["profile"])
        if read_records(root):
            settings = record["settings"] | fields
            cells[name] = {"fields": fields, "settings": settings} | run_record(root)
            rows = cell_rows(root)
            about = pd.DataFrame({"cell": name, **field_columns(fields)}, index=rows.index)
            tables.append(about.join(rows))
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["cell"])
    first = next(iter(record["cells"].values()))  # all cells have the same fields
    for field in set(table) & set(field_columns(first)):
        are_texts = {isinstance(value, str) for value in table[field]}
        if len(are_texts) > 1:  # such as 16 and null, which one column of Parquet cannot hold
            table[field] = table[field].map(value_text)
    partial = out / "sweep.parquet.partial"
    table.to_parquet(partial, index=False)
    partial.replace(out / "sweep.parquet")
    write_json(out / "cells.json", cells)
    return _other_versions(cells)


def _other_versions(cells: dict[str, dict[str, Any]]) -> list[str]:
    """Cells whose versions, precision or code are not those of most, which a reader should know."""
    told = []
    for part in VERSIONS:
        values = {name: text_digest(about["provenance"].get(part)) for name, about in cells.items()}
        told += _unlike_most(part, values)
    names = set.intersection(*({*about["code"]} for about in cells.values())) if cells else ()
    code = {name: text_digest({file: about["code"][file] for file in names})
            for name, about in cells.items()}
    return told + _unlike_most("code", code)


def _unlike_most(part: str, values: dict[str, str]) -> list[str]:
    usual = pd.Series(values).mode().head(1).to_list()
    others = [name for name, value in values.items() if value not in usual]
    return [f"{part}: {', '.join(others)}"] if others else []


def run_record(root: Path) -> dict[str, Any]:
    """What a run was made with and what it cost (chapter 7).

    Returns:
        `profile` (its name), `seed`, `seconds` by chapter, `tokens` that chapter 3 trained on
        (chapter 6, where only that has run), `provenance` of the chapter that finished last
        (fields, versions, machine), `data`: digests of the training samples, of what was asked and
        of the files that fields name, and `code`: of the package's files and the notebooks that
        were used, shortened.

    Raises:
        UserError: the folder is no run's.
    """
    records = read_records(root)
    require(records, f"{root}: is no run's folder: no chapter has finished there; give one such as "
            "runs/cpu, or that of a sweep")
    by_time = dict(sorted(records.items(), key=lambda item: item[1]["finished"]))
    provenance = list(by_time.values())[-1]["provenance"]
    metrics = {name: records[name]["metrics"] if name in records else {}
               for name in ("sft", "ablate")}
    trained = metrics["sft"].get("tokens") or metrics["ablate"].get("training_tokens", {})
    return {"profile": provenance["profile"]["name"], "seed": provenance["seed"],
            "seconds": {name: record["seconds"] for name, record in records.items()},
            "tokens": sum(trained.values()), "provenance": provenance,
            "data": _data(by_time), "code": _code(by_time)}


def _data(records: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Digests of data by name: what chapter 1 left, files of fields, and the package's own.

    Where two chapters have read a file, it is as the one read it that finished last.
    """
    trained_on = records.get("annotate", {}).get("outputs", {}).get("train.jsonl")
    found = {"annotate/train.jsonl": trained_on} if trained_on else {}
    for record in records.values():
        inputs = record["inputs"]
        found |= {name: value for name, value in inputs["fields"].items()
                  if isinstance(value, str) and value.startswith("sha256:")}
        found |= {name: digest for name, digest in inputs["code"].items()
                  if name.startswith("resources/") and name.endswith(".jsonl")}
    return found


def _code(records: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Digests, shortened, of notebooks and of the package's files: not of data, nor of figures."""
    return {f"{chapter}, {name}" if name == "notebook" else name: digest[:10]
            for chapter, record in records.items()
            for name, digest in record["inputs"]["code"].items()
            if not name.endswith(".jsonl") and not name.startswith("plots/")}


def field_columns(fields: dict[str, Any]) -> dict[str, Any]:
    """A cell's fields as columns of the table; lists, which no table groups by, as texts.

    A swept `seed` is the rows' own `seed`. A swept `model` is `base model`, as `model` tells which
    of the models tuned from it a row is of.
    """
    names = {"model": "base model"}
    return {names.get(field, field): value if isinstance(value, str | int | float)
            else value_text(value) for field, value in fields.items() if field != "seed"}


def cell_rows(root: Path) -> pd.DataFrame:
    """A run's rows: likelihoods, written answers and written roles, of the chapters that are done.

    Columns: `chapter` (`evaluate`, `ablate` or `infer`), those of the table of likelihoods, and
    `tokens`. Rows of written answers (`form` is `written`) have `right`: whether the answer is;
    rows of written roles (`role`) have in it whether a role was written, and in `tokens` its length
    where that was counted.
    """
    made = read_records(root)
    parts = [part.assign(chapter=chapter) for chapter in ("evaluate", "ablate") if chapter in made
             for part in (_table(root / chapter / "likelihoods.parquet"),
                          _answers(root / chapter / "items.parquet", chapter))]
    if "infer" in made:
        parts.append(_replies(root / "infer", made["infer"]["provenance"]["seed"]))
    if "ablate" in made:
        parts.append(_design_roles(root / "ablate" / "roles.parquet"))
    parts = [part for part in parts if len(part)]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    flags = dict.fromkeys(["right", "right_sum", "right_pmi"], "boolean")
    return table.reindex(columns=COLUMNS).astype(flags | {"item": str})


def _table(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path) if path.is_file() else pd.DataFrame()


def _answers(path: Path, chapter: str) -> pd.DataFrame:
    """Written answers, and whether a role was written before them."""
    items = _table(path)
    if items.empty:
        return items
    places = [_arm(arm, chapter) for arm in items.arm]
    items = items.assign(model=[model for model, _ in places], prefix=[text for _, text in places])
    roles = items[items.prefix == "own role"]
    return pd.concat([items.assign(form=WRITTEN, right=items.correct),
                      roles.assign(form=ROLE, right=roles.role.notna())], ignore_index=True)


def _arm(arm: str, chapter: str) -> tuple[str, str]:
    """The model of an arm and what stands before its answer; an arm of chapter 6 is a design."""
    if chapter == "ablate":
        return arm, "none" if arm in ("none", "base") else "own role"
    return ARMS.get(arm, ("self-prompt", arm))


def _replies(folder: Path, seed: int) -> pd.DataFrame:
    """Whether and how long roles were written for the held-out questions of chapter 4."""
    found = []
    for model in ("base", "baseline", "self-prompt"):
        path = folder / f"{model}.jsonl"
        about = {"chapter": "infer", "prefix": "own role", "task": OPEN, "form": ROLE,
                 "model": model, "seed": -1 if model == "base" else seed}
        for row in read_json_lines(path) if path.is_file() else []:
            found.append(about | {"item": row["id"], "stratum": row["domain"],
                                  "right": row["outcome"] == "role", "tokens": row["role_tokens"]})
    return pd.DataFrame(found)


def _design_roles(path: Path) -> pd.DataFrame:
    """The same of chapter 6, before every item that it measured; a model is named by its design."""
    roles = _table(path)
    if roles.empty:
        return roles
    return roles.assign(chapter="ablate", model=roles.design, prefix="own role", form=ROLE,
                        right=roles.role.notna())
