"""Rows: role annotations, training samples and held-out questions, and how they are validated.

A training file has LIMA's columns (`conversations`, `source`) and may add `id`, `domain` and
`role`. It can be the starter data, a JSONL file, a data set on the hub, or a folder that
mirrors the hub (`<org>/<name>/<config>/<split>.jsonl`).
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .errors import UserError, require
from .files import stream_json_lines

STARTER_FOLDER = Path(__file__).parent / "resources" / "starter"
DOMAINS = (
    "humanities", "language", "social science", "history", "culture",
    "technology", "coding", "mathematics", "natural science", "health",
)
COLUMN_PAIRS = (("prompt", "completion"), ("instruction", "output"), ("question", "answer"))


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
    """Alternating turns that begin with the user's: what can be annotated (chapter 1).

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
        if isinstance(row, dict) and "conversations" not in row:
            return row | {"conversations": turns_from_columns(row)}
        return row

    @field_validator("conversations")
    @classmethod
    def _no_empty_turn(cls, conversation: tuple[str, ...]) -> tuple[str, ...]:
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
    def _every_turn_answered(self) -> "Sample":
        count = len(self.conversations)
        if count < 2 or count % 2:
            raise ValueError(f"conversations has {count} turns; it needs an even number "
                             "(user, assistant, …): drop the last user turn or add its answer")
        return self

    @property
    def answer(self) -> str:
        return self.conversations[1]


class Question(_Row):
    """A held-out open question with a reference answer (chapter 4)."""

    id: str
    domain: str = "unknown"
    question: str = Field(min_length=1)
    reference: str = ""


def drop_unanswered_turn(turns: Sequence[str]) -> Sequence[str]:
    """The turns without a last user turn: one of LIMA's has no answer to learn from."""
    return turns[: len(turns) // 2 * 2]


def chat_messages(*turns: str) -> list[dict[str, str]]:
    """Turns that begin with the user's, in the `messages` form of TRL and transformers."""
    return [{"role": "assistant" if number % 2 else "user", "content": turn}
            for number, turn in enumerate(turns)]


def turns_from_columns(row: dict) -> object:
    """The turns of a row that has the columns of another instruction set.

    Raises:
        ValueError: no known columns, or messages that do not alternate between user and assistant.
    """
    if isinstance(row.get("messages"), list):
        return _alternating_turns(row["messages"], "messages")
    for asked, answered in COLUMN_PAIRS:
        if row.get(asked) is None:
            continue
        if isinstance(row[asked], list):  # TRL's conversational form
            completion = row.get(answered) or []
            messages = row[asked] + (completion if isinstance(completion, list) else [completion])
            return _alternating_turns(messages, f"{asked} and {answered}")
        question = _text(row, asked)
        if asked == "instruction" and row.get("input"):
            question += f"\n\n{_text(row, 'input')}"
        return [question] if row.get(answered) is None else [question, _text(row, answered)]
    raise ValueError("no conversations, messages, prompt, instruction or question; "
                     "name the column so")


def _text(row: dict, name: str) -> str:
    if not isinstance(row[name], str):
        raise ValueError(f"{name}: Input should be a valid string")
    return row[name]


def _alternating_turns(messages: list, columns: str) -> list:
    for index, message in enumerate(messages):
        expected = "assistant" if index % 2 else "user"
        found = message.get("role") if isinstance(message, dict) else type(message).__name__
        if found != expected:
            raise ValueError(f"{columns}: turn {index + 1} is {found!r}, expected {expected!r} "
                             "(take system turns out)")
    return [message.get("content") for message in messages]


RowT = TypeVar("RowT", bound=BaseModel)


def read_rows(path: Path, kind: type[RowT]) -> list[RowT]:
    """The rows of a JSONL file as `kind`; an invalid one is named with its line and field."""
    return list(stream_rows(path, kind))


def stream_rows(path: Path, kind: type[RowT]) -> Iterator[RowT]:
    """`read_rows` one row at a time, for files of any length (chapter 1)."""
    lines = stream_json_lines(Path(path))
    return _validated(((f"{path}, line {number}", row) for number, row in lines), kind)


def parse_rows(rows: Iterable[dict], kind: type[RowT], origin: str) -> list[RowT]:
    """Validate raw rows; a missing `id` becomes the row's index in its file.

    Raises:
        UserError: with origin, row number, field and what is wrong with it.
    """
    numbered = enumerate(rows, 1)
    return list(_validated(((f"{origin}, row {number}", row) for number, row in numbered), kind))


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
