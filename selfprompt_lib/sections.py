"""What every section of a profile has, and the sections that say how a model on a server is asked.

The classes note which fields are read (`fields_read`), so that a chapter knows which settings its
result depends on.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

NonNegative = Annotated[float, Field(ge=0)]
_FIELDS_READ: set[str] = set()


def fields_read() -> frozenset[str]:
    """The fields that were read in this process, such as `seed` and `sft.epochs`."""
    return frozenset(_FIELDS_READ)


def note_read(names: Iterable[str]) -> None:
    """Count fields as read: a result that was taken up depends on what was read to make it."""
    _FIELDS_READ.update(names)


@contextmanager
def fields_noted() -> Iterator[set[str]]:
    """The fields that are read within, known at its end."""
    before, found = set(_FIELDS_READ), set()
    _FIELDS_READ.clear()
    try:
        yield found
    finally:
        found |= _FIELDS_READ
        _FIELDS_READ.update(before)


class Section(BaseModel):
    """A part of a profile: unknown fields and ill-typed values are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True,
                              allow_inf_nan=False)

    def __getattribute__(self, name: str) -> Any:
        kind = type(self)
        if name in kind.__pydantic_fields__:
            _FIELDS_READ.add(kind.flat_name(name))
        return super().__getattribute__(name)

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """The section as a dictionary; all of its fields count as read."""
        _FIELDS_READ.update(map(self.flat_name, type(self).__pydantic_fields__))
        return super().model_dump(**options)

    @classmethod
    def flat_name(cls, field: str) -> str:
        """A field's name in the whole profile: section, dot, field."""
        return f"{cls.__name__.lower()}.{field}"


class Client(Section):
    """How a model on a server is asked: for annotator (chapter 1) and judge (appendix A1)."""

    section: ClassVar[str]  # where the settings stand in the profile, for messages
    base_url: str | None = Field(None, description=(
        "OpenAI-compatible endpoint; null starts a server on this machine"))
    model: str | None = Field(None, description="model name there; null means the profile's model")
    api_key_env: str = Field("OPENAI_API_KEY", description="environment variable with the key")
    mode: Literal["live", "batch"] = Field("live", description=(
        "live: one request a row; batch: the Batch API"))
    max_tokens: int = Field(110, ge=16, description="longest reply, in tokens")
    longest_question: int = Field(
        12_000, ge=200, description="characters; the middle of longer ones is cut"
    )
    parameters: dict[str, Any] = Field(
        {}, description="more of the request, such as {temperature: 0.7}"
    )
    guideline: str | None = Field(None, description="text file of your own; null: the package's")
    tries: int = Field(3, ge=1, description="times a row is asked until its reply can be used")
    retries: int = Field(6, ge=0, description="times the client repeats a call that failed")
    timeout: float = Field(600, gt=0, description="seconds to wait for a reply")
    concurrency: int = Field(2, ge=1, description="requests at once")
    requests_per_minute: int | None = Field(None, ge=1, description=(
        "the server's limit; null means none"))
    tokens_per_minute: int | None = Field(None, ge=100, description=(
        "the server's limit; null means none"))
    poll_seconds: float = Field(30, gt=0, description="seconds between two looks at a batch")
    budget: float | None = Field(None, gt=0, description="US dollars not to pass; null: no limit")
    price: tuple[NonNegative, NonNegative] | None = Field(
        None, description="[input, output] in dollars a million tokens; null: asked of genai-prices"
    )

    @field_validator("parameters")
    @classmethod
    def _adds_only(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        ours = {"messages", "model", "n", "stream", "response_format"} & set(parameters)
        if ours:
            raise ValueError(f"{', '.join(sorted(ours))} cannot be set here")
        try:
            json.dumps(parameters, allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError) as error:  # a date, NaN, half of a character
            raise ValueError(f"JSON cannot hold it ({error}); quote texts") from None
        for name in ("max_tokens", "max_completion_tokens"):
            limit = parameters.get(name, 1)
            if not isinstance(limit, int) or limit < 1:
                raise ValueError(f"{name} must be a number of tokens, so that the cost is limited")
        return parameters

    @field_validator("base_url")
    @classmethod
    def _no_secret(cls, url: str | None) -> str | None:
        if url is None:
            return None
        secret = "@" in url or re.search(r"#|\?(?!api-version=[\w.-]*$)", url)
        if secret or not url.startswith(("http://", "https://")):
            raise ValueError("needs http(s):// and no credentials, nor anything behind a ? but "
                             "api-version; put the key into the variable of api_key_env")
        return url


class Annotate(Client):
    """Chapter 1: who writes roles, how, and which roles the later chapters train on."""

    section: ClassVar[str] = "annotate"
    strategy: str = Field("role", description=(
        "what is written for a sample: role, plan, rephrase, step-back, knowledge, or the .yaml "
        "file of a strategy of your own"))
    samples: int = Field(24, ge=1, description="samples annotated live")
    json_schema: bool = Field(False, description="the server takes a JSON schema")
    examples: str | None = Field(None, description="JSONL, question and role; null: the package's")
    train_on: Literal["reference", "live"] = Field(
        "reference", description="roles to train on: those of the data, or those annotated live"
    )
    price_model: str = Field("gpt-5-mini", description="hosted model whose price is stated")


class Judge(Client):
    """Appendix A1: who judges pairs of answers, and what a judge must pass to be believed."""

    section: ClassVar[str] = "judge"
    max_tokens: int = Field(64, ge=16, description=(
        "longest reply, in tokens; 1000 or more for a model that thinks first"))
    concurrency: int = Field(12, ge=1, description="requests at once")
    questions: int | None = Field(None, ge=2, description="questions judged; null means all")
    pairs: int = Field(50, ge=1, le=50, description="control pairs of each kind in the exam")
    bar: float = Field(0.7, gt=0, lt=1, description=(
        "what a judge must reach: the lower 95% bound of its accuracy on control pairs"))
    position_bias: float = Field(0.2, ge=0, le=1, description=(
        "what it must not pass: the excess of pairs that either place won"))
    length_bias: float = Field(0.2, ge=0, le=1, description=(
        "what it must not pass: the share of pairs that mere padding won"))
