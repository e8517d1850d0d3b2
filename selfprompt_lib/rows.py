"""Rows: role annotations, training samples and held-out questions, and how they are validated.

A training file has LIMA's columns (`conversations`, `source`) or those of another instruction set
(`formats`), and may add `id`, `domain` and `role`. `sources` says where it can lie.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from .formats import filled, read_turns, unknown_keys
from .reading import Faults, stream_objects

STARTER_FOLDER = Path(__file__).parent / "resources" / "starter"
DOMAINS = (
    "humanities", "language", "social science", "history", "culture",
    "technology", "coding", "mathematics", "natural science", "health",
)
Name = Annotated[str, Field(coerce_numbers_to_str=True)]  # tools number rows and classes
ROLE = "role"  # the paper's prompting strategy


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


def _one_paragraph(text: object) -> object:
    return " ".join(text.split()) if isinstance(text, str) else text


class Role(_Row):
    """One role annotation, from which every prompt design can be rendered (chapter 1).

    `expert` is a noun phrase ("a paediatric nurse who runs a night clinic"), `brings` one or two
    sentences on what that expert brings to this question, `request` a verb phrase that restates
    it ("explain why ice floats"). White space is collapsed, so that a role is one paragraph.
    """

    expert: str = Field(min_length=1)
    brings: str = Field(min_length=1)
    request: str = Field(min_length=1)
    _collapse = field_validator("expert", "brings", "request", mode="before")(_one_paragraph)

    @property
    def text(self) -> str:
        """The role as plain text, free of any prompt design; used to measure roles (chapter 2)."""
        return f"{self.expert}. {self.brings} {self.request}"

    @property
    def strategy(self) -> str:
        return ROLE


class StrategyText(_Row):
    """What another prompting strategy writes before an answer, such as a plan: one paragraph.

    The `strategies` of the package and of users (chapter 6).
    """

    strategy: str = Field(min_length=1)
    text: str = Field(min_length=3)
    _collapse = field_validator("text", mode="before")(_one_paragraph)


OF_ROLE, OF_STRATEGY = "<role>", "<text>"  # no names of fields, so that messages can leave them out


def _kind_of_annotation(value: Any) -> str:
    has_text = value.get("text") if isinstance(value, dict) else isinstance(value, StrategyText)
    return OF_STRATEGY if has_text else OF_ROLE


RoleOrText = Annotated[
    Annotated[Role, Tag(OF_ROLE)] | Annotated[StrategyText, Tag(OF_STRATEGY)],
    Discriminator(_kind_of_annotation)]
ANNOTATION: TypeAdapter[RoleOrText] = TypeAdapter(RoleOrText)


class Conversation(_Row):
    """Alternating turns that begin with the user's: what can be annotated (chapter 1)."""

    id: Name
    domain: Name = "unknown"
    source: Name = "unknown"
    conversations: tuple[str, ...] = Field(min_length=1)
    role: RoleOrText | None = None

    @property
    def question(self) -> str:
        return self.conversations[0]


class Sample(Conversation):
    """A training sample: every user turn has its answer. `variety` sets its two fields."""

    role_free: bool = Field(False, exclude_if=lambda free: not free)  # trained as a bare answer
    role_of: Name | None = Field(None, exclude_if=lambda id: not id)  # whose role it is, if not own

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

    id: Name
    domain: Name = "unknown"
    question: str = Field(min_length=1)
    reference: str = ""


def drop_unanswered_turn(turns: Sequence[str]) -> Sequence[str]:
    """The turns without a last user turn: one of LIMA's has no answer to learn from."""
    return turns[: len(turns) // 2 * 2]


def chat_messages(*turns: str) -> list[dict[str, str]]:
    """Turns that begin with the user's, in the `messages` form of TRL and transformers."""
    return [{"role": "assistant" if number % 2 else "user", "content": turn}
            for number, turn in enumerate(turns)]


RowT = TypeVar("RowT", bound=BaseModel)


def read_rows(path: Path, kind: type[RowT], told: bool = True) -> list[RowT]:
    """The rows of a file or folder as `kind`; columns that are not used are named, if `told`.

    Raises:
        UserError: with all faults of the file: its lines and fields.
    """
    faults = Faults(path)
    return list(_validated(stream_objects(path, faults), kind, faults, told))


def parse_rows(rows: Iterable[dict], kind: type[RowT], origin: str, cut: bool = False
               ) -> list[RowT]:
    """Validate raw rows; a missing `id` becomes the row's index in its file.

    With `cut`, a last user turn without an answer is left out, and told.

    Raises:
        UserError: with origin, row numbers, fields and what is wrong with them.
    """
    numbered = ((f"row {number}", row) for number, row in enumerate(rows, 1))
    return list(_validated(numbered, kind, Faults(origin), cut=cut))


def _validated(rows: Iterable[tuple[str, dict]], kind: type[RowT], faults: Faults,
               told: bool = True, cut: bool = False) -> Iterator[RowT]:
    seen: set[tuple] = set()
    unused: Counter[str] = Counter()
    for index, (place, row) in enumerate(rows):
        try:
            fields, left_out = _fields(row, kind, cut)
            parsed = kind.model_validate({"id": f"row-{index}"} | fields)
        except ValidationError as error:
            faults.add(place, *all_faults(error))
            continue
        except ValueError as error:
            faults.add(place, str(error))
            continue
        unused.update(left_out)
        values = [(name, getattr(parsed, name)) for name in getattr(kind, "UNIQUE", ("id",))]
        twice = [f"{name} {value if name != 'id' else repr(value)} occurs twice; make it unique, "
                 "or keep one" for name, value in values if (name, value) in seen]
        faults.add(place, *twice[:1])
        seen.update(values)
        yield parsed
    faults.tell()
    if told and unused:
        parts = [f"{what} ({count} {'rows' if count > 1 else 'row'})"
                 for what, count in unused.items()]
        print(f"{faults.origin}: not used: {', '.join(parts)}")


def _fields(row: dict, kind: type[BaseModel], cut: bool) -> tuple[dict, list[str]]:
    """The fields of `kind` in a row, and what of the row is not used; nulls count as absent."""
    fields = {name: value for name, value in row.items() if value is not None and value == value}
    if not issubclass(kind, Conversation | Question):
        return fields, sorted(name for name in fields if name not in kind.model_fields)
    turns, used = read_turns(row, answered=issubclass(kind, Sample))
    left_out = [name for name, value in fields.items() if filled(value)
                and name not in used and name not in kind.model_fields]
    left_out += [f"{key} in the turns" for key in sorted(unknown_keys(fields))]
    if issubclass(kind, Question):
        found = {"question": turns[0], "reference": "".join(turns[1:2])}
        left_out += ["turns after the first answer"] * (len(turns) > 2)
    else:
        if cut and len(turns) % 2:
            left_out.append("a last user turn without an answer")
        found = {"conversations": drop_unanswered_turn(turns) if cut else turns}
    role = fields.get("role")
    if isinstance(role, dict) and not any(map(filled, role.values())):
        fields["role"] = ""  # as datasets and pandas write a row without one
    return {name: value for name, value in fields.items() if filled(value)} | found, left_out


def all_faults(error: ValidationError) -> list[str]:
    """The faults of a pydantic error, each as `field: what is wrong`."""
    faults = []
    for fault in error.errors():
        field = ".".join(str(part) for part in fault["loc"] if part not in (OF_ROLE, OF_STRATEGY))
        message = fault["msg"].removeprefix("Value error, ")
        faults.append(f"{field}: {message}" if field else message)
    return faults


def validate_fields(kind: type[RowT], fields: Any) -> RowT:
    """`kind.model_validate`, with a fault in plain words.

    Raises:
        ValueError: the first fault, as `field: what is wrong`.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise ValueError(all_faults(error)[0]) from None
