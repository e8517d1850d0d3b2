"""What the task YAMLs call: loading the data, and scoring the replies (chapter 5).

They work in plain `lm_eval --include_path`, with `SELFPROMPT_DATA` or `--metadata` naming a folder
in the hub's layout; without it the hub is read. Copies of the YAMLs name these functions, so their
names stay.
"""

import functools
from typing import Any

from .. import sandbox
from . import NO_ANSWER
from .extraction import extract_answer
from .loading import load_benchmark
from .programs import in_context

load = load_benchmark


def strict(replies: list[list[str]], docs: list[dict]) -> list[list[str]]:
    """Filter: what the strict reader reads (chapter 5)."""
    return _extract_all("strict", replies, docs)


def tolerant(replies: list[list[str]], docs: list[dict]) -> list[list[str]]:
    """Filter: what the tolerant reader reads (chapter 5)."""
    return _extract_all("tolerant", replies, docs)


def _extract_all(reader: str, replies: list[list[str]], docs: list[dict]) -> list[list[str]]:
    return [[extract_answer(doc["kind"], reader, text, doc) for text in texts]
            for texts, doc in zip(replies, docs, strict=True)]


def unread(references: list[str], predictions: list[str], **_) -> float:
    """Metric: 1 where no answer was found in a reply. Its mean is the share of replies not read."""
    return float(predictions[0] == NO_ANSWER)


def run_code(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """pass@1: does the program, below its prompt's imports and helpers, pass the tests? (chapter 5)

    It runs in the sandbox.
    """
    program = results[0]
    if program == NO_ANSWER:
        return {"pass_at_1": 0.0, "unread": 1.0}
    program = in_context(program, doc["prompt"], doc["entry_point"])
    return {"pass_at_1": float(_passes(program, doc["test"], doc["entry_point"])), "unread": 0.0}


@functools.lru_cache(maxsize=4096)
def _passes(program: str, test: str, entry_point: str) -> bool:
    """Kept, because both readers mostly read the same program."""
    return sandbox.run_program(program, test, entry_point).passed
