"""What is checked before training: rows, tokens, ends of turns, schedule and memory."""

import math
import os
from collections.abc import Sequence
from typing import Any

import pandas as pd

from ..designs import Design
from ..errors import UserError
from ..models import dtype_for
from ..profiles import Profile
from ..rows import Sample
from .text import conversation, training_template

CARDS = (24, 80, 141)  # GB: a gaming card, an A100 or H100, an H200


def audit(profile: Profile, samples: Sequence[Sample], design: Design, model, tokenizer) -> pd.DataFrame:
    """Everything that can be checked before training, a row a check: check, value, good, mend (chapter 3).

    `good` is False for a fault that would spoil the training; `mend` says what to do then.
    """
    sft, rows = profile.sft, [encoded(tokenizer, sample, design) for sample in samples]
    lengths = [len(row["input_ids"]) for row in rows]
    kept = [row["assistant_masks"][: sft.max_length] for row in rows]
    context = getattr(model.config, "max_position_embeddings", sft.max_length)
    steps = math.ceil(len(rows) / sft.batch_size) * sft.epochs
    whole = [row for row, length in zip(rows, lengths, strict=True) if length <= sft.max_length]
    memory, free = memory_plan(model.config, profile), _memory_here()
    checks = [
        ("samples", len(rows), True, ""),
        ("tokens", sum(lengths), True, ""),
        ("tokens in the loss", sum(map(sum, kept)), True, ""),
        ("longest sample, tokens", max(lengths), True, ""),
        ("truncated samples, which lose their end of turn", len(rows) - len(whole), True, ""),
        ("samples with no token in the loss", sum(not any(mask) for mask in kept), all(map(any, kept)),
         "take them out, or raise sft.max_length: their question alone fills it"),
        ("end of turn outside the loss", *_good(sum(not _ends_in_loss(tokenizer, row) for row in whole)),
         "give the chat template a generation block that holds the end of the assistant's turn"),
        ("double beginning of sequence", *_good(sum(_double_start(tokenizer, row["input_ids"]) for row in rows)),
         "take bos_token out of the chat template or out of the tokenizer's own rules"),
        ("question and answer melt into one token", *_good(sum(_melts(tokenizer, sample, design) for sample in samples)),
         "end the template's generation prompt with a line break or a special token"),
        ("context of the model, tokens", context, sft.max_length <= context or max(lengths) <= context,
         f"set sft.max_length to {context} at most"),
        ("samples an optimizer step", sft.batch_size, True, ""),
        ("optimizer steps", math.ceil(steps), True, ""),
        ("learning rate at the end", f"{sft.final_learning_rate:g}", sft.final_learning_rate <= sft.learning_rate,
         "set sft.final_learning_rate to at most sft.learning_rate"),
        ("weights kept in", "float32", True, ""),
        ("computing in", str(dtype_for(profile.dtype)).removeprefix("torch."), True, ""),
        ("memory planned, GB", round(sum(memory.values()), 1), free is None or sum(memory.values()) <= free,
         f"there are about {free or 0:.0f} GB here: lower sft.micro_batch_size or sft.max_length, set "
         "sft.gradient_checkpointing, or take a smaller model"),
    ]
    return pd.DataFrame(checks, columns=["check", "value", "good", "mend"])


def preflight(profile: Profile, samples: Sequence[Sample], design: Design, model, tokenizer) -> pd.DataFrame:
    """`audit`, which stops before training where something is wrong.

    Raises:
        UserError: the first fault with its mend.
    """
    found = audit(profile, samples, design, model, tokenizer)
    for fault in found[~found.good.astype(bool)].itertuples():
        raise UserError(f"before training: {fault.check}: {fault.value}; {fault.mend}")
    return found


def encoded(tokenizer, sample: Sample, design: Design) -> dict[str, list[int]]:
    """A sample's tokens and the mask of those that the loss counts, as the trainer will see them, before truncation."""
    return tokenizer.apply_chat_template(conversation(sample, design), chat_template=training_template(tokenizer),
                                         return_dict=True, return_assistant_tokens_mask=True)


def memory_plan(config: Any, profile: Profile) -> dict[str, float]:
    """GB of full fine-tuning in float32 with AdamW on one device: weights, gradients, optimizer, activations.

    Activations are an estimate, good to about a third: 34 values a token and layer for each unit of width
    (Korthikanti et al. 2022, without the attention matrix, which fused kernels do not keep), or two with
    checkpointing, and three copies of the logits in float32.
    """
    sft, config = profile.sft, config.get_text_config()
    weights = parameters(config)
    tokens = sft.micro_batch_size * sft.max_length
    width, bytes_each = config.hidden_size, 2 if str(dtype_for(profile.dtype)).endswith("bfloat16") else 4
    stored = (2 if sft.gradient_checkpointing else 17) * config.num_hidden_layers * width * bytes_each
    numbers = {"weights": 4 * weights, "gradients": 4 * weights, "optimizer": 8 * weights,
               "activations": tokens * (stored + 3 * 4 * config.vocab_size)}
    return {name: round(value / 1e9, 2) for name, value in numbers.items()}


def parameters(config: Any) -> int:
    """Weights of a Llama- or Mistral-type model, from its shape."""
    width, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    head = getattr(config, "head_dim", None) or width // heads
    attention = 2 * width * head * (heads + (config.num_key_value_heads or heads))
    layer = attention + 3 * width * inner + 2 * width
    embeddings = config.vocab_size * width * (1 if config.tie_word_embeddings else 2)
    return config.num_hidden_layers * layer + embeddings + width


def fits(plan: dict[str, float]) -> dict[str, bool]:
    """Whether a memory plan fits on usual cards, with a tenth left for buffers."""
    return {f"{card} GB card": sum(plan.values()) <= 0.9 * card for card in CARDS}


def _good(faults: int) -> tuple[int, bool]:
    return faults, faults == 0


def _ends_in_loss(tokenizer, row: dict[str, list[int]]) -> bool:
    """Whether the last token that the loss counts ends a turn: one of the tokenizer's special tokens."""
    last = max((i for i, counted in enumerate(row["assistant_masks"]) if counted), default=None)
    tail = [row["input_ids"][i] for i in (last, last - 1)] if last else []  # some templates count a line break after it
    return any(token in tokenizer.all_special_ids for token in tail)


def _double_start(tokenizer, ids: list[int]) -> bool:
    return tokenizer.bos_token_id is not None and ids[:2] == [tokenizer.bos_token_id] * 2


def _melts(tokenizer, sample: Sample, design: Design) -> bool:
    """Whether the prompt's tokens are not the beginning of the whole conversation's: the model would be asked otherwise."""
    turns = conversation(sample, design)
    options = {"chat_template": training_template(tokenizer), "return_dict": True}
    prompt = tokenizer.apply_chat_template(turns[:1], add_generation_prompt=True, **options)["input_ids"]
    return tokenizer.apply_chat_template(turns[:2], **options)["input_ids"][: len(prompt)] != prompt


def _memory_here() -> float | None:
    """GB on the device that would train; None where it cannot be told."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[1] / 1e9
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    except (ValueError, AttributeError, OSError):
        return None
