"""Asking a model: one greedy reply a question, as fast as the machine allows (chapters 4 to 6)."""

from collections.abc import Callable, Sequence

from transformers import (
    ContinuousBatchingConfig,
    GenerationConfig,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)

from . import thoughts
from .decoding import GreedyDecoder, Request, end_tokens
from .devices import alone_on_card
from .errors import UserError, require
from .rows import chat_messages

TokenIds = list[list[int]]


def ask(model, tokenizer, questions: Sequence[str], *, max_new_tokens: int, batch_size: int = 64,
        no_repeat_ngram_size: int = 0, prefills: Sequence[str] | None = None,
        forbid_first: Sequence[str] = (), label: str = "asking") -> list[str]:
    """One greedy reply a question, in the order of the questions (chapter 4).

    Args:
        max_new_tokens: length limit in tokens, not counting `prefills`.
        batch_size: replies that are written at the same time.
        no_repeat_ngram_size: no run of this many tokens is written twice; 0 switches it off.
        prefills: text that each reply must begin with (a forced role); it is part of the reply.
        forbid_first: texts whose first token the reply must not begin with.

    Returns:
        Replies without special tokens but the marks of thoughts, each beginning with its prefill.

    Raises:
        UserError: a question that does not fit the model's context together with its reply.
    """
    if not questions:
        return []
    prefills = list(prefills or [""] * len(questions))
    prompts = [encode_prefill(tokenizer, prompt_text(tokenizer, question) + prefill)
               for question, prefill in zip(questions, prefills, strict=True)]
    _check_lengths(model, prompts, questions, max_new_tokens)
    forbidden = {tokenizer.encode(text, add_special_tokens=False)[0] for text in forbid_first}
    replies, _ = generate_ids(
        model, prompts, max_new_tokens=max_new_tokens, batch_size=batch_size, label=label,
        forbidden_first=[sorted(forbidden)] * len(prompts),
        no_repeat_ngram_size=no_repeat_ngram_size)
    texts = reply_texts(tokenizer, replies)
    return [prefill + text for prefill, text in zip(prefills, texts, strict=True)]


def generate_ids(
    model, prompts: Sequence[list[int]], *, max_new_tokens: int | Sequence[int], batch_size: int,
    no_repeat_ngram_size: int = 0, forbidden_first: Sequence[Sequence[int]] = (),
    suffixes: Sequence[list[int]] = (), suffix_max_new_tokens: int = 0, label: str | None = None,
) -> tuple[TokenIds, TokenIds]:
    """One greedy reply a prompt, as token ids, and a second one behind it (chapter 4).

    On a card transformers' continuous batching writes the replies, unless the model's own settings
    have a repetition penalty. Stop texts are not looked for: replies go on to the end of the turn
    or their limit, and the caller cuts them.

    Args:
        max_new_tokens: for all prompts, or for each.
        batch_size: replies that are written at the same time, if they are of usual length.
        no_repeat_ngram_size: as in `ask`.
        forbidden_first: for each prompt, tokens that its reply may not begin with.
        suffixes: for each prompt, tokens that are put behind its finished reply, for a second
            reply; empty: no second reply.
        suffix_max_new_tokens: the longest second reply.
        label: what the progress bar says; none is shown without.

    Returns:
        New tokens, up to and with the token that ends a turn, or `max_new_tokens` of them; and
        the same for the second replies, which are empty where none was asked for.
    """
    limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else max_new_tokens
    suffixes = suffixes or [[]] * len(prompts)
    requests = [Request(*fields) for fields in zip(
        prompts, limits, suffixes, forbidden_first or [()] * len(prompts), strict=True)]
    processors = _processors(model, no_repeat_ngram_size)
    alone_on_card(model)
    if model.device.type == "cuda" and not _processors(model):
        write_continuously(model, requests, processors, batch_size, suffix_max_new_tokens, label)
    else:
        GreedyDecoder(model, requests, processors).run(batch_size, suffix_max_new_tokens, label)
    return ([request.reply for request in requests],
            [request.second.reply if request.second else [] for request in requests])


def write_continuously(model, requests: Sequence[Request], processors: Sequence[Callable],
                       batch_size: int, suffix_max_new_tokens: int, label: str | None,
                       **settings) -> None:
    """What `GreedyDecoder.run` writes, most of it by continuous batching.

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
    GreedyDecoder(model, parts, processors).run(batch_size)
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
                          label: str | None = None, **settings) -> TokenIds:
    """Greedy replies by transformers' continuous batching, which is made for cards (chapter 4).

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


def _processors(model, no_repeat_ngram_size: int = 0) -> list:
    """The repetition penalty of the model's own generation settings, and what is asked for."""
    penalty = model.generation_config.repetition_penalty or 1.0
    found = [RepetitionPenaltyLogitsProcessor(penalty)] if penalty != 1.0 else []
    if no_repeat_ngram_size:
        found.append(NoRepeatNGramLogitsProcessor(no_repeat_ngram_size))
    return found


def _check_lengths(model, prompts: Sequence[list[int]], questions: Sequence[str],
                   max_new_tokens: int) -> None:
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    for number, (prompt, question) in enumerate(zip(prompts, questions, strict=True), 1):
        if context and len(prompt) + max_new_tokens > context:
            raise UserError(
                f"question {number} ({question[:40]!r}…): {len(prompt):,} tokens and "
                f"{max_new_tokens:,} new ones do not fit the model's context of {context:,}; "
                "shorten the question, or set infer.max_new_tokens lower")


def prompt_text(tokenizer, question: str) -> str:
    """The chat prompt up to where the assistant's answer begins."""
    return chat_prompt(tokenizer, chat_messages(question))


def chat_prompt(tokenizer, messages: Sequence[dict[str, str]]) -> str:
    """A chat, ending on a user's turn, up to where the answer begins (chapters 3 to 5).

    That is what the template writes in front of the text of an assistant's turn. Many templates
    put an empty thought there, or a channel, and another text where a thought may be written. A
    tuned model has never seen the latter, and a role would be forced or forbidden at another
    place than where it is learned.
    """
    answer = "\ue000"  # in no question: for private use
    turns = [*messages, {"role": "assistant", "content": answer}]
    before, found, _ = tokenizer.apply_chat_template(turns, tokenize=False).partition(answer)
    if found:
        return before
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def reply_texts(tokenizer, replies: Sequence[Sequence[int]]) -> list[str]:
    """Replies as text: without special tokens, but with those that mark a thought (chapter 4)."""
    hidden = {token for token, text in special_tokens(tokenizer).items()
              if not thoughts.TOKEN.match(text)}
    return tokenizer.batch_decode([[token for token in reply if token not in hidden]
                                   for reply in replies])


def special_tokens(tokenizer) -> dict[int, str]:
    """The tokens that are no text but marks, as an end of turn; more than the tokenizer names."""
    return {number: token.content for number, token in tokenizer.added_tokens_decoder.items()
            if token.special}


def encode_prefill(tokenizer, text: str) -> list[int]:
    """The token ids of a text that is to go on, without special tokens (chapter 4).

    Many tokenizers write "\\n\\n" at the end of a text as one token, and as two in front of a
    word, as it stands in training. A forced role ends so: what follows must not find a token
    there that training never had.
    """
    if text[-1:].isspace():
        ids = tokenizer.encode(text + "A", add_special_tokens=False)
        if tokenizer.decode(ids[-1:]) == "A":
            return ids[:-1]
    return tokenizer.encode(text, add_special_tokens=False)


def count_tokens(tokenizer, texts: Sequence[str]) -> list[int]:
    """Tokens of each text, without special tokens."""
    if not texts:
        return []
    return [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
