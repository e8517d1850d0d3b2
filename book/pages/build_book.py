"""Build the book of a finished run: prose, executed notebooks and generated pages, as HTML.

`python book/pages/build_book.py runs/cpu _build` reads the run's artefacts and executes nothing.
`selfprompt run` calls it where something has changed since the book was built.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import beyond
import exercise_pages
import found
import front
import nbformat
import plans
import settings_page
import side_by_side
import slides
import yaml
from published import publish
from rendering import render

from selfprompt_lib import book
from selfprompt_lib.cli import heed_signals, run_command
from selfprompt_lib.errors import require
from selfprompt_lib.pipeline import CHAPTERS
from selfprompt_lib.provenance import PROJECT
from selfprompt_lib.reading import user_path


def build(root: Path, destination: Path) -> Path:
    """Build `<destination>/html` from the run in `root`, slides included; returns its first page.

    Raises:
        UserError: a chapter has not run, or a builder warns or fails, with its last words.
    """
    missing = book.missing_chapters(root)
    require(not missing, f"book: not built, chapters {', '.join(missing)} have not run")
    require(destination.name == "_build",
            f"{destination}: Jupyter Book builds into folders called _build; give such a name")
    source, page = destination / "source", destination / "html" / "index.html"
    stamp, digest = book.stamp(destination), book.inputs_digest(root)
    stamp.unlink(missing_ok=True)
    facts = front.page_facts(root)
    assemble(root, source, facts)
    builder = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    options = ["--path-output", str(destination.parent), "-W", "-n", "--keep-going", "-q"]
    done = subprocess.run([*builder, "build", str(source), *options], capture_output=True,
                          encoding="utf-8", errors="replace",
                          env=os.environ | {"PYTHONWARNINGS": "ignore"})
    require(not done.returncode and page.is_file(),
            f"book: the build failed:\n{(done.stdout + done.stderr)[-3000:]}")
    slides.build(root, facts, page.with_name("slides"))
    stamp.write_text(digest, encoding="utf-8")
    return page


def assemble(root: Path, source: Path, facts: dict[str, Any]) -> None:
    """Lay out what the builder reads: prose, configuration, executed notebooks, generated pages."""
    prose = source / "book"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(PROJECT / "book", prose,
                    ignore=shutil.ignore_patterns("_static", "pages", "studies"))
    shutil.copytree(PROJECT / "book" / "_static", source / "_static")
    shutil.copy(PROJECT / "_toc.yml", source)
    config = yaml.safe_load((PROJECT / "_config.yml").read_text(encoding="utf-8"))
    repository = config["repository"]
    repository["url"] = os.environ.get("BOOK_REPOSITORY_URL") or repository["url"]
    settings = yaml.safe_dump(config, sort_keys=False)
    (source / "_config.yml").write_text(settings, encoding="utf-8")
    for chapter in CHAPTERS.values():
        executed = chapter.executed_notebook(root)
        publish(nbformat.read(executed, 4), f"nbs/{executed.name}", root, source, repository)
    exercise_pages.write_pages(root, source, repository)
    shutil.copy(root / "evaluate" / facts["figure"], prose)
    pages = run_pages(root, facts) | {
        "book/settings.md": render("settings.md.jinja", {"groups": settings_page.groups()}),
        "book/found.md": found.found_page(prose), "book/beyond.md": beyond.beyond_page(prose)}
    for name, text in pages.items():
        (source / name).write_text(text, encoding="utf-8")


def run_pages(root: Path, facts: dict[str, Any]) -> dict[str, str]:
    """The pages that tell of the run in `root`, by their names; `facts` are `front.page_facts`."""
    timetables = {"teaching": plans.page_facts(root, facts["stages"])}
    replies = {"kept": side_by_side.kept_replies(root)}
    return {"index.md": render("index.md.jinja", facts),
            "book/status.md": render("status.md.jinja", facts),
            "book/teaching.md": render("teaching.md.jinja", facts | timetables),
            "book/try.md": render("try.md.jinja", facts | replies)}


def main(arguments: list[str] | None = None) -> None:
    """The command; raises UserError on bad input."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=user_path, metavar="RUN", help="a run's folder, as runs/cpu")
    parser.add_argument("destination", type=user_path, metavar="DESTINATION",
                        help="a folder called _build, in which html/index.html will lie")
    given = parser.parse_args(arguments)
    heed_signals()
    print(f"book: built, {build(given.run.absolute(), given.destination.absolute())}")


if __name__ == "__main__":
    sys.exit(run_command(main))
