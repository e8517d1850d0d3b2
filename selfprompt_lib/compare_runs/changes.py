"""What differs between two runs, and what each cost (chapter 7)."""

from pathlib import Path
from typing import Any

import pandas as pd

from .run_sets import RunSet, flat_fields

MARK = "other versions"


def what_changed(first: dict[str, Any], second: dict[str, Any]) -> pd.DataFrame:
    """What two runs were made with, where they differ (chapter 7).

    Columns: what (field, version, machine, data or code), name, first, second; of data and code,
    the first digits of their digests. Where a run has no such thing, a dash. Of code, only files
    that both runs used are compared: other settings may use others.
    """
    ours, theirs = _made_with(first), _made_with(second)
    rows = []
    for what, one in ours.items():
        other = theirs[what]
        for name in one | other:
            compared = what != "code" or (name in one and name in other)
            if compared and one.get(name) != other.get(name):
                rows.append((what, name, _shown(one.get(name)), _shown(other.get(name))))
    return pd.DataFrame(rows, columns=["what", "name", "first", "second"])


def _made_with(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Fields, versions, machine, digests of data and of code, by name."""
    made = record["provenance"]
    versions = {name: made.get(name) for name in ("selfprompt_lib", "python")}
    return {"field": flat_fields(record),
            "version": versions | made.get("libraries", {}),
            "machine": {name: made.get(name) for name in ("machine", "precision")},
            "data": record.get("data", {}),
            "code": record.get("code") or made.get("code", {})}


def _shown(value: Any) -> str:
    """A value in a table: a digest by its first digits, a list without brackets."""
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    text = "–" if value is None else str(value).removeprefix("sha256:")
    return text[:10] if len(text) == 64 else text


def run_overview(runs: RunSet) -> pd.DataFrame:
    """One row a run: its swept fields, model, precision, versions and cost (chapter 7).

    Columns: run, those of the swept fields, model, precision, tokens (trained), minutes, and
    versions: marked where the package, a library or the package's code is not that of the first
    run. Such runs are compared all the same: what differs may be due to that.
    """
    first = next(iter(runs.records.values()))
    rows = []
    for name, record in runs.records.items():
        other = what_changed(first, record).what.isin(["version", "code"]).any()
        rows.append({"run": name} | runs.fields[name] | {
            "model": Path(flat_fields(record).get("model", "–")).name,
            "precision": record["provenance"].get("precision", "–"),
            "tokens": record.get("tokens") or 0, "minutes": sum(record["seconds"].values()) / 60,
            "versions": MARK if other else "as the first"})
    return pd.DataFrame(rows)


def run_seconds(runs: RunSet) -> pd.DataFrame:
    """Seconds of each run by chapter: runs as index, chapters as columns; 0 where none ran."""
    seconds = {name: record["seconds"] for name, record in runs.records.items()}
    return pd.DataFrame.from_dict(seconds, orient="index").fillna(0)
