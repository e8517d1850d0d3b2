"""The cell that installs the project in Colab, run by a real IPython with Colab's variable and without."""

import os
import subprocess
import sys
import zipfile

import nbformat
import pytest
import yaml

from selfprompt_lib.provenance import PROJECT

NOTEBOOKS = sorted((PROJECT / "nbs").rglob("*_*.ipynb"))
TINY = {
    "tiny.py": "",
    "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
    "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "tiny-1.0.dist-info/RECORD": "",
}


def cell():
    """The cell of the first notebook."""
    return next(c for c in nbformat.read(NOTEBOOKS[0], 4).cells if "COLAB_RELEASE_TAG" in c.source)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.relative_to(PROJECT / "nbs")))
def test_every_notebook_has_it_folded_before_its_parameters(path):
    cells = nbformat.read(path, 4).cells
    tags = [cell.metadata.get("tags", []) for cell in cells]
    first = next(number for number, c in enumerate(cells) if c.cell_type == "code")
    assert cells[first].source == cell().source and tags[first] == ["hide-cell"]
    assert "parameters" in tags[first + 1]


def test_it_installs_from_the_books_repository():
    repository = yaml.safe_load((PROJECT / "_config.yml").read_text())["repository"]["url"]
    assert f'"git+{repository}"' in cell().source


@pytest.mark.parametrize("in_colab", [True, False])
def test_it_installs_in_colab_and_does_nothing_elsewhere(tmp_path, in_colab):
    wheel, target = tmp_path / "tiny-1.0-py3-none-any.whl", tmp_path / "installed"
    with zipfile.ZipFile(wheel, "w") as file:
        for name, text in TINY.items():
            file.writestr(name, text)
    # Then what start_chapter looks at: names without an underscore that hold plain values.
    source = cell().source + "\nprint([n for n, v in list(globals().items()) if n[0] != '_' and isinstance(v, str)])"
    (tmp_path / "cell.ipy").write_text(source)
    environment = {name: value for name, value in os.environ.items() if name != "COLAB_RELEASE_TAG"}
    environment["SELFPROMPT_SOURCE"] = f"--no-index --no-deps --target {target} {wheel}"
    if in_colab:
        environment["COLAB_RELEASE_TAG"] = "release-colab-test"
    done = subprocess.run([sys.executable, "-m", "IPython", "cell.ipy"], cwd=tmp_path, capture_output=True,
                          text=True, env=environment | {"IPYTHONDIR": str(tmp_path / "ipython")})
    assert done.returncode == 0, done.stdout + done.stderr
    assert (target / "tiny.py").is_file() == in_colab
    assert "\n[]" in "\n" + done.stdout, done.stdout
