"""The Batch API: hand in files of requests and come back for the replies, at half the price."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import openai
from tqdm import tqdm

from ..errors import UserError, require
from ..files import write_json
from .prompt import Item
from .reply import read_completion, server_message
from .run import PromptRun, interruptible

ENDED = ("completed", "expired", "failed", "cancelled")
ROWS_A_BATCH = 10_000  # OpenAI takes 50,000 and 200 MB
URL = "/v1/chat/completions"


class BatchRegistry:
    """Which batches were handed in: `batches.json`, written before and after each step.

    An entry has `tag` (also in the batch's metadata, so that one whose submission was interrupted
    is found again), `id`, `rows`, and `status`, "collected" once its replies are in the cache.

    Raises:
        UserError: a file that is no list of batches.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            self.entries = json.loads(path.read_text()) if path.is_file() else []
            known = all({"tag", "id", "rows", "status"} <= set(entry) for entry in self.entries)
            require(known, "")
        except (ValueError, TypeError):
            raise UserError(f"{path}: no list of batches; move it away, and what is missing is "
                            "submitted anew") from None

    def open(self) -> list[dict[str, Any]]:
        """The entries whose replies are not collected yet."""
        return [entry for entry in self.entries if entry["status"] != "collected"]

    def put(self, entry: dict[str, Any], **changes: Any) -> None:
        """Add or change an entry, and save."""
        entry.update(changes)
        if entry not in self.entries:
            self.entries.append(entry)
        write_json(self.path, self.entries)

    def drop(self, entry: dict[str, Any]) -> None:
        """Remove an entry, and save."""
        self.entries.remove(entry)
        write_json(self.path, self.entries)


async def ask_in_batches(run: PromptRun, items: Iterable[Item], path: Path) -> None:
    """Submit what has no usable reply yet, wait, collect, and submit again what is missing.

    A row is submitted at most `tries` times for a reply that cannot be used, and in at
    most `retries` more batches of this run where it got none (expired, server error).

    Raises:
        UserError: a server without a Batch API, or one that refuses the file of requests.
    """
    mode = f"{run.settings.section}.mode"
    require(run.endpoint.process is None,
            f"{mode}: the local server has no Batch API; use mode: live")
    registry = BatchRegistry(path)
    by_key = {run.key(item): item for item in items}
    most = run.settings.tries + run.settings.retries
    submitted: Counter[str] = Counter()
    refused: set[str] = set()
    with interruptible(run):
        try:
            await _recover(run, registry)
            while not run.stopped:
                for entry in registry.open():
                    await _wait(run, registry, entry)
                    if run.stopped:
                        return
                    refused |= await _collect(run, entry, by_key)
                    registry.put(entry, status="collected")
                missing = [key for key in by_key if key not in refused and submitted[key] < most
                           and not run.is_done(key)]
                if not missing:
                    return
                submitted.update(await _submit(run, registry, missing, by_key))
        except openai.OpenAIError as error:
            reason = run.endpoint.clean(str(getattr(error, "message", error)))
            raise UserError(f"{mode}: {run.endpoint.base_url} refused a batch "
                            f"({type(error).__name__}: {reason}); check that the server has the "
                            "Batch API, or use mode: live") from None


async def _recover(run: PromptRun, registry: BatchRegistry) -> None:
    """Find batches whose submission was interrupted before their id was written down."""
    lost = {entry["tag"]: entry for entry in registry.open() if entry["id"] is None}
    if not lost:
        return
    async for batch in run.endpoint.client.batches.list():
        entry = lost.pop((batch.metadata or {}).get("selfprompt"), None)
        if entry:
            registry.put(entry, id=batch.id, status="submitted")
    for entry in lost.values():
        registry.drop(entry)


async def _submit(run: PromptRun, registry: BatchRegistry, keys: list[str],
                  by_key: dict[str, Item]) -> list[str]:
    """Hand in the rows, as many as the budget allows; returns their keys."""
    bodies = {}
    for key in keys:
        body = run.request(key, by_key[key])
        if not run.price.reserve(key, body):
            break
        bodies[key] = body
    if not bodies:
        run.stop_for_budget()
    chosen = list(bodies)
    for start in range(0, len(chosen), ROWS_A_BATCH):
        part = {key: bodies[key] for key in chosen[start : start + ROWS_A_BATCH]}
        await _create_batch(run, registry, part)
    return chosen


async def _create_batch(run: PromptRun, registry: BatchRegistry,
                        bodies: dict[str, dict]) -> None:
    """Upload the requests and create a batch of them; if the receipt is lost, look for it."""
    requests = [{"custom_id": key, "method": "POST", "url": URL, "body": body}
                for key, body in bodies.items()]
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in requests).encode()
    tag = f"{len(registry.entries)}-{hashlib.sha256(content).hexdigest()[:24]}"
    entry = {"tag": tag, "id": None, "rows": len(bodies), "status": "submitting"}
    registry.put(entry)
    client = run.endpoint.client
    file = await client.files.create(file=(f"{tag}.jsonl", content), purpose="batch")
    # Without retries: a batch whose receipt was lost would be created, and paid for, twice.
    batches = client.with_options(max_retries=0).batches
    try:
        batch = await batches.create(input_file_id=file.id, endpoint=URL, completion_window="24h",
                                     metadata={"selfprompt": tag})
    except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError) as error:
        run.errors |= dict.fromkeys(bodies, run.endpoint.clean(server_message(error)))
        await asyncio.sleep(run.settings.poll_seconds)
        await _recover(run, registry)
    else:
        registry.put(entry, id=batch.id, status="submitted")
        print(f"batch {batch.id}: {len(bodies)} rows handed in")


async def _wait(run: PromptRun, registry: BatchRegistry, entry: dict[str, Any]) -> None:
    """Poll a batch until it has ended or the run is stopped, with a progress bar.

    Raises:
        UserError: the server refused the batch; nothing was done of it.
    """
    seconds = run.settings.poll_seconds
    with tqdm(total=entry["rows"], desc=f"batch {entry['id']}", unit=run.prompt.kind) as bar:
        while True:
            batch = await run.endpoint.client.batches.retrieve(entry["id"])
            counts = batch.request_counts
            if counts:
                bar.update(counts.completed + counts.failed - bar.n)
            if batch.status in ENDED:
                break
            bar.set_postfix_str(batch.status)
            for _ in range(max(1, round(10 * seconds))):
                await asyncio.sleep(min(0.1, seconds))
                if run.stopped:
                    print(f"batch {entry['id']} goes on at the server")
                    return
    if batch.status != "completed":
        print(f"batch {batch.id} ended as {batch.status}; what is missing is submitted again")
    if batch.status == "failed":
        registry.drop(entry)
        errors = batch.errors.data if batch.errors and batch.errors.data else []
        reason = "; ".join(error.message for error in errors if error.message) or "no reason given"
        raise UserError(f"{run.settings.section}.mode: the server refused batch {batch.id}: "
                        f"{run.endpoint.clean(reason)}")


async def _collect(run: PromptRun, entry: dict[str, Any], by_key: dict[str, Item]) -> set[str]:
    """Write a batch's replies into the cache; returns the keys that the server refuses for good."""
    client = run.endpoint.client
    batch = await client.batches.retrieve(entry["id"])
    refused = set()
    for file in filter(None, (batch.output_file_id, batch.error_file_id)):
        content = await client.files.content(file)
        for line in content.text.splitlines():
            row = json.loads(line) if line.strip() else {}
            key, response = row.get("custom_id"), row.get("response") or {}
            last = run.cache.last(key) if key else None
            if not key or last and last.get("batch") == batch.id:
                continue  # the second: collected before an interruption
            status, body = response.get("status_code"), response.get("body") or {}
            if status == 200:
                reply = read_completion(json.dumps(body), run.endpoint.model)
                run.record(key, by_key.get(key), reply,
                           batch=batch.id, request_id=response.get("request_id"))
                run.errors.pop(key, None)
                continue
            run.price.settle(key, 0.0)
            error = row.get("error") or body.get("error") or {}
            reason = f"{error.get('code') or status}: {error.get('message') or 'no reply'}"
            run.errors[key] = run.endpoint.clean(reason)
            if status and 400 <= status < 500 and status not in (408, 409, 429):
                refused.add(key)
    run.price.reserved.clear()  # what got no reply costs nothing
    return refused
