"""Ask for many roles at once: with limits, a budget, a progress bar, and a clean stop."""

import asyncio
import contextlib
import json
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import openai
from aiolimiter import AsyncLimiter
from pydantic import BaseModel, ValidationError
from tqdm import tqdm

from ..errors import UserError
from ..profiles import Profile
from ..rows import Conversation
from .endpoint import Endpoint
from .forms import Form, ask_again, outcome, server_says
from .price import Price
from .replies import Replies

FATAL = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)


@dataclass
class Job:
    """One annotation under way: who is asked, what for, and what came of it so far."""

    endpoint: Endpoint
    form: Form
    price: Price
    replies: Replies
    stopped: str = ""  # why nothing more is asked
    errors: dict[str, str] = field(default_factory=dict)  # key → reason, for rows that got no reply
    tally: Counter = field(default_factory=Counter)
    requests: AsyncLimiter | None = None
    tokens: AsyncLimiter | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # who takes from the two limits

    @classmethod
    def of(cls, endpoint: Endpoint, profile: Profile, replies: Replies) -> "Job":
        settings = profile.annotate
        job = cls(endpoint, Form.of(settings), Price.of(settings, endpoint), replies,
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
                self.stopped = self.stopped or f"the budget of ${self.price.budget:g} would be passed (annotate.budget)"
            if self.stopped:
                return False
            await asyncio.sleep(0.05)
        return True

    def key(self, sample: Conversation) -> str:
        return self.form.key(sample.question, self.endpoint.address, self.endpoint.name)

    def body(self, sample: Conversation, key: str) -> dict[str, Any]:
        """The next request for this row: the first one, or one more after a reply that could not be used."""
        body = self.form.request(sample.question, self.endpoint.model, local=self.endpoint.process is not None)
        last = self.replies.last(key)
        return ask_again(body, last["reply"], last["reason"]) if last else body

    def record(self, key: str, sample: Conversation, completion: "Completion", **more: Any) -> dict[str, Any]:
        """Write one reply down, with its provenance, and count its price."""
        choice, used = completion.choice, completion.usage
        last = self.replies.last(key)
        sent, written = (used.prompt_tokens, used.completion_tokens) if used else (0, 0)
        cached = (used.prompt_tokens_details.cached_tokens or 0) if used and used.prompt_tokens_details else 0
        # Without a count of tokens the worst case is taken, so that the budget holds.
        dollars = self.price.dollars(sent, written, cached) if used else self.price.reserved.get(key)
        row = {
            "key": key,
            "id": sample.id,
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
            "cut_characters": max(0, len(sample.question) - len(self.form.shorten(sample.question))),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            **more,
        }
        self.replies.append(row)
        self.price.settle(key, dollars)
        return row

    def rows(self, samples: Iterable[Conversation]) -> Iterator[dict[str, Any]]:
        """One row a sample, in their order: its last reply, or why there is none."""
        for sample in samples:
            key = self.key(sample)
            found = self.replies.last(key)
            if found is None:
                error = self.errors.get(key)
                found = {"key": key, "outcome": "error" if error else "not asked", "reason": error or self.stopped,
                         "role": None, "reply": "", "attempt": 0, "tokens": 0}
            yield found | {"id": sample.id, "domain": sample.domain, "question": sample.question}


async def ask(job: Job, key: str, sample: Conversation) -> dict[str, Any] | None:
    """One call. Returns the reply's row, or None where there was no reply (see `job.errors`)."""
    began = time.perf_counter()
    body = job.body(sample, key)
    if not await job.admitted(body) or not await job.affordable(key, body):
        return None
    try:
        # The client's post() takes any parameter, and spares checking the long prompt key by key in Python.
        answer = await job.endpoint.client.post("/chat/completions", cast_to=httpx2.Response, body=body)
    except openai.OpenAIError as error:
        return _without_reply(job, key, sample, error)
    return job.record(key, sample, completion_of(answer.text, job.endpoint.model), seconds=round(time.perf_counter() - began, 2),
                      retries=int(answer.request.headers.get("x-stainless-retry-count", 0)),
                      **({"request_id": answer.headers["x-request-id"]} if "x-request-id" in answer.headers else {}))


def _without_reply(job: Job, key: str, sample: Conversation, error: openai.OpenAIError) -> dict[str, Any] | None:
    """A call that brought no reply: a refusal by the server's filter is an outcome, the rest an error."""
    reason = job.endpoint.clean(server_says(error))
    if getattr(error, "code", None) in ("content_filter", "content_policy_violation"):
        job.price.reserved[key] = 0.0
        return job.record(key, sample, Completion(job.endpoint.model, Choice(finish_reason="content_filter")))
    job.price.settle(key, 0.0)
    job.errors[key] = reason
    if isinstance(error, FATAL) or getattr(error, "code", None) == "insufficient_quota":
        job.stopped = job.stopped or f"the server refused: {reason}"
    return None


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


async def first_call(job: Job, samples: Iterable[Conversation]) -> dict[str, Any] | None:
    """Call the model once, for the first sample that has no role yet; None where all are done.

    Raises:
        UserError: the server refuses the model, the key or a setting; nothing more was asked.
    """
    for sample in samples:
        key = job.key(sample)
        if job.replies.done(key, job.form.settings.tries):
            continue
        row = await ask(job, key, sample)
        if row is None and key not in job.errors:
            return None  # the budget is spent: nothing was asked
        if row is None:
            near = await job.endpoint.nearest() if "NotFound" in job.errors[key] else ""
            raise UserError(f"annotate: the first call to {job.endpoint.name} at {job.endpoint.base_url} failed: "
                            f"{job.errors[key]}{near}; check annotate.model, annotate.parameters and the key, then run again")
        sent = sum(len(turn["content"]) for turn in job.form.messages(sample.question))
        return row | {"tokens_a_character": row["prompt_tokens"] / sent}
    return None


def estimate(job: Job, samples: Iterable[Conversation], first: dict[str, Any] | None) -> dict[str, Any]:
    """Rows to ask and their tokens and price, from the first reply's tokens a character.

    Returns the keys rows, done, requests, input_tokens, output_tokens, dollars (None: unknown), cut (questions shortened).
    """
    rows, done, characters, cut = 0, 0, 0, 0
    tries = job.form.settings.tries
    for sample in samples:
        rows += 1
        key = job.key(sample)
        finished = job.replies.done(key, tries) is not None
        done += finished
        if not finished:
            characters += sum(len(turn["content"]) for turn in job.form.messages(sample.question))
        cut += len(sample.question) > job.form.settings.longest_question
    left = rows - done
    if not first or not first["prompt_tokens"]:  # English, and a role of the usual length
        first = {"tokens_a_character": 0.25, "tokens": 90}
    sent, written = round(characters * first["tokens_a_character"]), left * first["tokens"]
    return {"rows": rows, "done": done, "requests": left, "input_tokens": sent, "output_tokens": written,
            "dollars": job.price.dollars(sent, written), "cut": cut}


def statement(job: Job, plan: dict[str, Any]) -> str:
    """What the batch will cost, in a line, before it begins."""
    money = "price unknown" if plan["dollars"] is None else f"about ${plan['dollars']:.2f}"
    if job.endpoint.process:
        money = "no money: the model is local"
    if job.price.budget is not None:
        money += f", budget ${job.price.budget:g}" + (f" of which ${job.price.spent:.2f} is spent" if job.price.spent else "")
    cut = f"; {plan['cut']} questions are longer than annotate.longest_question: their middle is cut" if plan["cut"] else ""
    return (f"{job.endpoint.name}: {plan['rows']} samples, {plan['done']} done before, {plan['requests']} requests; about "
            f"{plan['input_tokens']:,} tokens in and {plan['output_tokens']:,} out; {money}{cut}")


async def ask_all(job: Job, samples: Iterable[Conversation], total: int, done: int = 0) -> None:
    """Ask for every sample that has no role yet, `annotate.concurrency` at a time.

    Every reply is in the log as soon as it comes. Ctrl-C, a spent budget or a server that refuses
    the key lets the requests in flight end and asks nothing more (`job.stopped` says why).
    """
    settings, source, busy = job.form.settings, iter(samples), set()
    with interruptible(job), tqdm(total=total, initial=done, desc="annotating", unit="role", mininterval=1) as bar:

        async def worker() -> None:
            for sample in source:
                key = job.key(sample)
                if job.stopped:
                    return
                if key in busy or job.replies.done(key, settings.tries):
                    continue  # done before, or the same question twice
                busy.add(key)
                await one_row(key, sample)
                busy.discard(key)
                bar.update()
                bar.set_postfix_str(spent(job), refresh=False)

        async def one_row(key: str, sample: Conversation) -> None:
            while not job.stopped:
                row = await ask(job, key, sample)
                if row is None or job.replies.done(key, settings.tries):
                    job.tally[row["outcome"] if row else "error"] += 1
                    return

        async with asyncio.TaskGroup() as group:
            for _ in range(max(1, min(settings.concurrency, total - done))):
                group.create_task(worker())
        if not job.stopped:
            bar.update(total - bar.n)  # questions that occur twice were asked once


def spent(job: Job) -> str:
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
def interruptible(job: Job) -> Iterator[None]:
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


async def annotate(endpoint: Endpoint, profile: Profile, samples: Sequence[Conversation], folder: Path,
                   say: Any = print) -> list[dict[str, Any]]:
    """Annotate the samples as the profile says; returns one row a sample, in their order (chapter 1).

    The log of replies is `<folder>/replies.jsonl`: run again, and only what is missing is asked.

    Raises:
        UserError: a model, key or setting that the server refuses; a budget without a price.
    """
    from .batch import ask_in_batches

    with Replies(folder / "replies.jsonl") as replies:
        job = Job.of(endpoint, profile, replies)
        if profile.annotate.mode == "batch":
            say(statement(job, estimate(job, samples, None)))
            await ask_in_batches(job, samples, folder / "batches.json", say)
        else:
            first = await first_call(job, samples)
            plan = estimate(job, samples, first)
            say(statement(job, plan))
            await ask_all(job, samples, plan["rows"], plan["done"])
        if job.stopped:
            say(f"stopped: {job.stopped}; what came is kept, run again to go on")
        return list(job.rows(samples))
