"""Right and wrong programs in the sandbox, and what it says of itself; hostile ones are in `test_hostile.py`."""

import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from selfprompt_lib import profiles, sandbox, sources
from selfprompt_lib.rows import STARTER_FOLDER
from selfprompt_lib.sandbox import ProgramResult, require_sandbox, run_program, sandbox_problem
from selfprompt_lib.tasks import NO_ANSWER, utils
from selfprompt_lib.tasks.extraction import extract_answer
from selfprompt_lib.tasks.programs import in_context

ITEMS_FILE = STARTER_FOLDER / "openai/openai_humaneval/openai_humaneval/test.jsonl"
ITEMS = [json.loads(line) for line in ITEMS_FILE.read_text(encoding="utf-8").splitlines()]
GOOD = "def double(x):\n    return 2 * x\n"
TEST = "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(-3) == -6\n"
MIRROR = (
    Path(__file__).parents[2] / "shared/data/openai/openai_humaneval/openai_humaneval/test.jsonl"
)


@pytest.fixture(autouse=True)
def needs_a_sandbox(request):
    """All but the tests of what is said where there is none."""
    if "machine" not in request.fixturenames and sandbox_problem():
        pytest.skip(sandbox_problem())


def replies(item):
    """The item's own solution as models give it: whole, the function alone, its body; with and without fence and imports."""
    prompt, body, name = (item[field] for field in ("prompt", "canonical_solution", "entry_point"))
    start = re.search(rf"(?m)^def {name}\b", prompt).start()
    above, alone = prompt[:start], prompt[start:] + body
    yield from (prompt + body, alone, body, body.strip(), f"```python\n{body}```")
    yield f"Here it is:\n\n```python\n{alone}```\n\nIt works."
    yield f"```\n{prompt}{body}```\n\nFor example:\n\n```python\nprint({name}())\n```"
    yield f"First:\n```python\n{above or 'import math'}```\nThen:\n```python\n{alone}```"
    yield (f"```python\nfrom __future__ import annotations\n{alone}\n\nassert {name} is None\n\n"
           f"def check(f):\n    assert f() == 0\n\nif __name__ == '__main__':\n    check({name})\n```")  # fmt: skip


@pytest.mark.parametrize("file", [ITEMS_FILE, MIRROR], ids=["starter", "mirror"])
def test_its_own_solution_passes_in_whatever_form_a_reply_gives_it(file):
    if not file.exists():
        pytest.skip("no mirror of HumanEval in ../shared/data")
    items = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(items) == 164 or file == ITEMS_FILE
    programs = {}
    for item in items:
        for reply in [*replies(item)][: -1 if file == MIRROR else None]:
            program = extract_answer("code", "tolerant", reply, item)
            assert program != NO_ANSWER, reply
            whole = in_context(program, item["prompt"], item["entry_point"])
            programs[whole, item["test"], item["entry_point"]] = reply
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda job: run_program(*job, seconds=30), programs)
        assert [reply for reply, result in zip(programs.values(), results, strict=True) if not result.passed] == []


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item["task_id"])
def test_an_empty_solution_fails(item):
    wrong = run_program(item["prompt"] + "    return None\n", item["test"], item["entry_point"])
    assert wrong.outcome == "failed" and "assert" in wrong.detail


@pytest.mark.parametrize("value", ["None", "True", "-1.5", "10**5000", "'\\u00e9\\n\\ud800'", "b'\\x00'", "(1, [2])",
                                   "{1, 2}", "set()", "{(1, 'a'): {'b': [None]}}", "2+3j", "()", "[]"])  # fmt: skip
def test_plain_data_crosses_unchanged(value):
    test = f"def check(same):\n    x = {value}\n    assert same(x) == x and type(same(x)) is type(x) and same(x=x) == x"
    assert run_program("def same(x): return x", test, "same").passed


@pytest.mark.parametrize(
    "result",
    ["Counter('aab')", "defaultdict(int, a=2, b=1)", "OrderedDict(a=2, b=1)", "{'b': 1, 'a': 2}"],
)
def test_dictionaries_of_the_library_are_dictionaries(result):
    solution = f"from collections import *\ndef f(): return {result}"
    assert run_program(solution, "def check(f): assert f() == {'a': 2, 'b': 1}", "f").passed


def test_tests_keep_their_own_builtins_and_may_use_helpers():
    test = "import math\ndef check(f):\n    assert abs(f(4) - half(4)) < 1e-6 and math.floor(f(4)) == 2"
    assert run_program("def half(x): return x / 2\ndef f(x): return x / 2", test, "f").passed
    cheat = "abs = lambda x: 0\nclass math:\n    floor = lambda x: 2\ndef half(x): return 1\ndef f(x): return 0"
    assert run_program(cheat, test, "f").outcome == "failed"


def test_stop_iteration_does_not_cut_a_test_short():
    test = "def check(f): assert all(map(f, [1, 2])) and [x for x in map(f, [1, 2]) if not x] == []"
    assert run_program("def f(x): raise StopIteration", test, "f").outcome == "failed"


def test_a_slow_or_broken_test_is_a_result():
    assert (
        run_program(GOOD, "def check(f):\n    while True: f(1)", "double", seconds=0.6).outcome
        == "timeout"
    )
    assert run_program(GOOD, "def check(f:", "double").outcome == "failed"
    assert run_program(GOOD, "", "double").outcome == "failed"


@pytest.mark.parametrize(
    "solution", ["def double(x: return", "def double(x): return y", "\0", "\ud800"]
)
def test_a_broken_solution_is_a_result(solution):
    assert run_program(solution, TEST, "double").outcome == "failed"


def test_a_solution_may_use_the_library_but_no_file():
    names = "bisect, collections, copy, datetime, decimal, doctest, fractions, functools, hashlib, heapq, itertools, math, "
    names += "numbers, operator, os, random, re, socket, statistics, string, sys, typing, unittest"
    assert run_program(f"import {names}\n{GOOD}", TEST, "double") == ProgramResult("passed")
    for place in ("own", "/tmp/own", "/dev/shm/own"):
        result = run_program(f"open({place!r}, 'w')\n{GOOD}", TEST, "double")
        assert "Read-only file system" in result.detail


def test_memory_is_counted_in_mib():
    solution, test = (
        "def f(): return len(bytearray(100 << 20))",
        f"def check(f): assert f() == {100 << 20}",
    )
    assert "MemoryError" in run_program(solution, test, "f", memory_mb=64).detail
    assert run_program(solution, test, "f", memory_mb=256).passed


def test_the_limits_and_the_account_are_as_told():
    solution = "import os, resource as r\nKINDS = (r.RLIMIT_CPU, r.RLIMIT_AS, r.RLIMIT_FSIZE, r.RLIMIT_NPROC, r.RLIMIT_NOFILE)\n"
    solution += "def f(): return os.getuid(), os.getgroups(), [r.getrlimit(kind) for kind in KINDS]"
    account, groups = (int(sandbox.ACCOUNT), []) if os.geteuid() == 0 else (os.getuid(), None)
    test = f"""
def check(f):
    account, groups, limits = f()
    assert account == {account} and (groups == [] or {groups} is None)
    assert limits == [(most, most) for most in (11, 2**29, 0, 0, 32)]
"""
    assert run_program(solution, test, "f", seconds=10) == ProgramResult("passed")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """`machine(bwrap=script, …)`: only these programs are on the path; what the sandbox then says is wrong."""

    def try_it(**programs):
        for name, script in programs.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(sandbox, "sandbox_problem", sandbox_problem.__wrapped__)

    return try_it


LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap is for Linux")


@LINUX_ONLY
def test_without_bubblewrap_nothing_runs_and_the_mend_is_told(machine, refused):
    machine()
    with refused(
        "bwrap is missing",
        "apt-get install bubblewrap",
        "evaluate.run_code=false",
        "selfprompt_no_code",
    ):
        run_program(GOOD, TEST, "double")


@LINUX_ONLY
def test_where_bubblewrap_does_not_run_its_own_reason_is_told(machine, refused):
    machine(
        bwrap="echo bwrap: No permissions to create a new namespace >&2; exit 1", prlimit="exit 0"
    )
    with refused(
        "does not run here", "No permissions to create a new namespace", "evaluate.run_code=false"
    ):
        require_sandbox()


def test_other_systems_are_refused(machine, monkeypatch, refused):
    machine()
    monkeypatch.setattr(sys, "platform", "darwin")
    with refused("only Linux", "evaluate.run_code=false"):
        require_sandbox()


@LINUX_ONLY
def test_a_run_and_plain_lm_eval_are_refused_before_anything_is_asked(machine, refused):
    machine()
    with refused("bwrap is missing", "evaluate.run_code=false"):
        sources.check_inputs(profiles.load("smoke", {"evaluate.run_code": True}))
    with refused("bwrap is missing", "selfprompt_no_code"):
        utils.load("openai/openai_humaneval", "openai_humaneval", kind="code")
    sources.check_inputs(profiles.load("smoke"))
