"""The body of a server's answer: whether there is a reply in it, and what it says."""

import html
import json
import re
from collections.abc import Iterator
from typing import Any

from .reply import read_completion

BAD_ANSWER = 599  # what a success amounts to that is no chat completion and tells no status
LOUD = ("message", "msg", "detail", "error", "errors", "reason", "description", "title")
SILENT = {"type", "object", "code", "param", "status", "status_code", "id", "input", "ctx", "url",
          "path", "model", "usage", "created", "timestamp", "request_id", "user_id", "error_type",
          "finish_reason", "role", *LOUD}  # fmt: skip


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
    numbers = (int(number) for part in (body.get("error"), body) if isinstance(part, dict)
               for number in map(str, map(part.get, ("code", "status", "status_code")))
               if re.fullmatch("[45][0-9]{2}", number))
    return next(numbers, BAD_ANSWER)


def _has_reply(body: dict[str, Any], text: str) -> bool:
    """Whether a body is a chat completion, which has a message in it, if perhaps an empty one."""
    reply = read_completion(text, "")
    if reply.ending == "unreadable" or reply.text or reply.refusal:
        return reply.ending != "unreadable"
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
