"""One way of asking for chapters 4 to 6: one greedy reply to each question, as fast as the machine allows."""

from collections.abc import Callable, Sequence

from transformers import (
    ContinuousBatchingConfig,
    GenerationConfig,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)

from .decode import greedy
from .errors import UserError, require
from .rows import chat_messages


def ask(model, tokenizer, questions: Sequence[str], *, max_new_tokens: int, batch_size: int = 64, no_repeat: int = 0,
        starts: Sequence[str] | None = None, forbid_first: Sequence[str] = (),
        label: str = "asking") -> list[str]:
    """One greedy reply a question, in the order of the questions (chapter 4).

    On a card transformers' continuous batching writes the replies, unless `no_repeat` or
    `forbid_first` is set: it has neither, so these are asked in batches there too.

    Args:
        max_new_tokens: length limit in tokens, not counting `starts`.
        batch_size: replies that are written at the same time.
        no_repeat: no run of this many tokens is written twice; 0 switches it off.
        starts: text that each reply must begin with (a forced role); it is part of the reply.
        forbid_first: texts whose first token the reply must not begin with.

    Returns:
        Replies without special tokens, each beginning with its `start`.

    Raises:
        UserError: a question that does not fit the model's context together with its reply.
    """
    if not questions:
        return []
    starts = list(starts or [""] * len(questions))
    texts = [prompt_text(tokenizer, question) + start for question, start in zip(questions, starts, strict=True)]
    prompts = [begun(tokenizer, text) for text in texts]
    _check_lengths(model, prompts, questions, max_new_tokens)
    forbidden = sorted({tokenizer.encode(text, add_special_tokens=False)[0] for text in forbid_first})
    new = reply_ids(model, prompts, max_new_tokens=max_new_tokens, batch_size=batch_size, label=label,
                    forbidden=[forbidden] * len(prompts),
                    processors=[NoRepeatNGramLogitsProcessor(no_repeat)] if no_repeat else [])
    return [start + text for start, text in zip(starts, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True)]


def reply_ids(model, prompts: Sequence[list[int]], **how) -> list[list[int]]:
    """Greedy replies as token ids; the arguments are those of `written`."""
    return written(model, prompts, **how)[0]


def written(model, prompts: Sequence[list[int]], *, max_new_tokens: int | Sequence[int], batch_size: int,
            processors: Sequence = (), forbidden: Sequence[Sequence[int]] = (),
            stopped: Callable[[list[int]], bool] | None = None, then: Sequence[list[int]] = (), then_tokens: int = 0,
            label: str | None = None) -> tuple[list[list[int]], list[list[int]]]:
    """Greedy replies, and second ones behind them, as token ids: by continuous batching on a card where it can do what is
    asked, else in batches.

    The arguments are those of `decode.greedy`. Continuous batching does not look for stop texts: its
    replies go on to the end of the turn, and the caller cuts them.
    """
    processors = [*_own_processors(model), *processors]
    if model.device.type == "cuda" and not processors and not any(forbidden):
        return _continued(model, prompts, max_new_tokens, then, then_tokens, label)
    return greedy(model, prompts, max_new_tokens=max_new_tokens, rows=batch_size, processors=processors,
                  forbidden=forbidden, stopped=stopped, then=then, then_tokens=then_tokens, label=label)


def _continued(model, prompts: Sequence[list[int]], rooms: int | Sequence[int], then: Sequence[list[int]], then_tokens: int,
               label: str | None, **settings) -> tuple[list[list[int]], list[list[int]]]:
    """First and second replies by continuous batching, which keeps no reply's cache: what was written is read again."""
    rooms = [rooms] * len(prompts) if isinstance(rooms, int) else rooms
    replies = [reply[:room] for reply, room in zip(continuous(model, prompts, max(rooms), label, **settings), rooms, strict=True)]
    seconds: list[list[int]] = [[] for _ in prompts]
    asked = [row for row, text in enumerate(then) if text]
    ends = model.generation_config.eos_token_id
    ends = {ends} if isinstance(ends, int) else set(ends or ())
    longer = [prompts[row] + [token for token in replies[row] if token not in ends] + then[row] for row in asked]
    for row, reply in zip(asked, continuous(model, longer, then_tokens, label, **settings) if asked else [], strict=True):
        seconds[row] = reply
    return replies, seconds


def _own_processors(model) -> list:
    """What the model's own generation settings ask of greedy decoding: some models come with a repetition penalty."""
    penalty = model.generation_config.repetition_penalty or 1.0
    return [RepetitionPenaltyLogitsProcessor(penalty)] if penalty != 1.0 else []


def continuous(model, prompts: Sequence[list[int]], max_new_tokens: int, label: str | None = None, **settings) -> list[list[int]]:
    """Greedy replies by transformers' continuous batching, which is made for cards (chapter 4).

    Args:
        settings: of transformers' `ContinuousBatchingConfig`; on a card it finds its own.

    Raises:
        UserError: a reply that the library could not write, with its reason.
    """
    ends = GenerationConfig(eos_token_id=model.generation_config.eos_token_id, pad_token_id=model.generation_config.pad_token_id,
                            max_new_tokens=max_new_tokens, do_sample=False)
    done = list(model.generate_batch([list(prompt) for prompt in prompts], ends, ContinuousBatchingConfig(**settings),
                                     progress_bar=label is not None).values())
    reason = next((one.error for one in done if one.error), "it stopped early")
    require(len(done) == len(prompts) and not any(one.error for one in done),
            f"continuous batching: not all replies were written ({reason}); free memory on the card, or use a smaller model")
    return [one.generated_tokens for one in done]


def _check_lengths(model, prompts: Sequence[list[int]], questions: Sequence[str], max_new_tokens: int) -> None:
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    for number, (prompt, question) in enumerate(zip(prompts, questions, strict=True), 1):
        if context and len(prompt) + max_new_tokens > context:
            raise UserError(f"question {number} ({question[:40]!r}…): {len(prompt):,} tokens and {max_new_tokens:,} new ones do "
                            f"not fit the model's context of {context:,}; shorten the question, or set "
                            "infer.max_new_tokens lower")


def prompt_text(tokenizer, question: str) -> str:
    """The chat prompt up to where the assistant begins to write."""
    return tokenizer.apply_chat_template(chat_messages(question), tokenize=False, add_generation_prompt=True)


def begun(tokenizer, text: str, **how) -> list[int]:
    """The token ids of a text that is to go on (chapter 4).

    Many tokenizers write "\\n\\n" at the end of a text as one token, and as two in front of a word, as it stands in
    training. A forced role ends so: what follows must not find a token there that training never had.
    """
    ids = tokenizer.encode(text, **({"add_special_tokens": False} | how))
    if not text[-1:].isspace():
        return ids
    longer = tokenizer.encode(text + "A", **({"add_special_tokens": False} | how))
    return longer[:-1] if tokenizer.decode(longer[-1:]) == "A" else ids


def count_tokens(tokenizer, texts: Sequence[str]) -> list[int]:
    """Tokens of each text, without special tokens."""
    return [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
