"""A chapter's own cells run on made-up measurements: every table is shown, every figure is drawn.

What costs time (models, training, asking) is put in the place of by the caller.
"""

import ast
import json

import matplotlib.pyplot as plt
import nbformat

from selfprompt_lib import pipeline
from selfprompt_lib.pipeline import CHAPTERS, Stage, inputs


def rehearse(name, profile, root, monkeypatch):
    """Run the code cells of a chapter; returns what they showed as text, and what they left in its namespace."""
    shown, space = [], {"__name__": "__main__", "display": lambda *parts: shown.extend(map(_render, parts))}
    stage = Stage(CHAPTERS[name], profile, root, inputs.current_inputs(CHAPTERS[name], profile, root, {}))
    stage.folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(pipeline, "start_chapter", lambda *_: stage)
    for number, cell in enumerate(nbformat.read(CHAPTERS[name].notebook, 4).cells):
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            tree = ast.parse(cell.source)
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, f"{name}, cell {number}", "exec"), space)
            if last:
                value = eval(compile(ast.Expression(last.value), f"{name}, cell {number}, last line", "eval"), space)
                shown.append(_render(value))
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")
    json.dumps(json.loads(stage.path("stage.json").read_text()), allow_nan=True)
    return "\n".join(filter(None, shown)), space


def _render(value):
    if hasattr(value, "_repr_markdown_"):
        return value._repr_markdown_() or value.data
    return value._repr_html_() if hasattr(value, "_repr_html_") else ""
