"""Drawing the next token instead of taking the likeliest, for text that is read (chapter 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper

CANDIDATES = 256  # likeliest tokens that are looked at first; a nucleus seldom has more


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; the defaults are LIMA's (arXiv 2305.11206, section 4.1).

    Args:
        temperature: logits are divided by it; above 0.
        top_p: tokens are drawn from the nucleus, the fewest whose probabilities sum to this much.
        repetition_penalty: makes the tokens that stand in the reply less likely; 1 is off.
        seed: of the random numbers; each request of a call has its own (`random_numbers`).
    """

    temperature: float = 0.7
    top_p: float = 0.9
    repetition_penalty: float = 1.2
    seed: int = 0

    def random_numbers(self, request: int, count: int) -> list[float]:
        """The uniform numbers that the tokens of a request's reply are drawn with, one a token.

        They depend on the seed and on the request's place in its call, not on what stands beside.
        """
        return np.random.default_rng([self.seed, request]).random(count).tolist()

    def draw(self, logits: torch.Tensor, replies: Sequence[list[int]],
             numbers: Sequence[float]) -> torch.Tensor:
        """The next token of each reply, shape (rows,).

        Args:
            logits: (rows, vocabulary), in float32.
            replies: what stands in each reply already.
            numbers: a uniform number between 0 and 1 for each.
        """
        probabilities, tokens = nucleus(self.process(logits, replies), self.top_p)
        sums = probabilities.double().cumsum(-1)
        drawn = torch.tensor(numbers, dtype=sums.dtype, device=sums.device)[:, None] * sums[:, -1:]
        return tokens.gather(1, torch.searchsorted(sums, drawn, right=True))[:, 0]

    def process(self, logits: torch.Tensor, replies: Sequence[list[int]]) -> torch.Tensor:
        """Penalty and temperature, by transformers' own processors."""
        if self.repetition_penalty != 1:
            # Behind shorter replies stands a number that is no token: the processor leaves it out.
            width, blank = max(map(len, replies)), logits.shape[-1]
            ids = torch.tensor([reply + [blank] * (width - len(reply)) for reply in replies],
                               device=logits.device, dtype=torch.long)
            logits = RepetitionPenaltyLogitsProcessor(float(self.repetition_penalty))(ids, logits)
        return TemperatureLogitsWarper(float(self.temperature))(None, logits)


def nucleus(logits: torch.Tensor, top_p: float,
            candidates: int = CANDIDATES) -> tuple[torch.Tensor, torch.Tensor]:
    """The probabilities of the tokens in each row's nucleus, and these tokens, likeliest first.

    As transformers' `TopPLogitsWarper`, which sorts the whole vocabulary: here that is done only
    where the nucleus has more than `candidates` tokens. Both results have the shape (rows, k);
    tokens that are not in the nucleus have the probability 0.
    """
    k = min(candidates, logits.shape[-1])
    found, tokens = logits.topk(k)
    found = (found - logits.logsumexp(-1, keepdim=True)).exp()
    likelier = found.cumsum(-1) - found
    if k < logits.shape[-1] and (likelier[:, -1] < top_p).any():
        return nucleus(logits, top_p, 16 * candidates)
    return found.where(likelier < top_p, 0), tokens
