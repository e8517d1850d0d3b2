"""Hostile programs: none escapes the sandbox, none scores, and the next honest program passes.

They stand in `tests/hostile/`, one file a kind, each under a line `# %% name: what it tries`. Most answer right only where
their attack worked, so that a verdict "passed" would betray them; what they did is looked for from outside as well.
"""

import ctypes
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from selfprompt_lib import sandbox
from selfprompt_lib.rows import STARTER
from selfprompt_lib.sandbox import Verdict, run_program

GOOD = "def double(x):\n    return 2 * x\n"
TEST = "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(-3) == -6\n"
HERE, MARK = Path(__file__).parent / "hostile", f"hostile-{os.getpid()}"
CELL = re.compile(r"^# %% (.+?): (.+)$", re.MULTILINE)
PROGRAMS = {  # "kind: name" -> program
    f"{file.stem}: {name}": program
    for file in sorted(HERE.glob("*.py"))
    for name, _, program in zip(*[iter(CELL.split(file.read_text(encoding="utf-8"))[1:])] * 3, strict=True)
}
HELP = """
def any_works(*attacks):
    worked = False
    for attack in attacks:
        try: attack(); worked = True
        except BaseException: pass
    return worked
"""
# Of 'loops', those that end by themselves; all others must be stopped.
END = {"deep recursion", "deep recursion, limit lifted"}


def usable(way):
    return not way or bool(shutil.which(way)) and sandbox._judge(way, GOOD, TEST, "double", 10, 512).passed


def ways(*names):
    """Parameters: how programs are closed in; skipped where this machine cannot."""
    return [
        pytest.param(way, id=way or "bare", marks=[] if usable(way) else pytest.mark.skip(f"{way} does not run here"))
        for way in names
    ]


@pytest.fixture(scope="module", autouse=True)
def adopt():
    """Processes whose parent has died become children of this one (Linux), so that none can hide."""
    linux = sys.platform == "linux"
    for flag in (1, 0):
        if linux:
            ctypes.CDLL(None).prctl(36, flag, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        if flag:
            yield


@pytest.fixture(scope="module")
def canaries():
    """A folder that all may write to, with a file and a socket in it; servers by TCP, UDP and abstract name."""
    place = Path(tempfile.mkdtemp(dir="/var/tmp"))
    place.chmod(0o777)
    (place / "keep").write_text("untouched")
    (place / "keep").chmod(0o666)
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as door,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        udp.bind(tcp.getsockname())
        door.bind(f"{place}/door")
        (place / "door").chmod(0o777)
        if sys.platform == "linux":
            abstract.bind(f"\0{MARK}-door")
            abstract.listen()
        door.listen()
        for one in (tcp, udp, door, abstract):
            one.setblocking(False)
        yield place, tcp, udp, door, abstract
    shutil.rmtree(place)


@pytest.fixture
def attack(canaries, tmp_path, monkeypatch):
    """`attack(program, way)`: the verdict on it. Afterwards it looks for anything that got out."""
    place, tcp, udp, door, abstract = canaries
    secret = f"only-{time.time_ns()}-knows-this"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("SELFPROMPT_SECRET", secret)
    words = {
        "PLACE": str(place),
        "PORT": tcp.getsockname()[1],
        "DOOR": f"{MARK}-door",
        "PARENT": os.getpid(),
        "MARK": MARK,
        "HOME": str(Path.home()),
        "REPOSITORY": str(Path(__file__).parents[1]),
        "KEYS": str(STARTER / "openai/openai_humaneval/openai_humaneval/test.jsonl"),
    }
    given = "".join(f"{name} = {value!r}\n" for name, value in words.items()) + HELP

    def state():
        kept = (place / "keep").stat()
        me = psutil.Process()
        return (place / "keep").read_text(), kept.st_mode, kept.st_mtime, kept.st_nlink, me.nice(), me.cpu_affinity()

    def run(program, way, **options):
        monkeypatch.setattr(sandbox, "_wrapper", lambda: way)
        verdict = run_program(given + program, TEST, "double", **options)
        assert secret not in verdict.detail
        return verdict

    before = state()
    yield run
    assert state() == before
    assert sorted(path.name for path in place.iterdir()) == ["door", "keep"]
    common = ("/", "/tmp", "/var/tmp", "/dev/shm", Path.home(), Path.cwd(), words["REPOSITORY"], os.path.dirname(os.__file__))
    assert [path for folder in common for path in Path(folder).glob(f"{MARK}*")] == []
    assert list(tmp_path.iterdir()) == []
    for server in (tcp, door, *([abstract] if sys.platform == "linux" else [])):
        with pytest.raises(BlockingIOError):
            server.accept()
    with pytest.raises(BlockingIOError):
        udp.recv(1)
    assert survivors() == []


def survivors():
    """Living descendants of this process, after two seconds at most."""
    for _ in range(40):
        alive = [one for one in psutil.Process().children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE]
        if not alive:
            break
        time.sleep(0.05)
    return alive


def test_there_are_fifty_and_more_of_all_kinds():
    kinds = [name.partition(":")[0] for name in PROGRAMS]
    assert len(PROGRAMS) == sum(len(CELL.findall(file.read_text())) for file in HERE.iterdir()) >= 50
    assert set(kinds) >= {"loops", "processes", "memory", "files", "reading", "network", "signals", "exits", "fakes", "patches"}
    assert min(map(kinds.count, kinds)) >= 5
    assert len(set(PROGRAMS.values())) == len(PROGRAMS)


@pytest.mark.parametrize("way", ways("bwrap", "unshare", ""))
@pytest.mark.parametrize("name", PROGRAMS)
def test_hostile(name, way, attack):
    kind, _, what = name.partition(": ")
    endless = kind == "loops" and what not in END
    began = time.monotonic()
    verdict = attack(PROGRAMS[name], way, seconds=0.5 if endless else 5.0)
    took = time.monotonic() - began
    print("TOOK", f"{took:.2f}", name, way or "bare", verdict)
    assert not verdict.passed and verdict.detail and len(verdict.detail) <= 300 and verdict.detail.isprintable()
    assert took < (2 if endless else 7)
    assert run_program(GOOD, TEST, "double") == Verdict(True, "passed", "")
