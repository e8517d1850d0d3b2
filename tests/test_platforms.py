"""On systems that are not Unix, all modules can be imported, texts have an encoding, and what cannot be done there is said."""

import ast
import importlib
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import forked

from selfprompt_lib import provenance, sandbox

PACKAGE = Path(sandbox.__file__).parent
UNIX_MODULES = ["resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog", "crypt", "_posixsubprocess"]
UNIX_NAMES = {
    os: "fork forkpty getuid geteuid getgid getegid getgroups killpg setsid getpgid setpgid getpgrp setuid uname wait3 wait4 "
        "mkfifo sched_getaffinity sched_setaffinity getloadavg statvfs sysconf pread pwrite nice chroot chown O_NONBLOCK",
    signal: "SIGKILL SIGHUP SIGALRM SIGCHLD SIGSTOP SIGCONT SIGUSR1 SIGUSR2 SIGQUIT SIGPIPE SIGXCPU alarm setitimer",
    socket: "AF_UNIX socketpair CMSG_LEN", select: "poll epoll kqueue",
}


def load_all():
    names = [module.name for module in pkgutil.walk_packages([str(PACKAGE)], "selfprompt_lib.")]
    return [importlib.import_module(name) for name in names]


def load_elsewhere(told):
    """Loads the libraries first, then all modules of the package anew, on a system without what Unix alone has."""
    load_all()
    sys.modules.update(dict.fromkeys(UNIX_MODULES))
    for module, names in UNIX_NAMES.items():
        for name in names.split():
            vars(module).pop(name, None)
    for sys.platform in ("win32", "darwin"):  # not os.name, without which paths cannot be made here
        for name in [name for name in sys.modules if name.startswith("selfprompt_lib.")]:
            del sys.modules[name]
        loaded = load_all()
        from selfprompt_lib import provenance, sandbox

        try:
            sandbox.run_program("def f(): return 1", "def check(candidate): pass", "f")
        except ValueError as error:
            with told.open("a", encoding="utf-8") as file:
                print(sys.platform, len(loaded), provenance.peak_memory_gb(), error, file=file)


def test_every_module_can_be_imported_elsewhere_and_the_sandbox_says_what_it_needs(tmp_path):
    process = forked(load_elsewhere, tmp_path / "told")
    process.join()
    assert process.exitcode == 0
    said = [line.split(" ", 3) for line in (tmp_path / "told").read_text(encoding="utf-8").splitlines()]
    assert [system for system, *_ in said] == ["win32", "darwin"]
    for _, count, memory, told in said:
        assert int(count) > 80 and memory == "None"
        assert told.startswith("no sandbox for model-written programs: it needs bubblewrap, which only Linux has")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system tells it, which counts the parent's")
def test_a_process_s_peak_memory_is_its_own_and_not_its_parent_s():
    held = bytearray(2**30)  # GiB
    program = "from selfprompt_lib import provenance; print(provenance.peak_memory_gb())"
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    assert 0 < float(child.stdout) < 0.5 < len(held) / 2**30 <= provenance.peak_memory_gb()


def opened_without_encoding(path):
    """The lines of a module that open a text in the system's own encoding."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = {keyword.arg for keyword in node.keywords}
        modes = [value.value for value in (*node.args, *(k.value for k in node.keywords)) if isinstance(value, ast.Constant)]
        opens = name in ("open", "fdopen") and modes and all(mode in ("w", "r", "a", "x", "r+", "w+", "a+") for mode in modes)
        text = name in ("run", "Popen", "check_output") and "text" in given
        if (opens or text or name in ("read_text", "write_text")) and "encoding" not in given:
            yield f"{path.relative_to(PACKAGE)}:{node.lineno} {name}"


def test_every_text_is_opened_with_its_encoding():
    """Windows would take its own: what one computer wrote, another could not read."""
    inside = PACKAGE / "sandbox_inside.py"  # runs on Linux alone, and writes ASCII
    assert [line for path in PACKAGE.rglob("*.py") if path != inside for line in opened_without_encoding(path)] == []
