"""Chapter 5: what runs inside the sandbox. Its two child processes get the text of this file, and nothing else of ours.

Three walls stand in `solver`, each by itself: the limits of the kernel (`limit`), Landlock where the kernel has it
(`lock`), and an audit hook in Python (`guard`) that refuses before the others must.
"""

import builtins
import contextlib
import functools
import os
import sys
import types

__builtins__ = {**vars(builtins)}  # what a solution does to its own builtins does not reach the functions here


def limit(seconds, memory, user):
    """Limits of the kernel on this process, and for root an account number of its own."""
    import resource
    from _signal import SIGALRM, alarm, signal

    for number in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    signal(SIGALRM, lambda *_: os._exit(1))  # a handler, since the first process of a name space ignores a mere signal
    alarm(seconds)  # ends it even where nobody is left to
    for name, most in {"CPU": seconds, "AS": memory, "FSIZE": 0, "NPROC": 0, "NOFILE": 32, "CORE": 0}.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(getattr(resource, "RLIMIT_" + name), (most, most))
    with contextlib.suppress(OSError):  # root only; stays root where the account could not read the library
        os.seteuid(user)
        readable = os.access(os.path.join(os.path.dirname(os.__file__), "random.py"), os.R_OK, effective_ids=True)
        os.seteuid(0)
        if readable:
            os.setgroups([]), os.setgid(user), os.setuid(user)


def lock():
    """Has Linux refuse all files but reading libraries, whatever Python is brought to do; returns Landlock's version, or 0.

    Version 4 also refuses TCP, version 6 also signals and abstract sockets to processes outside.
    Numbers and structures: https://docs.kernel.org/userspace-api/landlock.html
    """
    import ctypes
    import struct

    def kernel(number, *words):
        return system.syscall(*(word if type(word) is bytes else ctypes.c_long(word) for word in (number, *words)))

    system = ctypes.CDLL(None)
    version = kernel(444, 0, 0, 1) if sys.platform == "linux" else 0
    if version < 1:
        return 0
    refused = (1 << (13, 14, 15, 15, 16)[min(version, 5) - 1]) - 1, 3, 3  # files, TCP, signals and sockets
    rules = kernel(444, struct.pack("3Q", *refused), 8 if version < 4 else 16 if version < 6 else 24, 0)
    for path in (os.path.dirname(os.__file__), sys.base_prefix + "/lib", "/usr/lib", "/usr/lib64", "/lib", "/lib64"):
        if os.path.isdir(path):
            folder = os.open(path, os.O_PATH)
            kernel(445, rules, 1, struct.pack("=Qi", 4 | 8, folder), 0)  # files and folders may be read
            os.close(folder)
    system.prctl(*map(ctypes.c_long, (38, 1, 0, 0, 0)))  # no new privileges: Landlock asks for it
    closed = kernel(446, rules, 0) == 0
    os.close(rules)
    return version if closed else 0


def guard():
    """From here on Python refuses files but reading its library, processes, signals, sockets, and ways around this."""
    library, writing = os.path.dirname(os.__file__) + "/", os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    shut = ("code", "cpython", "ctypes", "fcntl", "gc", "os", "pty", "resource", "shutil", "signal", "socket", "sqlite3",
            "subprocess", "syslog", "tempfile")  # fmt: skip
    native = ("_ctypes", "_dbm", "_gdbm", "_interpreters", "_multiprocessing", "_posixshmem", "_posixsubprocess",
              "_sqlite3", "_tkinter", "_xxsubinterpreters", "ctypes", "nis", "readline")  # fmt: skip
    silent = ("mkfifo", "mknod", "pidfd_open", "sched_setaffinity", "setns", "setpriority", "unshare")
    kind, text, number = type, str, int  # held here, where a solution cannot replace them
    errors = {"import": ImportError}, PermissionError

    def hook(event, args):
        fine = event.partition(".")[0] not in shut
        if event == "import":  # these act without telling a hook
            fine = args[0].rpartition(".")[2] not in native
        if event in ("open", "os.listdir", "os.scandir") and kind(args[0]) is not number:
            fine = kind(args[0]) is text and args[0].startswith(library) and not (event == "open" and args[2] & writing)
            fine = fine and ".." not in args[0] and "-packages" not in args[0]
        if not fine:
            raise errors[0].get(event, errors[1])("the sandbox refuses " + event)

    for name in (name for name in list(sys.modules) if name.partition(".")[0] in native):
        del sys.modules[name]
    for module in (os, sys.modules["posix"]):
        for name in silent:
            vars(module).pop(name, None)
    sys.set_int_max_str_digits(0)
    sys.addaudithook(hook)


def plain(value):
    """`value` with containers of the plain kinds in place of their subclasses."""
    for kind in (dict, list, tuple, set):
        if isinstance(value, (set, frozenset) if kind is set else kind):
            return kind(map(plain, value.items() if kind is dict else value))
    return value


def solver():
    """Runs the solution and answers calls, one line each."""
    calls, replies, module = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w"), None
    solution, *limits = eval(calls.readline())
    limit(*limits, 60700)
    with contextlib.suppress(Exception):  # no ctypes
        lock()
    guard()
    for line in calls:
        try:
            if module is None:  # loaded by the first call, so that its errors are answered like any other
                module = sys.modules["solution"] = types.ModuleType("solution")
                module.__builtins__ = builtins
                exec(compile(solution, "solution", "exec"), vars(module))
            name, args, named = eval(line, {"inf": float("inf"), "nan": float("nan")})
            reply = ascii((True, plain(getattr(module, name)(*args, **named))))
        except BaseException as error:
            reply = ascii((False, f"{type(error).__name__}: {error}"))
        print(reply, file=replies, flush=True)


def checker():
    """Runs the test, asks the solver for every result, and writes the token and the verdict."""
    import ast

    out = os.fdopen(os.dup(1), "w")
    token, link, limits, solution, test, entry = ast.literal_eval(sys.stdin.read())
    calls, replies = os.fdopen(os.dup(link), "w"), os.fdopen(link, errors="replace")
    limit(*limits, 60701)
    guard()
    print(ascii((solution, *limits)), file=calls, flush=True)

    def finish(outcome, detail):
        print(token + ascii((outcome, detail)), file=out, flush=True)
        os._exit(0)

    def ask(name, /, *args, **named):
        line = ""
        with contextlib.suppress(OSError):
            print(ascii(plain((name, args, named))), file=calls, flush=True)
            line = replies.readline(1 << 22)
        if not line.endswith("\n"):
            finish("crashed", "the solution's process ended, or its result had over 4 MiB")
        good, value = ast.literal_eval(line)
        if not good:
            raise RuntimeError(value)
        return value

    try:
        free = {node.id for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Name)} - {"check", *dir(builtins)}
        world = {name: functools.partial(ask, name) for name in free}  # helpers that the prompt defines
        exec(compile(test, "test", "exec"), world)
        world["check"](functools.partial(ask, entry))
    except BaseException as error:
        step, at = error.__traceback__, ""
        while step:
            at = test.split("\n")[step.tb_lineno - 1].strip() if step.tb_frame.f_code.co_filename == "test" else at
            step = step.tb_next
        finish("failed", f"{type(error).__name__}: {error} {at}")
    finish("passed", "")
