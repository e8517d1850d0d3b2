"""What a run took, chapter by chapter: seconds and peak memory, from its report.

`python tests/bench/default_run.py runs/cpu` prints a table; with `--out` it is a fragment of the book. A run tells its
precision and commit itself; the rate of matrix products is this machine's, measured here in that precision, so call it
on the machine that made the run.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from fragment import report

from selfprompt_lib.sft.memory import matmul_rate


def rows(stages: dict[str, dict[str, Any]]) -> list[dict[str, str]]:
    """One row a chapter, and the sum of their seconds with the largest of their peaks."""
    table = [{"chapter": stage["title"], "seconds": f"{stage['seconds']:,.0f}",
              "peak memory, GB": f"{stage['peak_memory_gb']:.1f}"} for stage in stages.values()]
    seconds = sum(stage["seconds"] for stage in stages.values())
    peak = max(stage["peak_memory_gb"] for stage in stages.values())
    return [*table, {"chapter": "together", "seconds": f"{seconds:,.0f}", "peak memory, GB": f"{peak:.1f}"}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--out", type=Path, help="also write the table as a fragment of the book")
    asked = parser.parse_args()
    found = json.loads((asked.run / "report.json").read_text(encoding="utf-8"))
    made_with = found["stages"]["sft"]["provenance"]
    precision = made_with["precision"]
    rate = matmul_rate(getattr(torch, precision), 5) / 1e9
    report(f"Profile `{found['profile']}` in {precision}, run at commit {made_with['commit']}; matrix products at "
           f"{rate:.0f} GFLOP/s", rows(found["stages"]), asked.out)


if __name__ == "__main__":
    main()
