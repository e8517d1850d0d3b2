"""What benchmarks share: a table on the screen, and the same as a fragment that a page of the book includes."""

import importlib.metadata
import os
import platform
import statistics
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import torch

LIBRARIES = ("torch", "transformers", "trl", "accelerate", "lm_eval")


def spread(values: list[float], form: str = ".0f") -> str:
    """Median, and the range where there are several runs."""
    middle = format(statistics.median(values), form)
    return f"{middle} ({format(min(values), form)} to {format(max(values), form)})" if len(values) > 1 else middle


def show(table: list[dict[str, str]]) -> None:
    """Print rows as columns of one width each."""
    rows = [list(table[0]), *(list(row.values()) for row in table)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)), flush=True)


def report(caption: str, table: list[dict[str, str]], out: Path | None) -> None:
    """Show a table below its caption, and write it where `out` says."""
    print(f"\n{caption}")
    show(table)
    if out:
        write(out, {caption: table})


def write(path: Path, parts: dict[str, list[dict[str, str]]]) -> None:
    """Write captions with their tables, and what they were measured on, as a Markdown fragment."""
    lines = ["<!-- Written by a script in tests/bench: run it again rather than change this. -->", ""]
    for caption, table in parts.items():
        head = list(table[0])
        rules = ["---"] + ["---:" if is_of_numbers(table, name) else "---" for name in head[1:]]
        cells = [head, rules, *(row.values() for row in table)]
        lines += [f"**{caption}**", "", *(f"| {' | '.join(row)} |" for row in cells), ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, machine(), ""]), encoding="utf-8")


def is_of_numbers(table: list[dict[str, str]], column: str) -> bool:
    """Whether most cells begin with a digit, behind a sign."""
    cells = [row[column].lstrip("*+-−<[(≈$") for row in table]
    return 2 * sum(cell[:1].isdigit() for cell in cells) >= len(cells)


def machine() -> str:
    """Where and when, in a sentence."""
    found = torch.cpu.get_capabilities()
    kinds = ", ".join(name for name in ("avx512_f", "avx512_bf16", "amx_bf16") if found.get(name)) or "no AVX-512"
    processor = f"{found.get('cpu_name', platform.machine())} ({kinds})"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else processor
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return f"*Measured on {datetime.now(UTC):%Y-%m-%d} at commit {commit}: {device}, {os.cpu_count()} cores; {versions}.*"
