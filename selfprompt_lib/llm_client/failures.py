"""A call that failed: what the server said, wherever it said it, what that means, and the mend.

Servers put their reasons in many places, and some send a failure as a success (HTTP 200 with an
error in it). `show_failure` looks at every answer before the client does and gives such a one the
status that it should have had, so that the client's own retries, the only ones, see to it.
"""

import html
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import openai

from ..sections import Client

BAD_ANSWER = 599  # what a success amounts to that is no chat completion and tells no status
FINAL = (401, 402, 403, 404, 405, 410)  # of key, credit, model and address: the same for every row
PASSING = (408, 409, 425, 429)
LOUD = ("message", "msg", "detail", "error", "errors", "reason", "description", "title")
SILENT = {"type", "object", "code", "param", "status", "status_code", "id", "input", "ctx", "url",
          "path", "model", "usage", "created", "timestamp", "request_id", "user_id", "error_type",
          "finish_reason", "role", *LOUD}  # fmt: skip
# What servers mean, where the status does not say it.
SPENT = r"insufficient.?(quota|funds|balance|credit)"
QUOTA = (rf"{SPENT}|quota|billing|arrearage|good standing|credit (balance|limit)|余额|欠费|"
         r"\b(no|enough|of|more|your|add \d+) credits?\b|credits? (left|exhausted|remain)")
BAD_KEY = (r"(invalid|incorrect|wrong|missing) api.?key|api.?key (is )?(not valid|invalid|missing)|"
           r"unauthori[sz]ed|authentication")
NOT_THERE = r"unexpected endpoint|not.?found|no (such )?route|unknown (url|path)"
NO_MODEL = r"(invalid|unknown|unsupported) model|\bmodel\b.{0,60}\b(not|exist|unknown|invalid)\b"
WAIT = r"(try again|retry)\w* (in|after|later|shortly)\b|per (minute|second)"
TOO_LONG = (r"context.?(length|size|window|limit)|too (long|large|many tokens)|"
            r"\b(maximum|max|limit|less than|exceed\w*)\b.{0,40}\btokens?\b|"
            r"\btokens?\b.{0,40}\b(maximum|limit|exceed\w*)\b|maximum (\w+ )?length")
FILTERED = (r"content.?(filter|policy)|content.management.policy|responsibleaipolicy|safety system|"
            r"data_inspection|inappropriate content|"
            r"\b(input|prompt|content|request)\b.{0,40}\b(flagged|inappropriate|safety)\b")
NO_SYSTEM = (r"\bsystem['\"`]? (role|message|prompt|turn|instruction)|\brole\S* .{0,60}\bsystem\b|"
             r"\broles?\b.{0,60}\bmust\b|roles are supported|developer instruction|\.role: |"
             r"(unsupported|unknown|invalid|unexpected) (message )?role")


NOTHING_THERE = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol)


@dataclass(frozen=True)
class Failure:
    """A call without a reply. `status` is what it amounts to; None: there was no answer at all.

    `told` is for messages and artefacts: one line, shortened, without our key. `said` is all that
    the server said, with its codes. `gone`: nothing listens at the address (any more).
    """

    status: int | None
    said: str
    told: str = ""
    gone: bool = False

    def means(self, pattern: str) -> bool:
        """Whether the server speaks of it."""
        return re.search(pattern, self.said, re.IGNORECASE) is not None

    @property
    def final(self) -> bool:
        """Whether every other row would fail in the same way: key, credit, model, address."""
        return self.gone or self.status in FINAL and not self.filtered

    @property
    def passes(self) -> bool:
        """Whether the same call may succeed later."""
        return self.status is None or self.status in PASSING or (
            self.status >= 500 and not (self.no_system or self.too_long or self.filtered))

    @property
    def too_long(self) -> bool:
        """Whether the request is longer than the model can read."""
        return self.status == 413 or self.status not in (None, 429) and self.means(TOO_LONG)

    @property
    def of_model(self) -> bool:
        """Whether the server may not know the model."""
        return self.status == 404 or self.status in (400, 422) and self.means(NO_MODEL)

    @property
    def filtered(self) -> bool:
        """Whether the server's filter refused what was asked."""
        refused = self.status in (400, 403, 422, 451, BAD_ANSWER)
        return refused and self.means(FILTERED) and not self.means(r"\b(account|organi[sz]ation)\b")

    @property
    def no_system(self) -> bool:
        """Whether the model takes no system turn, as the templates of some models do not."""
        return self.status not in (None, *FINAL, *PASSING) and self.means(NO_SYSTEM)

    def mend(self, settings: Client, address: str) -> str:
        """What the user can do about it."""
        section, right = settings.section, right_address(address)
        if self.status in (404, 405, 410, BAD_ANSWER) and right != address.rstrip("/"):
            return (f"addresses usually end in /v1: set {section}.base_url to {right}, or check "
                    f"{section}.model")
        if self.status == 402:
            return "add credit or raise the limit there"
        if self.status in (401, 403):
            return f"check the key in ${settings.api_key_env}, and whether it may use this model"
        if self.too_long:
            return (f"set {section}.longest_question lower, shorten the guideline, or use a model "
                    "with a larger context")
        if "max_completion_tokens" in self.said:
            return (f"set {section}.parameters to {{max_tokens: {settings.max_tokens}}}, the name "
                    "that older servers know")
        if self.passes:
            return (f"check {section}.base_url and the server, then run again, or set "
                    f"{section}.retries or {section}.timeout higher")
        if self.final:
            return f"check {section}.model and {section}.base_url"
        return f"check {section}.model, {section}.parameters and the key, then run again"


def right_address(address: str) -> str:
    """The address up to where `/chat/completions` begins, with a version."""
    ends = r"/(api/(chat|generate|tags)|(chat/)?completions|responses|models)$"
    short = re.sub(ends, "", address.rstrip("/"))
    return short if re.search(r"/v\d", short) else f"{short}/v1"


def failure_of(error: openai.OpenAIError, clean: Callable[[str], str]) -> Failure:
    """What an error of the client means; `clean` takes the key out of what is told."""
    response = getattr(error, "response", None)
    if response is None:
        cause = error.__cause__ or error
        said = f"{type(error).__name__}: {str(cause) or type(cause).__name__}"
        return Failure(None, said, clean(said), isinstance(cause, NOTHING_THERE))
    sent = response.extensions.get("http_status")
    label = f"HTTP {sent} without a reply" if sent else f"HTTP {response.status_code}"
    return failure_in(response.status_code, response.text, clean, label)


def failure_in(status: int, text: str, clean: Callable[[str], str], label: str) -> Failure:
    """What a body of this status means; it is told behind `label`."""
    return Failure(status, _said(text), clean(f"{label}: {words(text) or 'no word'}"))


async def show_failure(response: httpx2.Response) -> None:
    """A hook of the HTTP client: gives an answer that is a failure its status (chapter 1).

    What would fail again is marked, so that the client does not repeat it.
    """
    path = response.request.url.path
    if path.endswith("/content"):
        return  # a file of any kind
    await response.aread()
    status = response.status_code
    if response.is_success:
        status = hidden_failure(response.text, needs_reply=path.endswith("/chat/completions"))
    if status and status >= 400:
        status = status_by_words(status, response.text, "retry-after" in response.headers)
        if response.status_code != status:
            if response.is_success:
                response.extensions["http_status"] = response.status_code
            response.status_code = status
        again = Failure(status, _said(response.text)).passes
        response.headers["x-should-retry"] = str(again).lower()


def hidden_failure(text: str, needs_reply: bool = True) -> int | None:
    """The status that a success should have had; None where it is one."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return BAD_ANSWER
    if not isinstance(body, dict):
        return BAD_ANSWER
    if _has_reply(body) if needs_reply else not body.get("error"):
        return None
    numbers = (int(number) for part in (body.get("error"), body) if isinstance(part, dict)
               for number in map(str, map(part.get, ("code", "status", "status_code")))
               if re.fullmatch("[45][0-9]{2}", number))
    return next(numbers, BAD_ANSWER)


def status_by_words(status: int, text: str, waits: bool = False) -> int:
    """The status that a failure amounts to; `waits`: the server says when to try again."""
    failure = Failure(status, _said(text))
    waits = (waits or failure.means(WAIT)) and not failure.means(SPENT)
    if status in (400, 403, 429, BAD_ANSWER) and failure.means(QUOTA) and not failure.filtered:
        return status if waits else 402
    if status in (400, BAD_ANSWER) and failure.means(BAD_KEY):
        return 401
    return 404 if status == BAD_ANSWER and failure.means(NOT_THERE) else status


def _has_reply(body: dict[str, Any]) -> bool:
    """Whether a body is a chat completion, which has a message in it, if perhaps an empty one."""
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    choice = choice if isinstance(choice, dict) else {}
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else 0
    if content and isinstance(content, (str, list)):
        return True
    refused = body.get("error") or choice.get("error") or choice.get("finish_reason") == "error"
    return content in (None, "", []) and not refused


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


def _said(text: str) -> str:
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
