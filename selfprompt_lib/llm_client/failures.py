"""A call that failed: what the server said, wherever it said it, what that means, and the mend.

Servers put their reasons in many places, and some send a failure as a success (HTTP 200 with an
error in it). `show_failure` looks at every answer before the client does and gives such a one the
status that it should have had, so that the client's own retries, the only ones, see to it.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx2

from ..sections import Client
from .reply import BAD_ANSWER, hidden_failure, said_in, words

if TYPE_CHECKING:
    import openai

FINAL = (401, 402, 403, 404, 405, 410)  # of key, credit, model and address: the same for every row
LONGEST_WAIT = 120  # seconds that the client waits where the server asks for it; else it gives up
PASSING = (408, 409, 425, 429)
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
    the server said, with its codes. `gone`: nothing is to be had at the address for some time.
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
        return self.gone or (self.status in FINAL and not self.filtered)

    @property
    def passes(self) -> bool:
        """Whether the same call may succeed later."""
        if self.status is None or self.status in PASSING:
            return True
        return self.status >= 500 and not (self.no_system or self.too_long or self.filtered)

    @property
    def too_long(self) -> bool:
        """Whether the request is longer than the model can read."""
        return self.status == 413 or (self.status not in (None, 429) and self.means(TOO_LONG))

    @property
    def of_model(self) -> bool:
        """Whether the server may not know the model."""
        return self.status == 404 or (self.status in (400, 422) and self.means(NO_MODEL))

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


def failure_of(error: "openai.OpenAIError", clean: Callable[[str], str]) -> Failure:
    """What an error of the client means; `clean` takes the key out of what is told."""
    response = getattr(error, "response", None)
    if response is None:
        cause = error.__cause__ or error
        said = f"{type(error).__name__}: {str(cause) or type(cause).__name__}"
        return Failure(None, said, clean(said), isinstance(cause, NOTHING_THERE))
    sent = response.extensions.get("http_status")
    label = f"HTTP {sent} without a reply" if sent else f"HTTP {response.status_code}"
    wait = _seconds(response.headers.get("retry-after", ""))
    if wait > LONGEST_WAIT:
        label += f", to be asked again in {wait / 60:,.0f} minutes"
    failure = failure_in(response.status_code, response.text, clean, label)
    return replace(failure, gone=wait > LONGEST_WAIT)


def _seconds(wait: str) -> float:
    """The seconds of a Retry-After header, which may be a date; 0 where it is neither."""
    try:
        if not wait.strip().isdigit():
            return parsedate_to_datetime(wait).timestamp() - time.time()
        return int(wait)
    except ValueError:
        return 0


def failure_in(status: int, text: str, clean: Callable[[str], str], label: str) -> Failure:
    """What a body of this status means; it is told behind `label`."""
    return Failure(status, said_in(text), clean(f"{label}: {words(text) or 'no word'}"))


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
        again = Failure(status, said_in(response.text)).passes
        response.headers["x-should-retry"] = str(again).lower()


def status_by_words(status: int, text: str, waits: bool = False) -> int:
    """The status that a failure amounts to; `waits`: the server says when to try again."""
    failure = Failure(status, said_in(text))
    waits = (waits or failure.means(WAIT)) and not failure.means(SPENT)
    if status in (400, 403, 429, BAD_ANSWER) and failure.means(QUOTA) and not failure.filtered:
        return status if waits else 402
    if status in (400, BAD_ANSWER) and failure.means(BAD_KEY):
        return 401
    return 404 if status == BAD_ANSWER and failure.means(NOT_THERE) else status
