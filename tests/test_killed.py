"""A kernel that is killed, and a run that is stopped: one line, a kept copy, and no process left behind."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
import pytest

from selfprompt_lib.pipeline.chapters import Chapter
from selfprompt_lib.pipeline.notebooks import execute_chapter

START = """import os, subprocess
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
open("pids", "w").write(f"{os.getpid()} {child.pid}")"""


@dataclass(frozen=True)
class Tiny(Chapter):
    """A chapter whose notebook lies in the folder that the test runs in."""

    @property
    def notebook(self):
        return Path("tiny.ipynb").absolute()


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """`chapter("1 / 0")`: a chapter with such a cell behind one that starts a process of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nbs").mkdir()

    def write(source):
        cells = [nbformat.v4.new_code_cell(text) for text in (START, source)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), "tiny.ipynb")
        return Tiny("3", "sft", "Fine-tune")

    return write


def left(folder):
    """Which of the notebook's processes still run."""
    pids = map(int, (folder / "pids").read_text().split())
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize(("source", "parts"), [
    ("os.kill(os.getpid(), 9)", ("chapter 3 (sft): its process was killed, most likely by the system because memory ran out",
                                 "GB are free now", "set a smaller model, sft.micro_batch_size")),
    ("os.kill(os.getpid(), 11)", ("chapter 3 (sft): its process ended by itself (SIGSEGV)",)),
    ("os._exit(3)", ("its process ended by itself (exit status 3)",)),
    ("raise MemoryError('no room')", ("cell 1: MemoryError: no room; close other programs",)),
    ("1 / 0", ("cell 1: ZeroDivisionError: division by zero",)),
])  # fmt: skip
def test_a_chapter_that_dies_says_why_in_one_line_and_leaves_nothing_running(chapter, tmp_path, source, parts):
    with pytest.raises(ValueError) as caught:
        execute_chapter(chapter(source), {}, tmp_path)
    first, kept = str(caught.value).splitlines()
    assert first.startswith("tiny.ipynb") and [part for part in parts if part not in first] == []
    (copy,) = (tmp_path / "nbs").iterdir()
    assert copy.name == "tiny.failed.ipynb" and str(copy) in kept
    assert 1 in [cell.get("execution_count") for cell in nbformat.read(copy, 4).cells]
    assert left(tmp_path) == []


def test_a_chapter_that_is_done_leaves_nothing_running(chapter, tmp_path):
    execute_chapter(chapter("print(1)"), {}, tmp_path)
    assert [path.name for path in (tmp_path / "nbs").iterdir()] == ["tiny.ipynb"]
    assert left(tmp_path) == []


STOPPED = """
import signal
from pathlib import Path
from selfprompt_lib.cli import heed_signals, run_command
from selfprompt_lib.pipeline.notebooks import execute_chapter
from test_killed import Tiny
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored in the background
heed_signals()
raise SystemExit(run_command(execute_chapter, Tiny("3", "sft", "Fine-tune"), {}, Path.cwd()))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_takes_its_processes_with_it(chapter, tmp_path, number):
    chapter("import time; time.sleep(600)")
    paths = os.pathsep.join(map(str, (Path(__file__).parents[1], Path(__file__).parent)))
    process = subprocess.Popen([sys.executable, "-c", STOPPED], stderr=subprocess.PIPE, text=True,
                               env=os.environ | {"PYTHONPATH": paths})
    end = time.monotonic() + 60
    while not (tmp_path / "pids").is_file() and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said.endswith("stopped; what is finished is kept, run again to go on\n")
    assert left(tmp_path) == []
