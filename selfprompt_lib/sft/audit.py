"""What is checked before training: rows, tokens, ends of turns, schedule and memory."""

import math
from collections.abc import Container, Sequence
from copy import copy
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ..checkpoints import free_gb
from ..designs import Design, ParsedReply
from ..errors import UserError, require
from ..generate import chat_prompt, encode_prefill, reply_texts, special_tokens
from ..models import dtype_for
from ..profiles import Profile
from ..rows import Sample
from .conversation import encode_with_loss_mask, to_messages, training_template
from .dropout import DROPOUT_MODELS
from .memory import disk_plan, free_memory, memory_plan, training_minutes
from .trainer import shard_count, this_process


class Check(NamedTuple):
    """One line of the audit."""

    check: str
    value: Any
    good: bool = True  # False for a fault that would spoil the training
    mend: str = ""  # what to do then


def audit(profile: Profile, samples: Sequence[Sample], design: Design,
          model, tokenizer, folder: Path | None = None, trainings: int = 1) -> pd.DataFrame:
    """Everything that can be checked before training, a row a check (chapter 3).

    Args:
        folder: where `trainings` such trainings will be written; the disk is not looked at without.

    Returns:
        The columns of `Check`.
    """
    asking, tokenizer = tokenizer, copy(tokenizer)
    tokenizer.chat_template = training_template(tokenizer)  # looked up once
    talks = [to_messages(sample, design) for sample in samples]
    rows = [encode_with_loss_mask(tokenizer, messages) for messages in talks]
    checks = [
        *_token_checks(profile, rows, getattr(model.config, "max_position_embeddings", None)),
        *_template_checks(profile, rows, tokenizer),
        *_reading_checks(samples, talks, design, tokenizer, asking),
        *_recipe_checks(profile, len(rows), model.config.model_type),
        *_cost_checks(profile, rows, model),
        *([_disk_check(profile, model.config, folder, trainings)] if folder else []),
    ]
    return pd.DataFrame(checks)


def preflight(profile: Profile, samples: Sequence[Sample], design: Design,
              model, tokenizer, folder: Path | None = None, trainings: int = 1) -> pd.DataFrame:
    """`audit`, which stops before training where something is wrong (chapter 3).

    Raises:
        UserError: the first fault with its mend; a missing package; LoRA with FSDP2.
    """
    sft = profile.sft
    needs = [("lora_rank", sft.lora_rank, "peft"),
             ("optimizer", sft.optimizer == "adamw_8bit", "bitsandbytes")]
    for field, wanted, package in needs:
        require(not wanted or find_spec(package),
                f"sft.{field}: {getattr(sft, field)} needs the package {package}; "
                'pip install "selfprompt-lib[card]"')
    require(not sft.lora_rank or shard_count() == 1,
            "sft.lora_rank: adapters are not trained with FSDP2 here; launch with ddp.yaml, "
            "or set sft.lora_rank=0")
    found = audit(profile, samples, design, model, tokenizer, folder, trainings)
    for fault in found[~found.good.astype(bool)].itertuples():
        raise UserError(f"before training: {fault.check}: {fault.value}; {fault.mend}")
    return found


def _token_checks(profile: Profile, rows: list[dict], context: int | None) -> list[Check]:
    """How long the samples are, and what is left of them after truncation."""
    longest = profile.sft.max_length
    context = context or longest
    lengths = [len(row["input_ids"]) for row in rows]
    truncated = sum(length > longest for length in lengths)
    counted = [sum(row["assistant_masks"][:longest]) for row in rows]
    return [
        Check("samples", len(rows)),
        Check("tokens", sum(lengths)),
        Check("tokens in the loss", sum(counted)),
        Check("longest sample, tokens", max(lengths)),
        Check("truncated samples, which lose their end of turn", truncated),
        Check("samples with no token in the loss", counted.count(0), 0 not in counted,
              "take them out, or raise sft.max_length: their question alone fills it"),
        Check("context of the model, tokens", context,
              longest <= context or max(lengths) <= context,
              f"set sft.max_length to {context} at most"),
    ]


def _template_checks(profile: Profile, rows: list[dict], tokenizer) -> list[Check]:
    """Whether the chat template begins and ends a turn once, at the right place."""
    whole = [row for row in rows if len(row["input_ids"]) <= profile.sft.max_length]
    ends = special_tokens(tokenizer)
    open_ends = sum(not _ends_in_loss(ends, row) for row in whole)
    start = tokenizer.bos_token_id  # None where the model has no such token
    doubles = sum(row["input_ids"][:2] == [start, start] for row in rows)
    return [
        Check("end of turn outside the loss", open_ends, open_ends == 0,
              "give the chat template a generation block that holds the end of the assistant's "
              "turn"),
        Check("double beginning of sequence", doubles, doubles == 0,
              "take bos_token out of the chat template or out of the tokenizer's own rules"),
    ]


def _reading_checks(samples: Sequence[Sample], talks: list[list], design: Design, tokenizer,
                    asking) -> list[Check]:
    """Whether what is learned by heart, behind the prompt that asks, is read as what was taught.

    Args:
        tokenizer: with the template of the training.
        asking: the tokenizer with the template that questions are asked in.
    """
    melting = unread = 0
    for sample, messages in zip(samples, talks, strict=True):
        learned = _learned_reply(tokenizer, asking, messages)
        if learned is None:
            melting += 1
            continue
        taught = design.read(messages[1]["content"])
        outcome = "role" if design.writes_role and not sample.role_free else "missing"
        unread += taught.outcome != outcome or not _same(design.read(learned), taught)
    return [
        Check("question and answer melt into one token", melting, melting == 0,
              "end the template's generation prompt with a line break or a special token, and "
              "take thoughts out of the answers"),
        Check("answers that are not read as they are taught", unread, unread == 0,
              "take thoughts out of the answers, or give the model a template that writes them "
              "whole"),
    ]


def _learned_reply(tokenizer, asking, messages: list[dict[str, str]]) -> str | None:
    """What a model that learned a sample by heart replies to its first question; None where the
    prompt that asks is not how the sample begins."""
    prompt = encode_prefill(asking, chat_prompt(asking, messages[:1]))
    whole = tokenizer.apply_chat_template(messages[:2], return_dict=True)["input_ids"]
    same = whole[: len(prompt)] == prompt
    return reply_texts(tokenizer, [whole[len(prompt) :]])[0] if same else None


def _same(read: ParsedReply, taught: ParsedReply) -> bool:
    """Whether role and answer are those; behind the answer the end of the turn may stand."""
    return (read.role, read.outcome) == (taught.role, taught.outcome) and read.answer.startswith(
        taught.answer.strip())


def _recipe_checks(profile: Profile, samples: int, model_type: str) -> list[Check]:
    """Steps, learning rate, what is trained and in which precision."""
    sft = profile.sft
    steps = math.ceil(math.ceil(samples / sft.batch_size) * sft.epochs)
    processes = f"{this_process().num_processes}, {shard_count()}"
    trained = f"adapters, rank {sft.lora_rank}" if sft.lora_rank else "all"
    return [
        Check("samples an optimizer step", sft.batch_size),
        Check("processes, and parts of the weights", processes),
        Check("optimizer steps", steps),
        Check("learning rate at the end", f"{sft.final_learning_rate:g}"),
        Check("weights trained", trained),
        Check("weights kept in", "float32"),
        Check("residual dropout at the last layer", sft.residual_dropout,
              not sft.residual_dropout or model_type in DROPOUT_MODELS,
              f"the layers of a {model_type} model are not known here (known: "
              f"{', '.join(DROPOUT_MODELS)}); set sft.residual_dropout to 0"),
        Check("computing in", str(dtype_for(profile.dtype)).removeprefix("torch.")),
    ]


def _cost_checks(profile: Profile, rows: list[dict], model) -> list[Check]:
    """Time and memory that the training will take."""
    tokens = sum(min(len(row["input_ids"]), profile.sft.max_length) for row in rows)
    needed = sum(memory_plan(model.config, profile, shard_count()).values())
    free = free_memory(model)
    return [
        Check("time expected, minutes", round(training_minutes(model.config, profile, tokens), 1)),
        Check("memory planned, GB", round(needed, 1), needed <= free,
              f"about {free:.0f} GB are free here: end what else takes memory, lower "
              "sft.micro_batch_size or sft.max_length, set sft.gradient_checkpointing, take a "
              "smaller model, or split the weights over several cards"),
    ]


def _disk_check(profile: Profile, config, folder: Path, trainings: int) -> Check:
    """The disk space that trainings take; what lies there of a run before is written over."""
    needed = trainings * sum(disk_plan(config, profile).values())
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9
    free = free_gb(folder) + there
    return Check("disk planned, GB", round(needed, 1), needed <= free,
                 f"about {free:.1f} GB are free at {folder}: make room, give another folder with "
                 "--out, or lower sft.checkpoints")


def _ends_in_loss(ends: Container[int], row: dict[str, list[int]]) -> bool:
    """Whether the last token in the loss ends a turn."""
    last = max((i for i, counted in enumerate(row["assistant_masks"]) if counted), default=0)
    # two tokens, because some templates count a line break after the end of the turn
    tail = row["input_ids"][last - 1 : last + 1] if last else []
    return any(token in ends for token in tail)
