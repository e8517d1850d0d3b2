"""Benchmarks of any columns as docs with the same fields, by a task's YAML (chapter 5)."""

import os
import random
import string
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
from jinja2 import StrictUndefined, TemplateError
from lm_eval.utils import env
from pyarrow import ArrowException

from .. import sandbox
from ..errors import UserError, require
from ..files import hub_rows
from ..reading import DATA_SUFFIXES, read_json_lines, user_path
from .extraction import KINDS
from .numerals import canonical_number

FIELDS = ("question", "key", "options", "id", "stratum")
ID_COLUMNS = ("id", "qid", "task_id", "question_id")
YES_NO_KEYS = {"true": "yes", "yes": "yes", "1": "yes", "false": "no", "no": "no", "0": "no"}


def load_benchmark(path: str = "", name: str | None = None, split: str = "test",
                   columns: dict[str, Any] | None = None, kind: str = "", shuffle: bool = False,
                   data: str | None = None, items: int | None = None, seed: int = 0,
                   design: str | None = None, config_source: str = "",
                   **_) -> dict[str, datasets.Dataset]:
    """The docs of a benchmark as the split `test` (chapter 5).

    lm-eval passes `metadata` and `dataset_kwargs` of the YAML. `path` is a data set's name on the
    hub, read from there or from the folder `data` in the hub's layout, or a file (`.jsonl`, `.csv`,
    …), relative to the YAML. `items` and `seed` pick a fixed subset, see `stratified_subset`.
    `design` names what the model writes first, where the readers do not know it by themselves: a
    strategy, or a YAML file of the user's.

    Raises:
        UserError: no such data, a fault in a row or in `columns`, no sandbox for programs.
    """
    yaml = Path(config_source).name or "task"
    if kind == "code":
        sandbox.require_sandbox()  # before hours of asking, not after
    require(path, f"{yaml}: dataset_kwargs.path is missing; "
                  "name a data set of the hub or a .jsonl file")
    data = data or os.environ.get("SELFPROMPT_DATA")
    if path.lower().endswith(DATA_SUFFIXES):
        file = Path(config_source).parent / user_path(path)
        rows, where = read_json_lines(file), str(file)
    else:
        which = f"{name}, {split}" if name else split
        rows, where = hub_rows(path, name, split, data), f"{path} ({which}) on the hub"
        if data:
            where = f"{user_path(data) / path / (name or '*') / split}.jsonl"
    docs = make_docs(rows, columns or {}, kind, shuffle, f"{yaml}: {where}")
    docs = [doc | {"design": design} for doc in docs] if design else docs
    try:
        return {"test": datasets.Dataset.from_list(stratified_subset(docs, items, seed))}
    except ArrowException as error:
        raise UserError(f"{yaml}: {where}: a column has values of several types ({error}); "
                        "give all rows one type") from None


def stratified_subset(docs: list[dict], items: int | None, seed: int) -> list[dict]:
    """`items` docs, the same for the same seed; every stratum has its share (chapter 5).

    Systematic sampling: the docs are shuffled by the seed, ordered by stratum, and taken at even
    distances from a start that the seed draws. What is taken stands in the order of the data. None
    or too large a number means all.
    """
    require(items is None or (isinstance(items, int) and items > 0),
            f"items: {items!r} must be a whole number above 0; or leave it out")
    if items is None or items >= len(docs):
        return docs
    chance = random.Random(seed)
    order = chance.sample(range(len(docs)), len(docs))
    order.sort(key=lambda index: docs[index]["stratum"])
    start, step = chance.random(), len(docs) / items
    taken = (order[int((start + i) * step)] for i in range(items))
    return [docs[index] for index in sorted(taken)]


def make_docs(rows: list[dict], columns: dict[str, Any], kind: str, shuffle: bool,
              where: str) -> list[dict[str, Any]]:
    """The docs of a data set: its columns, and `kind`, `id`, `stratum`, `question`, `key`.

    A choice also has `options`. A value of `columns` is a column's name (any Jinja expression), a
    text with columns in braces, or a list of them. `id` is the data's own, or the row's index.
    With `shuffle` the options stand in an order that only the question decides. Used in chapter 5.

    Raises:
        UserError: an unknown field, a missing column, a row without its key, an id that occurs
            twice; with the file (`where`), the row and the mend.
    """
    _check_columns(rows, columns, kind, where)
    getters = {field: _getter(columns[field], field, where) for field in columns}
    docs = [_doc(row, index, getters, kind, shuffle, f"{where}, row {index + 1}")
            for index, row in enumerate(rows)]
    twice = [id for id, times in Counter(doc["id"] for doc in docs).items() if times > 1]
    require(not twice, f"{where}: ids occur more than once ({', '.join(twice[:3])}); "
                       "make each unique, or set columns.id")
    return docs


def _check_columns(rows: list[dict], columns: dict[str, Any], kind: str, where: str) -> None:
    require(rows, f"{where}: the split is empty; name another in dataset_kwargs.split")
    require(kind in KINDS, f"{where}: metadata.kind is {kind!r}; set one of {', '.join(KINDS)}, "
                           "or include one of the package's _*.yaml")
    known = isinstance(columns, dict) and set(columns) <= set(FIELDS)
    require(known, f"{where}: dataset_kwargs.columns takes {', '.join(FIELDS)}; it is {columns!r}")
    for field in ("question", "key", *(["options"] if kind == "choice" else [])):
        require(field in columns, f"{where}: dataset_kwargs.columns has no {field}; "
                                  "name the column that gives it")


def _getter(source: Any, field: str, where: str) -> Callable[[dict], Any]:
    """A function that takes a field out of a row."""
    if isinstance(source, list):
        parts = [_getter(part, field, where) for part in source]
        return lambda row: [part(row) for part in parts]
    require(isinstance(source, str), f"{where}: columns.{field} is {source!r}; "
                                     "give a column's name or a text with columns")
    try:
        if "{{" in source:
            return env.from_string(source).render
        return env.compile_expression(source, undefined_to_none=False)
    except TemplateError as error:
        raise UserError(f"{where}: columns.{field} cannot be understood: {error}") from None


def _doc(row: dict, index: int, getters: dict[str, Callable], kind: str, shuffle: bool,
         where: str) -> dict[str, Any]:
    def field(name: str) -> Any:
        try:
            value = getters[name](row)
        except (TemplateError, ValueError, TypeError, IndexError, KeyError, AttributeError):
            value = StrictUndefined()
        if isinstance(value, StrictUndefined):
            raise UserError(f"{where}: columns.{name} cannot be taken from it; "
                            f"its columns are {', '.join(row)}")
        require(name not in ("question", "key") or value is None
                or isinstance(value, str | int | float) and value == value,
                f"{where}: {name} is {value!r}, and no text or number; mend it")
        require(value is not None and (name == "stratum" or str(value).strip()),
                f"{where}: no {name}; fill it in, or take another split")
        return value

    own = next((row[name] for name in ID_COLUMNS if row.get(name) not in (None, "")), index)
    doc = row | {
        "kind": kind,
        "id": str(field("id") if "id" in getters else own),
        "question": str(field("question")),
        "stratum": str(field("stratum")) if "stratum" in getters else "",
    }
    if kind == "choice":
        seed = doc["question"] if shuffle else None
        return doc | _options_and_key(field("options"), field("key"), seed, where)
    return doc | {"key": _key(field("key"), kind, where)}


def _key(key: Any, kind: str, where: str) -> str:
    """The right answer in the form in which a reader gives it."""
    if kind == "code":
        return str(key)
    found = canonical_number(str(key)) if kind == "number" else YES_NO_KEYS.get(str(key).lower())
    wanted = {"number": "a number", "yes_no": "yes, no, true or false"}[kind]
    require(found is not None, f"{where}: the key {key!r} is not {wanted}; mend columns.key")
    return found


def _options_and_key(options: Any, key: Any, seed: str | None, where: str) -> dict[str, Any]:
    """Options and the right letter; shuffled with a `seed`."""
    require(isinstance(options, list | tuple) and 2 <= len(options) <= 26,
            f"{where}: options is {options!r}; it must be a list of 2 to 26 texts")
    require(all(isinstance(option, str | int | float) and option == option and str(option).strip()
                for option in options),
            f"{where}: options is {options!r}; each must have a text")
    right = _index_of_key(key, options)
    require(right is not None, f"{where}: the key {key!r} is no index, letter or text of "
                               f"just one of {len(options)} options; mend columns.key")
    order = list(range(len(options)))
    if seed is not None:
        order = random.Random(seed).sample(order, len(order))
    return {"options": [str(options[i]).strip() for i in order],
            "key": string.ascii_uppercase[order.index(right)]}


def _index_of_key(key: Any, options: list) -> int | None:
    """The place of the right option, by its index from 0, its letter, or its text."""
    if isinstance(key, int) and not isinstance(key, bool):
        places = {key} if 0 <= key < len(options) else set()
        # None where it is another option, as 3 of [1, 2, 3]; the text "3" is none: "3" of MMLU.
        places |= {place for place, option in enumerate(options)
                   if option == key and not isinstance(option, bool)}
        return places.pop() if len(places) == 1 else None
    texts, text = [str(option).strip() for option in options], str(key).strip()
    letters = string.ascii_uppercase[: len(options)]
    if len(str(key)) == 1 and str(key) in letters:
        place = letters.index(str(key))  # None where it is the text of another one: a blood group
        return place if text not in texts or texts[place] == text else None
    return texts.index(text) if texts.count(text) == 1 else None
