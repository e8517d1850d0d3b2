"""What came back: one place reads a server's message and says what became of it."""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import AliasPath, BaseModel, Field, ValidationError

from .prompt import Prompt

FINAL = ("role", "verdict", "refusal", "content filter")  # asking again would not change them


class Message(BaseModel):
    """What is read of the model's turn."""

    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    """What is read of a completion's first choice."""

    message: Message = Message()
    finish_reason: str | None = None


class Usage(BaseModel):
    """The tokens that are paid for; `cached_tokens` of those sent were read from a cache."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = Field(
        None, validation_alias=AliasPath("prompt_tokens_details", "cached_tokens")
    )


@dataclass(frozen=True)
class Reply:
    """What is read of a chat completion; servers differ in the rest.

    `ending` is the server's `finish_reason`, or "unreadable". `usage` is None where the server
    does not count its tokens.
    """

    served_model: str
    ending: str | None = None
    text: str = ""
    refusal: str = ""
    request_id: str = "none"
    usage: Usage | None = None

    def outcome(self, prompt: Prompt) -> dict[str, Any]:
        """What became of it: `outcome`, `reason`, and under `prompt.kind` what was read or None.

        The outcome is `prompt.kind` ("role", "verdict") or malformed, truncated, empty, refusal
        or content filter; rows without a reply have error or not asked (`PromptRun.rows`).
        """
        name, reason, found = self._classify(prompt)
        return {"outcome": name, "reason": reason, prompt.kind: found and found.model_dump()}

    def _classify(self, prompt: Prompt) -> tuple[str, str, BaseModel | None]:
        cut = self.ending == "length"
        if self.ending == "unreadable":
            reason = "the server's answer was cut short or is no chat completion"
            return "malformed", reason, None
        if self.ending == "content_filter":
            return "content filter", self.refusal or "the server's filter stopped the reply", None
        if self.refusal:
            return "refusal", " ".join(self.refusal.split())[:200], None
        if not self.text.strip():
            spent = "the limit of tokens was used up before a word"
            return "empty", spent if cut else "nothing was written", None
        try:
            found = prompt.read(self.text)
        except ValueError as error:
            return "truncated" if cut else "malformed", str(error), None
        if cut and prompt.stops_within(self.text):
            return "truncated", f"request: cut off by {prompt.settings.section}.max_tokens", None
        return prompt.kind, "", found


def read_completion(text: str, model: str) -> Reply:
    """The server's answer to a request; one that cannot be read was paid for all the same."""
    try:
        answer = json.loads(text)
        choice = Choice.model_validate(answer["choices"][0])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return Reply(model, "unreadable")
    try:
        usage = Usage.model_validate(answer.get("usage"))
    except ValidationError:
        usage = None
    return Reply(
        served_model=str(answer.get("model") or model),
        ending=choice.finish_reason,
        text=choice.message.content or "",
        refusal=choice.message.refusal or "",
        request_id=str(answer.get("id") or "none"),
        usage=usage,
    )
