"""What studies that are measured seed by seed share: their options, and the loop over the seeds."""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from selfprompt_lib.errors import require

Kept = dict[str, Any]


def add_seed_arguments(parser: argparse.ArgumentParser, seeds: str, out: str) -> None:
    """The options `--seeds`, `--hours` and `--out`, with the study's own defaults."""
    parser.add_argument("--seeds", default=seeds, metavar="0,1,2",
                        help="training seeds, one part each (default: %(default)s)")
    parser.add_argument("--hours", type=float, default=float("inf"),
                        help="begin no seed that would end later than this")
    parser.add_argument("--out", type=Path, default=Path(out), metavar="FOLDER",
                        help="where it is kept (default: %(default)s)")


def read_seeds(text: str) -> list[int]:
    """`0,1,2` as numbers.

    Raises:
        UserError: something else than whole numbers with commas between them.
    """
    require(all(part.strip().isdecimal() for part in text.split(",")),
            f"--seeds {text}: write whole numbers with commas between them, such as 0,1,2")
    return [int(part) for part in text.split(",")]


def measure_seeds(left: Sequence[int], kept: Kept, hours: float, out: Path,
                  add: Callable[[int, Kept], Kept]) -> Kept:
    """Measure seeds, one after the other; `add` puts one into what is kept, and saves it.

    Args:
        hours: no seed is begun that would end later, by how long those before it took.
    """
    began = time.monotonic()
    for done, seed in enumerate(left):
        spent = (time.monotonic() - began) / 3600
        if done and spent * (done + 1) / done > hours:
            print(f"seeds {left[done:]} are left: {spent:.1f} of {hours:g} hours are spent")
            break
        kept = add(seed, kept)
        print(f"seed {seed} is kept in {out}: {done + 1} of {len(left)} seeds, "
              f"{(time.monotonic() - began) / 60:.0f} minutes")
    return kept
