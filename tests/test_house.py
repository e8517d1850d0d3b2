"""The house: short modules, lines that fit, and no import circle, not even one that a lazy import hides."""

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from selfprompt_lib.digests import imported_modules, package_modules

PROJECT = Path(__file__).parents[1]
LONGEST = 250  # lines of a module
WIDEST = 100  # columns


def test_no_import_circle_and_none_that_a_lazy_import_hides():
    graph = {name: imported_modules(name) for name in package_modules()}
    assert sum(map(len, graph.values())) > 100
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(f"an import circle: {' -> '.join(reversed(error.args[1]))}") from None


def test_no_module_is_too_long_to_be_read_in_one_sitting():
    lengths = {str(path.relative_to(PROJECT)): len(path.read_text(encoding="utf-8").splitlines())
               for path in package_modules().values()}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_no_line_is_too_wide():
    wide = [f"{path.relative_to(PROJECT)}:{number}" for path in package_modules().values()
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if len(line) > WIDEST]
    assert wide == []
