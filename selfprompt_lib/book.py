"""Build the book from executed notebooks. It reads a run's artefacts and executes nothing."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

import nbformat
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from . import settings_page
from .errors import UserError
from .pipeline import CHAPTERS
from .provenance import PACKAGE, PROJECT
from .published import publish
from .workshop.pages import shown_exercises, write_pages

PAGES = {"index.md.jinja": "index.md", "status.md.jinja": "book/status.md",
         "teaching.md.jinja": "book/teaching.md", "try.md.jinja": "book/try.md"}
TEMPLATES = Path(__file__).parent / "resources" / "templates"
FOUND = PROJECT / "book" / "measured" / "found"
LIKELIHOOD, BENCHMARKS = FOUND.with_name("likelihood"), FOUND.with_name("benchmarks")
MEASURED = FOUND.parent
RESULTS = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", flags=re.DOTALL)


def build(root: Path, destination: Path) -> str:
    """Build `<destination>/html` from the run in `root`; returns what was done, in a sentence.

    Raises:
        UserError: when the builder warns or fails, with its last words.
    """
    if missing := missing_chapters(root):
        return f"book: not built, chapters {', '.join(missing)} have not run"
    source, page = destination / "source", destination / "html" / "index.html"
    stamp, digest = destination / "source.sha256", inputs_digest(root)
    if page.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == digest:
        return f"book: unchanged, {page}"
    stamp.unlink(missing_ok=True)
    from .workshop import slides  # loads chapter 5's modules

    assemble(root, source)
    builder = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    options = ["--path-output", str(destination.parent), "-W", "-n", "--keep-going", "-q"]
    done = subprocess.run([*builder, "build", str(source), *options], capture_output=True,
                          encoding="utf-8", errors="replace",
                          env=os.environ | {"PYTHONWARNINGS": "ignore"})
    if done.returncode or not page.is_file():
        raise UserError(f"book: the build failed:\n{(done.stdout + done.stderr)[-3000:]}")
    slides.build(render("slides.md.jinja", root), root, page.with_name("slides"))
    stamp.write_text(digest, encoding="utf-8")
    return f"book: built, {page}"


def missing_chapters(root: Path) -> list[str]:
    """The labels of the chapters that have not run; without them no book is built."""
    return [chapter.label for chapter in CHAPTERS.values()
            if not chapter.executed_notebook(root).is_file()
            or not (root / chapter.name / "stage.json").is_file()]


def assemble(root: Path, source: Path) -> None:
    """Lay out what the builder reads: prose, configuration, executed notebooks, generated pages."""
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(PROJECT / "book", source / "book",
                    ignore=shutil.ignore_patterns("_static", "studies"))
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
    write_pages(root, source, repository)
    shutil.copy(root / "evaluate" / figure(root), source / "book")
    for template, page in PAGES.items():
        (source / page).write_text(render(template, root), encoding="utf-8")
    settings = _template("settings.md.jinja").render(groups=settings_page.groups())
    (source / "book" / "settings.md").write_text(settings, encoding="utf-8")
    (source / "book" / "found.md").write_text(found_page(source / "book"), encoding="utf-8")
    (source / "book" / "beyond.md").write_text(beyond_page(source / "book"), encoding="utf-8")


@cache
def study_facts() -> dict[str, Any] | None:
    """What the committed study found, or None where none is kept."""
    if not (FOUND / "record.json").is_file():
        return None
    from .evaluate import committed_study  # lm-eval takes seconds to load: not for every command

    return committed_study.facts(FOUND)


@cache
def likelihood_facts() -> dict[str, Any] | None:
    """What the committed study of likelihoods found, or None where none is kept."""
    if not (LIKELIHOOD / "record.json").is_file():
        return None
    from .evaluate import committed_likelihood  # as above

    return committed_likelihood.facts(LIKELIHOOD)


def found_page(folder: Path) -> str:
    """The page of the committed studies; their figures are drawn into `folder`."""
    study, likelihood = study_facts(), likelihood_facts()
    if not study and not likelihood:
        return ("# What we found\n\nNo measurement is kept here yet. "
                "[Measuring more](measuring.md) tells how to make one.\n")
    from .evaluate import committed_likelihood, committed_study

    if study:
        committed_study.draw(FOUND, folder)
    if likelihood:
        committed_likelihood.draw(LIKELIHOOD, folder)
    real = None
    if (BENCHMARKS / "record.json").is_file():
        committed_likelihood.draw_benchmarks(BENCHMARKS, folder)
        real = committed_likelihood.benchmark_facts(BENCHMARKS)
    return _template("found.md.jinja").render(study or {}, likelihood=likelihood, real=real)


def beyond_page(folder: Path, measured: Path = MEASURED) -> str:
    """The page of the paper's open questions; its figures are drawn into `folder`."""
    from . import beyond  # loads chapters 6 and 7's modules

    beyond.draw(measured, folder)
    return _template("beyond.md.jinja").render(beyond.page_facts(measured))


def render(template: str, root: Path) -> str:
    """A generated page: a Jinja template over a run's artefacts and the committed study."""
    from . import front, side_by_side  # the first loads chapter 5's modules
    from .workshop import plans, slides  # as do these

    report = json.loads((root / "report.json").read_text(encoding="utf-8"))
    stages, study = report["stages"], study_facts()
    limit = stages["infer"]["provenance"]["profile"]["infer"]["max_new_tokens"]
    return _template(template).render(
        report=report, stages=stages, chapters=CHAPTERS.values(), study=study,
        examples=front.examples(root, limit), figure=figure(root), html=front.as_html,
        markdown=front.as_markdown, teaching=plans.page_facts(root, stages),
        kept=side_by_side.kept_replies(root), as_json=side_by_side.as_json,
        deck=partial(slides.facts, root),
        measured=front.measured(stages["evaluate"]["metrics"], study))


def figure(root: Path) -> str:
    """The front page's figure: of open questions, or of benchmarks where none had a reference."""
    report = json.loads((root / "report.json").read_text(encoding="utf-8"))
    contrasts = report["stages"]["evaluate"]["metrics"]["likelihoods"]["contrasts"]
    measured = any(row["form"] == "text" for row in contrasts)
    return "contrasts.png" if measured else "differences.png"


def _template(name: str) -> Template:
    import pandas as pd  # with SciPy it takes a second to load: not for a book that is unchanged

    from . import stats
    from .workshop import plans

    pages = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined,
                        trim_blocks=True, lstrip_blocks=True)
    pages.filters |= {
        "percent": lambda share: f"{100 * share:.0f}%",
        "points": stats.points_text,
        "seen": lambda share: f"{100 * share:.0f}" if share < 1 else "none",
        "clock": plans.clock,
        "machine": plans.machine_text,
        "number": lambda value: "–" if pd.isna(value) else f"{value:,}",
        "change": lambda row: stats.points_with_interval(
            row["difference"], row["low"], row["high"], decimals=1),
    }
    return pages.get_template(name)


def write_readme(root: Path, readme: Path = PROJECT / "README.md") -> None:
    """Put the run's results between the README's markers."""
    text = readme.read_text(encoding="utf-8")
    results = render("results.md.jinja", root).strip()
    text = RESULTS.sub(lambda markers: f"{markers[1]}{results}\n{markers[2]}", text)
    readme.write_text(text, encoding="utf-8")


def inputs_digest(root: Path) -> str:
    """One digest of all that the book is made from: the run, the prose, and this package."""
    notebooks = [chapter.executed_notebook(root) for chapter in CHAPTERS.values()]
    notebooks += shown_exercises(root)
    figures = [root / "evaluate" / figure(root), root / "report.json"]
    settings = [PROJECT / "_toc.yml", PROJECT / "_config.yml"]
    trees = [path for folder in (PROJECT / "book", PACKAGE) for path in sorted(folder.rglob("*"))
             if path.is_file() and path.suffix != ".pyc"]
    digest = hashlib.sha256(os.environ.get("BOOK_REPOSITORY_URL", "").encode())
    for path in (*notebooks, *figures, *settings, *trees):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
