"""Decoding of many prompts at once, with transformers' models and caches (chapter 4).

Three things make it faster than `generate` on padded batches: what prompts have in common is read
once; the cache has room for tokens to come, so that a new token does not copy the old ones; and
replies that have ended leave the batch.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from os.path import commonprefix

import torch
from tqdm import tqdm

from .kv_cache import ReadTokens, cache_of, join_rows
from .sampling import Sampling

PREFILL_SIZE = 16  # prompts that are read at once: enough to keep a processor busy
USUAL_LENGTH = 384  # tokens of prompt and reply; of longer ones fewer are written at once


@dataclass
class Request:
    """A prompt, as token ids, and the reply that is written behind it."""

    prompt: list[int]
    max_new_tokens: int
    suffix: Sequence[int] = ()  # tokens that are put behind the reply, for a second one
    forbidden_first: Sequence[int] = ()  # tokens that the reply may not begin with
    begun: int = 0  # how many of the prompt's last tokens are the beginning of the reply
    random: Sequence[float] = ()  # a uniform number for each token, where tokens are drawn
    shared: int = 0  # how many of the prompt's first tokens are read once for several prompts
    reply: list[int] = field(default_factory=list)
    ended: bool = False
    second: "Request | None" = None


EndedRows = tuple[list[Request], ReadTokens]  # ended requests, and what was read of each


def end_tokens(model) -> set[int]:
    """The tokens that end a reply."""
    ends = model.generation_config.eos_token_id
    return {ends} if isinstance(ends, int) else set(ends or ())


class Decoder:
    """Reads prompts and writes replies, of as many requests as stand in `requests`.

    The logits processors are those of `generate.generate_ids`. Each token is the likeliest one, or
    drawn with the numbers of its request.

    Args:
        stops: tokens that end a reply, besides those that end a turn.
    """

    def __init__(self, model, requests: Sequence[Request], processors: Sequence[Callable] = (),
                 sampling: Sampling | None = None, stops: Iterable[int] = ()):
        self.model, self.requests, self.processors = model, requests, processors
        self.sampling = sampling
        self.ends = end_tokens(model) | set(stops)

    @torch.inference_mode()
    def run(self, batch_size: int, suffix_max_new_tokens: int = 0,
            label: str | None = None) -> None:
        """Write the reply of each request, and a second one where it has a suffix."""
        self._read_head()
        with tqdm(total=len(self.requests), desc=label, unit="question", mininterval=1,
                  disable=label is None) as self.bar:
            for batch in split_batches(sort_by_prefix(self.requests, self.head_length), batch_size):
                parts = self._write(batch, self._read_prompts(batch))
                if parts:
                    self._write_second(parts, suffix_max_new_tokens)

    def _read_head(self) -> None:
        """Read what all prompts begin with, but never the whole of one: see `Request.shared`."""
        prompts = [request.prompt[:-1] for request in self.requests]
        head = commonprefix(prompts) if len(prompts) > 1 else []
        self.head = ReadTokens(self._tensor([[]]), cache_of([]))
        self.head_length = len(head)
        if head:
            self._read(self.head, [head])

    def _read_prompts(self, requests: Sequence[Request]) -> ReadTokens:
        """Read prompts, in groups, and write the first token of each reply."""
        parts = []
        for group in split_groups(requests, self.head_length):
            read, logits = self._read_group(group)
            for row, request in enumerate(group):
                logits[row, list(request.forbidden_first)] = -torch.inf
            self._write_token(group, logits)
            parts.append(read)
        return join_rows(parts)

    def _read_group(self, requests: Sequence[Request]) -> tuple[ReadTokens, torch.Tensor]:
        """Read prompts; a prefix that several of them share is read once."""
        prefixes = [tuple(request.prompt[: request.shared]) for request in requests]
        different = list(dict.fromkeys(prefixes))
        done = self.head_length
        if len(different) == len(requests) or max(map(len, prefixes)) == done:
            # Nothing is shared but the head.
            read = self.head.select([0] * len(requests))
            return read, self._read(read, [request.prompt[done:] for request in requests])
        read = self.head.select([0] * len(different))
        self._read(read, [list(prefix[done:]) for prefix in different])
        read = read.select([different.index(prefix) for prefix in prefixes])
        return read, self._read(read, [request.prompt[request.shared :] for request in requests])

    def _write(self, requests: list[Request], read: ReadTokens) -> list[EndedRows]:
        """Write until all replies have ended; those with a suffix are returned, in parts."""
        parts = []
        while requests:
            ended = [row for row, request in enumerate(requests) if request.ended]
            if len(ended) >= max(1, len(requests) / 8):  # each leaving copies the cache
                asked = [row for row in ended if requests[row].suffix]
                if asked:
                    parts.append(([requests[row] for row in asked], read.select(asked)))
                staying = [row for row, request in enumerate(requests) if not request.ended]
                requests = [requests[row] for row in staying]
                if staying:
                    read.keep(staying)
                continue
            # A row that has ended and not yet left reads a blank.
            mask = self._tensor([[int(not request.ended)] for request in requests])
            last = self._tensor([[request.reply[-1]] for request in requests])
            self._write_token(requests, self._logits(read, last, mask))
        return parts

    def _write_second(self, parts: Sequence[EndedRows], max_new_tokens: int) -> None:
        """Read the suffix behind each reply, and write the second reply behind it."""
        requests, unread = [], []
        for first in (request for part, _ in parts for request in part):
            # A reply that was cut has a last token that was written and not yet read.
            cut = first.reply[-1] not in self.ends
            said = first.reply if cut else first.reply[:-1]
            unread.append((first.reply[-1:] if cut else []) + first.suffix)
            first.second = Request(first.prompt + said + first.suffix, max_new_tokens,
                                   random=first.random[first.max_new_tokens :])
            requests.append(first.second)
        read = join_rows([read for _, read in parts])
        self._write_token(requests, self._read(read, unread))
        self._write(requests, read)

    def _read(self, read: ReadTokens, texts: Sequence[list[int]]) -> torch.Tensor:
        """Read one more text a row; returns the logits behind it (rows, vocabulary)."""
        width = max(map(len, texts))
        mask = self._tensor([[0] * (width - len(text)) + [1] * len(text) for text in texts])
        ids = self._tensor([[0] * (width - len(text)) + text for text in texts])
        return self._logits(read, ids, mask)

    def _logits(self, read: ReadTokens, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Read `ids` (rows, new tokens), of which `mask` tells the blanks."""
        read.mask = torch.cat([read.mask, mask], dim=1)
        positions = (read.mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = self.model(input_ids=ids, attention_mask=read.mask, position_ids=positions,
                            past_key_values=read.cache, use_cache=True, logits_to_keep=1)
        return output.logits[:, -1].float()

    def _write_token(self, requests: Sequence[Request], logits: torch.Tensor) -> None:
        """Write one more token of each reply that has not ended."""
        for processor in self.processors:
            logits = processor(self._all_ids(requests), logits)
        tokens = self._draw(requests, logits) if self.sampling else logits.argmax(-1)
        for request, token in zip(requests, tokens.tolist(), strict=True):
            if not request.ended:
                request.reply.append(token)
                request.ended = (token in self.ends
                                 or len(request.reply) >= request.max_new_tokens)
        self._show_progress()

    def _draw(self, requests: Sequence[Request], logits: torch.Tensor) -> torch.Tensor:
        """A token of each row; a role that was forced is part of its reply, as one it wrote."""
        replies = [request.prompt[len(request.prompt) - request.begun :] + request.reply
                   for request in requests]
        numbers = [0 if request.ended else request.random[len(request.reply)]
                   for request in requests]
        return self.sampling.draw(logits, replies, numbers)

    def _all_ids(self, requests: Sequence[Request]) -> torch.Tensor:
        """What logits processors see: prompt and reply, without a gap, and on the left of shorter
        rows their first token again, which tells a processor nothing new."""
        rows = [request.prompt + request.reply for request in requests]
        width = max(map(len, rows))
        return self._tensor([row[:1] * (width - len(row)) + row for row in rows])

    def _show_progress(self) -> None:
        self.bar.update(sum(request.ended for request in self.requests) - self.bar.n)
        written = sum(len(request.reply) for request in self.requests)
        speed = written / max(self.bar.format_dict["elapsed"], 1e-9)
        self.bar.set_postfix_str(f"{speed:.0f} tokens/s", refresh=False)

    def _tensor(self, rows: list) -> torch.Tensor:
        return torch.tensor(rows, device=self.model.device, dtype=torch.long)


def sort_by_prefix(requests: Sequence[Request], head_length: int) -> list[Request]:
    """Requests that begin alike side by side, those with the longest prompt first.

    Prompts are alike that agree in more than half of what follows the `head_length` tokens that
    all of them begin with; sets `shared` of each. The last token of a prompt is never shared: it
    must be read for the first token of its reply.
    """
    families: list[list[Request]] = []
    for request in sorted(requests, key=lambda request: request.prompt):
        first = families[-1][0].prompt if families else []
        alike = len(commonprefix([first, request.prompt])) - head_length
        if families and alike > (len(request.prompt) - head_length) / 2:
            families[-1].append(request)
        else:
            families.append([request])
    for family in families:
        shared = len(commonprefix([request.prompt[:-1] for request in family]))
        for request in family:
            request.shared = shared
    families.sort(key=lambda family: -max(len(request.prompt) for request in family))
    return [request for family in families for request in family]


def split_batches(requests: Sequence[Request], batch_size: int) -> Iterator[list[Request]]:
    """Replies that are written together: fewer where they are long, so that memory has a limit."""
    start = 0
    while start < len(requests):
        length = max(len(request.prompt) + request.max_new_tokens
                     for request in requests[start : start + batch_size])
        size = max(1, min(batch_size, batch_size * USUAL_LENGTH // length))
        yield list(requests[start : start + size])
        start += size


def split_groups(requests: Sequence[Request], head_length: int) -> Iterator[list[Request]]:
    """Prompts that are read together: none much shorter than the first, so few blanks are read."""
    group: list[Request] = []
    for request in requests:
        least = 0.75 * (len(group[0].prompt) - head_length) if group else 0
        if len(group) == PREFILL_SIZE or len(request.prompt) - head_length < least:
            yield group
            group = []
        group.append(request)
    if group:
        yield group
