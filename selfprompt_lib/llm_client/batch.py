"""The Batch API: hand in files of requests, come back for the replies; half the price at some hosts."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import openai
from tqdm import tqdm

from ..errors import UserError, require
from ..files import write_json
from .completion import completion_of
from .job import PromptRun, interruptible
from .prompt import Item, server_says

ENDED = ("completed", "expired", "failed", "cancelled")
ROWS_A_BATCH = 10_000  # OpenAI takes 50,000 and 200 MB


class BatchRegistry:
    """Which batches were handed in: `batches.json`, written before and after each step.

    An entry has `tag` (also in the batch's metadata, so that one whose submission was interrupted is
    found again), `id`, and `status`, which is `collected` once its replies are in the log.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            self.entries: list[dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else []
            require(all({"tag", "id", "rows", "status"} <= set(entry) for entry in self.entries), "")
        except (ValueError, TypeError):
            raise UserError(f"{path}: no list of batches; move it away, and what is missing is submitted anew") from None

    def open(self) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["status"] != "collected"]

    def put(self, entry: dict[str, Any], **changes: Any) -> None:
        """Add or change an entry, and save."""
        entry.update(changes)
        if entry not in self.entries:
            self.entries.append(entry)
        write_json(self.path, self.entries)

    def drop(self, entry: dict[str, Any]) -> None:
        self.entries.remove(entry)
        write_json(self.path, self.entries)


async def ask_in_batches(job: PromptRun, samples: Iterable[Item], path: Path, say: Callable[[str], None] = print) -> None:
    """Submit what has no role yet, wait, collect, and submit again what is missing.

    A row is submitted at most `tries` times for a reply that cannot be used, and in at
    most `retries` more batches of this run where it got none (expired, server error).

    Raises:
        UserError: a server without a Batch API, or one that refuses the file of requests.
    """
    settings, ledger = job.form.settings, BatchRegistry(path)
    section = settings.section
    require(job.endpoint.process is None, f"{section}.mode: the local server has no Batch API; use mode: live")
    by_key = {job.key(sample): sample for sample in samples}
    refused: set[str] = set()
    handed_in: Counter[str] = Counter()
    with interruptible(job):
        try:
            await _recover(job, ledger)
            while True:
                for entry in ledger.open():
                    fault = await _wait(job, entry, settings.poll_seconds, say)
                    if job.stopped:
                        return
                    if fault:
                        ledger.drop(entry)  # nothing was done of it
                        raise UserError(f"{section}.mode: the server refused batch {entry['id']}: {fault}")
                    refused |= await _collect(job, entry, by_key)
                    ledger.put(entry, status="collected")
                missing = [key for key in by_key if key not in refused and handed_in[key] < settings.tries + settings.retries
                           and not job.replies.done(key, settings.tries)]
                if not missing:
                    return
                handed_in.update(await _submit(job, ledger, missing, by_key, say))
                if job.stopped:
                    return
        except openai.OpenAIError as error:
            said = job.endpoint.clean(str(getattr(error, "message", error)))
            raise UserError(f"{section}.mode: {job.endpoint.base_url} refused a batch ({type(error).__name__}: {said}); "
                            "check that the server has the Batch API, or use mode: live") from None


async def _recover(job: PromptRun, ledger: BatchRegistry) -> None:
    """Find batches whose submission was interrupted before their id was written down."""
    lost = {entry["tag"]: entry for entry in ledger.open() if entry["id"] is None}
    if not lost:
        return
    async for batch in job.endpoint.client.batches.list():
        entry = lost.pop((batch.metadata or {}).get("selfprompt"), None)
        if entry:
            ledger.put(entry, id=batch.id, status="submitted")
    for entry in lost.values():
        ledger.drop(entry)


async def _submit(job: PromptRun, ledger: BatchRegistry, keys: list[str], by_key: dict, say: Callable[[str], None]) -> list[str]:
    """Hand in the rows, as many as the budget allows, in batches of at most `ROWS_A_BATCH`; returns their keys."""
    bodies = {}
    for key in keys:
        body = job.body(by_key[key], key)
        if not job.price.reserve(key, body):
            break
        bodies[key] = body
    if not bodies:
        job.stopped = job.over_budget()
    chosen = list(bodies)
    for start in range(0, len(chosen), ROWS_A_BATCH):
        part = chosen[start : start + ROWS_A_BATCH]
        lines = [{"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": bodies[key]} for key in part]
        content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
        tag = f"{len(ledger.entries)}-{hashlib.sha256(content).hexdigest()[:24]}"
        entry = {"tag": tag, "id": None, "rows": len(part), "status": "submitting"}
        ledger.put(entry)
        file = await job.endpoint.client.files.create(file=(f"{tag}.jsonl", content), purpose="batch")
        once = job.endpoint.client.with_options(max_retries=0)  # a batch that was taken unheard must not be taken twice
        try:
            batch = await once.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions",
                                              completion_window="24h", metadata={"selfprompt": tag})
        except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError) as error:
            job.errors |= dict.fromkeys(part, job.endpoint.clean(server_says(error)))
            await asyncio.sleep(job.form.settings.poll_seconds)
            await _recover(job, ledger)
            continue
        ledger.put(entry, id=batch.id, status="submitted")
        say(f"batch {batch.id}: {len(part)} rows handed in")
    return chosen


async def _wait(job: PromptRun, entry: dict[str, Any], seconds: float, say: Callable[[str], None]) -> str:
    """Poll a batch until it has ended, with a progress bar. Returns why it was refused, if so."""
    with tqdm(total=entry["rows"], desc=f"batch {entry['id']}", unit=job.form.kind) as bar:
        while True:
            batch = await job.endpoint.client.batches.retrieve(entry["id"])
            counts = batch.request_counts
            if counts:
                bar.update(counts.completed + counts.failed - bar.n)
            if batch.status in ENDED:
                break
            bar.set_postfix_str(batch.status)
            for _ in range(max(1, round(10 * seconds))):
                await asyncio.sleep(min(0.1, seconds))
                if job.stopped:
                    say(f"batch {entry['id']} goes on at the server")
                    return ""
    if batch.status != "completed":
        say(f"batch {batch.id} ended as {batch.status}; what is missing is submitted again")
    faults = [fault.message for fault in (batch.errors.data if batch.errors and batch.errors.data else []) if fault.message]
    return job.endpoint.clean("; ".join(faults) or "no reason given") if batch.status == "failed" else ""


async def _collect(job: PromptRun, entry: dict[str, Any], by_key: dict[str, Item]) -> set[str]:
    """Write a batch's replies into the log; returns the keys that the server will not answer at all."""
    batch = await job.endpoint.client.batches.retrieve(entry["id"])
    refused = set()
    for file in filter(None, (batch.output_file_id, batch.error_file_id)):
        content = await job.endpoint.client.files.content(file)
        for line in content.text.splitlines():
            item = json.loads(line) if line.strip() else {}
            key = item.get("custom_id")
            if not key:
                continue
            sample = by_key.get(key)  # None: no longer asked
            last, response = job.replies.last(key), item.get("response") or {}
            if last and last.get("batch") == batch.id:
                continue  # collected before an interruption
            status = response.get("status_code")
            if status == 200:
                completion = completion_of(json.dumps(response["body"]), job.endpoint.model)
                job.record(key, sample, completion, batch=batch.id, request_id=response.get("request_id"))
                job.errors.pop(key, None)
                continue
            job.price.settle(key, 0.0)
            fault = item.get("error") or (response.get("body") or {}).get("error") or {}
            job.errors[key] = job.endpoint.clean(f"{fault.get('code') or status}: {fault.get('message') or 'no reply'}")
            if status and 400 <= status < 500 and status not in (408, 409, 429):
                refused.add(key)
    job.price.reserved.clear()  # what got no reply costs nothing
    return refused
