"""Benchmarks as data and YAML, run by lm-eval (chapter 5). `TASKS_FOLDER` is what `lm_eval --include_path` is given."""

from pathlib import Path

TASKS_FOLDER = Path(__file__).parent
