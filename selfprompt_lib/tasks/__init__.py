"""Benchmarks as data and YAML, run by lm-eval (chapter 5)."""

from pathlib import Path

TASKS_FOLDER = Path(__file__).parent  # what `lm_eval --include_path` is given
NO_ANSWER = "[none]"  # what a reader reads where a reply gives no answer
