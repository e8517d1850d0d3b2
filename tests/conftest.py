"""What test files share: refusals, JSONL files, a loopback server, a finished smoke run."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock
import pytest
from hypothesis import settings

from selfprompt_lib.errors import UserError

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # tests fork; `run` sets it for kernels

# Two shared cores make deadlines flaky; derandomized, the same examples run everywhere.
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")


def pytest_collection_modifyitems(items):
    """One process makes the finished run, whose tests begin first; the other would wait, so files that read it come last."""
    readers = {item.path for item in items if "road" in item.fixturenames}
    items.sort(key=lambda item: (item.path.stem != "test_road", item.path in readers))  # stable


@pytest.fixture(scope="session")
def refused():
    """`with refused("sft.epochs", "number"):` expects one clear message with all these parts."""

    @contextmanager
    def expect(*parts):
        with pytest.raises(UserError) as caught:
            yield
        message = str(caught.value)
        assert "\n" not in message
        assert [part for part in parts if part not in message] == [], message

    return expect


@pytest.fixture
def jsonl(tmp_path):
    """`jsonl("a.jsonl", {…}, "not json")`: a file with these lines; returns its path."""

    def write(name, *lines):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines),
            encoding="utf-8",
        )
        return path

    return write


KEY = "sk-planted-0123456789abcdef"


def command(*arguments, **environment):
    """`python -m selfprompt_lib …`; the finished process with its output as text."""
    return subprocess.run(
        [sys.executable, "-m", "selfprompt_lib", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


@dataclass(frozen=True)
class Loopback:
    """A server of `tests/loopback.py`: where it is, what it was asked, and the last requests."""

    base_url: str

    def counts(self):
        return self._get("counts")

    def bodies(self):
        return self._get("bodies")

    def paid(self):
        """How many completions were handed out."""
        return sum(map(len, self.counts()["paid"].values()))

    def _get(self, what):
        with urllib.request.urlopen(self.base_url.removesuffix("v1") + what) as answer:
            return json.load(answer)


@pytest.fixture(scope="session")
def _loopback_process():
    server = [sys.executable, Path(__file__).parent / "loopback.py"]
    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as process:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/start"
        process.kill()


@pytest.fixture
def loopback(_loopback_process):
    """`loopback(faults=0.3)`: a new server that behaves so; all are one process."""

    def start(**behaviour):
        with urllib.request.urlopen(_loopback_process, json.dumps(behaviour).encode()) as answer:
            return Loopback(f"http://127.0.0.1:{json.load(answer)}/v1")

    return start


def annotation(served, data, out, **settings):
    """The arguments of `python -m selfprompt_lib annotate`; settings are those of `annotate`."""
    given = [f"--set=annotate.{name}={json.dumps(value)}" for name, value in settings.items()]
    return [
        "annotate",
        "--data",
        str(data),
        "--out",
        str(out),
        "--base-url",
        served.base_url,
        "--model",
        "served-model",
        *given,
    ]


def lines(path):
    """The objects of a JSONL file; none where there is no file."""
    return [json.loads(line) for line in path.open(encoding="utf-8")] if path.exists() else []


CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium. Not longer than a module: as long as it runs, so does an event loop."""
    if CHROMIUM is None:
        pytest.skip("no browser found: install chromium to check the pages")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as play:
        chrome = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chrome
        chrome.close()


FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["selfprompt_lib.__main__", "selfprompt_lib.sft.__main__", "genai_prices"])


def forked(function, *arguments):
    """A started process that forks from one which has loaded the libraries.

    Its start takes a tenth of a second instead of ten; it can be killed like any other, and its
    `exitcode` tells whether the function ended well.
    """
    process = FORKING.Process(target=function, args=arguments)
    process.start()
    return process


@pytest.fixture(scope="session")
def road(tmp_path_factory):
    """A finished smoke run with its book; a key is planted in the environment to be searched for.

    With pytest-xdist, the process that comes first makes it for all.
    """
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "road"
    with filelock.FileLock(out.with_suffix(".lock")):
        if not (out / "_build" / "html").is_dir():
            done = command("run", "--profile", "smoke", "--out", out, OPENAI_API_KEY=KEY)
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return out
