"""What the book is made of: notebooks in their form, pages that agree with the profiles."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from selfprompt_lib import profiles
from selfprompt_lib.pipeline import CHAPTERS
from selfprompt_lib.pipeline.stage import PARAMETERS

PROJECT = Path(__file__).parents[1]
NOTEBOOKS = [chapter.notebook for chapter in CHAPTERS.values()]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, 4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_a_notebook_is_short_and_holds_no_outputs_and_no_functions(notebook):
    assert 20 <= len(notebook.cells) <= 30
    for cell in code_cells(notebook):
        assert not cell.outputs and cell.execution_count is None
        assert len(cell.source.splitlines()) <= 25
        assert not re.search(r"^\s*(def|class|async def) ", cell.source, flags=re.M)


def test_a_notebook_opens_with_what_it_needs_and_closes_with_what_was_found(notebook):
    first, found = notebook.cells[0].source, notebook.cells[-2].source
    assert (
        all(word in first for word in ("You will learn", "You need", "The one idea"))
        and found == "## What was found"
    )


def test_there_is_one_parameters_cell_with_typed_commented_literals(notebook):
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    for line in tagged[0].source.splitlines():
        node = ast.parse(line).body[0]
        assert isinstance(node, ast.AnnAssign) and "  # " in line
        ast.literal_eval(node.value)


def test_help_notebook_reads_well():
    told = subprocess.run(
        [sys.executable, "-m", "papermill", "--help-notebook", str(NOTEBOOKS[3])],
        capture_output=True,
        text=True,
    ).stdout
    for name in (*PARAMETERS, "question"):
        assert re.search(rf"{name}: (str|int|dict) \(default .*\)\s+\w", told), (name, told)


def test_the_page_of_deviations_agrees_with_the_profiles():
    """Every field named in the first column has, in the columns of the profiles, its value."""
    text, checked = (PROJECT / "book" / "deviations.md").read_text(), 0
    for row in text.split("\n* - ")[2:]:
        cells = [cell.strip() for cell in row.split("\n```")[0].split("\n  - ")]
        field = re.search(r"`([a-z_]+\.[a-z_]+|dtype|design|seed|model)`", cells[0])
        for cell, name in zip(cells[2:4], ("cpu", "mistral-7b"), strict=True) if field else ():
            said = yaml.safe_load(re.search(r"`([^`]+)`", cell)[1])
            value = profiles.flatten(profiles.load(name))[field[1]]
            assert (float(said) if isinstance(value, float) else said) == value, (name, field[1])
            checked += 1
    assert checked > 20


def test_no_private_place_or_secret_is_named():
    files = subprocess.run(
        ["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True
    ).stdout.split()
    words = re.compile("/wo" + "rk/|/ro" + r"ot/|sk-[A-Za-z0-9]{20}|hf_[A-Za-z0-9]{20}")
    kinds = (".py", ".md", ".yaml", ".yml", ".ipynb", ".toml", ".jinja", ".json", ".svg")
    assert [
        name
        for name in files
        if (PROJECT / name).suffix in kinds and words.search((PROJECT / name).read_text())
    ] == []


def test_the_report_of_the_shown_run_is_what_the_readme_tells():
    """The package writes the README's results; they name the profile and carry an interval."""
    results = re.search(
        r"<!-- results -->(.*)<!-- /results -->", (PROJECT / "README.md").read_text(), flags=re.S
    )[1]
    assert "profile `cpu`" in results and "95% interval" in results


def test_toc_names_every_chapter():
    toc = (PROJECT / "_toc.yml").read_text()
    assert all(f"nbs/{path.stem}" in toc for path in NOTEBOOKS)
    assert json.dumps(yaml.safe_load(toc)).count('"file"') == 23


def test_every_test_that_the_recipe_names_exists():
    named = set(re.findall(r"`(test_\w+)`", (PROJECT / "book" / "recipe.md").read_text()))
    source = "".join(path.read_text() for path in (PROJECT / "tests").glob("test_*.py"))
    there = set(re.findall(r"^def (test_\w+)", source, re.M))
    assert len(named) >= 12 and named <= there


def test_the_page_of_the_kept_study_is_whole_and_the_readme_says_the_same(tmp_path):
    from selfprompt_lib import book
    from selfprompt_lib.evaluate import committed_study

    page = book.found_page(tmp_path)
    assert not re.search(r"\bnan\b|\bNone\b(?! of)|<NA>|\{\{|\{%", page)
    for name in re.findall(r"```\{figure\} (\S+)", page):
        assert (tmp_path / name).stat().st_size > 10_000
    answer = committed_study.facts(book.FOUND)["answer"]
    assert answer in page and answer in (PROJECT / "README.md").read_text()
