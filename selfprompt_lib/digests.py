"""What files, folders and code are, by content: wherever they lie, and whenever they were written.

Two copies of a run, a model or a data set on two machines have the same digests. And which of the
package's own files this process has opened: the code that it imported, and the data that it read.
"""

import ast
import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import resolve_name, source_from_cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent
LARGE = 2**20  # bytes; the digest of a larger file is kept, so that it is read once
SETTLED = 2 * 10**9  # nanoseconds; a file changed since may change again without a later time
_known: dict[tuple, str] = {}
_unwritten: set[str] = set()  # files whose digests are not in the user's cache yet
_opened: set[str] = set()
_noting = True


def _note(event: str, arguments: tuple) -> None:
    if event == "open" and _noting and str(arguments[0]).startswith(f"{PACKAGE}{os.sep}"):
        _opened.add(str(arguments[0]))


sys.addaudithook(_note)


@contextlib.contextmanager
def _unnoticed() -> Iterator[None]:
    """What is opened meanwhile is opened to be compared, not to be used."""
    global _noting
    _noting, before = False, _noting
    try:
        yield
    finally:
        _noting = before


def opened_files() -> set[str]:
    """The files of the package that this process has used, by their paths in the package.

    A compiled module counts as its source.
    """
    paths = (source_from_cache(name) if name.endswith(".pyc") else name for name in _opened)
    return {Path(path).relative_to(PACKAGE).as_posix() for path in paths}


def note_opened(names: Iterable[str]) -> None:
    """Count files of the package as used, as a result is that was taken up and not made."""
    _opened.update(str(PACKAGE / name) for name in names)


def cache_folder() -> Path:
    """Where made checkpoints and digests are kept: `$SELFPROMPT_CACHE`, else the user's cache."""
    from platformdirs import user_cache_path  # here, so that it can be told where it is missing

    return Path(os.environ.get("SELFPROMPT_CACHE") or user_cache_path("selfprompt_lib"))


def text_digest(content: Any) -> str:
    """SHA-256 of anything that JSON can write."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes; of a Python file, of what it does (`code_digest`).

    It is kept under device, inode, size and times, and taken anew where one of these differs. Those
    of large files and of Python files, which cost the most, are kept in the user's cache, where
    `path_digest` and `folder_digests` write them down.
    """
    stat = path.stat()
    mark = (path.suffix, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) < SETTLED:
        return _digest(path)
    if mark not in _known:
        costly = path.suffix == ".py" or stat.st_size > LARGE
        _known[mark] = _kept_digest(path, text_digest(mark)) if costly else _digest(path)
    return _known[mark]


def _digest(path: Path) -> str:
    if path.suffix == ".py":
        return code_digest(path)
    with _unnoticed(), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kept_digest(path: Path, mark: str) -> str:
    name, file = str(path.absolute()), _kept_in()
    kept = _kept(file)
    if kept.get(name, ("", ""))[0] != mark:  # another process may have taken it meanwhile
        kept[name] = _read_kept(file).get(name, ("", ""))
    if kept[name][0] != mark:
        kept[name] = mark, _digest(path)
        _unwritten.add(name)
    return kept[name][1]


@cache
def _kept(file: Path) -> dict[str, tuple[str, str]]:
    """Mark and digest of files by path, as this process knows them."""
    return _read_kept(file)


def _read_kept(file: Path) -> dict[str, tuple[str, str]]:
    """The same, as processes wrote them down."""
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        found = json.loads(file.read_text(encoding="ascii"))
        return {name: (mark, digest) for name, (mark, digest) in found.items()}
    return {}


def _write_down() -> None:
    """Add what is new to the cache, once for many files, and forget files that are gone."""
    if not _unwritten:
        return
    file = _kept_in()
    known = _read_kept(file) | {name: _kept(file)[name] for name in _unwritten & {*_kept(file)}}
    _unwritten.clear()
    there = {name: each for name, each in known.items() if os.path.exists(name)}
    with contextlib.suppress(OSError):  # no such luxury where nothing can be written
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(there), encoding="ascii")
        partial.replace(file)


def _kept_in() -> Path:
    """Where digests are kept: apart for each way of taking them."""
    return cache_folder() / "digests" / f"{_way_of_taking()[:16]}.json"


@cache
def _way_of_taking() -> str:
    """A digest of this module and of Python's version, on which a syntax tree depends."""
    return text_digest([Path(__file__).read_text(encoding="utf-8"), sys.version])


def folder_digests(folder: Path, without: tuple[str, ...] = ()) -> dict[str, str]:
    """The files below a folder with their digests; without those whose names begin so.

    Left out is what no program reads there: hidden files, compiled Python, and README pages.
    """
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder)
        idle = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
        if not (idle or name.name == "README.md" or name.as_posix().startswith(without)):
            found[name.as_posix()] = file_digest(path)
    _write_down()
    return found


def path_digest(path: Path) -> str:
    """One digest of a file, or of all that lies in a folder."""
    if path.is_dir():
        return text_digest(folder_digests(path))
    digest = file_digest(path)
    _write_down()
    return digest


def code_digest(*paths: Path) -> str:
    """A digest of what Python files do: without comments, docstrings and layout."""
    return text_digest([_code(path)[0] for path in paths])


def _code(path: Path) -> tuple[str, list[ast.Import | ast.ImportFrom]]:
    """A digest of what a Python file does, and its imports, also those inside a function."""
    with _unnoticed():
        return _parsed(path.read_bytes())


@cache
def _parsed(source: bytes) -> tuple[str, list[ast.Import | ast.ImportFrom]]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return text_digest(source.decode(errors="replace")), []
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return text_digest(_plain(tree)), imports


def _plain(node: Any) -> Any:
    """A syntax tree as lists. `ast.dump` writes it otherwise in each version of Python."""
    if isinstance(node, ast.AST):
        fields = ((name, _plain(value)) for name, value in ast.iter_fields(node))
        return [type(node).__name__, *(pair for pair in fields if pair[1] not in (None, []))]
    if isinstance(node, list):
        return [_plain(part) for part in node if not _is_docstring(part)]
    return None if node is None else repr(node)


def _is_docstring(node: Any) -> bool:
    value = getattr(node, "value", None)
    return isinstance(node, ast.Expr) and isinstance(getattr(value, "value", None), str)


@cache
def package_modules() -> dict[str, Path]:
    """The package's modules and their files."""
    modules = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


@cache
def imported_modules(name: str) -> frozenset[str]:
    """The modules of the package that one of them imports, at its top or inside a function."""
    known, found = package_modules(), set()
    path = known[name]
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    for node in _code(path)[1]:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        else:
            whole = resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                inner = f"{whole}.{alias.name}"
                target = inner if inner in known else whole
                is_around_it = name.startswith(f"{target}.")  # its own package is there before it
                if target in known and not is_around_it:
                    found.add(target)
    return frozenset(found - {name})


def closure(names: Iterable[str], without: Iterable[str] = ()) -> list[str]:
    """The modules of the package that some of them import, directly or not; they themselves too."""
    left, found = list(names), set(without)
    while left:
        if (name := left.pop()) not in found:
            found.add(name)
            left += imported_modules(name)
    return sorted(found - set(without))
