"""Asking a model: one reply a question, as fast as the machine allows (chapters 4 to 6).

What is scored is written in greedy decoding; what is read is drawn, as `sampling` does.
"""

from collections.abc import Collection, Sequence

from transformers import NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor

from . import thoughts
from .continuous import write_continuously
from .decoding import Decoder, Request
from .devices import alone_on_card
from .errors import UserError
from .rows import chat_messages
from .sampling import Sampling

TokenIds = list[list[int]]


def ask(model, tokenizer, questions: Sequence[str], *, max_new_tokens: int, batch_size: int = 64,
        sampling: Sampling | None = None, no_repeat_ngram_size: int = 0,
        prefills: Sequence[str] | None = None, forbid_first: Sequence[str] = (),
        one_line: bool = False, label: str = "asking") -> list[str]:
    """One reply a question, in the order of the questions (chapter 4).

    Args:
        max_new_tokens: length limit in tokens, not counting `prefills`.
        batch_size: replies that are written at the same time.
        sampling: how tokens are drawn; None: greedy decoding.
        no_repeat_ngram_size: no run of this many tokens is written twice; 0 switches it off.
        prefills: text that each reply must begin with (a forced role); it is part of the reply.
        forbid_first: texts whose first token the reply must not begin with.
        one_line: a reply ends with its first token that has a line break.

    Returns:
        Replies without special tokens but the marks of thoughts, each beginning with its prefill.

    Raises:
        UserError: a question that does not fit the model's context together with its reply.
    """
    if not questions:
        return []
    prefills = list(prefills or [""] * len(questions))
    forbidden = {tokenizer.encode(text, add_special_tokens=False)[0] for text in forbid_first}
    requests = []
    for question, prefill in zip(questions, prefills, strict=True):
        text = prompt_text(tokenizer, question)
        prompt = encode_prefill(tokenizer, text + prefill)
        begun = len(prompt) - len(encode_prefill(tokenizer, text)) if prefill else 0
        requests.append(Request(prompt, max_new_tokens, forbidden_first=sorted(forbidden),
                                begun=begun))
    _check_lengths(model, requests, questions)
    replies, _ = generate_ids(
        model, requests, batch_size=batch_size, sampling=sampling,
        no_repeat_ngram_size=no_repeat_ngram_size,
        stops=line_break_tokens(tokenizer) if one_line else (), label=label)
    texts = reply_texts(tokenizer, replies)
    return [prefill + text for prefill, text in zip(prefills, texts, strict=True)]


def generate_ids(
    model, requests: Sequence[Request], *, batch_size: int, sampling: Sampling | None = None,
    no_repeat_ngram_size: int = 0, suffix_max_new_tokens: int = 0, stops: Collection[int] = (),
    label: str | None = None,
) -> tuple[TokenIds, TokenIds]:
    """The reply to each request, as token ids, and a second one behind it (chapter 4).

    On a card transformers' continuous batching writes greedy replies, unless the model's own
    settings have a repetition penalty. Stop texts are not looked for: replies go on to the end of
    the turn or their limit, and the caller cuts them.

    Args:
        requests: each is asked once: its replies are written into it.
        batch_size: replies that are written at the same time, if they are of usual length.
        sampling: as in `ask`; its repetition penalty takes the place of the model's own.
        no_repeat_ngram_size: as in `ask`.
        suffix_max_new_tokens: the longest second reply.
        stops: tokens that end a reply, besides those that end a turn.
        label: what the progress bar says; none is shown without.

    Returns:
        New tokens, up to and with the token that ends a turn, or `max_new_tokens` of them; and
        the same for the second replies, which are empty where a request has no suffix.
    """
    for number, request in enumerate(requests if sampling else ()):
        count = request.max_new_tokens + suffix_max_new_tokens
        request.random = sampling.random_numbers(number, count)
    processors = _processors(model, no_repeat_ngram_size, own_penalty=sampling is None)
    alone_on_card(model)
    if model.device.type == "cuda" and not sampling and not stops and not _processors(model):
        write_continuously(model, requests, processors, batch_size, suffix_max_new_tokens, label)
    else:
        decoder = Decoder(model, requests, processors, sampling, stops)
        decoder.run(batch_size, suffix_max_new_tokens, label)
    return ([request.reply for request in requests],
            [request.second.reply if request.second else [] for request in requests])


def _processors(model, no_repeat_ngram_size: int = 0, own_penalty: bool = True) -> list:
    """The repetition penalty of the model's own generation settings, and what is asked for."""
    penalty = (own_penalty and model.generation_config.repetition_penalty) or 1.0
    found = [RepetitionPenaltyLogitsProcessor(penalty)] if penalty != 1.0 else []
    if no_repeat_ngram_size:
        found.append(NoRepeatNGramLogitsProcessor(no_repeat_ngram_size))
    return found


def _check_lengths(model, requests: Sequence[Request], questions: Sequence[str]) -> None:
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    for number, (request, question) in enumerate(zip(requests, questions, strict=True), 1):
        size, new = len(request.prompt), request.max_new_tokens
        if context and size + new > context:
            raise UserError(
                f"question {number} ({question[:40]!r}…): {size:,} tokens and "
                f"{new:,} new ones do not fit the model's context of {context:,}; "
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


def line_break_tokens(tokenizer) -> set[int]:
    """The tokens whose text has a line break in it."""
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    return {token for token, text in enumerate(texts) if "\n" in text}


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
