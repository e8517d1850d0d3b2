"""Exercises as pages of the book: hints and solutions folded, by sphinx-exercise."""

import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from published import publish

from selfprompt_lib.workshop.exercises import shown_exercises
from selfprompt_lib.workshop.versions import tags, without_markers

HEAD = re.compile(r"## Exercise ([\da]+\.\d+) \((\w+)\): (.*)\n")
EXERCISE = """\
## Exercise {number}: {title}

``````{{exercise}} {kind}
:label: exercise-{label}
:nonumber:

{text}
``````"""
HINT = "``````{{dropdown}} Hint\n{0}\n``````"
START = "```{{solution-start}} exercise-{0}\n:label: solution-{0}\n:class: dropdown\n```"
END = "```{{solution-end}}\n```"
HOW = """\
```{{tip}}
To do these exercises, write the learners' notebooks with `make workshop` (or `selfprompt workshop`)
and open `workshop/learner/exercises/{0}`. This page shows them solved, with hints and solutions
folded; its outputs are of the run that the book was made from.
```"""
FOLDED = {"solution", "check", "explanation"}


def write_pages(root: Path, source: Path, repository: dict[str, str]) -> None:
    """Write the pages of a run's exercises."""
    for path in shown_exercises(root):
        notebook = book_version(nbformat.read(path, 4))
        how = nbformat.v4.new_markdown_cell(HOW.format(path.name), id="how")
        notebook.cells.insert(1, how)
        publish(notebook, f"nbs/exercises/{path.name}", root, source, repository)


def book_version(executed: NotebookNode) -> NotebookNode:
    """With sphinx-exercise's directives, and without the cells of parameters."""
    notebook, label, is_open = nbformat.from_dict(executed), "", False
    whole, notebook.cells = notebook.cells, []
    for cell in whole:
        kinds = set(tags(cell))
        if is_open and not kinds & FOLDED:
            notebook.cells.append(_gate(END, label))
            is_open = False
        if kinds & {"parameters", "injected-parameters"}:
            continue
        if "exercise" in kinds:
            number, kind, title = HEAD.match(cell.source).groups()
            label = number.replace(".", "-")
            cell.source = EXERCISE.format(number=number, title=title, kind=kind, label=label,
                                          text=cell.source.partition("\n")[2].strip())
        if "hint" in kinds:
            cell.source = HINT.format(cell.source)
        if "solution" in kinds:
            cell.source = without_markers(cell.source)
        if kinds & FOLDED and not is_open:
            notebook.cells.append(_gate(START, label))
            is_open = True
        notebook.cells.append(cell)
    if is_open:
        notebook.cells.append(_gate(END, label))
    return notebook


def _gate(directive: str, label: str) -> NotebookNode:
    name = "start" if directive == START else "end"
    return nbformat.v4.new_markdown_cell(directive.format(label), id=f"{name}-{label}")
