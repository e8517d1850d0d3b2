"""What differs between two runs, and what each cost (chapter 7)."""

from typing import Any

import pandas as pd

from .run_sets import NAMES, RunSet, flat_fields

MARK = "other versions"
CHANGE_COLUMNS = ["what", "name", "first", "second"]


def what_changed(first: dict[str, Any], second: dict[str, Any]) -> pd.DataFrame:
    """What two runs were made with, where they differ (chapter 7).

    Columns: what (field, version, machine, data or code), name, first, second; of data and code,
    the first digits of their digests. Where a run has no such thing, a dash. Of code, only files
    that both runs used are compared: other settings may use others.
    """
    sides = [{"field": {name: value for name, value in flat_fields(record).items()
                        if name not in NAMES}, **_made_with(record)}
             for record in (first, second)]
    rows = [{"what": what, "name": name, "first": _shown(one.get(name)),
             "second": _shown(other.get(name))}
            for what, one in sides[0].items() for other in [sides[1][what]]
            for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)
            and (what != "code" or (name in one and name in other))]
    return pd.DataFrame(rows, columns=CHANGE_COLUMNS)


def _made_with(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Versions, machine, digests of data and of code, by name."""
    made = record["provenance"]
    versions = {name: made.get(name) for name in ("selfprompt_lib", "python")}
    return {"version": versions | made.get("libraries", {}),
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
    records = runs.records
    first = next(iter(records.values()))
    return pd.DataFrame([
        {"run": name} | runs.fields[name] | {
            "model": _last(flat_fields(record).get("model", "–")),
            "precision": record["provenance"].get("precision", "–"),
            "tokens": record.get("tokens") or 0, "minutes": sum(record["seconds"].values()) / 60,
            "versions": MARK if _other_versions(first, record) else "as the first"}
        for name, record in records.items()])


def _other_versions(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return what_changed(first, second).what.isin(["version", "code"]).any()


def _last(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2]


def run_seconds(runs: RunSet) -> pd.DataFrame:
    """Seconds of each run by chapter: runs as index, chapters as columns; 0 where none ran."""
    seconds = {name: record["seconds"] for name, record in runs.records.items()}
    return pd.DataFrame.from_dict(seconds, orient="index").fillna(0)
