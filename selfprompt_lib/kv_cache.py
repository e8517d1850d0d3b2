"""What a model has read of each row of a batch: keys and values that grow, leave and join."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import pad
from transformers import Cache, DynamicLayer

CACHE_ROOM = 64  # tokens by which a cache grows


class RoomyLayer(DynamicLayer):
    """transformers' cache layer with room to grow into: a new token does not copy the old ones."""

    memory: tuple[torch.Tensor, ...] = ()

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        """Write new keys and values (rows, heads, tokens, size) behind the old; return all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        start, new = self.keys.shape[2], key_states.shape[2]
        if not self.memory or self.memory[0].shape[2] < start + new:
            self.memory = tuple(pad(states, (0, 0, 0, new + CACHE_ROOM))
                                for states in (self.keys, self.values))
        for memory, states in zip(self.memory, (key_states, value_states), strict=True):
            memory[:, :, start : start + new] = states
        self.keys, self.values = (memory[:, :, : start + new] for memory in self.memory)
        return self.keys, self.values


@dataclass
class ReadTokens:
    """What has been read of each row of a batch.

    `mask` (rows, tokens) is 0 where the cache holds a blank, which fills a shorter row up: on its
    left, or between what was read in two steps.
    """

    mask: torch.Tensor
    cache: Cache

    def select(self, rows: list[int]) -> "ReadTokens":
        """A copy of these rows, which may occur several times."""
        start = self._first_token(rows)
        states = [(layer.keys[rows, :, start:], layer.values[rows, :, start:])
                  for layer in self.cache.layers]
        return ReadTokens(self.mask[rows, start:], cache_of(states))

    def keep(self, rows: list[int]) -> None:
        """Drop all other rows: layer by layer, so that there are never two whole caches."""
        start = self._first_token(rows)
        for layer in self.cache.layers:
            layer.keys = layer.keys[rows, :, start:]
            layer.values = layer.values[rows, :, start:]
            layer.memory = ()
        self.mask = self.mask[rows, start:]

    def _first_token(self, rows: list[int]) -> int:
        """The place on whose left all these rows are blank."""
        is_blank = (self.mask[rows] == 0).all(0)
        return int(is_blank.long().cumprod(0).sum())


def join_rows(parts: Sequence[ReadTokens]) -> ReadTokens:
    """The rows of several batches in one, with blanks on the left of the shorter ones."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.mask.shape[1] for part in parts)
    blanks = [width - part.mask.shape[1] for part in parts]

    def join(states: Sequence[torch.Tensor]) -> torch.Tensor:  # (rows, heads, tokens, size)
        return torch.cat([pad(part, (0, 0, left, 0))
                          for part, left in zip(states, blanks, strict=True)])

    mask = torch.cat([pad(part.mask, (left, 0)) for part, left in zip(parts, blanks, strict=True)])
    states = []
    for same in zip(*(part.cache.layers for part in parts), strict=True):
        keys = join([layer.keys for layer in same])
        values = join([layer.values for layer in same])
        states.append((keys, values))
    return ReadTokens(mask, cache_of(states))


def cache_of(states: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> Cache:
    """A cache of roomy layers that holds these keys and values, a pair a layer."""
    cache = Cache(layer_class_to_replicate=RoomyLayer)
    for number, (keys, values) in enumerate(states):
        cache.update(keys, values, number)
    return cache
