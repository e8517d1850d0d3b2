"""Greedy decoding of many prompts at once, with transformers' models, caches and logits processors (chapter 4).

Prompts are read in groups of like length, and what all of them begin with is read once. Replies that
have ended leave the batch, and the next prompts take their places, so that little is computed in vain.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os.path import commonprefix

import torch
from torch.nn.functional import pad
from tqdm import tqdm
from transformers import Cache, DynamicLayer

READ_AT_ONCE = 16  # prompts in a group: enough to keep a processor busy
LOOK = 8  # tokens between two looks for the stop texts, which need the reply as text
ROOM = 64  # tokens by which a cache grows


class RoomyLayer(DynamicLayer):
    """transformers' growing cache layer with room to grow into: a new token does not move the old ones."""

    def update(self, key_states, value_states, *args, **kwargs):
        """Write new keys and values (rows, heads, tokens, size) behind the old ones and return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.key_room = self.value_room = self.keys
        self.keys, self.key_room = _written(self.keys, self.key_room, key_states)
        self.values, self.value_room = _written(self.values, self.value_room, value_states)
        return self.keys, self.values


def _written(past: torch.Tensor, room: torch.Tensor, new: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`past` and `new` as one view of the room, and the room: a larger one where they do not fit."""
    old = past.shape[-2] if past.numel() else 0
    end = old + new.shape[-2]
    if not old or past.data_ptr() != room.data_ptr() or end > room.shape[-2]:
        room = new.new_empty(*new.shape[:2], end + ROOM, new.shape[-1])
        if old:
            room[..., :old, :] = past
    room[..., old:end, :] = new
    return room[..., :end, :], room


@dataclass
class Batch:
    """Replies that are being written. A blank is a place that only fills a row up.

    `ids` (rows, width) has the blanks of a row on its left, as logits processors expect, filled with its
    first token, which tells them nothing new; `mask` of the same shape is 0 where the cache has a blank,
    which can be between a shared beginning and the rest.
    """

    rows: list[int]
    ids: torch.Tensor
    mask: torch.Tensor
    cache: Cache

    def keep(self, places: list[int]) -> None:
        """Let the other rows leave, and columns that hold nothing for those that stay."""
        first = int(self.mask[places].any(0).int().argmax())
        self.rows = [self.rows[place] for place in places]
        self.ids, self.mask = self.ids[places, first:], self.mask[places, first:]
        for layer in self.cache.layers:
            layer.keys, layer.values = (state[places, :, first:] for state in (layer.keys, layer.values))

    def take_in(self, other: "Batch") -> None:
        """Add the rows of another batch, with blanks on the left of the shorter ones."""
        width = max(self.mask.shape[1], other.mask.shape[1])
        for batch in (self, other):
            batch._widen(width - batch.mask.shape[1])
        self.rows = self.rows + other.rows
        self.ids, self.mask = torch.cat([self.ids, other.ids]), torch.cat([self.mask, other.mask])
        for mine, theirs in zip(self.cache.layers, other.cache.layers, strict=True):
            mine.keys, mine.values = torch.cat([mine.keys, theirs.keys]), torch.cat([mine.values, theirs.values])

    def _widen(self, blanks: int) -> None:
        self.ids = torch.cat([self.ids[:, :1].expand(-1, blanks), self.ids], dim=1)
        self.mask = pad(self.mask, (blanks, 0))
        for layer in self.cache.layers if blanks else ():
            layer.keys, layer.values = pad(layer.keys, (0, 0, blanks, 0)), pad(layer.values, (0, 0, blanks, 0))


class Writer:
    """Writes replies to prompts, both as token ids, one token of a batch at a time."""

    def __init__(self, model, prompts: Sequence[list[int]], max_new_tokens: int, processors: Sequence[Callable],
                 forbidden: Sequence[int], stopped: Callable[[list[int]], bool] | None):
        self.model, self.prompts, self.max_new_tokens = model, prompts, max_new_tokens
        self.processors, self.forbidden, self.stopped = processors, list(forbidden), stopped
        ends = model.generation_config.eos_token_id
        self.ends = {ends} if isinstance(ends, int) else set(ends or ())
        self.replies: list[list[int]] = [[] for _ in prompts]
        self.over: set[int] = set()
        # The last token of a prompt is not shared: its row must be read for the first token of the reply.
        self.shared = commonprefix([prompt[:-1] for prompt in prompts]) if len(prompts) > 1 else []
        self.shared_cache = _cache()
        if self.shared:
            model(input_ids=self._tensor([self.shared]), past_key_values=self.shared_cache, use_cache=True, logits_to_keep=1)

    def begin(self, rows: list[int]) -> Batch:
        """Read the prompts of these rows and write the first token of each reply."""
        rest = [self.prompts[row][len(self.shared) :] for row in rows]
        width = max(map(len, rest))
        blanks = [[self.prompts[row][0]] * (width - len(ids)) for row, ids in zip(rows, rest, strict=True)]
        filled = list(zip(blanks, rest, strict=True))
        cache = _cache()
        for i, layer in enumerate(self.shared_cache.layers):
            cache.update(layer.keys.expand(len(rows), -1, -1, -1), layer.values.expand(len(rows), -1, -1, -1), i)
        batch = Batch(rows, self._tensor([blank + self.shared + ids for blank, ids in filled]),
                      self._tensor([[1] * len(self.shared) + [0] * len(blank) + [1] * len(ids) for blank, ids in filled]), cache)
        logits = self._logits(batch, self._tensor([blank + ids for blank, ids in filled]))
        logits[:, self.forbidden] = -torch.inf
        self._write(batch, logits)
        return batch

    def step(self, batch: Batch) -> None:
        """Write one more token of each reply."""
        batch.mask = pad(batch.mask, (0, 1), value=1)
        self._write(batch, self._logits(batch, batch.ids[:, -1:]))

    def _tensor(self, rows: list[list[int]]) -> torch.Tensor:
        return torch.tensor(rows, device=self.model.device)

    def _logits(self, batch: Batch, read: torch.Tensor) -> torch.Tensor:
        places = (batch.mask.cumsum(-1) - 1).clamp(min=0)[:, -read.shape[1] :]
        done = self.model(input_ids=read, attention_mask=batch.mask, position_ids=places, past_key_values=batch.cache,
                          use_cache=True, logits_to_keep=1)
        return done.logits[:, -1].float()

    def _write(self, batch: Batch, logits: torch.Tensor) -> None:
        for process in self.processors:
            logits = process(batch.ids, logits)
        chosen = logits.argmax(-1)
        batch.ids = torch.cat([batch.ids, chosen[:, None]], dim=1)
        for row, token in zip(batch.rows, chosen.tolist(), strict=True):
            if row not in self.over:
                self.replies[row].append(token)
                if self._ends(self.replies[row]):
                    self.over.add(row)

    def _ends(self, reply: list[int]) -> bool:
        if len(reply) >= self.max_new_tokens or reply[-1] in self.ends:
            return True
        return self.stopped is not None and len(reply) % LOOK == 0 and self.stopped(reply)


def _cache() -> Cache:
    return Cache(layer_class_to_replicate=RoomyLayer)


@torch.inference_mode()
def greedy(model, prompts: Sequence[list[int]], *, max_new_tokens: int, rows: int, processors: Sequence[Callable] = (),
           forbidden: Sequence[int] = (), stopped: Callable[[list[int]], bool] | None = None,
           label: str | None = None) -> list[list[int]]:
    """One greedy reply a prompt, as token ids, in the order of the prompts (chapter 4).

    Args:
        rows: replies written at the same time.
        processors: transformers' logits processors, of the ids before a token and its logits.
        forbidden: tokens that no reply may begin with.
        stopped: whether a reply so far is complete; asked every few tokens, so a reply can go on for some.
        label: what the progress bar says; none is shown without.

    Returns:
        New tokens, up to and with the token that ends a turn, or `max_new_tokens` of them.
    """
    if not prompts:
        return []
    writer = Writer(model, prompts, max_new_tokens, processors, forbidden, stopped)
    waiting = deque(sorted(range(len(prompts)), key=lambda row: -len(prompts[row])))
    batch = None
    with tqdm(total=len(prompts), desc=label, unit="question", mininterval=1, disable=label is None) as bar:
        while waiting or batch:
            batch = _filled(writer, batch, waiting, rows)
            bar.update(len(writer.over) - bar.n)
            bar.set_postfix_str(f"{_speed(writer, bar)} tokens/s", refresh=False)
            staying = [place for place, row in enumerate(batch.rows) if row not in writer.over]
            if not staying:
                batch = None
            elif len(batch.rows) - len(staying) >= len(batch.rows) / 8:  # each leaving copies the cache
                batch.keep(staying)
            if batch:
                writer.step(batch)
    return writer.replies


def _filled(writer: Writer, batch: Batch | None, waiting: deque[int], rows: int) -> Batch:
    """The batch with the next prompts, as far as there is room; a few free places wait until a group fits."""
    while waiting and rows - (len(batch.rows) if batch else 0) >= min(READ_AT_ONCE, rows):
        new = writer.begin(_alike(writer, waiting, min(READ_AT_ONCE, rows)))
        if batch:
            batch.take_in(new)
        batch = batch or new
    return batch


def _alike(writer: Writer, waiting: deque[int], most: int) -> list[int]:
    """The next prompts, none much shorter than the first: less than a quarter of what is read are blanks."""
    def left(row: int) -> int:
        return len(writer.prompts[row]) - len(writer.shared)

    group = [waiting.popleft()]
    while waiting and len(group) < most and left(waiting[0]) >= 0.75 * left(group[0]):
        group.append(waiting.popleft())
    return group


def _speed(writer: Writer, bar: tqdm) -> int:
    return round(sum(map(len, writer.replies)) / max(bar.format_dict["elapsed"], 1e-9))
