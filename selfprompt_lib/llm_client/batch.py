"""The Batch API: hand in files of requests and come back for the replies, at half the price."""

import asyncio
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import openai
from openai.types import Batch
from tqdm import tqdm

from ..errors import UserError, require
from ..files import write_json
from .failures import Failure, failure_in, status_by_words
from .prompt import Item
from .reply import BAD_ANSWER, hidden_failure, read_completion, words
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
            self.entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
            require(isinstance(self.entries, list), "")
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
                    batch = await _wait(run, entry)
                    if run.stopped:
                        return
                    refused |= await _collect(run, registry, entry, batch, by_key)
                missing = [key for key in by_key if key not in refused and submitted[key] < most
                           and not run.is_done(key)]
                if run.stopped or not missing:
                    break
                submitted.update(await _submit(run, registry, missing, by_key))
        except openai.OpenAIError as error:
            failure = run.endpoint.failure(error)
            raise UserError(f"{mode}: {run.endpoint.base_url} refused a batch ({failure.told}); "
                            f"{run.mend(failure)}; check that the server has the Batch API and "
                            f"that {path} names batches of this key, or use mode: live") from None
    for key, times in submitted.items():
        lost = Failure(None, "", f"no line for this row in the replies of {times} batches")
        run.errors.setdefault(key, lost)


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
    content = "".join(json.dumps(row) + "\n" for row in requests).encode()  # ASCII: line ends only
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
        run.errors |= dict.fromkeys(bodies, run.endpoint.failure(error))
        await asyncio.sleep(run.settings.poll_seconds)
        await _recover(run, registry)
    else:
        registry.put(entry, id=batch.id, status="submitted")
        print(f"batch {batch.id}: {len(bodies)} rows handed in")


async def _wait(run: PromptRun, entry: dict[str, Any]) -> Batch:
    """The batch once it has ended, or the run is stopped; a progress bar shows its rows."""
    seconds = run.settings.poll_seconds
    with tqdm(total=entry["rows"], desc=f"batch {entry['id']}", unit=run.prompt.kind) as bar:
        while True:
            batch = await run.endpoint.client.batches.retrieve(entry["id"])
            done = [getattr(batch.request_counts, name, 0) for name in ("completed", "failed")]
            bar.update(sum(count for count in done if isinstance(count, int)) - bar.n)
            if str(batch.status).lower() in ENDED:
                return batch
            bar.set_postfix_str(str(batch.status))
            for _ in range(max(1, round(10 * seconds))):
                await asyncio.sleep(min(0.1, seconds))
                if run.stopped:
                    print(f"batch {entry['id']} goes on at the server")
                    return batch


async def _collect(run: PromptRun, registry: BatchRegistry, entry: dict[str, Any], batch: Batch,
                   by_key: dict[str, Item]) -> set[str]:
    """Write a batch's replies into the cache; returns the keys that the server refuses for good.

    Raises:
        UserError: the server refused the batch as a whole.
    """
    refused: set[str] = set()
    for file in filter(None, (batch.output_file_id, batch.error_file_id)):
        content = await run.endpoint.client.files.content(file)
        for line in content.content.split(b"\n"):  # other line ends may stand in a text
            if line.strip():
                _collect_line(run, batch.id, line, by_key, refused)
    run.price.reserved.clear()  # what got no reply costs nothing
    status = str(batch.status).lower()
    if status == "failed":
        registry.drop(entry)
        reason = words(json.dumps(batch.to_dict().get("errors"))) or "no reason given"
        raise UserError(f"{run.settings.section}.mode: {run.endpoint.base_url} refused batch "
                        f"{batch.id}: {run.endpoint.clean(reason)}")
    registry.put(entry, status="collected")
    if status == "cancelled":
        run.stop(f"batch {batch.id} was cancelled at the server")
    elif status != "completed":
        print(f"batch {batch.id} ended as {status}; what is missing is submitted again")
    return refused


def _collect_line(run: PromptRun, batch: str, line: bytes, by_key: dict[str, Item],
                  refused: set[str]) -> None:
    """Read a line of a batch's replies; a key that is not to be submitted again goes to `refused`.
    """
    text = line.decode("utf-8-sig", errors="replace")
    try:
        row = json.loads(text)
        key, response = row["custom_id"], row.get("response") or {}
        last = run.cache.last(key)
        status, body = int(response.get("status_code") or 0), response.get("body")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError,
            RecursionError):
        known = set(re.findall("[0-9a-f]{64}", text)) & set(by_key)
        reason = f"its line in the replies of batch {batch} cannot be read: {text}"
        run.errors |= dict.fromkeys(known, Failure(None, "", run.endpoint.clean(reason)))
        refused |= known
        return
    if last and last.get("batch") == batch:
        return  # collected before an interruption, or a line that comes twice
    item = by_key.get(key)
    said = body if isinstance(body, str) else json.dumps(body)
    hidden = hidden_failure(said) if status == 200 else None
    if status == 200 and not hidden:
        run.record(key, item, read_completion(said, run.endpoint.model), batch=batch,
                   request_id=response.get("request_id"))
        return
    if not body:
        said = json.dumps(row.get("error"))
    label = "no reply" if hidden or not status else f"HTTP {status}"
    status = status_by_words(hidden or status or BAD_ANSWER, said)
    failure = failure_in(status, said, run.endpoint.clean, label)
    run.fail(key, item, failure, batch=batch)
    paid = bool(hidden) and '"usage"' in said  # for nothing: not at once again
    may_pass = failure.passes or failure.no_system
    if paid or not may_pass:
        refused.add(key)
