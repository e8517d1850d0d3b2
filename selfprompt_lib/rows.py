"""Rows: role annotations, training samples and held-out questions, and how they are read.

A training file has LIMA's columns (`conversations`, `source`) and may add `id`, `domain` and
`role`. It can be the starter data, a JSONL file, a data set on the hub, or a folder that
mirrors the hub (`<org>/<name>/<config>/<split>.jsonl`).
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .errors import UserError, require

STARTER_FOLDER = Path(__file__).parent / "resources" / "starter"
DOMAINS = (
    "humanities", "language", "social science", "history", "culture",
    "technology", "coding", "mathematics", "natural science", "health",
)
LONE = re.compile("[\ud800-\udfff]")  # surrogates, which JSON may escape but no file can hold


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Role(_Row):
    """One role annotation, from which every prompt design can be rendered (chapter 1).

    `expert` is a noun phrase ("a paediatric nurse who runs a night clinic"), `brings` one or two
    sentences on what that expert brings to this question, `request` a verb phrase that restates
    it ("explain why ice floats"). White space is collapsed, so that a role is one paragraph.
    """

    expert: str = Field(min_length=1)
    brings: str = Field(min_length=1)
    request: str = Field(min_length=1)

    @field_validator("expert", "brings", "request", mode="before")
    @classmethod
    def _one_paragraph(cls, text: object) -> object:
        return " ".join(text.split()) if isinstance(text, str) else text

    @property
    def text(self) -> str:
        """The role as plain text, free of any prompt design; used to measure roles (chapter 2)."""
        return f"{self.expert}. {self.brings} {self.request}"


class Conversation(_Row):
    """Alternating turns that begin with the user's: what can be annotated, with an answer or without (chapter 1).

    Rows may have LIMA's `conversations`, TRL's `messages` or `prompt` and `completion`, Alpaca's
    `instruction`, `input` and `output`, or `question` and `answer`.
    """

    id: str
    domain: str = "unknown"
    source: str = "unknown"
    conversations: tuple[str, ...] = Field(min_length=1)
    role: Role | None = None

    @model_validator(mode="before")
    @classmethod
    def _any_columns(cls, row: object) -> object:
        return row | {"conversations": turns(row)} if isinstance(row, dict) and "conversations" not in row else row

    @field_validator("conversations")
    @classmethod
    def _asked(cls, conversation: tuple[str, ...]) -> tuple[str, ...]:
        for number, turn in enumerate(conversation, 1):
            if not turn.strip():
                raise ValueError(f"turn {number} is empty; write it, or take the row out")
        return conversation

    @property
    def question(self) -> str:
        return self.conversations[0]


class Sample(Conversation):
    """A training sample: every user turn has its answer."""

    @model_validator(mode="after")
    def _even(self) -> "Sample":
        if len(self.conversations) < 2 or len(self.conversations) % 2:
            raise ValueError(
                f"conversations has {len(self.conversations)} turns; it needs an even number "
                "(user, assistant, …): drop the last user turn or add its answer"
            )
        return self

    @property
    def answer(self) -> str:
        return self.conversations[1]


def turns(row: dict) -> object:
    """The turns of a row that has the columns of another instruction set.

    Raises:
        ValueError: no known columns, or messages that do not alternate between user and assistant.
    """
    if isinstance(row.get("messages"), list):
        return _alternating(row["messages"], "messages")
    for asked, answered in (("prompt", "completion"), ("instruction", "output"), ("question", "answer")):
        if row.get(asked) is not None:
            if isinstance(row[asked], list):
                more = row.get(answered) or []
                return _alternating(row[asked] + (more if isinstance(more, list) else [more]), f"{asked} and {answered}")
            question = _text(row, asked)
            if asked == "instruction" and row.get("input"):
                question += f"\n\n{_text(row, 'input')}"
            return [question] if row.get(answered) is None else [question, _text(row, answered)]
    raise ValueError("no conversations, messages, prompt, instruction or question; name the column so")


def _text(row: dict, name: str) -> str:
    if not isinstance(row[name], str):
        raise ValueError(f"{name}: Input should be a valid string")
    return row[name]


def _alternating(messages: list, columns: str) -> list:
    expected = ["user", "assistant"] * len(messages)
    for number, (message, who) in enumerate(zip(messages, expected, strict=False), 1):
        if not isinstance(message, dict) or message.get("role") != who:
            found = message.get("role") if isinstance(message, dict) else type(message).__name__
            raise ValueError(f"{columns}: turn {number} is {found!r}, expected {who!r} (take system turns out)")
    return [message.get("content") for message in messages]


class Question(_Row):
    """A held-out open question with a reference answer (chapter 4)."""

    id: str
    domain: str = "unknown"
    question: str = Field(min_length=1)
    reference: str = ""


RowT = TypeVar("RowT", bound=BaseModel)


def read_json_lines(path: Path) -> list[dict]:
    """The objects of a JSONL file, with clear errors that name the file and the line."""
    return [row for _, row in json_lines(path)]


def json_lines(path: Path) -> Iterator[tuple[int, dict]]:
    """The objects of a JSONL file with their line numbers, one after the other.

    Raises:
        UserError: no such file, no rows, a line that is not UTF-8, not JSON, or no object.
    """
    require(path.is_file(), f"{path}: no such file; give an existing JSONL file")
    found = False
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(f"{path}, line {number}: not UTF-8 (byte {error.start}); save the file as UTF-8") from None
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                why = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else "nested too deeply"
                why = "a number with too many digits" if type(error) is ValueError else why
                raise UserError(f"{path}, line {number}: not valid JSON ({why}); mend or delete the line") from None
            require(isinstance(row, dict), f"{path}, line {number}: expected an object {{…}}")
            lone = rb"\ud" in raw.lower() and LONE.search(json.dumps(row, ensure_ascii=False))
            require(not lone, f"{path}, line {number}: half of a character (such as \\ud83d alone); mend or delete the line")
            found = True
            yield number, row
    require(found, f"{path}: the file holds no rows")


def read_rows(path: Path, kind: type[RowT]) -> list[RowT]:
    """The rows of a JSONL file as `kind`; an invalid one is named with its line and field."""
    return list(stream_rows(path, kind))


def stream_rows(path: Path, kind: type[RowT]) -> Iterator[RowT]:
    """`read_rows` one row at a time, for files of any length (chapter 1)."""
    return _validated(((f"{path}, line {number}", row) for number, row in json_lines(Path(path))), kind)


def parse_rows(rows: Iterable[dict], kind: type[RowT], origin: str) -> list[RowT]:
    """Validate raw rows; a missing `id` becomes the row's index in its file.

    Raises:
        UserError: with origin, row number, field and what is wrong with it.
    """
    return list(_validated(((f"{origin}, row {number}", row) for number, row in enumerate(rows, 1)), kind))


def _validated(rows: Iterable[tuple[str, dict]], kind: type[RowT]) -> Iterator[RowT]:
    seen = set()
    for index, (where, row) in enumerate(rows):
        try:
            parsed = kind.model_validate({"id": f"row-{index}"} | row)
        except ValidationError as error:
            raise UserError(f"{where}: {first_fault(error)}") from None
        require(parsed.id not in seen, f"{where}: id {parsed.id!r} occurs twice; make it unique")
        seen.add(parsed.id)
        yield parsed


def first_fault(error: ValidationError) -> str:
    """The first fault of a pydantic error as `field: what is wrong`."""
    fault = error.errors()[0]
    field = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    return f"{field}: {message}" if field else message


def write_rows(path: Path, rows: Iterable[BaseModel | dict]) -> Path:
    """Write rows as JSONL, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(path.suffix + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        for row in rows:
            plain = row.model_dump(mode="json") if isinstance(row, BaseModel) else row
            file.write(json.dumps(plain, ensure_ascii=False) + "\n")
    partial.replace(path)
    return path


def messages(question: str, answer: str | None = None) -> list[dict[str, str]]:
    """A one-turn conversation in the `messages` form of TRL and transformers."""
    turns = [{"role": "user", "content": question}]
    return turns + ([{"role": "assistant", "content": answer}] if answer is not None else [])
