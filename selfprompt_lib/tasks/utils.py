"""What the task YAMLs call: loading the data, and scoring the replies (chapter 5).

They work in plain `lm_eval --include_path`, with `SELFPROMPT_DATA` or `--metadata` naming a folder in the hub's
layout; without it the hub is read.
"""

import functools
import os
import random
from pathlib import Path
from typing import Any

import datasets
from pyarrow import ArrowException

from .. import sandbox
from ..errors import UserError, require
from ..files import hub_rows, read_json_lines
from .columns import docs
from .readers import NONE, read


def load(path: str = "", name: str = "default", split: str = "test", columns: dict[str, Any] | None = None, kind: str = "",
         shuffle: bool = False, data: str | None = None, items: int | None = None, seed: int = 0, config_source: str = "",
         **_) -> dict[str, datasets.Dataset]:
    """The docs of a benchmark as the split `test`; lm-eval passes `metadata` and `dataset_kwargs` of the YAML.

    `path` is a data set's name on the hub, read from there or from the folder `data` in the hub's layout, or a
    `.jsonl` file, relative to the YAML. `items` and `seed` pick a fixed subset, see `subset`.

    Raises:
        UserError: no such data, a fault in a row or in `columns`, or no sandbox for programs.
    """
    yaml = Path(config_source).name or "task"
    if kind == "code":
        sandbox.require_sandbox()  # before hours of asking, not after
    require(path, f"{yaml}: dataset_kwargs.path is missing; name a data set of the hub or a .jsonl file")
    data = data or os.environ.get("SELFPROMPT_DATA")
    if path.endswith(".jsonl"):
        file = Path(config_source).parent / Path(path).expanduser()
        rows, where = read_json_lines(file), str(file)
    else:
        rows = hub_rows(path, name, split, data)
        where = f"{Path(data).expanduser() / path / name / split}.jsonl" if data else f"{path} ({name}, {split}) on the hub"
    found = docs(rows, columns or {}, kind, shuffle, f"{yaml}: {where}")
    try:
        return {"test": datasets.Dataset.from_list(subset(found, items, seed))}
    except ArrowException as error:
        raise UserError(f"{yaml}: {where}: a column has values of several types ({error}); give all rows one type") from None


def subset(found: list[dict[str, Any]], items: int | None, seed: int) -> list[dict[str, Any]]:
    """`items` docs, the same for the same seed; every stratum has its share (systematic sampling, chapter 5).

    The docs are shuffled by the seed, ordered by stratum, and taken at even distances from a start that the seed
    draws; what is taken stands in the order of the data. None or too large a number means all.
    """
    require(items is None or (isinstance(items, int) and items > 0),
            f"items: {items!r} must be a whole number above 0; or leave it out")
    if items is None or items >= len(found):
        return found
    chance = random.Random(seed)
    order = chance.sample(range(len(found)), len(found))
    order.sort(key=lambda index: found[index]["stratum"])
    start = chance.random()
    return [found[index] for index in sorted(order[int((start + i) * len(found) / items)] for i in range(items))]


def strict(replies: list[list[str]], docs: list[dict]) -> list[list[str]]:
    """Filter: what the strict reader reads."""
    return [[read(doc["kind"], "strict", text, doc) for text in texts] for texts, doc in zip(replies, docs, strict=True)]


def tolerant(replies: list[list[str]], docs: list[dict]) -> list[list[str]]:
    """Filter: what the tolerant reader reads."""
    return [[read(doc["kind"], "tolerant", text, doc) for text in texts] for texts, doc in zip(replies, docs, strict=True)]


def unread(references: list[str], predictions: list[str], **_) -> float:
    """Metric: 1 where no answer was found in a reply. Its mean is the share of replies not read."""
    return float(predictions[0] == NONE)


def run_code(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """pass@1: does the program pass the item's tests, in the sandbox?"""
    read_one = results[0] != NONE
    return {"pass_at_1": float(read_one and _passes(results[0], doc["test"], doc["entry_point"])), "unread": float(not read_one)}


@functools.lru_cache(maxsize=4096)
def _passes(solution: str, test: str, entry_point: str) -> bool:
    """Kept, because both readers mostly read the same program."""
    return sandbox.run_program(solution, test, entry_point).passed
