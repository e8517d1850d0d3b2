"""What is checked before training: rows, tokens, ends of turns, schedule and memory."""

import math
import os
from collections.abc import Sequence
from copy import copy
from importlib.util import find_spec

import pandas as pd

from ..designs import Design
from ..errors import UserError, require
from ..models import dtype_for
from ..profiles import Profile
from ..rows import Sample
from . import processes
from .conversation import conversation, training_template
from .dropout import KNOWN
from .memory import memory_plan
from .pace import minutes


def audit(profile: Profile, samples: Sequence[Sample], design: Design, model, tokenizer) -> pd.DataFrame:
    """Everything that can be checked before training, a row a check: check, value, good, mend (chapter 3).

    `good` is False for a fault that would spoil the training; `mend` says what to do then.
    """
    tokenizer = copy(tokenizer)
    tokenizer.chat_template = training_template(tokenizer)  # looked up once
    sft, rows = profile.sft, [encoded(tokenizer, sample, design) for sample in samples]
    lengths = [len(row["input_ids"]) for row in rows]
    kept = [row["assistant_masks"][: sft.max_length] for row in rows]
    context = getattr(model.config, "max_position_embeddings", sft.max_length)
    steps = math.ceil(len(rows) / sft.batch_size) * sft.epochs
    whole = [row for row, length in zip(rows, lengths, strict=True) if length <= sft.max_length]
    memory, free = memory_plan(model.config, profile, sft.optimizer, sft.lora_rank, processes.shards()), _memory_here()
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
        ("processes, and parts of the weights", f"{processes.count()}, {processes.shards()}", True, ""),
        ("optimizer steps", math.ceil(steps), True, ""),
        ("learning rate at the end", f"{sft.final_learning_rate:g}", sft.final_learning_rate <= sft.learning_rate,
         "set sft.final_learning_rate to at most sft.learning_rate"),
        ("weights trained", "adapters, rank " + str(sft.lora_rank) if sft.lora_rank else "all", True, ""),
        ("weights kept in", "float32", True, ""),
        ("residual dropout at the last layer", sft.residual_dropout, not sft.residual_dropout or model.config.model_type in KNOWN,
         f"the layers of a {model.config.model_type} model are not known here (known: {', '.join(KNOWN)}); set "
         "sft.residual_dropout to 0"),
        ("computing in", str(dtype_for(profile.dtype)).removeprefix("torch."), True, ""),
        ("time expected, minutes", round(minutes(model.config, profile, sum(map(len, kept))), 1), True, ""),
        ("memory planned, GB", round(sum(memory.values()), 1), free is None or sum(memory.values()) <= free,
         f"there are about {free or 0:.0f} GB here: lower sft.micro_batch_size or sft.max_length, set "
         "sft.gradient_checkpointing, take a smaller model, or split the weights over several cards"),
    ]
    return pd.DataFrame(checks, columns=["check", "value", "good", "mend"])


def preflight(profile: Profile, samples: Sequence[Sample], design: Design, model, tokenizer) -> pd.DataFrame:
    """`audit`, which stops before training where something is wrong.

    Raises:
        UserError: the first fault with its mend.
    """
    _can_be_done(profile)
    found = audit(profile, samples, design, model, tokenizer)
    for fault in found[~found.good.astype(bool)].itertuples():
        raise UserError(f"before training: {fault.check}: {fault.value}; {fault.mend}")
    return found


def _can_be_done(profile: Profile) -> None:
    """Refuse what a missing package, or two options together, would stop later."""
    sft = profile.sft
    needs = [("lora_rank", sft.lora_rank, "peft"), ("optimizer", sft.optimizer == "adamw_8bit", "bitsandbytes")]
    for field, wanted, package in needs:
        require(not wanted or find_spec(package), f"sft.{field}: {getattr(sft, field)} needs the package {package}; "
                                                  f'pip install "selfprompt-lib[card]"')
    require(not sft.lora_rank or processes.shards() == 1,
            "sft.lora_rank: adapters are not trained with FSDP2 here; launch with ddp.yaml, or set sft.lora_rank=0")


def encoded(tokenizer, sample: Sample, design: Design) -> dict[str, list[int]]:
    """A sample's tokens and the mask of those that the loss counts, as the trainer will see them, before truncation."""
    return tokenizer.apply_chat_template(conversation(sample, design), chat_template=training_template(tokenizer),
                                         return_dict=True, return_assistant_tokens_mask=True)


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
    """GB for one process on the device that would train; None where it cannot be told."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[1] / 1e9
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9 / int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    except (ValueError, AttributeError, OSError):
        return None
