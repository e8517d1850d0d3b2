"""Greedy replies by transformers' continuous batching, which is made for cards (chapter 4)."""

from collections.abc import Callable, Sequence

from transformers import ContinuousBatchingConfig, GenerationConfig

from .decoding import Decoder, Request, end_tokens
from .errors import require


def write_continuously(model, requests: Sequence[Request], processors: Sequence[Callable],
                       batch_size: int, suffix_max_new_tokens: int, label: str | None,
                       **settings) -> None:
    """What `decoding.Decoder.run` writes in greedy decoding, most of it by continuous batching.

    That has no logits processors and keeps no cache of a reply. So first tokens of which some are
    forbidden are written by the decoder; a reply that repeats itself is cut in front of the token
    that would not have been allowed, and goes on by the decoder; and for a second reply, prompt and
    first reply are read again.
    """
    choosy = [request for request in requests if request.forbidden_first]
    _decode(model, choosy, processors, batch_size, limit=1)
    open_ones = [request for request in requests if not request.ended]
    found = generate_continuously(
        model, [request.prompt + request.reply for request in open_ones],
        max((request.max_new_tokens for request in open_ones), default=0), label, **settings)
    for request, reply in zip(open_ones, found, strict=True):
        request.reply = (request.reply + reply)[: request.max_new_tokens]
    for size in [each.ngram_size for each in processors if hasattr(each, "ngram_size")]:
        repeating = [request for request in requests if _cut_repeat(request, size)]
        _decode(model, repeating, processors, batch_size)
    asked = [request for request in requests if request.suffix]
    for request in asked:
        said = [token for token in request.reply if token not in end_tokens(model)]
        request.second = Request(request.prompt + said + request.suffix, suffix_max_new_tokens)
    if asked:
        write_continuously(model, [request.second for request in asked], processors, batch_size, 0,
                           label, **settings)


def _decode(model, requests: Sequence[Request], processors: Sequence[Callable], batch_size: int,
            limit: int | None = None) -> None:
    """Go on with replies by the decoder, for `limit` tokens or to their end."""
    parts = []
    for request in requests:
        left = request.max_new_tokens - len(request.reply)
        first = () if request.reply else request.forbidden_first
        parts.append(Request(request.prompt + request.reply, limit or left, (), first))
    Decoder(model, parts, processors).run(batch_size)
    ends = end_tokens(model)
    for request, part in zip(requests, parts, strict=True):
        request.reply = request.reply + part.reply
        request.ended = request.reply[-1] in ends or len(request.reply) >= request.max_new_tokens


def _cut_repeat(request: Request, size: int) -> bool:
    """Cut a reply in front of the first token that ends `size` tokens which stand before, too."""
    ids, seen = request.prompt + request.reply, set()
    for end in range(size, len(ids) + 1):
        run = tuple(ids[end - size : end])
        if end > len(request.prompt) and run in seen:
            request.reply = ids[len(request.prompt) : end - 1]
            return True
        seen.add(run)
    return False


def generate_continuously(model, prompts: Sequence[list[int]], max_new_tokens: int,
                          label: str | None = None, **settings) -> list[list[int]]:
    """Greedy replies of at most `max_new_tokens` tokens, one a prompt (chapter 4).

    Args:
        settings: of transformers' `ContinuousBatchingConfig`; on a card it finds its own.

    Raises:
        UserError: a reply that the library could not write, with its reason.
    """
    if not prompts:
        return []
    own = model.generation_config
    config = GenerationConfig(eos_token_id=own.eos_token_id, pad_token_id=own.pad_token_id,
                              max_new_tokens=max_new_tokens, do_sample=False)
    done = model.generate_batch([list(prompt) for prompt in prompts], config,
                                ContinuousBatchingConfig(**settings),
                                progress_bar=label is not None)
    outputs = list(done.values())
    reason = next((output.error for output in outputs if output.error), "it stopped early")
    require(len(outputs) == len(prompts) and not any(output.error for output in outputs),
            f"continuous batching: not all replies were written ({reason}); free memory on the "
            "card, or use a smaller model")
    return [output.generated_tokens for output in outputs]
