"""Memory and time of fine-tuning, from a model's shape: what fits where, how long it takes."""

import time
from typing import Any

import pandas as pd
import torch

from ..estimates import (
    embedding_parameters,
    layer_parameters,
    lora_parameters,
    parameters_from_shape,
    training_bytes,
    training_operations,
)
from ..models import dtype_for
from ..profiles import Profile
from .trainer import this_process

CARDS = (24, 80, 141)  # GiB, though sold as GB: a gaming card, an A100 or H100, an H200
RANK = 16  # of the table's LoRA row
REACHED = 0.5  # the share of the rate of matrix products that training reaches: tests/bench/sft.py


def memory_plan(config: Any, profile: Profile, cards: int = 1) -> dict[str, float]:
    """GB (1e9 bytes) on one card for fine-tuning a Llama- or Mistral-type model (chapter 3).

    Weights that are trained are float32; with LoRA the frozen ones are in the computing precision.
    `copies` are weights in the computing precision beside the kept ones: under autocast all of
    them live as long as a forward pass without checkpointing; FSDP2 gathers the embeddings and two
    layers at a time.

    Activations are an estimate, good to about a third: 17 values a token and layer for each unit of
    width (Korthikanti et al. 2022, without the attention matrix, which fused kernels do not keep).
    With checkpointing there are two, and 17 of one layer. Three copies of the logits in float32
    come on top.

    Args:
        cards: the number of FSDP2's parts.
    """
    config, sft = config.get_text_config(), profile.sft
    width, layers = config.hidden_size, config.num_hidden_layers
    computing = dtype_for(profile.dtype).itemsize
    whole, adapters = parameters_from_shape(config), lora_parameters(config, sft.lora_rank)
    kept = training_bytes(profile, whole, computing, adapters)
    plan = {name: size / cards for name, size in kept.items()}
    if cards > 1:
        copied = embedding_parameters(config) + 2 * layer_parameters(config)
    elif computing == 4 or sft.gradient_checkpointing:
        copied = 0
    else:
        copied = adapters if sft.lora_rank else whole
    tokens = sft.micro_batch_size * sft.max_length
    values = 2 * layers + 17 if sft.gradient_checkpointing else 17 * layers
    logits = 3 * 4 * config.vocab_size
    plan["copies"] = computing * copied
    plan["activations"] = tokens * (computing * width * values + logits)
    order = ("weights", "copies", "gradients", "optimizer", "activations")
    return {name: round(plan[name] / 1e9, 2) for name in order}


def plan_table(config: Any, profile: Profile) -> pd.DataFrame:
    """The memory plans of usual ways to train, in GB, and where they fit (chapter 3)."""
    full = {"optimizer": "adamw", "lora_rank": 0}
    ways = {
        "full, AdamW": (full, 1),
        "full, 8-bit AdamW": (full | {"optimizer": "adamw_8bit"}, 1),
        f"LoRA, rank {RANK}": (full | {"lora_rank": RANK}, 1),
        **{f"full, {cards} cards, FSDP2": (full, cards) for cards in (2, 4, 8)},
    }
    rows = {}
    for way, (options, cards) in ways.items():
        changed = profile.model_copy(update={"sft": profile.sft.model_copy(update=options)})
        plan = memory_plan(config, changed, cards)
        rows[way] = plan | {"total": round(sum(plan.values()), 1)} | fits(plan)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("way")


def fits(plan: dict[str, float]) -> dict[str, bool]:
    """Whether a memory plan fits on usual cards, with a tenth left for buffers."""
    return {f"{card} GB card": sum(plan.values()) <= 0.9 * card * 2**30 / 1e9 for card in CARDS}


def training_minutes(config: Any, profile: Profile, tokens: int) -> float:
    """Minutes to train on so many tokens an epoch, good to about a factor of two (chapter 3)."""
    work = training_operations(profile, parameters_from_shape(config.get_text_config()), tokens)
    rate = REACHED * matmul_rate(dtype_for(profile.dtype)) * this_process().num_processes
    return work / rate / 60


def matmul_rate(dtype: torch.dtype, seconds: float = 0.3) -> float:
    """Floating-point operations a second of this device's matrix products, measured for so long."""
    device, size = ("cuda", 8192) if torch.cuda.is_available() else ("cpu", 1024)
    square = torch.randn(size, size, device=device).to(dtype)
    float((square @ square)[0, 0])  # the first product of a kind is slower
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        float((square @ square)[0, 0])  # read, so that a card has finished
        count += 1
    return 2 * size**3 * count / (time.perf_counter() - began)
