"""What a model on a server is asked: the base of the annotator's and the judge's prompts.

A prompt writes the request for one item and reads the reply. `RolePrompt` (chapter 1) asks for
roles, `JudgePrompt` (appendix a1) for verdicts; the rest of the client knows only what is here.
"""

import functools
import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from ..errors import UserError, require
from ..reading import user_path
from ..sections import Client
from ..thoughts import split_thought


class Item(Protocol):
    """What a prompt asks about: a conversation, or two answers to compare."""

    id: str
    domain: str

    @property
    def question(self) -> Any: ...


@dataclass(frozen=True)
class Prompt(ABC):
    """All that shapes a reply besides the question.

    A subclass sets `kind`, the outcome of a usable reply and the name of what was read in a row;
    `unit`, what the statement of the cost counts; `label`, the text of the progress bar; and
    `retry_instruction`, what is asked for after a reply that could not be used.
    """

    settings: Client
    guideline: str
    examples: tuple[Any, ...]
    kind: ClassVar[str]
    unit: ClassVar[str]
    label: ClassVar[str]
    retry_instruction: ClassVar[str]

    @abstractmethod
    def messages(self, question: Any) -> list[dict[str, str]]:
        """The conversation that asks."""

    def read(self, text: str) -> BaseModel:
        """What a reply says behind its thoughts. Raises ValueError with what is wrong with it."""
        said = split_thought(text)
        if said.cut:
            raise ValueError("thought: it never ends")
        return self.read_answer(said.answer)

    @abstractmethod
    def read_answer(self, text: str) -> BaseModel:
        """What an answer says. Raises ValueError with what is wrong with it."""

    def response_format(self) -> dict[str, Any] | None:
        """The form in which the server is asked to reply, where it can enforce one."""
        return None

    @abstractmethod
    def stops_within(self, text: str) -> str:
        """The part of what was asked that a readable answer was cut off in, or "" for none."""

    @functools.cached_property
    def version(self) -> str:
        """Twelve digits of the digest of guideline and examples, which a user may edit."""
        text = json.dumps([self.guideline, self.examples], default=lambda row: row.model_dump())
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def shorten(self, text: str) -> str:
        """A text, its middle cut where it is longer than `longest_question` characters."""
        limit = self.settings.longest_question
        if len(text) <= limit:
            return text
        half = limit // 2
        return f"{text[:half]}\n[… {len(text) - 2 * half} characters cut …]\n{text[-half:]}"

    def cut_characters(self, question: Any) -> int:
        """How many characters `shorten` takes out of a question."""
        return max(0, len(question) - len(self.shorten(question)))

    def request(self, question: Any, model: str, local: bool = False) -> dict[str, Any]:
        """The body of the chat completion. Only what the profile sets is sent."""
        # transformers serve knows only the older name; current hosted models only the newer.
        limit = "max_tokens" if local else "max_completion_tokens"
        body: dict[str, Any] = {"model": model, "messages": self.messages(question)}
        if "max_tokens" not in self.settings.parameters:
            body[limit] = self.settings.max_tokens
        if self.response_format():
            body["response_format"] = self.response_format()
        return body | self.settings.parameters

    def retry_request(self, body: dict[str, Any], text: str, reason: str) -> dict[str, Any]:
        """The same request once more, with the reply that could not be used and why."""
        turns, text = body["messages"], split_thought(text).answer
        if text.strip():
            reply = {"role": "assistant", "content": text}
            again = f"This could not be used ({reason}). {self.retry_instruction}"
            return body | {"messages": [*turns, reply, user_turn(again)]}
        # Some chat templates refuse two user turns in a row, so the reason joins the last turn.
        again = f"{turns[-1]['content']}\n\n(The last reply could not be used: {reason}.)"
        return body | {"messages": [*turns[:-1], user_turn(again)]}

    def key(self, question: Any, address: str, model: str) -> str:
        """SHA-256 of the server's address and the request: of all that shapes the reply."""
        body = self.request(question, model)
        text = json.dumps([address, body], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def read_guideline(settings: Client, package_file: Path) -> str:
    """The text of the profile's guideline, or of the package's.

    Raises:
        UserError: a file that is missing, empty or not UTF-8.
    """
    path = user_path(settings.guideline) if settings.guideline else package_file
    where = f"{settings.section}.guideline: {path}"
    require(path.is_file(), f"{where} is missing; give an existing text file, or null")
    try:
        guideline = path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{where}, line {line}: not UTF-8; save the file as UTF-8") from None
    wanted = "role" if settings.section == "annotate" else "answer"
    require(guideline, f"{where} is empty; write what makes a good {wanted}")
    return guideline


def user_turn(text: str) -> dict[str, str]:
    """A turn of the user."""
    return {"role": "user", "content": text}


def fold_system(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    """The conversation with its system turn in front of the user's first, for models without."""
    if turns[0]["role"] != "system":
        return turns
    system, first, *rest = turns
    return [user_turn(f"{system['content']}\n\n{first['content']}"), *rest]


def token_limit(body: dict[str, Any]) -> int:
    """The most tokens that the reply to a request may have."""
    return body.get("max_completion_tokens") or body.get("max_tokens") or 0
