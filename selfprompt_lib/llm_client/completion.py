"""What is read of a server's chat completion; servers differ in the rest."""

import json
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError


class Message(BaseModel):
    """What is read of the model's turn."""

    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    """What is read of a completion's first choice."""

    message: Message = Message()
    finish_reason: str | None = None


class Cached(BaseModel):
    """How many of the tokens sent were read from a cache."""

    cached_tokens: int | None = None


class Used(BaseModel):
    """The tokens that are paid for."""

    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: Cached | None = None


@dataclass(frozen=True)
class Completion:
    """What is read of a chat completion; servers differ in the rest."""

    model: str
    choice: Choice
    id: str = "none"
    usage: Used | None = None


def completion_of(text: str, model: str) -> Completion:
    """The server's answer as a completion. One that was paid for and cannot be read counts as an attempt."""
    try:
        answer = json.loads(text)
        choice = Choice.model_validate(answer["choices"][0])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return Completion(model, Choice(finish_reason="unreadable"))
    try:
        used = Used.model_validate(answer.get("usage"))
    except ValidationError:
        used = None
    return Completion(str(answer.get("model") or model), choice, str(answer.get("id") or "none"), used)
