"""From solved exercises to the learner's notebook and to the teacher's.

The cells are tagged `exercise`, `hint`, `solution`, `check` and `explanation`; all others are in
every version. In a solution the markers are Otter's: `x = 1  # SOLUTION`, and lines from
`# BEGIN SOLUTION` to `# END SOLUTION`.
"""

import ast
import re
from copy import deepcopy

import nbformat
from nbformat import NotebookNode

BLOCK = re.compile(r"^( *)# BEGIN SOLUTION\n(.*?)^ *# END SOLUTION\n?", re.DOTALL | re.MULTILINE)
LINE = re.compile(r"^( *(?:[^=\n]+ = )?).*# SOLUTION *$", re.MULTILINE)
HINT = "<details>\n<summary>Hint</summary>\n\n{0}\n\n</details>"
LAST = nbformat.v4.new_markdown_cell(
    "The book has the solution of each exercise, folded, with what usually goes wrong. Look there "
    "when your checks are right, too: there is often another way.", id="solutions-are-in-the-book")


def tags(cell: NotebookNode) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


def learner_version(solved: NotebookNode) -> NotebookNode:
    """Stubs for solutions, folded hints, no explanations, no outputs.

    What is a learner's version already stays as it is.
    """
    notebook = _without_outputs(solved)
    whole, notebook.cells = notebook.cells, []
    for place, cell in enumerate(whole):
        if "explanation" in tags(cell) or cell.id == LAST.id:
            continue
        if "solution" in tags(cell):
            checks = (each.source for each in whole[place + 1 :] if "check" in tags(each))
            cell.source = stub(cell.source, next(checks, ""))
        if "hint" in tags(cell) and not cell.source.startswith("<details>"):
            cell.source = HINT.format(cell.source.strip())
        notebook.cells.append(cell)
    notebook.cells.append(deepcopy(LAST))
    return notebook


def teacher_version(solved: NotebookNode) -> NotebookNode:
    """All cells, without outputs, and without the markers of what learners do not see."""
    notebook = _without_outputs(solved)
    for cell in notebook.cells:
        if "solution" in tags(cell):
            cell.source = without_markers(cell.source)
    return notebook


def stub(solution: str, check: str) -> str:
    """A solution cell as learners get it; names that the check reads are set to three dots."""

    def dots(block: re.Match) -> str:
        body = ast.parse(re.sub(rf"^{block[1]}", "", block[2], flags=re.MULTILINE)).body
        made = [ast.unparse(target) for line in body if isinstance(line, ast.Assign)
                for target in line.targets]
        asked = [name for name in dict.fromkeys(made) if re.search(rf"\b{name}\b", check)]
        lines = ["# Write your code here.", *(f"{name} = ..." for name in asked)]
        return "".join(f"{block[1]}{line}\n" for line in lines)

    return LINE.sub(r"\1...", BLOCK.sub(dots, solution + "\n")).rstrip("\n")


def without_markers(solution: str) -> str:
    """A solution cell as teachers and readers of the book see it."""
    kept = BLOCK.sub(lambda block: block[2], solution + "\n")
    return re.sub(r" *# SOLUTION *$", "", kept, flags=re.MULTILINE).rstrip("\n")


def _without_outputs(notebook: NotebookNode) -> NotebookNode:
    copy = deepcopy(notebook)
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    return copy
