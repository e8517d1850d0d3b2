"""What one run was made with and what it cost, in one record (chapter 7).

A sweep keeps the same of each of its cells, so that runs made one by one and cells are compared in
the same way.
"""

from pathlib import Path
from typing import Any

from ..errors import require
from .chapters import read_records


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
    """The first digits of digests of notebooks and of the package's files that not only draw."""
    return {f"{chapter}, {name}" if name == "notebook" else name: digest[:10]
            for chapter, record in records.items()
            for name, digest in record["inputs"]["code"].items()
            if not name.endswith(".jsonl") and not name.startswith("plots/")}
