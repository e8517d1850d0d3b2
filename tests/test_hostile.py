"""Hostile programs: none escapes the sandbox, none scores, and the next honest program passes.

They stand in `tests/hostile/`, one file a kind, each under a line `# %% name: what it tries`. Most
answer right only where their attack worked, so that "passed" would betray them; what they did is
looked for from outside as well.
"""

import contextlib
import ctypes
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from selfprompt_lib import sandbox
from selfprompt_lib.rows import STARTER_FOLDER
from selfprompt_lib.sandbox import ProgramResult, run_program

GOOD = "def double(x):\n    return 2 * x\n"
TEST = "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(-3) == -6\n"
LINUX, MARK = sys.platform == "linux", f"hostile-{os.getpid()}"
COMMON = ("/", "/tmp", "/var/tmp", "/dev/shm", Path.home(), Path(__file__).parents[1])
FILES = sorted(Path(__file__).parent.glob("hostile/*.py"))
CELL = re.compile(r"^# %% (.+?): (.+)$", re.MULTILINE)
PROGRAMS = {  # "kind: name" -> program
    f"{file.stem}: {name}": program
    for file in FILES
    for name, _, program in zip(
        *[iter(CELL.split(file.read_text(encoding="utf-8"))[1:])] * 3, strict=True
    )
}
HELP = """
def any_works(*attacks):
    worked = False
    for attack in attacks:
        try: attack(); worked = True
        except BaseException: pass
    return worked
"""
# Kinds that reach out of their own process.
REACH = ("reading", "files", "processes", "signals", "network")
# These may well pass: what they do works, and changes nothing but the sandbox's own world, which
# ends with them.
CONTAINED = {"network: UDP", "network: serve", "patches: code object", "reading: home folder"}
# The kernel takes these without a word, and the first process of a PID namespace never gets them.
CONTAINED |= {"signals: kill its own parent", "signals: stop the parent", "signals: kill by handle"}
pytestmark = pytest.mark.skipif(bool(sandbox.sandbox_problem()), reason=sandbox.sandbox_problem())


class Outside:
    """What a program must not reach: a folder open to all with a file and a socket in it, servers, this process, a secret."""

    def __init__(self, place, own):
        self.place, self.own, self.secret, self.result = (
            place,
            own,
            f"only-{time.time_ns()}-knows-this",
            None,
        )
        place.chmod(0o777)
        (place / "keep").write_text("untouched")
        (place / "keep").chmod(0o666)
        self.tcp, self.udp = (
            socket.create_server(("127.0.0.1", 0)),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        )
        self.udp.bind(self.tcp.getsockname())
        self.doors = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        for door, name in zip(
            self.doors, (f"{place}/door", f"\0{MARK}" if LINUX else f"{place}/door2"), strict=True
        ):
            door.bind(name)
            door.listen()
        (place / "door").chmod(0o777)
        for server in (self.tcp, self.udp, *self.doors):
            server.setblocking(False)
        self.bystander = subprocess.Popen(
            ["sleep", "600"], env={"PATH": os.environ["PATH"], "SELFPROMPT_SECRET": self.secret}
        )
        self.family = {child.pid for child in psutil.Process().children()}
        self.before = self.state()

    def state(self):
        kept = [
            (path.name, path.lstat().st_mode, path.lstat().st_size, path.lstat().st_mtime)
            for path in self.place.glob("*")
        ]
        return sorted(kept), psutil.Process().nice(), self.bystander.poll()

    def run(self, program, **options):
        words = {
            "PLACE": str(self.place),
            "PORT": self.tcp.getsockname()[1],
            "DOOR": MARK,
            "MARK": MARK,
            "PARENT": os.getpid(),
            "BYSTANDER": self.bystander.pid,
            "HOME": str(Path.home()),
            "REPOSITORY": str(Path(__file__).parents[1]),
            "KEYS": str(STARTER_FOLDER / "openai/openai_humaneval/openai_humaneval/test.jsonl"),
        }
        given = "".join(f"{name} = {value!r}\n" for name, value in words.items()) + HELP
        self.result = run_program(given + program, TEST, "double", memory_mb=128, **options)
        return self.result

    def harm(self):
        """What got out, in words; looked for from here, whatever the verdict says."""
        common = (*COMMON, Path.cwd(), os.path.dirname(os.__file__))
        found = {
            "files or processes changed": self.state() != self.before,
            "a server was reached": any(map(reached, (self.tcp, *self.doors)))
            or received(self.udp),
            "files were left": any(True for folder in common for _ in Path(folder).glob(f"{MARK}*"))
            or any(self.own.iterdir()),
            "the secret was told": self.secret in self.result.detail,
            "processes live on": bool(survivors(self.family)),
        }
        return [what for what, true in found.items() if true]


def reached(server):
    try:
        server.accept()
    except BlockingIOError:
        return False
    return True


def received(server):
    try:
        server.recv(1)
    except BlockingIOError:
        return False
    return True


def survivors(family):
    """Living descendants of this process, after three seconds at most; `family` came before the test (another one's browser)."""
    for _ in range(60):
        strangers = [child for child in psutil.Process().children() if child.pid not in family]
        alive = [one for child in strangers for one in (child, *descendants(child)) if lives(one)]
        if not alive:
            break
        time.sleep(0.05)
    return alive


def descendants(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


def lives(process):
    with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
        if process.status() != psutil.STATUS_ZOMBIE:
            return True
        os.waitpid(process.pid, os.WNOHANG)  # an adopted one, which nobody else will bury
    return False


@pytest.fixture
def outside(tmp_path, monkeypatch):
    with contextlib.ExitStack() as stack:
        # Orphans become children of this process, so that none can hide: PR_SET_CHILD_SUBREAPER.
        if LINUX:
            ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
            stack.callback(ctypes.CDLL(None).prctl, 36, 0, 0, 0, 0)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        place = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(dir="/var/tmp", ignore_cleanup_errors=True)
            )
        )
        there = Outside(place, tmp_path)
        monkeypatch.setenv("SELFPROMPT_SECRET", there.secret)
        for server in (there.tcp, there.udp, *there.doors):
            stack.enter_context(server)
        stack.enter_context(there.bystander)
        stack.callback(there.bystander.kill)
        yield there


def without(*calls):
    """The text of what runs inside, with these calls taken out."""
    text = sandbox._INSIDE
    for call in calls:
        assert re.search(rf"^ +{re.escape(call)}$", text, re.MULTILINE)
        text = re.sub(rf"^( +){re.escape(call)}$", r"\1pass", text, flags=re.MULTILINE)
    return text


def test_there_are_fifty_and_more_of_all_kinds():
    kinds = [name.partition(":")[0] for name in PROGRAMS]
    assert (
        len(PROGRAMS)
        == len(set(PROGRAMS.values()))
        == sum(len(CELL.findall(file.read_text())) for file in FILES)
        >= 50
    )
    assert set(kinds) == {
        "loops",
        "processes",
        "memory",
        "files",
        "reading",
        "network",
        "signals",
        "exits",
        "fakes",
        "patches",
    }
    assert min(map(kinds.count, kinds)) >= 5


@pytest.mark.parametrize("name", PROGRAMS)
def test_none_escapes_none_scores_and_the_next_one_passes(name, outside):
    began = time.monotonic()
    result = outside.run(PROGRAMS[name], seconds=0.5 if name.startswith("loops") else 5.0)
    assert time.monotonic() - began < 7
    assert outside.harm() == []
    if name not in CONTAINED:
        assert (
            not result.passed
            and result.detail
            and len(result.detail) <= 300
            and result.detail.isprintable()
        )
    assert run_program(GOOD, TEST, "double") == ProgramResult("passed")


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name.partition(":")[0] in REACH])
def test_none_escapes_bubblewrap_even_past_the_hook_of_python(name, outside, monkeypatch):
    monkeypatch.setattr(sandbox, "_INSIDE", without("sys.addaudithook(refuse_ctypes)"))
    outside.run(PROGRAMS[name], seconds=2.0)
    assert outside.harm() == []


@pytest.mark.parametrize(
    ("name", "harm"),
    {
        "files: write outside": "files or processes changed",
        "files: delete": "files or processes changed",
        "files: pipes and nodes": "files or processes changed",
        "files: database": "files or processes changed",
        "reading: environment of others": "the secret was told",
        "signals: kill a bystander": "files or processes changed",
        "network: TCP": "a server was reached",
        "network: UDP": "a server was reached",
        "network: Unix socket": "a server was reached",
        "network: abstract socket": "a server was reached",
        "files: leave files in common folders": "files were left",
    }.items(),
)
def test_without_a_sandbox_they_do_harm_and_it_is_seen(name, harm, outside, monkeypatch):
    monkeypatch.setattr(sandbox, "_enclosure", lambda seconds, memory_mb: [])
    monkeypatch.setattr(sandbox, "_INSIDE", without("sys.addaudithook(refuse_ctypes)"))
    outside.run(PROGRAMS[name])
    if "bystander" in name:
        outside.bystander.wait(10)  # a signal takes a moment to end it
    try:
        assert harm in outside.harm()
    finally:
        for folder in COMMON:
            Path(folder, MARK).unlink(missing_ok=True)


def test_nothing_lives_on_where_the_harness_is_killed(outside):
    code = "from selfprompt_lib import sandbox\nsandbox.require_sandbox()\nprint(flush=True)\n"
    code += f"sandbox.run_program('import time\\ntime.sleep(99)', {TEST!r}, 'double', seconds=0.9)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
    ) as process:
        process.stdout.readline()
        time.sleep(0.3)
        assert len(psutil.Process(process.pid).children(recursive=True)) > 1
        process.kill()
    assert survivors(outside.family) == []
