"""What every form shares: the request's body and key, and what became of a reply.

A form says what is asked and reads the reply: `forms.RolePrompt` asks for roles (chapter 1), the judge of
chapter 5 for verdicts. Client, log, budget and batches know only what is here.
"""

import functools
import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import openai
from pydantic import BaseModel

from ..errors import UserError, require
from ..sections import Client

Outcome = Literal["role", "verdict", "malformed", "truncated", "empty", "refusal", "content filter", "error", "not asked"]
FINAL: tuple[Outcome, ...] = ("role", "verdict", "refusal", "content filter")  # asking again would not change them


class Item(Protocol):
    """What a form asks about: a conversation, or two answers to be compared."""

    id: str
    domain: str

    @property
    def question(self) -> Any: ...


@dataclass(frozen=True)
class Prompt(ABC):
    """All that shapes a reply besides the question: the base of every form.

    `kind` is the outcome of a reply that can be used, and the column that what was read stands in.
    """

    settings: Client
    guideline: str
    examples: tuple[Any, ...]
    kind: ClassVar[Outcome]
    unit: ClassVar[str]  # what is counted in the statement of the cost
    label: ClassVar[str]  # what the progress bar says
    retry_instruction: ClassVar[str]  # what is asked for after a reply that could not be used

    @abstractmethod
    def messages(self, question: Any) -> list[dict[str, str]]:
        """The conversation that asks."""

    @abstractmethod
    def read(self, reply: str) -> BaseModel:
        """What a reply says. Raises ValueError with what is wrong with it."""

    @functools.cached_property
    def version(self) -> str:
        """Twelve digits of the digest of guideline and examples: it changes when a user edits them."""
        text = json.dumps([self.guideline, self.examples], default=lambda example: example.model_dump())
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def cut(self, question: Any) -> int:
        """Characters that are left out of a question longer than `longest_question`."""
        return max(0, len(question) - len(self.shorten(question)))

    def stops_within(self, reply: str) -> bool:
        """Whether a reply that reached the limit of tokens and can be read stops within what was asked for."""
        return False

    def more(self) -> dict[str, Any]:
        """What else the request says."""
        return {}

    def shorten(self, text: str) -> str:
        """A text, its middle cut where it is longer than `longest_question` characters."""
        limit = self.settings.longest_question
        if len(text) <= limit:
            return text
        half = limit // 2
        return f"{text[:half]}\n[… {len(text) - 2 * half} characters cut …]\n{text[-half:]}"

    def request(self, question: Any, model: str, local: bool = False) -> dict[str, Any]:
        """The body of the chat completion. Only what the profile sets is sent."""
        # transformers serve knows only the older name; current hosted models only the newer.
        limit = "max_tokens" if local else "max_completion_tokens"
        body: dict[str, Any] = {"model": model, "messages": self.messages(question)}
        if "max_tokens" not in self.settings.parameters:
            body[limit] = self.settings.max_tokens
        return body | self.more() | self.settings.parameters

    def key(self, question: Any, address: str, model: str) -> str:
        """SHA-256 of all that shapes the reply: address, model, guideline, examples, question, settings."""
        body = self.request(question, model)
        return hashlib.sha256(json.dumps([address, body], sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def read_guideline(settings: Client, package_file: Path) -> str:
    """The text of the profile's guideline, or of the package's.

    Raises:
        UserError: a file that is missing, empty or not UTF-8.
    """
    path = Path(settings.guideline) if settings.guideline else package_file
    where = f"{settings.section}.guideline: {path}"
    require(path.is_file(), f"{where} is missing; give an existing text file, or null")
    try:
        guideline = path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{where}, line {line}: not UTF-8; save the file as UTF-8") from None
    require(guideline, f"{where} is empty; write what makes a good {'role' if settings.section == 'annotate' else 'answer'}")
    return guideline


def ask_again(body: dict[str, Any], reply: str, reason: str, retry_instruction: str) -> dict[str, Any]:
    """The same request once more, with the reply that could not be used and why."""
    turns = body["messages"]
    if reply.strip():
        turns = turns + [{"role": "assistant", "content": reply}]
    last = user_turn(f"This could not be used ({reason}). {retry_instruction}")
    if turns[-1]["role"] == "user":  # an empty reply: some chat templates refuse two user turns in a row
        last = user_turn(f"{turns[-1]['content']}\n\n(The last reply could not be used: {reason}.)")
        turns = turns[:-1]
    return body | {"messages": turns + [last]}


def outcome(form: Prompt, choice: Any) -> dict[str, Any]:
    """What became of one reply: its `outcome`, the `reason` of a bad one, and what a good one says (`form.kind`)."""
    reply, why = choice.message.content or "", choice.finish_reason

    def bad(name: Outcome, reason: str) -> dict[str, Any]:
        return {"outcome": name, "reason": reason, form.kind: None}

    if why == "unreadable":
        return bad("malformed", "the server's answer was cut short or is no chat completion")
    if why == "content_filter":
        return bad("content filter", "the server's filter stopped the reply")
    if getattr(choice.message, "refusal", None):
        return bad("refusal", " ".join(choice.message.refusal.split())[:200])
    if not reply.strip():
        return bad("empty", "the limit of tokens was used up before a word" if why == "length" else "nothing was written")
    try:
        found = form.read(reply)
    except ValueError as error:
        return bad("truncated" if why == "length" else "malformed", str(error))
    if why == "length" and form.stops_within(reply):
        return bad("truncated", f"request: cut off by {form.settings.section}.max_tokens")
    return {"outcome": form.kind, "reason": "", form.kind: found.model_dump()}


def server_says(error: openai.OpenAIError) -> str:
    """The reason of a failed call: what the server said, else the kind of failure."""
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, dict) else None
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def user_turn(text: str) -> dict[str, str]:
    """A user turn."""
    return {"role": "user", "content": text}
