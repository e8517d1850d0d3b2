"""Put the results of a run between the markers of the README.

`python book/pages/readme.py runs/cpu` does it; `selfprompt run --readme` calls it.
"""

import argparse
import re
import sys
from pathlib import Path

import front
from rendering import render

from selfprompt_lib.cli import run_command
from selfprompt_lib.provenance import PROJECT
from selfprompt_lib.reading import user_path

RESULTS = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", flags=re.DOTALL)


def write_results(root: Path, readme: Path) -> None:
    """Put the results of the run in `root` between the README's markers."""
    text = readme.read_text(encoding="utf-8")
    results = render("results.md.jinja", front.page_facts(root)).strip()
    text = RESULTS.sub(lambda markers: f"{markers[1]}{results}\n{markers[2]}", text)
    readme.write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """The command; raises UserError on bad input."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=user_path, metavar="RUN", help="a run's folder, as runs/cpu")
    parser.add_argument("--readme", type=user_path, default=PROJECT / "README.md", metavar="FILE",
                        help="where the markers stand (default: the project's README.md)")
    given = parser.parse_args(arguments)
    write_results(given.run, given.readme)


if __name__ == "__main__":
    sys.exit(run_command(main))
