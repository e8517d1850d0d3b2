"""The table of the ladder's rungs, and their commands, for the page "One card, many cards".

`python book/studies/ladder_table.py` writes book/measured/ladder.md. It is arithmetic from the
models' names: nothing is fetched.
"""

import argparse
import sys
from pathlib import Path

from pages import require_own, table, written_by

from selfprompt_lib.cli import run_command
from selfprompt_lib.pipeline.ladder import ladder_table, sweep_command

MARK = written_by("ladder_table.py")


def table_page() -> str:
    """The table of rungs as Markdown, with the commands below it."""
    rows = [{
        "model": row["model"], "million weights": f"{row['parameters'] / 1e6:,.0f}",
        "full, GB": f"{row['full_gb']:.1f}", "LoRA, GB": f"{row['lora_gb']:.1f}",
        "the paper's recipe, one card": _hours(row["recipe_hours"]),
        "profile `cpu`, two cores": _hours(row["cpu_minutes"] / 60),
        "profile": f"`{row['profile']}`", "terms": row["terms"]} for row in ladder_table()]
    return "\n".join([
        MARK, "", *table(rows), "", "```bash",
        *(row["command"] for row in ladder_table()), "", "# the rungs of a profile as one sweep",
        *map(sweep_command, ("cpu", "gpu")), "```", ""])


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def main(arguments: list[str] | None = None) -> None:
    """The command; raises UserError on bad input."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("book/measured/ladder.md"),
                        metavar="FILE", help="the page to write (default: %(default)s)")
    out = parser.parse_args(arguments).out
    require_own(out, MARK)
    out.write_text(table_page(), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run_command(main))
