"""What came back: whether there is a reply in it, what it says, and what became of it."""

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import AliasPath, BaseModel, Field, ValidationError

from ..thoughts import Said, message_parts, split_thought
from .prompt import Prompt, token_limit

FINAL = ("role", "verdict", "refusal", "content filter")  # asking again would not change them
# Where servers write how a reply ended, and in what words; the first that fits counts.
ENDING_FIELDS = ("finish_reason", "finish_details", "finishReason", "done_reason", "stop_reason")
ENDINGS = (
    ("filtered", "filter|safety|toxic|recitation|block|prohibit|spii|guardrail|moderat|sensitive"),
    ("refused", "refus|declin"),
    ("cut", "length|max|limit|trunc|incomplete|unfinish|not.?finish|exceed|overflow|context|window"
            "|budget|cancel|abort|time|interrupt|pause|insufficient|error|fail"),
    ("whole", "stop|end|eos|eot|finish|complete|done|success|tool|function"),
)
THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
BAD_ANSWER = 599  # what a success amounts to that is no chat completion and tells no status
LOUD = ("message", "msg", "detail", "error", "errors", "reason", "description", "title")
SILENT = {"type", "object", "code", "param", "status", "status_code", "id", "input", "ctx", "url",
          "path", "model", "usage", "created", "timestamp", "request_id", "user_id", "error_type",
          "finish_reason", "role", *LOUD}  # fmt: skip


class Usage(BaseModel):
    """The tokens that are paid for; `cached_tokens` of those sent were read from a cache."""

    prompt_tokens: int = Field(ge=0, lt=10**9)
    completion_tokens: int = Field(ge=0, lt=10**9)
    cached_tokens: int | None = Field(
        None, ge=0, lt=10**9, validation_alias=AliasPath("prompt_tokens_details", "cached_tokens")
    )


@dataclass(frozen=True)
class Reply:
    """What is read of a chat completion; servers differ in the rest.

    `ending` is the server's word for why it ended, or "unreadable". `text` may hold thoughts;
    `thought` are those that the server sent apart. `usage` is None where the server does not
    count its tokens.
    """

    served_model: str
    ending: str | None = None
    text: str = ""
    refusal: str = ""
    request_id: str = "none"
    usage: Usage | None = None
    thought: str = ""

    def outcome(self, prompt: Prompt) -> tuple[str, str, BaseModel | None]:
        """What became of it: the outcome, the reason for it, and what was read or None.

        The outcome is `prompt.kind` ("role", "verdict") or malformed, truncated, empty, refusal
        or content filter; rows without a reply have error or not asked (`PromptRun.rows`).
        """
        said, ended = split_thought(self.text), how_it_ended(self.ending)
        if self.ending == "unreadable":
            reason = "the server's answer was cut short or is no chat completion"
            return "malformed", reason, None
        if ended == "filtered":
            return "content filter", self.refusal or "the server's filter stopped the reply", None
        if self.refusal or ended == "refused":
            return "refusal", " ".join((self.refusal or self.text).split())[:200], None
        cut = ended in ("cut", "unknown") or (ended == "untold" and self._reached_limit(prompt))
        why = f"cut off by {prompt.settings.section}.max_tokens"
        if ended == "unknown":
            why = f"perhaps cut off, the server's word for its end is {self.ending!r}"
        if not said.answer.strip():
            return *self._no_answer(said, cut, why), None
        try:
            found = prompt.read_answer(said.answer)
        except ValueError as error:
            return "truncated" if cut else "malformed", str(error), None
        part = prompt.stops_within(said.answer) if cut else ""
        if part:
            return "truncated", f"{part}: {why}", None
        return prompt.kind, "", found

    def _no_answer(self, said: Said, cut: bool, why: str) -> tuple[str, str]:
        """Outcome and reason of a reply without an answer."""
        thought = said.thought or self.thought.strip()
        if said.cut or (cut and thought):
            return "truncated", f"thought: {why if cut else 'it never ends'}"
        if thought:
            return "empty", "nothing was written behind the thought"
        spent = "the limit of tokens was used up before a word"
        return "empty", spent if cut else "nothing was written"

    def _reached_limit(self, prompt: Prompt) -> bool:
        settings = prompt.settings
        limit = token_limit({"max_tokens": settings.max_tokens} | settings.parameters)
        return self.usage is not None and self.usage.completion_tokens >= limit


def how_it_ended(word: str | None) -> str:
    """One of `ENDINGS`, from a server's word for it, whatever its server.

    "untold" where it says nothing: cut only if all tokens were used. "unknown" for a word that is
    none of these: taken as cut, for it was not said that the reply is whole.
    """
    if not word:
        return "untold"
    word = re.sub("finish.?reason", "", word.lower())
    found = (name for name, words in ENDINGS if re.search(words, word))
    return next(found, "unknown")


def read_completion(text: str, model: str) -> Reply:
    """The server's answer to a request; one that cannot be read was paid for all the same."""
    try:
        answer = json.loads(text)
        choice = answer["choices"][0]
        message = choice.get("message", {})
        parts = list(message_parts(message.get("content")))
        parts += message_parts(message.get("refusal"), "refusal")
        for field in THOUGHT_FIELDS:
            parts += message_parts(message.get(field), "thought")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return Reply(model, "unreadable")
    try:
        usage = Usage.model_validate(answer.get("usage"))
    except ValidationError:
        usage = None
    return Reply(
        served_model=str(answer.get("model") or model),
        ending=_ending(choice),
        text="".join(part for kind, part in parts if kind == "answer"),
        refusal="".join(part for kind, part in parts if kind == "refusal"),
        request_id=str(answer.get("id") or "none"),
        usage=usage,
        thought="".join(part for kind, part in parts if kind == "thought"),
    )


def _ending(choice: dict[str, Any]) -> str | None:
    word = next((choice[field] for field in ENDING_FIELDS if choice.get(field)), None)
    return str(word.get("type")) if isinstance(word, dict) else word and str(word)


def hidden_failure(text: str, needs_reply: bool = True) -> int | None:
    """The status that a success should have had; None where it is one."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return BAD_ANSWER
    if not isinstance(body, dict):
        return BAD_ANSWER
    if _has_reply(body, text) if needs_reply else not body.get("error"):
        return None
    parts = [part for part in (body.get("error"), body) if isinstance(part, dict)]
    codes = [str(part.get(name)) for part in parts for name in ("code", "status", "status_code")]
    statuses = [int(code) for code in codes if re.fullmatch("[45][0-9]{2}", code)]
    return statuses[0] if statuses else BAD_ANSWER


def _has_reply(body: dict[str, Any], text: str) -> bool:
    """Whether a body is a chat completion, which has a message in it, if perhaps an empty one."""
    reply = read_completion(text, "")
    if reply.ending == "unreadable":
        return False
    if reply.text or reply.refusal:
        return True
    choice = body["choices"][0]
    refused = body.get("error") or choice.get("error") or choice.get("finish_reason") == "error"
    return isinstance(choice.get("message"), dict) and not refused


def words(text: str) -> str:
    """What a body says: JSON of any shape, a page of HTML, or plain text."""
    try:
        told = "; ".join(dict.fromkeys(_told(json.loads(text))))
    except (ValueError, RecursionError):
        told = ""
    told = told or text
    if told.lstrip().startswith("<"):
        plain = re.sub(r"(?s)<(script|style)\b.*?</\1>|</?[a-zA-Z!][^>]*>", " ", told)
        told = html.unescape(plain) if plain.strip() else told
    return " ".join(told.split())


def said_in(text: str) -> str:
    """The words of a body with its codes: what tells one kind of failure from another."""
    codes = re.findall(r'"(?:code|type|status|error_type)"\s*:\s*"([^"]+)"', text)
    return " ".join([words(text)[:5000], *codes])


def _told(value: Any) -> Iterator[str]:
    """The texts in a JSON value, those with the reason first."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:  # what a gateway was told by the server behind it
            yield from _told(json.loads(value))
        except (ValueError, RecursionError):
            yield value
    elif isinstance(value, str) and value.strip():
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _told(item)
    elif isinstance(value, dict) and isinstance(value.get("loc"), list) and "msg" in value:
        yield f"{'.'.join(map(str, value['loc']))}: {value['msg']}"  # FastAPI's
    elif isinstance(value, dict):
        for name in [*LOUD, *(name for name in value if name not in SILENT)]:
            yield from _told(value.get(name))
