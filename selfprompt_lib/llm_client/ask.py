"""Ask for many replies at once, with a progress bar and a clean stop."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import httpx2
import openai
from tqdm import tqdm

from ..errors import UserError
from .batch import ask_in_batches
from .completion import Choice, Completion, completion_of
from .endpoint import Endpoint
from .job import PromptRun, interruptible, spent
from .prompt import Item, Prompt, server_says
from .response_cache import ResponseCache

FATAL = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)


async def ask(job: PromptRun, key: str, sample: Item) -> dict[str, Any] | None:
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


def _without_reply(job: PromptRun, key: str, sample: Item, error: openai.OpenAIError) -> dict[str, Any] | None:
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


async def first_call(job: PromptRun, samples: Iterable[Item]) -> dict[str, Any] | None:
    """Call the model once, for the first sample that has no usable reply yet; None where all are done.

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
            section = job.form.settings.section
            raise UserError(f"{section}: the first call to {job.endpoint.name} at {job.endpoint.base_url} failed: "
                            f"{job.errors[key]}{near}; check {section}.model, {section}.parameters and the key, then run again")
        sent = sum(len(turn["content"]) for turn in job.form.messages(sample.question))
        return row | {"tokens_a_character": row["prompt_tokens"] / sent}
    return None


def estimate(job: PromptRun, samples: Iterable[Item], first: dict[str, Any] | None) -> dict[str, Any]:
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
        cut += job.form.cut(sample.question) > 0
    left = rows - done
    if not first or not first["prompt_tokens"]:  # English, and a role of the usual length
        first = {"tokens_a_character": 0.25, "tokens": 90}
    sent, written = round(characters * first["tokens_a_character"]), left * first["tokens"]
    return {"rows": rows, "done": done, "requests": left, "input_tokens": sent, "output_tokens": written,
            "dollars": job.price.dollars(sent, written), "cut": cut}


def statement(job: PromptRun, plan: dict[str, Any]) -> str:
    """What the batch will cost, in a line, before it begins."""
    money = "price unknown" if plan["dollars"] is None else f"about ${plan['dollars']:.2f}"
    if job.endpoint.process:
        money = "no money: the model is local"
    if job.price.budget is not None:
        money += f", budget ${job.price.budget:g}" + (f" of which ${job.price.spent:.2f} is spent" if job.price.spent else "")
    longest = f"{job.form.settings.section}.longest_question"
    cut = f"; {plan['cut']} questions are longer than {longest}: their middle is cut" if plan["cut"] else ""
    return (f"{job.endpoint.name}: {plan['rows']} {job.form.unit}, {plan['done']} done before, {plan['requests']} requests; "
            f"about {plan['input_tokens']:,} tokens in and {plan['output_tokens']:,} out; {money}{cut}")


async def ask_all(job: PromptRun, samples: Iterable[Item], total: int, done: int = 0) -> None:
    """Ask for every sample that has no usable reply yet, `concurrency` at a time.

    Every reply is in the log as soon as it comes. Ctrl-C, a spent budget or a server that refuses
    the key lets the requests in flight end and asks nothing more (`job.stopped` says why).
    """
    settings, source, busy = job.form.settings, iter(samples), set()
    with interruptible(job), tqdm(total=total, initial=done, desc=job.form.label, unit=job.form.kind, mininterval=1) as bar:

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

        async def one_row(key: str, sample: Item) -> None:
            while not job.stopped:
                row = await ask(job, key, sample)
                if row is None or job.replies.done(key, settings.tries):
                    return

        async with asyncio.TaskGroup() as group:
            for _ in range(max(1, min(settings.concurrency, total - done))):
                group.create_task(worker())
        if not job.stopped:
            bar.update(total - bar.n)  # questions that occur twice were asked once


async def ask_what_is_missing(job: PromptRun, samples: Sequence[Item], ledger: Path, say: Callable[[str], None] = print) -> None:
    """Say what it costs, then ask for every sample that has no usable reply yet, live or in batches.

    Raises:
        UserError: a model, key or setting that the server refuses.
    """
    if job.form.settings.mode == "batch":
        say(statement(job, estimate(job, samples, None)))
        await ask_in_batches(job, samples, ledger, say)
    else:
        first = await first_call(job, samples)
        plan = estimate(job, samples, first)
        say(statement(job, plan))
        await ask_all(job, samples, plan["rows"], plan["done"])
    if job.stopped:
        say(f"stopped: {job.stopped}; what came is kept, run again to go on")


async def ask_rows(endpoint: Endpoint, prompt: Prompt, items: Sequence[Item], folder: Path,
                   say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """Ask the prompt for every item and return one row an item, in their order.

    Replies are kept in `<folder>/replies.jsonl`: run again, and only what is missing is asked.

    Raises:
        UserError: a model, key or setting that the server refuses; a budget without a price.
    """
    with ResponseCache(folder / "replies.jsonl") as replies:
        job = PromptRun.of(endpoint, prompt, replies)
        await ask_what_is_missing(job, items, folder / "batches.json", say)
        return list(job.rows(items))
