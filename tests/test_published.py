"""Notebooks as the book shows them: parameters with their values, links, no place of the machine."""

import sys

import nbformat
import pytest
import yaml
from nbformat import v4
from published import launch_row, publish

from selfprompt_lib.pipeline import CHAPTERS
from selfprompt_lib.provenance import PROJECT

REPOSITORY = {"url": "https://github.com/someone/fork", "branch": "main"}
WRITTEN = """profile: str = "cpu"  # a profile
seed: int = -1  # of data order
out: str = "runs"  # folder for artefacts
settings: dict = {}  # such as {"sft.epochs": 2}
question: str = "Why?"  # your own"""


@pytest.fixture
def shown(tmp_path):
    """`shown(parameters, *cells)`: a notebook that papermill has executed so, as the book has it."""

    def show(parameters, *cells, where="nbs"):
        root = tmp_path / "here" / "smoke"
        injected = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
        notebook = v4.new_notebook(cells=[
            v4.new_markdown_cell("# 1 Annotate\n\nWords."),
            v4.new_code_cell(WRITTEN, metadata={"tags": ["parameters"]}),
            v4.new_code_cell(injected, metadata={"tags": ["injected-parameters"]}), *cells])  # fmt: skip
        notebook.metadata["papermill"] = {"parameters": parameters, "output_path": str(root)}
        publish(notebook, f"{where}/01_annotate.ipynb", root, tmp_path / "source", REPOSITORY)
        page = tmp_path / "source" / where / "01_annotate.ipynb"
        assert str(tmp_path) not in page.read_text()
        return nbformat.read(page, 4)

    return show


def test_the_parameters_cell_has_the_values_of_the_run_and_no_folder_of_the_machine(shown, tmp_path):
    given = {"profile": "smoke", "seed": 3, "out": str(tmp_path / "here"),
             "settings": {"data.train": str(tmp_path / "mine.jsonl"), "sft.neutral": False,
                          "roles.files": [str(tmp_path / "a.jsonl")], "data.train_rows": None}}
    notebook = shown(given)
    assert [cell.cell_type for cell in notebook.cells] == ["markdown", "code"]
    assert notebook.cells[1].source.splitlines() == [
        'profile: str = "smoke"  # a profile', "seed: int = 3  # of data order",
        'out: str = "runs"  # folder for artefacts',
        "settings: dict = {'data.train': 'mine.jsonl', 'sft.neutral': False, 'roles.files': "
        "['a.jsonl'], 'data.train_rows': None}  # such as {\"sft.epochs\": 2}",
        'question: str = "Why?"  # your own']  # fmt: skip


def test_printed_places_are_named_from_the_run_and_warnings_left_out(shown, tmp_path):
    printed = v4.new_code_cell("print(path)", outputs=[
        v4.new_output("stream", name="stderr", text=f"{sys.prefix}/tqdm.py: a warning"),
        v4.new_output("stream", name="stdout", text=f"{tmp_path}/here/smoke/roles/review.csv\n")])
    outputs = shown({"profile": "smoke"}, printed).cells[2].outputs
    assert [output.text for output in outputs] == ["runs/smoke/roles/review.csv\n"]


def test_folded_cells_say_what_is_folded(shown):
    sources = {'stage = start_chapter("sft", globals())': "Show the set-up",
               'if "COLAB_RELEASE_TAG" in os.environ: ...': "Show the cell for Colab",
               "1 + 1": "Show the code"}
    cells = [v4.new_code_cell(source, metadata={"tags": ["hide-input"]}) for source in sources]
    notebook = shown({}, *cells, v4.new_code_cell("2 + 2"))
    found = [cell.metadata.get("mystnb", {}).get("code_prompt_show") for cell in notebook.cells[2:]]
    assert found == [*sources.values(), None]


def test_links_below_the_title_follow_the_repository_and_the_file_needs_no_network(shown):
    first = shown({}, where="nbs/exercises").cells[0].source.splitlines()
    assert first[0] == "# 1 Annotate" and first[-1] == "Words."
    row = launch_row("nbs/exercises/01_annotate.ipynb", REPOSITORY)
    assert row in first and row.count("someone/fork") == 4
    assert 'href="../../_sources/nbs/exercises/01_annotate.ipynb"' in row
    elsewhere = launch_row("nbs/01_annotate.ipynb", {"url": "https://example.org/x", "branch": "main"})
    assert elsewhere.count("href") == 1 and '"../_sources/nbs/01_annotate.ipynb"' in elsewhere


def test_the_finished_book_names_no_place_of_the_machine_that_built_it(road):
    html = road / "_build" / "html"
    files = [*html.rglob("*.html"), *(html / "_sources").rglob("*"), html / "searchindex.js"]
    places = {str(road), str(PROJECT), sys.prefix}
    found = {(path.name, place) for path in files if path.is_file()
             for place in places if place in path.read_text(encoding="utf-8")}
    assert len(files) > 40 and found == set()


def test_every_folded_cell_is_folded_in_the_finished_book_and_every_chapter_has_its_links(road):
    branch = yaml.safe_load((PROJECT / "_config.yml").read_text())["repository"]["branch"]
    for chapter in CHAPTERS.values():
        name = chapter.notebook.stem
        page = (road / "_build" / "html" / "nbs" / f"{name}.html").read_text()
        cells = nbformat.read(chapter.notebook, 4).cells
        folded = [c for c in cells if {"hide-input", "hide-cell"} & set(c.metadata.get("tags", []))]
        assert page.count('<details class="admonition hide ') == len(folded), name
        assert f"blob/{branch}/nbs/{name}.ipynb" in page.split('<p class="launch">')[1].split("</p>")[0]
        assert (road / "_build" / "html" / "_sources" / "nbs" / f"{name}.ipynb").is_file()
