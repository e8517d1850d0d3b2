"""What is read and written for each prompt: shared beginnings once, a reply, and where asked a second one behind it."""

from collections.abc import Callable, Sequence
from os.path import commonprefix

import torch

from .batch import Batch, empty_cache

LOOK = 8  # tokens between two looks for the stop texts, which need the reply as text


class Writer:
    """Writes replies to prompts, both as token ids, one token of a batch at a time.

    Row `i` is the reply to prompt `i`; row `len(prompts) + i` is the second reply behind it, after the
    text `then[i]`. `rooms[row]` is the most tokens a row may have, and `forbidden[i]` what it may not begin with.
    """

    def __init__(self, model, prompts: Sequence[list[int]], rooms: Sequence[int], processors: Sequence[Callable],
                 forbidden: Sequence[Sequence[int]], stopped: Callable[[list[int]], bool] | None, then: Sequence[list[int]]):
        self.model, self.prompts, self.rooms, self.then = model, prompts, rooms, then
        self.processors, self.forbidden, self.stopped = processors, forbidden, stopped
        ends = model.generation_config.eos_token_id
        self.ends = {ends} if isinstance(ends, int) else set(ends or ())
        self.replies: list[list[int]] = [[] for _ in range(2 * len(prompts))]
        self.over: set[int] = set()
        # The last token of a prompt is not shared: its row must be read for the first token of the reply.
        self.shared = commonprefix([prompt[:-1] for prompt in prompts]) if len(prompts) > 1 else []
        self.families = families(prompts, len(self.shared))
        self.stems = {row: commonprefix([prompts[member][:-1] for member in family]) if len(family) > 1 else []
                      for family in self.families for row in family}
        self.head = Batch([0], self._tensor([self.shared or [0]]), self._tensor([[1] * len(self.shared)]), empty_cache())
        if self.shared:
            model(input_ids=self.head.ids, past_key_values=self.head.cache, use_cache=True, logits_to_keep=1)

    def begin(self, rows: list[int]) -> Batch:
        """Read the prompts of these rows and write the first token of each reply."""
        batch, read = self._stemmed(rows)
        batch.rows = rows
        logits = self._read(batch, [self.prompts[row][read[row] :] for row in rows], [self.prompts[row] for row in rows])
        for place, row in enumerate(rows):
            logits[place, list(self.forbidden[row]) if self.forbidden else []] = -torch.inf
        self._write(batch, logits)
        return batch

    def go_on(self, batch: Batch, places: list[int]) -> Batch:
        """Put its `then` behind the finished reply of each of these places, and begin the second reply."""
        part = batch.part(places)
        texts, wholes = [], []
        for row in part.rows:
            reply, ended = self.replies[row], self.replies[row][-1] in self.ends
            said = reply[:-1] if ended else reply
            # The last token of a reply that was cut has been written and not yet read.
            texts.append(self.then[row] if ended else reply[-1:] + self.then[row])
            wholes.append(self.prompts[row] + said + self.then[row])
        part.rows = [row + len(self.prompts) for row in part.rows]
        self._write(part, self._read(part, texts, wholes))
        return part

    def goes_on(self, row: int) -> bool:
        """Whether a reply that is over has a second one to come."""
        return bool(self.then) and row < len(self.prompts) and bool(self.then[row])

    def step(self, batch: Batch) -> None:
        """Write one more token of each reply that is not over."""
        alive = self._tensor([[int(row not in self.over)] for row in batch.rows])
        batch.mask = torch.cat([batch.mask, alive], dim=1)
        self._write(batch, self._logits(batch, batch.ids[:, -1:]))

    def left(self, row: int) -> int:
        """Tokens of a prompt behind what all prompts begin with."""
        return len(self.prompts[row]) - len(self.shared)

    def _stemmed(self, rows: list[int]) -> tuple[Batch, dict[int, int]]:
        """A batch that has read what these rows share with others, and how many tokens of each row that are."""
        if not any(self.stems[row] for row in rows):
            return self.head.part([0] * len(rows)), dict.fromkeys(rows, len(self.shared))
        stems = {row: tuple(self.stems[row] or self.prompts[row][:-1]) for row in rows}
        different = list(dict.fromkeys(stems.values()))
        batch = self.head.part([0] * len(different))
        self._read(batch, [list(stem[len(self.shared) :]) for stem in different], [list(stem) for stem in different])
        return batch.part([different.index(stems[row]) for row in rows]), {row: len(stem) for row, stem in stems.items()}

    def _read(self, batch: Batch, texts: list[list[int]], wholes: list[list[int]]) -> torch.Tensor:
        """Read one text a row, of which the whole row now consists; returns the logits behind it."""
        width = max(map(len, texts))
        mask = self._tensor([[0] * (width - len(text)) + [1] * len(text) for text in texts])
        batch.mask = torch.cat([batch.mask, mask], dim=1)
        batch.ids = self._tensor(_filled(wholes, max(map(len, wholes))))
        return self._logits(batch, self._tensor(_filled(texts, width)))

    def _logits(self, batch: Batch, read: torch.Tensor) -> torch.Tensor:
        places = (batch.mask.cumsum(-1) - 1).clamp(min=0)[:, -read.shape[1] :]
        done = self.model(input_ids=read, attention_mask=batch.mask, position_ids=places, past_key_values=batch.cache,
                          use_cache=True, logits_to_keep=1)
        return done.logits[:, -1].float()

    def _write(self, batch: Batch, logits: torch.Tensor) -> None:
        for process in self.processors:
            logits = process(batch.ids, logits)
        chosen = logits.argmax(-1).tolist()
        for place, (row, token) in enumerate(zip(batch.rows, chosen, strict=True)):
            if row in self.over:
                chosen[place] = int(batch.ids[place, 0])  # a blank
                continue
            self.replies[row].append(token)
            if self._ends(row):
                self.over.add(row)
        batch.ids = torch.cat([batch.ids, self._tensor(chosen)[:, None]], dim=1)

    def _ends(self, row: int) -> bool:
        reply = self.replies[row]
        if len(reply) >= self.rooms[row] or reply[-1] in self.ends:
            return True
        return self.stopped is not None and len(reply) % LOOK == 0 and self.stopped(reply)

    def _tensor(self, rows: list) -> torch.Tensor:
        return torch.tensor(rows, device=self.model.device, dtype=torch.long)


def _filled(texts: list[list[int]], width: int) -> list[list[int]]:
    """The texts with their first token repeated on the left, up to one width."""
    return [text[:1] * (width - len(text)) + text for text in texts]


def families(prompts: Sequence[list[int]], shared: int) -> list[list[int]]:
    """Prompts that are alike in more than half of what is behind the `shared` tokens, longest families' prompts first."""
    found: list[list[int]] = []
    for row in sorted(range(len(prompts)), key=lambda row: prompts[row]):
        first = prompts[found[-1][0]] if found else []
        alike = len(commonprefix([first, prompts[row]])) - shared
        if found and alike > (len(prompts[row]) - shared) / 2:
            found[-1].append(row)
        else:
            found.append([row])
    return sorted(found, key=lambda family: -max(len(prompts[row]) for row in family))
