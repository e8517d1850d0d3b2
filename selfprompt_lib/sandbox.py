"""Chapter 5: run model-written Python (HumanEval) and judge it. Off unless a reader switches it on.

Two child processes share a socket. The solver runs the solution and answers calls; it is never given the test. The
checker holds the test and a random token, sends arguments, and compares the plain data that comes back. So nothing
that a solution does to its own interpreter makes a test pass. What runs inside is in `sandbox_inside.py`.

A solution may write nowhere: HumanEval needs no files. It starts in an empty folder of its own, which is removed after.

Not caught: a solution that redefines a helper of the prompt that the test calls by name, or that has the expected
answers written into it. Read as wrong: results other than plain, finite data, arguments changed in place, and tests
that wait for a certain error. What the kernel does not keep from a program on this machine, `unrestricted` says; there
limits and an audit hook of Python alone hold: enough for accidents, not for an attacker, who could also forge a verdict.
"""

import ast
import contextlib
import functools
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired, run
from typing import Literal

PYTHON = getattr(sys, "_base_executable", None) or sys.executable  # the one outside of a virtual environment
UNRESTRICTED = {  # what to say where a restriction is missing
    "bubblewrap": "Bubblewrap does not run here; what stands in for it may leave the rights and times of files open to change.",
    "no_network": "The kernel does not keep a program from the network.",
    "own_files": "The kernel does not keep a program from the files that this account may read and write.",
    "own_processes": "The kernel does not keep a program from seeing the processes of this account.",
    "other_user": "A program runs under the account that started the evaluation, not under one of its own.",
    "limits": "Not all limits hold (time, memory, file size, number of processes): root may always start processes.",
}
_INSIDE = Path(__file__).with_name("sandbox_inside.py").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Verdict:
    """`timeout`: no verdict in time; `crashed`: a process ended early; `detail`: one line, empty when passed."""

    passed: bool
    outcome: Literal["passed", "failed", "timeout", "crashed"]
    detail: str


def run_program(solution: str, test: str, entry_point: str, *, seconds: float = 5.0, memory_mb: int = 512) -> Verdict:
    """Whether `solution` (prompt and body) passes `test`, which defines `check(candidate)` (chapter 5).

    `seconds` is wall time for start and checks, `memory_mb` MiB of address space for each of two processes.
    No program and no test raises anything; `OSError` says that this machine cannot start a process.
    """
    return _judge(_wrapper(), solution, test, entry_point, seconds, memory_mb)


@functools.cache
def restrictions() -> dict[str, bool]:
    """What the kernel of this machine really keeps from a program, found by running one (chapter 5).

    `own_files`: it reads only Python and system libraries and writes nothing. `own_processes`: it sees and signals no
    others. `other_user`: it has an account number of its own. `limits`: time, memory, files, and no new processes.
    """

    def holds(value: str, expected: object) -> bool:
        solution, test = f"import os, resource as r\ndef f(): return {value}", f"def check(f): assert f() == {expected}"
        return _judge(_wrapper(), solution, test, "f", 10, 512).passed

    got = "[r.getrlimit(n)[1] for n in (r.RLIMIT_CPU, r.RLIMIT_AS, r.RLIMIT_FSIZE, r.RLIMIT_NPROC, r.RLIMIT_NOFILE)]"
    other, limits = holds("os.getuid()", 60700), holds(got, [11, 2**29, 0, 0, 32])
    inside, wrapped = _wrapper() == "bwrap", _wrapper() != ""
    return {
        "bubblewrap": inside,
        "no_network": wrapped,
        "own_files": inside or _landlock() > 0,
        "own_processes": wrapped,
        "other_user": other,
        "limits": limits and (other or os.geteuid() != 0),  # root may always fork
    }


def unrestricted() -> list[str]:
    """What could not be kept from a program here, one plain sentence each; empty where all of it is (chapter 5)."""
    return [UNRESTRICTED[name] for name, held in restrictions().items() if not held]


@functools.cache
def _wrapper() -> str:
    for name in filter(shutil.which, ("bwrap", "unshare")):
        if _judge(name, "import random\ndef f(): return 1", "def check(f): assert f() == 1", "f", 10, 512).passed:
            return name
    return ""


@functools.cache
def _landlock() -> int:
    said = run([PYTHON, "-ISBc", f"{_INSIDE}\nprint(lock())"], capture_output=True, text=True, env={}).stdout
    return int(said or 0)  # nothing said: Python without ctypes


def _command(wrapper: str) -> list[str]:
    words = [shutil.which(wrapper) or wrapper] if wrapper else []
    if wrapper == "unshare":
        words += ["--user", "--pid", "--net", "--ipc", "--mount-proc", "--fork", "--kill-child", "--"]
    if wrapper != "bwrap":
        return words
    words += [*(f"--unshare-{what}" for what in ("pid", "net", "ipc", "uts")), "--die-with-parent", "--cap-drop", "ALL"]
    if os.geteuid() == 0:
        words += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]  # for an account number of its own
    for path in reversed(Path(sys.base_prefix).parents[:-1]):
        words += ["--dir", str(path)]  # readable by all, unlike /root
    for path in ("/usr", "/bin", "/lib", "/lib64", sys.base_prefix, os.path.dirname(PYTHON)):
        words += ["--ro-bind-try", path, path]
    words += ["--proc", "/proc", "--dev", "/dev"]
    for path in (*(path for path in sys.path if path.endswith("-packages") and os.path.isdir(path)), "/tmp"):
        words += ["--tmpfs", path, "--remount-ro", path]  # the starter data may lie there, and with it the tests
    return [*words, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--"]


def _judge(wrapper: str, solution: str, test: str, entry: str, seconds: float, memory_mb: int) -> Verdict:
    token, limits = secrets.token_hex(16), (int(seconds) + 1, memory_mb << 20)
    start = [*_command(wrapper), PYTHON, "-I", "-S", "-B", "-c"]
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        how = {"stderr": DEVNULL, "cwd": folder, "env": {}, "start_new_session": True}
        ours, theirs = socket.socketpair()
        with ours, theirs:
            solver = stack.enter_context(Popen([*start, f"{_INSIDE}\nsolver()"], stdin=theirs, stdout=theirs, **how))
            stack.callback(_kill_group, solver.pid)
            link = ours.fileno()
            checker = Popen([*start, f"{_INSIDE}\nchecker()"], stdin=PIPE, stdout=PIPE, pass_fds=[link], **how)
            stack.enter_context(checker)
            stack.callback(checker.kill)
        try:
            job = ascii((token, link, limits, solution, test, entry)).encode()
            said = checker.communicate(job, timeout=seconds)[0].decode(errors="replace")
        except TimeoutExpired:
            return Verdict(False, "timeout", f"no verdict after {seconds:g} seconds")
    if not said.startswith(token):
        return Verdict(False, "crashed", "the checker ended early")
    outcome, detail = ast.literal_eval(said.removeprefix(token))
    return Verdict(outcome == "passed", outcome, "".join(c if c.isprintable() else " " for c in detail[:300]))


def _kill_group(leader: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(leader, signal.SIGKILL)
