"""Benchmarks as data and YAML, run by lm-eval (chapter 5). `FOLDER` is what `lm_eval --include_path` is given."""

from pathlib import Path

FOLDER = Path(__file__).parent
