"""What something is by content: copies are alike on every machine, a word in a comment is none of the code."""

import os
import shutil
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfprompt_lib import digests
from selfprompt_lib.pipeline import inputs

CODE = 'def f(x):\n    """Add."""\n    return x + 1  # one more\n'


def of_code(folder, text):
    (folder / "m.py").write_text(text, encoding="utf-8")
    return digests.file_digest(folder / "m.py")


@pytest.mark.parametrize("same", [
    "def f(x):\n    return x + 1\n",
    "# A comment.\ndef f(\n    x,\n):\n    'Other words.'\n\n    return (x + 1)\n",
    '"""A module."""\n' + CODE,
])  # fmt: skip
def test_comments_docstrings_and_layout_are_none_of_the_code(tmp_path, same):
    assert of_code(tmp_path, CODE) == of_code(tmp_path, same)


@pytest.mark.parametrize("other", [
    CODE.replace("1  #", "2  #"), CODE.replace("x + 1", "x - 1"), CODE.replace("return", "yield"), CODE + "y = ''\n",
    CODE.replace("def", "async def"), CODE.replace("x + 1", "None"), CODE.replace("x + 1", "'x  1'"), "def f(x:\n",
])  # fmt: skip
def test_what_code_does_is_seen(tmp_path, other):
    assert of_code(tmp_path, CODE) != of_code(tmp_path, other) != of_code(tmp_path, "def f(x): return 'x 1'")


@given(st.text(alphabet="\"'\\\n#{}äx ", max_size=20), st.text(alphabet="\"'\\\n#{}äx ", max_size=20))
def test_any_two_texts_in_code_are_told_apart(tmp_path_factory, one, other):
    folder = tmp_path_factory.getbasetemp()
    assert (of_code(folder, f"a = {one!r}") == of_code(folder, f"a = {other!r}")) == (one == other)


def test_a_copy_has_the_same_digest_and_a_page_beside_it_no_share(tmp_path):
    here, there = tmp_path / "here", tmp_path / "elsewhere" / "model"
    (here / "part").mkdir(parents=True)
    (here / "part" / "weights").write_bytes(b"0" * 3 * digests.LARGE)
    (here / "config.json").write_text("{}")
    shutil.copytree(here, there, copy_function=shutil.copyfile)
    (there / "README.md").write_text("A word.")
    (there / ".DS_Store").write_text("of a file manager")
    (there / "__pycache__").mkdir()
    (there / "__pycache__" / "m.pyc").write_bytes(b"1")
    assert digests.path_digest(here) == digests.path_digest(there)
    (there / "part" / "weights").write_bytes(b"1" * 3 * digests.LARGE)
    assert digests.path_digest(here) != digests.path_digest(there)


def test_a_guideline_counts_though_it_is_markdown(tmp_path):
    (tmp_path / "guideline.md").write_text("Be brief.")
    before = digests.path_digest(tmp_path)
    (tmp_path / "guideline.md").write_text("Be long.")
    assert digests.path_digest(tmp_path) != before


def test_a_large_file_is_read_once_and_again_after_any_change(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFPROMPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "SETTLED", 0)
    path = tmp_path / "weights"
    path.write_bytes(b"0" * 2 * digests.LARGE)
    long_ago = time.time() - 10**6
    os.utime(path, (long_ago, long_ago))
    first = digests.file_digest(path)
    (kept,) = (tmp_path / "cache" / "digests").iterdir()
    kept.write_text("f" * 64)
    digests._known.clear()
    assert digests.file_digest(path) == "f" * 64, "taken from the cache"
    with path.open("r+b") as file:  # as large, of the same inode and time
        file.write(b"1")
    os.utime(path, (long_ago, long_ago))
    assert digests.file_digest(path) not in (first, "f" * 64)


def test_a_file_just_written_is_not_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFPROMPT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "weights").write_bytes(b"0" * 2 * digests.LARGE)
    digests.file_digest(tmp_path / "weights")
    assert not (tmp_path / "cache").exists(), "its time may not tell a change in the same moment"


def test_digests_need_no_cache(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SELFPROMPT_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(digests, "SETTLED", 0)
    (tmp_path / "weights").write_bytes(b"0" * 2 * digests.LARGE)
    assert digests.file_digest(tmp_path / "weights") == digests.file_digest(tmp_path / "weights")


def test_the_closure_of_a_module_is_what_it_imports():
    found = digests.closure(["selfprompt_lib.evaluate.measure"], without=["selfprompt_lib.profiles"])
    assert {"selfprompt_lib.generate", "selfprompt_lib.kv_cache", "selfprompt_lib.tasks.extraction"} <= set(found)
    assert not {"selfprompt_lib.plots.base", "selfprompt_lib.profiles", "selfprompt_lib.evaluate.report"} & set(found)


def test_a_model_folder_is_what_it_is_loaded_from(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    first = inputs.artefact_digest(tmp_path, "m")
    (tmp_path / "m" / "run.json").write_text('{"seconds": 2}')
    assert inputs.artefact_digest(tmp_path, "m") == first
    (tmp_path / "m" / "model.safetensors").write_bytes(b"1")
    assert inputs.artefact_digest(tmp_path, "m") != first
