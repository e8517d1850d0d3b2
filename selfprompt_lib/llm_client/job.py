"""One round of asking under way: limits, budget, and the record of each reply."""

import asyncio
import contextlib
import json
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import openai
from aiolimiter import AsyncLimiter
from tqdm import tqdm

from .completion import Completion
from .endpoint import Endpoint
from .price import Price
from .prompt import Item, Prompt, ask_again, outcome
from .response_cache import ResponseCache


@dataclass
class PromptRun:
    """One round of asking under way: who is asked, what for, and what came of it so far."""

    endpoint: Endpoint
    form: Prompt
    price: Price
    replies: ResponseCache
    stopped: str = ""  # why nothing more is asked
    errors: dict[str, str] = field(default_factory=dict)  # key → reason, for rows that got no reply
    requests: AsyncLimiter | None = None
    tokens: AsyncLimiter | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # who takes from the two limits

    @classmethod
    def of(cls, endpoint: Endpoint, form: Prompt, replies: ResponseCache) -> "PromptRun":
        settings = form.settings
        job = cls(endpoint, form, Price.from_settings(settings, endpoint), replies,
                  requests=limiter(settings.requests_per_minute), tokens=limiter(settings.tokens_per_minute))
        job.price.spent = replies.dollars
        if job.requests or job.tokens:
            client = openai.DefaultAsyncHttpxClient(event_hooks={"request": [job.before_retry]})
            endpoint.client = endpoint.client.with_options(http_client=client)
        return job

    async def admitted(self, body: dict[str, Any]) -> bool:
        """Wait until the limits let a request through; False where the run was stopped meanwhile."""
        async with self.turn:
            for bucket, amount in ((self.requests, 1), (self.tokens, size(body) if self.tokens else 0)):
                while bucket and amount > 0 and not self.stopped:
                    part = min(amount, bucket.max_rate)  # more than the bucket holds goes in parts
                    if bucket.has_capacity(part):
                        await bucket.acquire(part)
                        amount -= part
                    else:
                        await asyncio.sleep(0.05)
        return not self.stopped

    async def before_retry(self, request: httpx2.Request) -> None:
        """What the client sends once more counts for the limits too."""
        if request.headers.get("x-stainless-retry-count", "0") != "0" and request.url.path.endswith("/chat/completions"):
            await self.admitted(json.loads(request.content))

    async def affordable(self, key: str, body: dict[str, Any]) -> bool:
        """Set the price of a request aside, once those in flight leave room for it; False where the budget is spent."""
        while not self.price.reserve(key, body):
            if not self.price.reserved:
                self.stopped = self.stopped or self.over_budget()
            if self.stopped:
                return False
            await asyncio.sleep(0.05)
        return True

    def over_budget(self) -> str:
        """Why nothing more is asked, where the next request could pass the budget."""
        return f"the budget of ${self.price.budget:g} would be passed ({self.form.settings.section}.budget)"

    def key(self, sample: Item) -> str:
        return self.form.key(sample.question, self.endpoint.address, self.endpoint.name)

    def body(self, sample: Item, key: str) -> dict[str, Any]:
        """The next request for this row: the first one, or one more after a reply that could not be used."""
        body = self.form.request(sample.question, self.endpoint.model, local=self.endpoint.process is not None)
        last = self.replies.last(key)
        return ask_again(body, last["reply"], last["reason"], self.form.retry_instruction) if last else body

    def record(self, key: str, sample: Item | None, completion: Completion, **more: Any) -> dict[str, Any]:
        """Write one reply down, with its provenance, and count its price. Without a sample it is one that is no longer asked."""
        choice, used = completion.choice, completion.usage
        last = self.replies.last(key)
        sent, written = (used.prompt_tokens, used.completion_tokens) if used else (0, 0)
        cached = (used.prompt_tokens_details.cached_tokens or 0) if used and used.prompt_tokens_details else 0
        # Without a count of tokens the worst case is taken, so that the budget holds.
        dollars = self.price.dollars(sent, written, cached) if used else self.price.reserved.get(key)
        row = {
            "key": key,
            "id": sample.id if sample else key,
            **outcome(self.form, choice),
            "reply": choice.message.content or "",
            "attempt": last["attempt"] + 1 if last else 1,
            "requested_model": self.endpoint.name,
            "served_model": Path(completion.model).name if self.endpoint.process else completion.model,
            "request_id": completion.id,
            "finish_reason": choice.finish_reason,
            "prompt_tokens": sent,
            "tokens": written,
            "dollars": dollars,
            "guideline": self.form.version,
            "cut_characters": self.form.cut(sample.question) if sample else 0,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            **more,
        }
        self.replies.append(row)
        self.price.settle(key, dollars)
        return row

    def rows(self, samples: Iterable[Item]) -> Iterator[dict[str, Any]]:
        """One row a sample, in their order: its last reply, or why there is none."""
        for sample in samples:
            key = self.key(sample)
            found = self.replies.last(key)
            if found is None:
                error = self.errors.get(key)
                found = {"key": key, "outcome": "error" if error else "not asked", "reason": error or self.stopped,
                         self.form.kind: None, "reply": "", "attempt": 0, "tokens": 0}
            yield found | {"id": sample.id, "domain": sample.domain, "question": sample.question}


def spent(job: PromptRun) -> str:
    """What the run has cost so far, for people."""
    return "price unknown" if job.price.dollars(1, 1) is None else f"${job.price.spent:.2f}"


def limiter(per_minute: int | None) -> AsyncLimiter | None:
    """A leaky bucket that lets at most `per_minute` through in any 60 seconds.

    A bucket of capacity c that leaks r a second lets c + 60 r through: a tenth may come at once.
    """
    if per_minute is None:
        return None
    burst = max(1.0, per_minute / 10)
    return AsyncLimiter(burst, 60 * burst / max(per_minute - burst, 0.5 * per_minute))


def size(body: dict[str, Any]) -> int:
    """Tokens of a request as servers count them for their limits: sent (estimated) and allowed to be written."""
    sent = sum(len(turn["content"].encode()) for turn in body["messages"]) // 3
    return sent + (body.get("max_completion_tokens") or body.get("max_tokens") or 0)


@contextlib.contextmanager
def interruptible(job: PromptRun) -> Iterator[None]:
    """The first Ctrl-C stops asking; the second one interrupts as usual."""

    def stop() -> None:
        job.stopped = job.stopped or "Ctrl-C"
        tqdm.write("stopping: requests in flight may end; Ctrl-C again leaves at once")
        loop.remove_signal_handler(signal.SIGINT)

    loop, before = asyncio.get_running_loop(), signal.getsignal(signal.SIGINT)
    try:
        loop.add_signal_handler(signal.SIGINT, stop)
    except (NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)
