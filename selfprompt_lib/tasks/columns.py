"""Rows of any data set as docs with the same fields, by the `columns` of a task's YAML (chapter 5)."""

import random
import string
from collections import Counter
from collections.abc import Callable
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from lm_eval.utils import env

from ..errors import UserError, require
from .quantities import canonical
from .readers import KINDS

FIELDS = ("question", "key", "options", "id", "stratum")
ID_COLUMNS = ("id", "qid", "task_id", "question_id")
VERDICTS = {"true": "yes", "yes": "yes", "1": "yes", "false": "no", "no": "no", "0": "no"}


def docs(rows: list[dict], columns: dict[str, Any], kind: str, shuffle: bool, where: str) -> list[dict[str, Any]]:
    """The docs of a data set: its columns, and `kind`, `id`, `stratum`, `question`, `key`; for a choice `options`.

    A value of `columns` is a column's name (any Jinja expression), a text with columns in braces, or a list of
    them. `id` is the data's own, or the row's index. With `shuffle` the options stand in an order that only
    the question decides.

    Raises:
        UserError: an unknown field, a missing column, a row without its key, an id that occurs twice; with the
            file (`where`), the row and the mend.
    """
    _check(rows, columns, kind, where)
    ask = {field: _asker(columns[field], field, where) for field in columns}
    found = [_doc(row, index, ask, kind, shuffle, f"{where}, row {index + 1}") for index, row in enumerate(rows)]
    ids = [doc["id"] for doc in found]
    twice = [id for id, times in Counter(ids).items() if times > 1]
    require(not twice, f"{where}: ids occur more than once ({', '.join(twice[:3])}); make each unique, or set columns.id")
    return found


def _check(rows: list[dict], columns: dict[str, Any], kind: str, where: str) -> None:
    require(rows, f"{where}: the split is empty; name another in dataset_kwargs.split")
    require(kind in KINDS, f"{where}: metadata.kind is {kind!r}; set one of {', '.join(KINDS)}, or include one of "
                           "_choice.yaml, _number.yaml, _yes_no.yaml, _code.yaml")
    known = isinstance(columns, dict) and set(columns) <= set(FIELDS)
    require(known, f"{where}: dataset_kwargs.columns takes {', '.join(FIELDS)}; it is {columns!r}")
    for field in ("question", "key", *(["options"] if kind == "choice" else [])):
        require(field in columns, f"{where}: dataset_kwargs.columns has no {field}; name the column that gives it")


def _asker(source: Any, field: str, where: str) -> Callable[[dict], Any]:
    """A function that takes a field out of a row."""
    if isinstance(source, list):
        parts = [_asker(part, field, where) for part in source]
        return lambda row: [part(row) for part in parts]
    require(isinstance(source, str), f"{where}: columns.{field} is {source!r}; give a column's name or a text with columns")
    try:
        return env.from_string(source).render if "{{" in source else env.compile_expression(source, undefined_to_none=False)
    except TemplateError as error:
        raise UserError(f"{where}: columns.{field} cannot be understood: {error}") from None


def _doc(row: dict, index: int, ask: dict[str, Callable], kind: str, shuffle: bool, where: str) -> dict[str, Any]:
    def field(name: str) -> Any:
        try:
            value = ask[name](row)
            require(not isinstance(value, StrictUndefined), "")
        except (TemplateError, ValueError, TypeError, IndexError, KeyError, AttributeError):
            raise UserError(f"{where}: columns.{name} cannot be taken from it; its columns are {', '.join(row)}") from None
        require(value is not None and (name == "stratum" or str(value).strip()),
                f"{where}: no {name}; fill it in, or take another split")
        return value

    own = next((row[name] for name in ID_COLUMNS if row.get(name) not in (None, "")), index)
    doc = row | {"kind": kind, "id": str(field("id") if "id" in ask else own), "question": str(field("question")),
                 "stratum": str(field("stratum")) if "stratum" in ask else ""}
    if kind == "choice":
        return doc | _choice(field("options"), field("key"), doc["question"] if shuffle else None, where)
    return doc | {"key": _key(field("key"), kind, where)}


def _key(key: Any, kind: str, where: str) -> str:
    """The right answer in the form in which a reader gives it."""
    if kind == "number":
        found = canonical(str(key))
        require(found is not None, f"{where}: the key {key!r} is not a number; mend columns.key")
        return found
    if kind == "yes_no":
        require(str(key).lower() in VERDICTS, f"{where}: the key {key!r} is not yes, no, true or false; mend columns.key")
        return VERDICTS[str(key).lower()]
    return str(key)


def _choice(options: Any, key: Any, seed: str | None, where: str) -> dict[str, Any]:
    """Options and the right letter; shuffled with a `seed`."""
    require(isinstance(options, list | tuple) and 2 <= len(options) <= 26,
            f"{where}: options is {options!r}; it must be a list of 2 to 26 texts")
    options, right = [str(option).strip() for option in options], _index(key, options)
    require(right is not None,
            f"{where}: the key {key!r} is no index, letter or text of {len(options)} options; mend columns.key")
    order = list(range(len(options))) if seed is None else random.Random(seed).sample(range(len(options)), len(options))
    return {"options": [options[i] for i in order], "key": string.ascii_uppercase[order.index(right)]}


def _index(key: Any, options: list[str]) -> int | None:
    """The place of the right option, by its index from 0, its letter, or its text."""
    if isinstance(key, int) and not isinstance(key, bool):
        return key if 0 <= key < len(options) else None
    letters = string.ascii_uppercase[: len(options)]
    if len(str(key)) == 1 and str(key) in letters:
        return letters.index(str(key))
    return options.index(str(key).strip()) if options.count(str(key).strip()) == 1 else None
