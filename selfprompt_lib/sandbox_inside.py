"""Chapter 5: what runs inside the sandbox.

The two processes get the text of this file, and nothing else of ours.
"""

import builtins
import contextlib
import functools
import os
import sys
import types


def prepare():
    """A reader of standard input and a writer to standard output; the solution gets neither."""
    sys.set_int_max_str_digits(0)  # long numbers may cross
    source, target = os.fdopen(os.dup(0), errors="replace"), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.close(nothing)
    return source, target


def refuse_ctypes(event, args):
    """An audit hook: shared memory of System V, reached by ctypes, is not counted by any limit."""
    imported = event == "import" and args[0].rpartition(".")[2]
    if event.startswith("ctypes.") or imported in ("ctypes", "_ctypes"):
        raise ImportError("the sandbox refuses ctypes")


def plain(value):
    """`value` with containers of the plain kinds in place of their subclasses."""
    for kind in (dict, list, tuple, set):
        if isinstance(value, (set, frozenset) if kind is set else kind):
            return kind(map(plain, value.items() if kind is dict else value))
    return value


def solver():
    """Runs the solution and answers calls, one line each."""
    calls, replies = prepare()
    solution, module = eval(calls.readline()), None
    sys.addaudithook(refuse_ctypes)
    for line in calls:
        try:
            if module is None:  # loaded by the first call: its errors are answered like any other
                module = sys.modules["solution"] = types.ModuleType("solution")
                exec(compile(solution, "solution", "exec"), vars(module))
            name, args, named = eval(line, {"inf": float("inf"), "nan": float("nan")})
            reply = ascii((True, plain(getattr(module, name)(*args, **named))))
        except BaseException as error:
            reply = ascii((False, f"{type(error).__name__}: {error}"))
        print(reply, file=replies, flush=True)


def checker(link):
    """Runs the test, asks the solver at the socket `link` for every result, writes the outcome."""
    import ast

    job, out = prepare()
    solution, test, entry_point = ast.literal_eval(job.read())
    calls, replies = os.fdopen(os.dup(link), "w"), os.fdopen(link, errors="replace")
    print(ascii(solution), file=calls, flush=True)

    def finish(outcome, detail=""):
        print(ascii((outcome, detail)), file=out, flush=True)
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
        names = {node.id for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Name)}
        helpers = names - {"check", *dir(builtins)}  # those that the prompt defines are among them
        world = {name: functools.partial(ask, name) for name in helpers}
        exec(compile(test, "test", "exec"), world)
        world["check"](functools.partial(ask, entry_point))
    except BaseException as error:
        finish("failed", f"{type(error).__name__}: {error} {line_of_test(test, error)}")
    finish("passed")


def line_of_test(test, error):
    """The last line of the test that was running when `error` came."""
    step, number = error.__traceback__, 0
    while step:
        if step.tb_frame.f_code.co_filename == "test":
            number = step.tb_lineno
        step = step.tb_next
    return test.split("\n")[number - 1].strip() if number else ""
