"""One prompt put to one server: the state of a run, one call, and the record of each reply."""

import asyncio
import contextlib
import json
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
from tqdm import tqdm

from .endpoint import Endpoint
from .failures import Failure
from .limits import Price, RateLimits
from .prompt import Item, Prompt
from .reply import FINAL, Reply, read_completion
from .response_cache import ResponseCache


class PromptRun:
    """A run under way: who is asked, what for, and what came of it so far.

    `stopped` says why nothing more is asked, and `refused` that the server refuses every row;
    `works` is set once a reply came; `errors` has the failure by key of each row that got none.

    Raises:
        UserError: a budget without a known price.
    """

    def __init__(self, endpoint: Endpoint, prompt: Prompt, cache: ResponseCache):
        self.endpoint, self.prompt, self.cache = endpoint, prompt, cache
        self.settings = prompt.settings
        self.price = Price.from_settings(self.settings, endpoint)
        self.price.spent = cache.dollars
        self.limits = RateLimits(self.settings)
        self.stopped, self.refused, self.works = "", False, False
        self.errors: dict[str, Failure] = {}
        endpoint.http.event_hooks["request"] = [self._before_retry]

    def key(self, item: Item) -> str:
        """The key of an item's row in the cache."""
        return self.prompt.key(item.question, self.endpoint.address, self.endpoint.name)

    def is_done(self, key: str) -> bool:
        """Whether this row needs no more asking: its last reply is final, or the tries are over."""
        row = self.cache.last(key)
        return row is not None and (row["outcome"] in FINAL
                                    or row["attempt"] >= self.settings.tries)

    def stop(self, reason: str) -> None:
        """Ask nothing more; the first reason is kept."""
        self.stopped = self.stopped or reason

    def stop_for_budget(self) -> None:
        """Ask nothing more, since the next request could pass the budget."""
        setting = f"{self.settings.section}.budget"
        self.stop(f"the budget of ${self.price.budget:g} would be passed ({setting})")

    def request(self, key: str, item: Item) -> dict[str, Any]:
        """The next request for this row: the first, or one after a reply that was of no use."""
        body = self.endpoint.request(self.prompt, item.question)
        last = self.cache.last(key)
        return self.prompt.retry_request(body, last["reply"], last["reason"]) if last else body

    async def ask(self, key: str, item: Item, once: bool = False) -> dict[str, Any] | None:
        """One call, not repeated if `once`. Returns the reply's row; None: see `errors`."""
        import openai  # as in `endpoint`

        began = time.perf_counter()
        body = self.request(key, item)
        await self.limits.wait(body, lambda: self.stopped)
        if self.stopped or not await self._reserve(key, body):
            return None
        try:
            # The client's post() takes any parameter, and spares a check of the long prompt.
            answer = await self.endpoint.client.post(
                "/chat/completions", cast_to=httpx2.Response, body=body,
                options={"max_retries": 0} if once else {},
            )  # fmt: skip
        except openai.OpenAIError as error:
            row = self.fail(key, item, self.endpoint.failure(error))
            refolds = self.endpoint.no_system and body["messages"][0]["role"] == "system"
            return await self.ask(key, item, once) if refolds and row is None else row
        more = {
            "seconds": round(time.perf_counter() - began, 2),
            "retries": int(answer.request.headers.get("x-stainless-retry-count", 0)),
        }
        if "x-request-id" in answer.headers:
            more["request_id"] = answer.headers["x-request-id"]
        return self.record(key, item, read_completion(answer.text, self.endpoint.model), **more)

    async def _before_retry(self, request: httpx2.Request) -> None:
        # What the client sends once more counts for the limits too.
        retry = request.headers.get("x-stainless-retry-count", "0") != "0"
        if retry and request.url.path.endswith("/chat/completions"):
            await self.limits.wait(json.loads(request.content), lambda: self.stopped)

    async def _reserve(self, key: str, body: dict[str, Any]) -> bool:
        """Set the price aside once requests in flight leave room; False: the budget is spent."""
        while not self.price.reserve(key, body):
            if not self.price.reserved:
                self.stop_for_budget()
            if self.stopped:
                return False
            await asyncio.sleep(0.05)
        return True

    def fail(self, key: str, item: Item | None, failure: Failure, **more: Any) -> dict | None:
        """Note a call without a reply; what the server's filter refused is an outcome, and final.

        A refusal that every row would get stops the run. One of the system turn lets requests be
        made without it.
        """
        if failure.filtered:
            self.price.reserved[key] = 0.0
            reply = Reply(self.endpoint.model, "content_filter", refusal=failure.told)
            return self.record(key, item, reply, **more)
        self.price.settle(key, 0.0)
        self.errors[key] = failure
        self.endpoint.no_system |= failure.no_system and not self.works
        if failure.final:
            self.refused = True
            where = f"{self.endpoint.name} at {self.endpoint.base_url}"
            self.stop(f"{where}: {failure.told}; {self.mend(failure)}")
        return None

    def mend(self, failure: Failure) -> str:
        """What the user can do about it."""
        return failure.mend(self.settings, self.endpoint.base_url)

    def record(self, key: str, item: Item | None, reply: Reply, **more: Any) -> dict[str, Any]:
        """Write one reply into the cache, with its provenance, and count its price.

        `item` is None for a reply out of a batch to what is no longer asked.
        """
        outcome, reason, found = reply.outcome(self.prompt)
        last, usage = self.cache.last(key), reply.usage
        # Without a count of tokens the worst case is taken, so that the budget holds.
        dollars = self.price.reserved.get(key)
        if usage:
            tokens = usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens or 0
            dollars = self.price.dollars(*tokens)
        served, local = reply.served_model, self.endpoint.process is not None
        row = {
            "key": key,
            "id": item.id if item else key,
            "outcome": outcome,
            "reason": reason,
            self.prompt.kind: found and found.model_dump(),
            "reply": reply.text,
            "attempt": last["attempt"] + 1 if last else 1,
            "requested_model": self.endpoint.name,
            "served_model": Path(served).name if local else served,
            "request_id": reply.request_id,
            "finish_reason": reply.ending,
            "prompt_tokens": usage.prompt_tokens if usage else 0,
            "tokens": usage.completion_tokens if usage else 0,
            "dollars": dollars,
            "guideline": self.prompt.version,
            "cut_characters": self.prompt.cut_characters(item.question) if item else 0,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            **more,
        }
        self.cache.append(row)
        self.price.settle(key, dollars)
        self.errors.pop(key, None)
        self.works = self.works or reply.ending != "content_filter"
        return row

    def rows(self, items: Iterable[Item]) -> Iterator[dict[str, Any]]:
        """One row an item, in their order: its last reply, or why there is none."""
        for item in items:
            key = self.key(item)
            row = self.cache.last(key)
            if row is None:
                error = self.errors.get(key)
                row = {"key": key, "outcome": "error" if error else "not asked",
                       "reason": error.told if error else self.stopped, self.prompt.kind: None,
                       "reply": "", "attempt": 0, "tokens": 0}
            yield row | {"id": item.id, "domain": item.domain, "question": item.question}


@contextlib.contextmanager
def interruptible(run: PromptRun) -> Iterator[None]:
    """The first Ctrl-C stops asking; the second one interrupts as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(*_: object) -> None:
        run.stop("Ctrl-C")
        tqdm.write("stopping: requests in flight may end; Ctrl-C again leaves at once")
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
