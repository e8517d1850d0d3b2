"""What the book is made of: notebooks in their form, pages that agree with the profiles."""

import ast
import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import found
import front
import nbformat
import pytest
import rendering
import yaml
from markdown_it import MarkdownIt
from measurements import MEASURED

from selfprompt_lib import book, profiles
from selfprompt_lib.errors import UserError
from selfprompt_lib.evaluate.contrasts import CONTRASTS
from selfprompt_lib.pipeline import CHAPTERS
from selfprompt_lib.pipeline.stage import SHARED

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
    first, found = notebook.cells[0].source, [cell.source for cell in notebook.cells[-3:]]
    assert all(word in first for word in ("You will learn", "You need", "The one idea"))
    assert "## What was found" in found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_recap_has_three_to_five_things_to_tick(path):
    notebook = nbformat.read(path, 4)
    title, _, *items = notebook.cells[-1].source.split("\n\n", 2)
    assert title == "## Recap", "the last cell"
    items = items[0].splitlines()
    assert 3 <= len(items) <= 5 and all(item.startswith("- [ ] I can ") for item in items)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_imports_stand_in_one_folded_cell_behind_the_parameters(path):
    cells = nbformat.read(path, 4).cells
    folded = [i for i, cell in enumerate(cells) if "hide-input" in cell.metadata.get("tags", [])]
    assert len(folded) == 1 and "parameters" in cells[folded[0] - 1].metadata.tags
    later = [cell.source for cell in cells[folded[0] + 1 :] if cell.cell_type == "code"]
    assert not [source for source in later if re.search(r"^(from|import) ", source, flags=re.M)]


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
    for name in (*SHARED, "question"):
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
    assert "rofile `cpu`" in results and "95% interval" in results


def test_toc_names_every_chapter():
    toc = (PROJECT / "_toc.yml").read_text()
    assert all(f"nbs/{path.stem}" in toc for path in NOTEBOOKS)
    exercises = [path.stem for path in (PROJECT / "nbs" / "exercises").glob("*.ipynb")]
    assert all(f"nbs/exercises/{name}" in toc for name in exercises)
    named = set(re.findall(r"file: (\S+)", toc))
    made = {"index", *(f"book/{name}" for name in ("status", "teaching", "try", "settings", "found", "beyond"))}
    there = {path.relative_to(PROJECT).with_suffix("").as_posix()
             for path in [*(PROJECT / "book").rglob("*.md"), *(PROJECT / "nbs").rglob("*.ipynb")]}
    assert named <= there | made


def test_every_test_that_the_recipe_names_exists():
    named = set(re.findall(r"`(test_\w+)`", (PROJECT / "book" / "recipe.md").read_text()))
    source = "".join(path.read_text() for path in (PROJECT / "tests").glob("test_*.py"))
    there = set(re.findall(r"^def (test_\w+)", source, re.M))
    assert len(named) >= 12 and named <= there


def test_the_page_of_the_kept_study_is_whole_and_the_readme_says_the_same(tmp_path):
    page = found.found_page(tmp_path)
    assert not re.search(r"\bnan\b|\bNone\b(?! of)|<NA>|\{\{|\{%", page)
    for name in re.findall(r"```\{figure\} (\S+)", page):
        assert (tmp_path / name).stat().st_size > 10_000
    study = found.facts(MEASURED / "found")
    accuracy = front.measured({"likelihoods": {"contrasts": [], "fit": []}}, study)["accuracy"]
    assert study["answer"] in page and study["answer"].startswith(accuracy)
    assert accuracy in (PROJECT / "README.md").read_text()


@pytest.mark.parametrize(("script", "told"), [
    ("print('error: book: the build failed:\\na word', file=sys.stderr); sys.exit(2)", "book: the build failed:\na word"),
    ("raise KeyError('stages')", "book: readme.py failed:\nTraceback .*KeyError: 'stages'"),
])  # fmt: skip
def test_what_the_builder_could_not_do_is_told_in_its_own_words(tmp_path, monkeypatch, script, told):
    pages = tmp_path / "book" / "pages"
    pages.mkdir(parents=True)
    (pages / "readme.py").write_text(f"import sys\n{script}\n")
    monkeypatch.setattr(book, "PROJECT", tmp_path)
    with pytest.raises(UserError) as raised:
        book.write_readme(tmp_path)
    assert re.fullmatch(told, str(raised.value), re.DOTALL)


def reply(domain, number, tokens, answer="It is.", role=None):
    return {"id": f"{domain}-{number}", "domain": domain, "question": f"{domain} {number}?",
            "role": role, "answer": answer, "role_tokens": 0, "answer_tokens": tokens}


def run_with(root, own, plain):
    """A run's folder with these replies of the self-prompt model and the baseline."""
    (root / "infer").mkdir()
    for model, rows in (("self-prompt", own), ("baseline", plain)):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (root / "infer" / f"{model}.jsonl").write_text(lines, encoding="utf-8")
    return root


def test_examples_are_the_first_that_ended_of_domains_at_even_distances(tmp_path):
    domains = [letter for letter in "abcdef" for _ in range(3)]
    own = [reply(domain, i, 100 if i % 3 == 0 else 20) for i, domain in enumerate(domains)]
    plain = [reply(domain, i, 90 if i == 4 else 89) for i, domain in enumerate(domains)]
    examples = front.examples(run_with(tmp_path, own, plain), 100)
    assert [example["question"] for example in examples["shown"]] == ["b 5?", "d 10?", "f 16?"]
    assert (examples["ended"], examples["asked"]) == (11, 18)
    models = [[model for model, _ in example["replies"]] for example in examples["shown"]]
    assert models == [["self-prompt", "baseline"]] * 3


def test_where_no_reply_ended_examples_are_of_all_questions(tmp_path):
    rows = [reply("a", 1, 100), reply("a", 2, 100), reply("b", 3, 100)]
    examples = front.examples(run_with(tmp_path, rows, rows), 100)
    assert [example["question"] for example in examples["shown"]] == ["a 1?", "b 3?"]
    assert examples["ended"] == 0


HOSTILE = [
    "It costs $5 or $6, `code`, <b>bold</b> & *stars* | pipes_and_more_ &amp; \\* ~~gone~~",
    "1. First [link](x)\n\n```python\nprint('</div><script>alert(1)</script>')\n```\n# no heading",
    "- ![image](x.png)\n> quoted\n\n    indented\n{{ jinja }} {% raw %} ::: {image} x\n<!-- /results -->",
    "see http://example.org/a_b_c, <https://example.org> and @someone",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_models_text_is_shown_as_it_is(text):
    """HTML and Markdown both show the same characters, and no mark-up but line breaks."""
    lines = [line.strip() for line in text.splitlines()]
    cell = f"| head |\n| --- |\n| *{rendering.as_markdown(text)}* |\n"
    shown = MarkdownIt("gfm-like").render(cell)
    assert shown.count("<td>") == 1 and "<!--" not in cell  # the README's own marks are such
    emphasized = re.search(r"<td><em>(.*)</em></td>", shown)[1]
    for html in (emphasized, str(rendering.as_html(text))):
        assert "\n" not in html
        assert [unescape(line).strip() for line in html.split("<br>")] == lines
        assert set(re.findall(r"<[^>]*>", html)) <= {"<br>"}


def test_only_long_texts_are_cut_and_at_a_word():
    text = "word " * 200
    assert rendering.shortened(" " + text[:600]) == text[:599]
    assert rendering.shortened(text[:599] + "s and more") == text[:594] + " …"


def metrics_of(contrasts):
    """A smoke run's metrics of chapter 5, as far as the front page asks them."""
    difference = {"difference": 0.1, "low": -0.1, "high": 0.3, "n": 40, "seeds": 1, "p": 0.2,
                  "smallest": 0.3}
    return {"likelihoods": {"contrasts": contrasts, "gate": [], "fit": []},
            "difference": difference, "tasks": ["mmlu", "gsm8k"]}


def contrast(label, form="text", **more):
    return {"contrast": label, "primary": True, "within_model": False, "task": "all", "form": form,
            "measure": "nats" if form == "text" else "log_odds", "interpreted": True,
            "difference": 0.05, "low": 0.02, "high": 0.08, "n": 40, "seeds": 1, "above": 0.75,
            "p": 0.001, "smallest": 0.03, "p_holm": 0.002} | more


def test_the_front_page_tells_three_contrasts_of_open_questions():
    labels = [each.label for each in CONTRASTS]
    rows = [contrast(label, form) for form in ("text", "cloze") for label in labels]
    metrics = metrics_of(rows)
    told = front.measured(metrics, None)
    assert told["likelihoods"].count("\n- *") == 3 and "Choices" not in told["likelihoods"]
    assert "+0.050 nats a token, 95% interval +0.020 to +0.080" in told["likelihoods"]
    assert "**+10 points**" in told["accuracy"] and "Over 40 items in 2 tasks" in told["accuracy"]
    assert front.figure(metrics) == "contrasts.png"


def test_a_run_without_references_tells_of_choices_and_shows_the_other_figure():
    metrics = metrics_of([contrast(CONTRASTS[0].label, "cloze")])
    told = front.measured(metrics, None)
    assert "Choices, cloze form" in told["likelihoods"] and "+0.050 nats" in told["likelihoods"]
    assert "cannot be measured" in told["fit"]
    assert front.figure(metrics) == "differences.png"
    nothing = front.measured(metrics_of([]), None)
    assert nothing["likelihoods"].startswith("No two models")
    alike = dict.fromkeys(("low", "high", "p", "smallest", "p_holm"))
    same = front.measured(metrics_of([contrast(CONTRASTS[0].label, **alike)]), None)
    assert "both are the same" in same["likelihoods"]
