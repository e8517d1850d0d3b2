"""Chapter 5: run model-written Python (HumanEval) and judge it. Off unless a reader switches it on.

Two processes share a socket. The solver runs the solution and answers calls; it is never given
the test. The checker holds the test, sends arguments, and compares the plain data that come back.
So nothing that a solution does to its own interpreter makes a test pass. What the two run is in
`sandbox_inside.py`.

Each process is enclosed by bubblewrap: it has no network, sees no process but its own, reads only
Python and system libraries, and writes nowhere (HumanEval needs no files). `prlimit` bounds its
time and memory and lets it start no process. Root's programs get an account number of their own.
The solver also refuses `ctypes`: by way of it a program could take shared memory that no limit
counts. Where bubblewrap does not run, no program does.

Not held: a program that brings machine code to run without `ctypes` (by forged byte code) may take
such memory until its time is over. Not caught: a solution that redefines a helper of the prompt
that the test calls by name, or that has the expected answers written into it. Read as wrong:
results other than plain, finite data, arguments changed in place, and tests that wait for a
certain error.
"""

import ast
import contextlib
import functools
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Literal

from .errors import UserError

# The interpreter outside of a virtual environment.
PYTHON = getattr(sys, "_base_executable", None) or sys.executable
ACCOUNT = "60700"  # of the programs that root runs; no system gives this number to a person
_INSIDE = Path(__file__).with_name("sandbox_inside.py").read_text(encoding="utf-8")


@dataclass(frozen=True)
class ProgramResult:
    """How a program did.

    `timeout`: no result in time; `crashed`: a process ended early; `detail`: one line, empty when
    passed.
    """

    outcome: Literal["passed", "failed", "timeout", "crashed"]
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"


def run_program(solution: str, test: str, entry_point: str, *,
                seconds: float = 5.0, memory_mb: int = 512) -> ProgramResult:
    """Whether `solution` (prompt and body) passes `test`, which defines `check(candidate)`.

    `seconds` is wall time for start and checks, `memory_mb` MiB of address space for each of the
    two processes. No program and no test raises anything. Used in chapter 5.

    Raises:
        UserError: the sandbox does not work on this machine.
    """
    require_sandbox()
    job = ascii((solution, test, entry_point)).encode()
    python = [*_enclosure(seconds, memory_mb), PYTHON, "-I", "-S", "-B", "-c"]
    alike = {"stderr": DEVNULL, "env": {}, "start_new_session": True}
    ours, theirs = socket.socketpair()
    with contextlib.ExitStack() as stack:
        with ours, theirs:
            solver = Popen([*python, f"{_INSIDE}\nsolver()"], stdin=theirs, stdout=theirs, **alike)
            stack.enter_context(solver)
            stack.callback(solver.kill)  # bubblewrap takes with it all that it started
            link = ours.fileno()
            checker = Popen([*python, f"{_INSIDE}\nchecker({link})"], stdin=PIPE, stdout=PIPE,
                            pass_fds=[link], **alike)
            stack.enter_context(checker)
            stack.callback(checker.kill)
        try:
            said = checker.communicate(job, timeout=seconds)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            return ProgramResult("timeout", f"no result after {seconds:g} seconds")
    if not said:
        return ProgramResult("crashed", "the checker ended early")
    outcome, detail = ast.literal_eval(said)
    return ProgramResult(outcome, "".join(c if c.isprintable() else " " for c in detail[:300]))


@functools.cache
def sandbox_problem() -> str:
    """Why no program can be run on this machine; empty where the sandbox works (chapter 5)."""
    if sys.platform != "linux":
        return "it needs bubblewrap, which only Linux has"
    for name, package in {"bwrap": "bubblewrap", "prlimit": "util-linux"}.items():
        if not shutil.which(name):
            return f"{name} is missing (apt-get install {package})"
    try:
        tried = subprocess.run([*_enclosure(5, 512), PYTHON, "-ISBc", "import random"],
                               capture_output=True, encoding="utf-8", env={}, timeout=30)
    except subprocess.TimeoutExpired:
        return "bubblewrap does not answer"
    if tried.returncode == 0:
        return ""
    reason = " ".join(tried.stderr.split())[-200:] or "it gives no reason"
    ubuntu = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    if os.geteuid() != 0 and ubuntu.exists() and ubuntu.read_bytes().strip() == b"1":
        reason += f" (sudo sysctl kernel.{ubuntu.name}=0 allows it)"
    return f"bubblewrap does not run here: {reason}"


def require_sandbox() -> None:
    """Refuse to go on where model-written programs cannot be run safely (chapter 5).

    Raises:
        UserError: with the reason and the mend.
    """
    if problem := sandbox_problem():
        raise UserError(f"no sandbox for model-written programs: {problem}; mend that, or leave "
                        "HumanEval out (evaluate.run_code=false, or the group selfprompt_no_code)")


def _enclosure(seconds: float, memory_mb: int) -> list[str]:
    """The words of a command line that enclose the program which follows them."""
    root = os.geteuid() == 0
    words = [shutil.which("bwrap") or "bwrap", "--die-with-parent", "--cap-drop", "ALL"]
    words += ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    if root:
        words += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]  # for setpriv, below
    for folder in ("/usr", *reversed(Path(sys.base_prefix, "lib").parents[:-1])):
        words += ["--dir", str(folder)]  # readable by all, unlike /root
    system = ("/usr/bin", "/usr/lib", "/usr/lib64", "/bin", "/lib", "/lib64", "/etc/ld.so.cache")
    shown = (*system, f"{sys.base_prefix}/lib", os.path.dirname(PYTHON))
    for path in shown:
        words += ["--ro-bind-try", path, path]
    words += ["--dev", "/dev"]  # no /proc: it would let a program change its own interpreter
    # The benchmarks' files, and so their tests, may lie among the installed packages. A folder that
    # is not shown needs no cover, which would even tell where it lies.
    packages = [path for path in sys.path if path.endswith("-packages") and os.path.isdir(path)]
    covered = [path for path in packages if any(map(Path(path).is_relative_to, shown))]
    for folder in (*covered, "/tmp"):
        words += ["--tmpfs", folder, "--remount-ro", folder]
    words += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--"]
    if root:  # for whom the kernel does not limit the number of processes
        words += ["setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--clear-groups"]
    limits = {"cpu": int(seconds) + 1, "as": memory_mb << 20, "fsize": 0, "nproc": 0, "nofile": 32,
              "core": 0}
    return [*words, "prlimit", *(f"--{name}={most}" for name, most in limits.items())]
