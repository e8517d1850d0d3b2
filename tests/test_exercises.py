"""Exercises: every solution is right, every stub is told so kindly, and learners lose nothing."""

import contextlib
import io
import re
import statistics

import exercise_pages
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from selfprompt_lib.errors import UserError
from selfprompt_lib.pipeline import CHAPTERS, notebooks
from selfprompt_lib.workshop import exercises, learners, versions

NOTEBOOKS = {each.label: exercises.exercise_notebook(each) for each in exercises.chapters_with_exercises()}
KINDS = ("exercise", "hint", "solution", "check", "explanation")

WRONG = {  # what is often answered, and what the check says to it
    ("1", "solution-1-1"): ('readable = ["A", "C"]', "Look at D again: it is read, with a beekeeper"),
    ("1", "solution-1-2"): ("changed = prompt\nasked_again = []", "guideline is still the same"),
    ("1", "solution-1-3"): ("mine = 'Expert: a historian of Rome\\nBrings: sources'", "No role can be read: request"),
    ("1", "solution-1-4"): ('best = "a"', "are Anna's any good"),
    ("2", "solution-2-1"): ("chance = 0.5", "Which simple rule is that"),
    ("2", "solution-2-2"): ("ranks = roles.question_ranks(questions, texts) + 1", "One too many"),
    ("2", "solution-2-3"): ("better = rows.Role(expert='a', brings='b', request=asked.question)", "copied the question"),
    ("2", "solution-2-4"): ('best = "a"', "Try other seeds"),
    ("3", "solution-3-1"): ("counted = 7", "the two ends of turn"),
    ("3", "solution-3-2"): ("counts, share = dict.fromkeys(DESIGNS, plain), 0", "Is the role of from-now-on in the turn"),
    ("3", "solution-3-3"): ("labels = [(row['input_ids'] + [2] * 9)[:longest] for row in encoded]", "Place 0: -100, not"),
    ("3", "solution-3-4"): ('best = "c"', "Which token is not"),
}  # fmt: skip


def read(path):
    return nbformat.read(path, 4)


def kind(cell):
    return next((tag for tag in versions.tags(cell) if tag in KINDS), None)


@pytest.fixture(params=NOTEBOOKS.values(), ids=NOTEBOOKS)
def solved(request):
    return read(request.param)


def test_exercises_have_their_parts_in_order(solved):
    kinds = [kind(cell) for cell in solved.cells if kind(cell)]
    numbers = [exercise_pages.HEAD.match(cell.source).groups() for cell in solved.cells if kind(cell) == "exercise"]
    assert 3 <= len(numbers) <= 4 and {each[1] for each in numbers} <= {"predict", "change", "write", "explain"}
    assert [each[0].split(".")[1] for each in numbers] == [str(place) for place in range(1, len(numbers) + 1)]
    order = "".join({"exercise": "x", "hint": "h", "solution": "s", "check": "c", "explanation": "e"}[each] for each in kinds)
    assert re.fullmatch("(xhsc+e)+", order), order
    assert all("usually goes wrong" in cell.source for cell in solved.cells if kind(cell) == "explanation")


def test_cells_are_short_and_hold_no_outputs_and_no_functions(solved):
    cells = [cell for cell in solved.cells if cell.cell_type == "code"]
    lines = [cell.source.splitlines() for cell in cells if not {"hide-input", "hide-cell"} & set(versions.tags(cell))]
    assert max(map(len, lines)) <= 15 and statistics.median(map(len, lines)) <= 8
    assert [line for each in lines for line in each if len(line) > 76] == []
    for cell in cells:
        assert not cell.outputs and cell.execution_count is None
        assert not re.search(r"^\s*(def|class|async def) ", cell.source, flags=re.M)


@pytest.mark.parametrize("label", NOTEBOOKS)
def test_the_run_has_solved_them(road, label):
    """Each by its own kernel, as the book shows it."""
    chapter = next(each for each in CHAPTERS.values() if each.label == label)
    done = read(exercises.executed_exercises(chapter, road / "smoke"))
    checks = [cell.outputs for cell in done.cells if kind(cell) == "check"]
    said = ["".join(each.text for each in outputs if each.get("name") == "stdout") for outputs in checks]
    assert said and all(text.startswith("Right") for text in said), said


@pytest.mark.parametrize("label", NOTEBOOKS)
def test_every_stub_is_told_kindly_what_to_do(road, label, monkeypatch):
    """As a learner goes: the check too early, the stub and its check, then the solution and its checks.

    Each exercise begins after the set-up, as for somebody who leaves out those before it.
    """
    monkeypatch.chdir(road)
    start, waiting = {"__name__": "__main__", "display": print}, False
    space = start
    place = solution = stub = None
    learner = {cell.id: cell.source for cell in versions.learner_version(read(NOTEBOOKS[label])).cells}
    for cell in read(NOTEBOOKS[label]).cells:
        if "parameters" in versions.tags(cell):
            start |= {"profile": "smoke", "seed": -1, "out": str(road), "settings": {}}
        elif kind(cell) == "exercise":
            space = dict(start)
        elif kind(cell) == "solution":
            place, solution, stub, waiting = cell.id, cell.source, learner[cell.id], True
        elif kind(cell) == "check" and waiting:
            asked = re.search(r'assert "(\w+)" in globals\(\)', cell.source)[1]
            space.pop(asked, None)
            assert told(cell.source, space).startswith("Run the cell above first"), label
            told(stub, space, fails=False)
            assert re.search("where the dots are", told(cell.source, space)), label
            if (label, place) in WRONG:
                wrong, says = WRONG[label, place]
                told(wrong, space, fails=False)
                assert says in told(cell.source, space)
            told(solution, space, fails=False)
            told(cell.source, space, fails=False)
            waiting = False
        elif cell.cell_type == "code":
            told(cell.source, space, fails=False)


def told(source, space, fails=True):
    """What a cell says when it fails."""
    with contextlib.redirect_stdout(io.StringIO()):
        if not fails:
            return exec(source, space)
        with pytest.raises(AssertionError) as caught:
            exec(source, space)
    message = str(caught.value)
    assert message[0].isupper() and message[-1] in ".?!" and "\n" not in message
    return message


def test_learners_get_no_solution_and_all_else(solved):
    learner = versions.learner_version(solved)
    texts = "\n".join(cell.source for cell in learner.cells)
    assert "SOLUTION" not in texts and "goes wrong" not in texts.replace(versions.LAST.source, "")
    for cell in solved.cells:
        if kind(cell) == "solution":
            hidden = versions.BLOCK.search(cell.source)
            lines = hidden[2].splitlines() if hidden else []
            lines += re.findall(r" = (.*?)  # SOLUTION$", cell.source, re.MULTILINE)
            given = next(each for each in learner.cells if each.id == cell.id).source.splitlines()
            assert lines and not {line.strip() for line in lines} & {line.strip() for line in given}
            assert any("..." in line for line in given)
    kept = {cell.id: cell.source for cell in solved.cells if kind(cell) in (None, "exercise", "check")}
    assert kept.items() <= {cell.id: cell.source for cell in learner.cells}.items()
    assert versions.learner_version(learner) == learner, "made again, it stays"
    teacher = "\n".join(cell.source for cell in versions.teacher_version(solved).cells)
    assert "SOLUTION" not in teacher and "goes wrong" in teacher


@pytest.mark.parametrize(("solution", "stub"), [
    ("x = 0.9  # SOLUTION", "x = ..."),
    ("x: dict = {'a': 1}  # SOLUTION\nprint(1)", "x: dict = ...\nprint(1)"),
    ("    shown(x)  # SOLUTION", "    ..."),
    ("a = 1\n# BEGIN SOLUTION\nfor b in c:\n    x = 1\ny = 2\nhelp = 3\n# END SOLUTION\nz = 1",
     "a = 1\n# Write your code here.\ny = ...\nz = 1"),
])  # fmt: skip
def test_markers_are_otters(solution, stub):
    assert versions.stub(solution, "assert x and y and b") == stub
    assert versions.stub(stub, "assert x and y and b") == stub


@pytest.fixture
def workshop(tmp_path):
    def make():
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            learners.command(type("Given", (), {"out": tmp_path})())
        return said.getvalue()

    return make


def test_a_learners_own_work_is_never_overwritten(workshop, tmp_path):
    assert "kept" not in workshop()
    assert len(list((tmp_path / "learner").glob("*.ipynb"))) == len(CHAPTERS)
    assert len(list((tmp_path / "teacher" / "exercises").glob("*.ipynb"))) == len(NOTEBOOKS)
    names = "exercises/01_annotate.ipynb", "01_annotate.ipynb", "02_roles.ipynb"
    mine, run_only, half = (tmp_path / "learner" / name for name in names)
    notebook = read(mine)
    notebook.cells[5].source += "\n# my own note"
    nbformat.write(notebook, mine)
    notebook = read(run_only)
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="mine")]
    nbformat.write(notebook, run_only)
    half.write_text(half.read_text()[:400])
    before = [path.read_bytes() for path in (mine, run_only, half)]
    said = workshop()
    assert [path.read_bytes() for path in (mine, run_only, half)] == before
    assert said.count("and kept; the new one is") == 2 and "02_roles.new.ipynb" in said
    beside = read(mine.with_suffix(".new.ipynb"))
    assert "my own note" not in str(beside) and "..." in str(beside)


def test_a_solution_that_takes_for_ever_is_ended_and_named(tmp_path, refused):
    cells = [nbformat.v4.new_markdown_cell("## Exercise 1.1 (predict): Wait"), new_code_cell("while True:\n    pass")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "slow.ipynb")
    with pytest.raises(UserError) as caught:
        notebooks.execute(tmp_path / "slow.ipynb", tmp_path / "done.ipynb", {}, "exercises", cell_limit=1)
    message = str(caught.value)
    assert "slow.ipynb, cell 1 (Exercise 1.1 (predict): Wait): took longer than 1 s" in message
    assert (tmp_path / "done.failed.ipynb").is_file()


def test_exercises_without_their_chapter_say_what_to_do(tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    given = exercises.start_exercises("roles", {"profile": "smoke", "out": "runs"})
    with refused("run chapter 1 (annotate) first", "selfprompt start --chapter 2"):
        given.source("annotate", "roles.jsonl")
    with refused("exercises/02_roles.ipynb", "unknown parameter 'profil'"):
        exercises.start_exercises("roles", {"profile": "smoke", "profil": "cpu"})


@pytest.mark.parametrize("folder", ["nbs", "nbs/exercises", "workshop/learner", "workshop/teacher/exercises"])
def test_a_run_is_found_from_each_folder_of_notebooks(tmp_path, monkeypatch, folder):
    (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / folder)
    assert exercises.start_exercises("sft", {"profile": "smoke"}).root == tmp_path / "runs" / "smoke"


def test_solved_exercises_are_skipped_until_something_changes(road, monkeypatch):
    ran = []
    monkeypatch.setattr(notebooks, "execute", lambda notebook, *_, **__: ran.append(notebook.name))
    from selfprompt_lib import profiles

    given = {"profile": "smoke", "seed": 0, "out": str(road), "settings": {}}
    exercises.solve_all(profiles.load("smoke"), given, road / "smoke")
    assert ran == []


def test_pages_fold_hint_and_solution_and_show_no_place(solved):
    page = exercise_pages.book_version(solved)
    texts = [cell.source for cell in page.cells]
    starts = [text for text in texts if text.startswith("```{solution-start}")]
    assert len(starts) == sum(text.startswith("```{solution-end}") for text in texts) >= 3
    assert all(":class: dropdown" in text for text in starts) and "SOLUTION" not in "".join(texts)
    assert sum("{exercise}" in text for text in texts) == len(starts) == sum("{dropdown} Hint" in text for text in texts)
    assert not any("profile: str" in text for text in texts)
