"""The house: short modules, lines that fit, and no import circle, not even one that a lazy import hides."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from selfprompt_lib.digests import imported_modules, package_modules

PROJECT = Path(__file__).parents[1]
LONGEST = 250  # lines of a module
WIDEST = 100  # columns
PAGES = {path.stem: path for path in (PROJECT / "book" / "pages").glob("*.py")}
FILES = [*package_modules().values(), *PAGES.values()]


def imported_pages(path):
    """The modules of book/pages that one of them imports; they lie in one folder, and know each other by name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {f"book/pages/{name}" for name in names & PAGES.keys()}


def test_no_import_circle_and_none_that_a_lazy_import_hides():
    graph = {name: imported_modules(name) for name in package_modules()}
    graph |= {f"book/pages/{name}": imported_pages(path) for name, path in PAGES.items()}
    assert sum(map(len, graph.values())) > 100 and len(graph["book/pages/build_book"]) > 5
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(f"an import circle: {' -> '.join(reversed(error.args[1]))}") from None


def test_no_module_is_too_long_to_be_read_in_one_sitting():
    lengths = {str(path.relative_to(PROJECT)): len(path.read_text(encoding="utf-8").splitlines())
               for path in FILES}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_no_line_is_too_wide():
    wide = [f"{path.relative_to(PROJECT)}:{number}" for path in FILES
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if len(line) > WIDEST]
    assert wide == []


def test_no_page_and_no_study_has_the_name_of_another():
    """Tests import both by their bare names."""
    assert not PAGES.keys() & {path.stem for path in (PROJECT / "book" / "studies").glob("*.py")}
