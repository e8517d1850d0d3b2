"""An executed notebook as the book shows it: its parameters, where to open it, no private place."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
from nbformat import NotebookNode

PARAMETER = re.compile(r"^(\w+)(: \w+ = )(?:.*?)(  # .*)?$", flags=re.MULTILINE)
FOLDED = {"COLAB_RELEASE_TAG": "the cell for Colab", "start_": "the set-up"}  # by a word of it


def publish(notebook: NotebookNode, path: str, root: Path, source: Path,
            repository: dict[str, str]) -> None:
    """Write an executed notebook of the run in `root` to `path` in `source`, where it is built.

    Papermill adds a cell with the values that it was given, `out` as this machine has it. Here they
    stand in the parameters cell, and `out` stays as it was written. What programs say of themselves
    (stderr) and the run's own folder are left out, since the page offers this file for download.

    Args:
        path: where it lies in the project, such as `nbs/03_sft.ipynb`.
        repository: `url` and `branch`, for the links below the title.
    """
    given = notebook.metadata.pop("papermill", {}).get("parameters", {})
    notebook.cells = [cell for cell in notebook.cells if "injected-parameters" not in _tags(cell)]
    title, _, rest = notebook.cells[0].source.partition("\n")
    notebook.cells[0].source = f"{title}\n\n{launch_row(path, repository)}\n{rest}"
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        if "parameters" in _tags(cell):
            cell.source = PARAMETER.sub(lambda line: _with_value(line, given), cell.source)
        if {"hide-input", "hide-cell"} & _tags(cell):
            what = next((name for word, name in FOLDED.items() if word in cell.source), "the code")
            cell.metadata["mystnb"] = {"code_prompt_show": f"Show {what}",
                                       "code_prompt_hide": f"Hide {what}"}
    text = nbformat.writes(notebook).replace(json.dumps(str(root.parent))[1:-1], "runs")
    (source / path).parent.mkdir(parents=True, exist_ok=True)
    (source / path).write_text(text + "\n", encoding="utf-8")


def launch_row(path: str, repository: dict[str, str]) -> str:
    """One line of HTML: where a notebook can be opened, and its file, which needs no network."""
    owner = repository["url"].partition("//github.com/")[2].strip("/")
    branch, links = repository["branch"], {}
    if owner:  # the others take notebooks from there alone
        links = {
            "Colab": f"https://colab.research.google.com/github/{owner}/blob/{branch}/{path}",
            "Binder": f"https://mybinder.org/v2/gh/{owner}/{branch}?urlpath="
                      + quote(f"lab/tree/{path}", safe=""),
            "Codespaces": f"https://codespaces.new/{owner}/tree/{branch}",
            "GitHub": f"https://github.com/{owner}/blob/{branch}/{path}",
        }
    links["Download"] = "../" * path.count("/") + f"_sources/{path}"
    row = " ".join(f'<a href="{link}">{name}</a>' for name, link in links.items())
    return f'<p class="launch">Open this notebook: {row}</p>'


def _tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def _with_value(line: re.Match, given: dict[str, Any]) -> str:
    name, kind, comment = line[1], line[2], line[3] or ""
    if name == "out" or name not in given:
        return line[0]
    value = _without_folders(given[name])
    shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
    return f"{name}{kind}{shown}{comment}"


def _without_folders(value: Any) -> Any:
    """A parameter's value; of whole paths in it, only the last part."""
    if isinstance(value, dict):
        return {key: _without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner) for inner in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
