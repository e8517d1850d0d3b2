"""What something is by content: copies are alike on every machine, a word in a comment is none of the code."""

import json
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
    first = digests.path_digest(path)
    forge(tmp_path / "any", "f" * 64)
    assert digests.path_digest(path) == "f" * 64, "taken from the cache"
    with path.open("r+b") as file:  # as large, of the same inode and time
        file.write(b"1")
    os.utime(path, (long_ago, long_ago))
    assert digests.path_digest(path) not in (first, "f" * 64)


def test_what_another_process_took_meanwhile_is_neither_taken_again_nor_lost(code):
    first, kept = digests.folder_digests(code), kept_digests(code)
    (code / "c.py").write_text("x = 3\n", encoding="utf-8")
    found = json.loads(kept.read_bytes())
    there = found | {"/proc": ["another", "f" * 64], str(code / "a.py"): [found[str(code / "a.py")][0], "e" * 64]}
    kept.write_text(json.dumps(there), encoding="ascii")
    digests._known.clear()
    digests._kept(kept).pop(str(code / "a.py"))  # another process was the first to read it
    assert digests.folder_digests(code) == first | {"a.py": "e" * 64, "c.py": digests.code_digest(code / "c.py")}
    assert {"/proc", str(code / "c.py")} <= json.loads(kept.read_bytes()).keys()


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A folder with two Python files whose digests are kept; `forget()` is the next process's start."""
    monkeypatch.setenv("SELFPROMPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "SETTLED", 0)
    folder = tmp_path / "code"
    folder.mkdir()
    for name in ("a.py", "b.py"):
        (folder / name).write_text(f"x = {name!r}\n", encoding="utf-8")
        os.utime(folder / name, (10**9, 10**9))
    digests.folder_digests(folder)
    return folder


def kept_digests(folder):
    (kept,) = (folder.parent / "cache" / "digests").iterdir()
    return kept


def forget():
    digests._known.clear()
    digests._kept.cache_clear()


def forge(folder, digest):
    """A digest that no file has: whoever tells it has read the cache."""
    kept = kept_digests(folder)
    found = json.loads(kept.read_bytes())
    kept.write_text(json.dumps({name: [mark, digest] for name, (mark, _) in found.items()}), encoding="ascii")
    forget()


def test_a_python_file_is_parsed_once_and_again_after_any_change(code):
    first = digests.folder_digests(code)
    forge(code, "f" * 64)
    assert set(digests.folder_digests(code).values()) == {"f" * 64}, "taken from the cache"
    (code / "a.py").write_text("x = 'c.py'\n", encoding="utf-8")  # as large, of the same inode
    os.utime(code / "a.py", (10**9, 10**9))
    forget()
    again = digests.folder_digests(code)
    assert again["a.py"] not in (first["a.py"], "f" * 64) and again["b.py"] == "f" * 64
    (code / "new.py").write_text("x = 'a.py'\n", encoding="utf-8")
    (code / "new.py").replace(code / "a.py")
    assert digests.folder_digests(code)["a.py"] == first["a.py"]


def test_a_python_file_just_written_is_read_each_time(code, monkeypatch):
    forge(code, "f" * 64)
    monkeypatch.setattr(digests, "SETTLED", 2 * 10**9)
    for value in "123":
        (code / "a.py").write_text(f"x = {value}\n", encoding="utf-8")
        assert digests.file_digest(code / "a.py") == digests.code_digest(code / "a.py")


@pytest.mark.parametrize("changed", ["_way_of_taking", "version"])
def test_digests_that_were_taken_in_another_way_are_forgotten(code, monkeypatch, changed):
    first = digests.folder_digests(code)
    forge(code, "f" * 64)
    if changed == "version":
        monkeypatch.setattr(digests.sys, "version", "4.0")
        digests._way_of_taking.cache_clear()
    else:
        monkeypatch.setattr(digests, "_way_of_taking", lambda: "0" * 64)
    assert digests.folder_digests(code) == first
    monkeypatch.undo()
    digests._way_of_taking.cache_clear()


def test_python_files_that_are_gone_are_forgotten(code):
    (code / "b.py").rename(code / "c.py")
    forget()
    digests.folder_digests(code)
    assert [os.path.basename(name) for name in json.loads(kept_digests(code).read_bytes())] == ["a.py", "c.py"]


@pytest.mark.parametrize("damage", ["", "[", "[1, 2]", '{"a.py": 1}', "null", "\xff"])
def test_a_damaged_list_of_digests_is_made_anew(code, damage):
    first = digests.folder_digests(code)
    kept_digests(code).write_text(damage, encoding="latin-1")
    forget()
    assert digests.folder_digests(code) == first
    assert len(json.loads(kept_digests(code).read_bytes())) == 2


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
