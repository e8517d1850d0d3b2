"""What a run took, chapter by chapter: seconds and peak memory, from its report.

`python tests/bench/default_run.py runs/cpu` prints a table; with `--out` it is a fragment of the book, and with `--before`
an earlier run of the same machine stands beside it. A run tells its precision and commit itself; the rate of matrix
products is this machine's, measured here in that precision, so call it on the machine that made the runs.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from fragment import report

from selfprompt_lib.sft.memory import matmul_rate


def rows(stages: dict[str, dict[str, Any]], before: dict[str, dict[str, Any]]) -> list[dict[str, str]]:
    """One row a chapter, and the sum of their seconds with the largest of their peaks.

    Args:
        before: the chapters of an earlier run; none are.
    """
    runs = {"before, ": before, "": stages} if before else {"": stages}
    table = []
    for name, stage in stages.items():
        table.append({"chapter": stage["title"]} | {
            column: cell for when, run in runs.items()
            for column, cell in columns(when, run[name]["seconds"], run[name]["peak_memory_gb"]).items()})
    return [*table, {"chapter": "together"} | {
        column: cell for when, run in runs.items() for column, cell in columns(
            when, sum(stage["seconds"] for stage in run.values()),
            max(stage["peak_memory_gb"] for stage in run.values())).items()}]


def columns(when: str, seconds: float, peak: float) -> dict[str, str]:
    return {f"{when}seconds": f"{seconds:,.0f}", f"{when}peak memory, GiB": f"{peak:.1f}"}


def read(run: Path) -> dict[str, Any]:
    return json.loads((run / "report.json").read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--before", type=Path, metavar="RUN", help="the folder of an earlier run")
    parser.add_argument("--out", type=Path, help="also write the table as a fragment of the book")
    asked = parser.parse_args()
    found = read(asked.run)
    earlier = read(asked.before)["stages"] if asked.before else {}
    precision, commit = (found["stages"]["sft"]["provenance"][name] for name in ("precision", "commit"))
    compared = f", and before at commit {earlier['sft']['provenance']['commit']}" if earlier else ""
    rate = matmul_rate(getattr(torch, precision), 5) / 1e9
    report(f"Profile `{found['profile']}` in {precision}, run at commit {commit}{compared}; matrix products at "
           f"{rate:.0f} GFLOP/s", rows(found["stages"], earlier), asked.out)


if __name__ == "__main__":
    main()
