"""Replies under way: a cache with room to grow, and rows that leave and join a batch."""

from dataclasses import dataclass

import torch
from torch.nn.functional import pad
from transformers import Cache, DynamicLayer

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


def empty_cache() -> Cache:
    """A cache of roomy layers with nothing read yet."""
    return Cache(layer_class_to_replicate=RoomyLayer)


@dataclass
class Batch:
    """Replies that are being written. A blank is a place that only fills a row up.

    `mask` (rows, tokens in the cache) is 0 where the cache has a blank. `ids` (rows, width) is what
    logits processors see: all tokens of a row without a gap, and on their left blanks that repeat the
    first token, which tells a processor nothing new.
    """

    rows: list[int]
    ids: torch.Tensor
    mask: torch.Tensor
    cache: Cache

    def part(self, places: list[int]) -> "Batch":
        """A copy of these rows; a place may occur several times."""
        cache = empty_cache()
        for i, layer in enumerate(self.cache.layers):
            cache.update(layer.keys[places], layer.values[places], i)
        return Batch([self.rows[place] for place in places], self.ids[places], self.mask[places], cache)

    def keep(self, places: list[int]) -> None:
        """Let the other rows leave, and columns that hold nothing for those that stay."""
        first = int(self.mask[places].any(0).int().argmax())
        self.rows = [self.rows[place] for place in places]
        self.ids, self.mask = self.ids[places], self.mask[places, first:]
        for layer in self.cache.layers:
            layer.keys, layer.values = (state[places, :, first:] for state in (layer.keys, layer.values))

    def take_in(self, other: "Batch") -> None:
        """Add the rows of another batch, with blanks on the left of the shorter ones."""
        width = max(self.mask.shape[1], other.mask.shape[1])
        longest = max(self.ids.shape[1], other.ids.shape[1])
        for batch in (self, other):
            batch._widen(width - batch.mask.shape[1], longest - batch.ids.shape[1])
        self.rows = self.rows + other.rows
        self.ids, self.mask = torch.cat([self.ids, other.ids]), torch.cat([self.mask, other.mask])
        for mine, theirs in zip(self.cache.layers, other.cache.layers, strict=True):
            mine.keys, mine.values = torch.cat([mine.keys, theirs.keys]), torch.cat([mine.values, theirs.values])

    def _widen(self, blanks: int, more_ids: int) -> None:
        self.ids = torch.cat([self.ids[:, :1].expand(-1, more_ids), self.ids], dim=1)
        self.mask = pad(self.mask, (blanks, 0))
        for layer in self.cache.layers if blanks else ():
            layer.keys, layer.values = pad(layer.keys, (0, 0, blanks, 0)), pad(layer.values, (0, 0, blanks, 0))
