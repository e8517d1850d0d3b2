"""Greedy decoding of many prompts at once, with transformers' models, caches and logits processors (chapter 4).

Prompts are read in groups of like length, and what some of them begin with is read once. Replies that
have ended leave the batch, and the next prompts take their places, so that little is computed in vain.
"""

from collections import deque
from collections.abc import Callable, Sequence

import torch
from tqdm import tqdm

from .batch import Batch
from .writer import Writer

READ_AT_ONCE = 16  # prompts in a group: enough to keep a processor busy
USUAL = 256  # tokens of a row; of longer ones fewer are written at the same time, so that memory has a limit


@torch.inference_mode()
def greedy(model, prompts: Sequence[list[int]], *, max_new_tokens: int | Sequence[int], rows: int,
           processors: Sequence[Callable] = (), forbidden: Sequence[Sequence[int]] = (),
           stopped: Callable[[list[int]], bool] | None = None, then: Sequence[list[int]] = (), then_tokens: int = 0,
           label: str | None = None) -> tuple[list[list[int]], list[list[int]]]:
    """One greedy reply a prompt, as token ids, in the order of the prompts; and a second one behind it (chapter 4).

    Args:
        max_new_tokens: for all prompts, or for each.
        rows: replies written at the same time, if they are of usual length.
        processors: transformers' logits processors, of the ids before a token and its logits.
        forbidden: for each prompt, tokens that its reply may not begin with.
        stopped: whether a reply so far is complete; asked every few tokens, so a reply can go on for some.
        then: for each prompt, tokens that are put behind its finished reply; empty: no second reply.
        then_tokens: the longest second reply.
        label: what the progress bar says; none is shown without.

    Returns:
        New tokens, up to and with the token that ends a turn, or `max_new_tokens` of them; and the same
        for the second replies, which are empty where none was asked for.
    """
    if not prompts:
        return [], []
    rooms = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    writer = Writer(model, prompts, rooms + [then_tokens] * len(prompts), processors, forbidden, stopped, then)
    waiting, batch = deque(row for family in writer.families for row in family), None
    with tqdm(total=len(prompts), desc=label, unit="question", mininterval=1, disable=label is None) as bar:
        while waiting or batch:
            batch = _filled(writer, batch, waiting, rows)
            bar.update(sum(row < len(prompts) for row in writer.over) - bar.n)
            bar.set_postfix_str(f"{_speed(writer, bar)} tokens/s", refresh=False)
            batch = _thinned(writer, batch)
            if batch:
                writer.step(batch)
    return writer.replies[: len(prompts)], writer.replies[len(prompts) :]


def _thinned(writer: Writer, batch: Batch) -> Batch | None:
    """The batch without the replies that are over, and with the second ones that begin behind them; None: all is written."""
    over = [place for place, row in enumerate(batch.rows) if row in writer.over]
    if len(over) < max(1, len(batch.rows) / 8):  # each leaving copies the cache
        return batch
    going = [place for place in over if writer.goes_on(batch.rows[place])]
    more = writer.go_on(batch, going) if going else None
    staying = [place for place in range(len(batch.rows)) if place not in set(over)]
    if not staying:
        return _thinned(writer, more) if more else None
    batch.keep(staying)
    if more:
        batch.take_in(more)
    return batch


def _filled(writer: Writer, batch: Batch | None, waiting: deque[int], rows: int) -> Batch:
    """The batch with the next prompts, as far as there is room; a few free places wait until a group fits."""
    while waiting and (free := _places(writer, batch, waiting[0], rows)):
        new = writer.begin(_alike(writer, waiting, free))
        if batch:
            batch.take_in(new)
        batch = batch or new
    return batch


def _places(writer: Writer, batch: Batch | None, row: int, rows: int) -> int:
    """How many prompts as long as this one are read next; 0 until a group fits, but never for an empty batch."""
    width = max(batch.mask.shape[1] if batch else 0, len(writer.prompts[row]) + writer.rooms[row])
    most = max(1, min(rows, rows * USUAL // width))
    free, group = most - (len(batch.rows) if batch else 0), min(READ_AT_ONCE, most)
    return group if free >= group else 0


def _alike(writer: Writer, waiting: deque[int], most: int) -> list[int]:
    """The next prompts, none much shorter than the first: less than a quarter of what is read are blanks."""
    group = [waiting.popleft()]
    while waiting and len(group) < most and writer.left(waiting[0]) >= 0.75 * writer.left(group[0]):
        group.append(waiting.popleft())
    return group


def _speed(writer: Writer, bar: tqdm) -> int:
    return round(sum(map(len, writer.replies)) / max(bar.format_dict["elapsed"], 1e-9))
