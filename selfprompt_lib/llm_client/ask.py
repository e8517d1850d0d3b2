"""Ask a prompt for many items: say what it costs, then one by one or in batches."""

import asyncio
import itertools
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import UserError, require
from .endpoint import Endpoint
from .failures import Failure
from .prompt import Item, Prompt
from .response_cache import ResponseCache
from .run import PromptRun, interruptible


async def ask_rows(endpoint: Endpoint, prompt: Prompt, items: Sequence[Item],
                   folder: Path) -> list[dict[str, Any]]:
    """Ask the prompt for every item and return one row an item, in their order.

    Replies are kept in `<folder>/replies.jsonl`: run again, and only what is missing is asked.

    Raises:
        UserError: a model, key or setting that the server refuses; a budget without a price.
    """
    with ResponseCache(folder / "replies.jsonl") as cache:
        run = PromptRun(endpoint, prompt, cache)
        await ask_missing(run, items, folder / "batches.json")
        stopped = f"stopped: {run.stopped}; what came is kept, run again to go on"
        require(not run.refused, f"{run.settings.section}: {stopped}")
        if run.stopped:
            print(stopped)
        return list(run.rows(items))


async def ask_missing(run: PromptRun, items: Sequence[Item], registry: Path) -> None:
    """Say what it costs, then ask for every item that has no usable reply yet.

    `run.stopped` says why it ended early, if it did.

    Raises:
        UserError: a model, key or setting that the server refuses.
    """
    if run.settings.mode == "batch":
        from .batch import ask_in_batches  # imports openai, see `endpoint`

        print(estimate_cost(run, items, None)[0])
        await ask_in_batches(run, items, registry)
    else:
        first = await first_call(run, items)
        statement, done = estimate_cost(run, items, first)
        print(statement)
        await ask_live(run, items, done)


async def first_call(run: PromptRun, items: Sequence[Item]) -> dict[str, Any] | None:
    """Call the model for the first item that has no usable reply yet; None if all are done.

    Returns the reply's row with `tokens_a_character`, the measured length of a token. A failure
    may be this item's own, so the shortest is asked too: if that fails as well, all will.

    Raises:
        UserError: the server refuses the model, the key or a setting; nothing more was asked.
    """
    failures: list[Failure] = []
    for item in _first_and_shortest(run, items):
        key = run.key(item)
        row = await run.ask(key, item, once=bool(failures))
        if row:
            return row | {"tokens_a_character": row["prompt_tokens"] / _characters(run, item)}
        if key not in run.errors:
            return None  # the budget is spent
        failures.append(run.errors[key])
        if failures[-1].final:
            break
    if not failures:
        return None  # all are done
    failure, only_one_is_left = failures[-1], len(failures) == 1
    # Where others had replies with these settings, what would fail again is of the rows. What may
    # pass is of the server; but of the only row that is left nobody can tell, and it must not keep
    # the rest from being used.
    may_be_the_rows = not failure.final and (only_one_is_left or not failure.passes)
    if may_be_the_rows and any(run.is_done(run.key(other)) for other in items):
        return None
    endpoint = run.endpoint
    near = await endpoint.similar_models() if failure.of_model else ""
    raise UserError(f"{run.settings.section}: the first call to {endpoint.name} at "
                    f"{endpoint.base_url} failed: {failure.told}{near}; {run.mend(failure)}")


def _first_and_shortest(run: PromptRun, items: Sequence[Item]) -> Iterator[Item]:
    """The first item without a usable reply; then the shortest of those not asked in this run."""
    def waiting() -> Iterator[Item]:
        return (item for item in items
                if run.key(item) not in run.errors and not run.is_done(run.key(item)))

    yield from itertools.islice(waiting(), 1)
    shortest = min(waiting(), key=lambda item: _characters(run, item), default=None)
    if shortest is not None:
        yield shortest


def estimate_cost(run: PromptRun, items: Sequence[Item],
                  first: dict[str, Any] | None) -> tuple[str, int]:
    """What asking will cost, in words; how many items were done before."""
    left = [item for item in items if not run.is_done(run.key(item))]
    count, done = len(items), len(items) - len(left)
    characters = sum(_characters(run, item) for item in left)
    cut = sum(run.prompt.cut_characters(item.question) > 0 for item in items)
    if not first or not first["prompt_tokens"]:  # English, and a role of the usual length
        first = {"tokens_a_character": 0.25, "tokens": 90}
    sent = round(characters * first["tokens_a_character"])
    written = len(left) * first["tokens"]
    price = run.price
    dollars = price.dollars(sent, written)
    money = "price unknown" if dollars is None else f"about ${dollars:.2f}"
    if run.endpoint.process:
        money = "no money: the model is local"
    if price.budget is not None:
        money += f", budget ${price.budget:g}"
        money += f" of which ${price.spent:.2f} is spent" if price.spent else ""
    if cut:
        limit = f"{run.settings.section}.longest_question"
        money += f"; {cut} questions are longer than {limit}: their middle is cut"
    statement = (f"{run.endpoint.name}: {count} {run.prompt.unit}, {done} done before, "
                 f"{len(left)} requests; about {sent:,} tokens in and {written:,} out; {money}")
    return textwrap.fill(statement, 76), done


def _characters(run: PromptRun, item: Item) -> int:
    return sum(len(turn["content"]) for turn in run.prompt.messages(item.question))


async def ask_live(run: PromptRun, items: Sequence[Item], done: int) -> None:
    """Ask for every item that has no usable reply yet, `concurrency` at a time.

    Every reply is in the cache as soon as it comes. Ctrl-C, a spent budget or a server that
    refuses the key lets the requests in flight end and asks nothing more.
    """
    prompt, source, in_flight, count = run.prompt, iter(items), set(), len(items)
    bar = tqdm(total=count, initial=done, desc=prompt.label, unit=prompt.kind, mininterval=1)

    async def worker() -> None:
        for item in source:
            key = run.key(item)
            if run.stopped:
                return
            refused = key in run.errors and not run.errors[key].passes  # as the first call
            if key in in_flight or refused or run.is_done(key):
                continue  # the third: done before, or the same question twice
            in_flight.add(key)
            while not run.stopped:
                row = await run.ask(key, item)
                if row is None or run.is_done(key):
                    break
            in_flight.discard(key)
            bar.update()
            bar.set_postfix_str(run.price.spent_text(), refresh=False)

    with interruptible(run), bar:
        async with asyncio.TaskGroup() as group:
            for _ in range(max(1, min(run.settings.concurrency, count - done))):
                group.create_task(worker())
        if not run.stopped:
            bar.update(count - bar.n)  # questions that occur twice were asked once
