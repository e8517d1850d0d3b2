"""Memory and time of fine-tuning, from a model's shape: what fits where, how long it takes."""

import math
import os
from typing import Any

import pandas as pd
import psutil
import torch
from torch.utils.benchmark import Timer
from transformers import AutoModelForCausalLM

from ..devices import hand_back_memory
from ..estimates import training_bytes, training_operations
from ..models import dtype_for
from ..profiles import Profile
from .trainer import this_process

CARDS = (24, 80, 141)  # GiB, though sold as GB: a gaming card, an A100 or H100, an H200
RANK = 16  # of the table's LoRA row
REACHED = 0.5  # the share of the rate of matrix products that training reaches: tests/bench/sft.py


def parameter_counts(config: Any, lora_rank: int = 0) -> dict[str, int]:
    """Parameters of a model of this shape, for which no memory is taken.

    Returns:
        `model`, `layer` (the first), `outside` (embeddings, head and norm outside the layers) and
        `adapters` (LoRA on all linear maps but the head).
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config.get_text_config())

    def count(module) -> int:
        return sum(weight.numel() for weight in module.parameters())

    layers = model.get_decoder().layers
    maps = [module for module in layers.modules() if isinstance(module, torch.nn.Linear)]
    return {
        "model": count(model),
        "layer": count(layers[0]),
        "outside": count(model) - count(layers),
        "adapters": sum(lora_rank * (each.in_features + each.out_features) for each in maps),
    }


def memory_plan(config: Any, profile: Profile, cards: int = 1) -> dict[str, float]:
    """GB (1e9 bytes) on one card, of `cards` with FSDP2, for fine-tuning (chapter 3).

    Weights that are trained are float32; with LoRA the frozen ones are in the computing precision.
    `copies` are weights in the computing precision beside the kept ones: under autocast all of
    them live as long as a forward pass without checkpointing; FSDP2 gathers the embeddings and two
    layers at a time.

    Activations are an estimate, good to about a third: 17 values a token and layer for each unit of
    width (Korthikanti et al. 2022, without the attention matrix, which fused kernels do not keep).
    With checkpointing there are two, and 17 of one layer. Three copies of the logits in float32
    come on top.
    """
    config, sft = config.get_text_config(), profile.sft
    layers, computing = config.num_hidden_layers, dtype_for(profile.dtype).itemsize
    count = parameter_counts(config, sft.lora_rank)
    if cards > 1:
        copied = count["outside"] + 2 * count["layer"]
    elif computing == 4 or sft.gradient_checkpointing:
        copied = 0
    else:
        copied = count["adapters" if sft.lora_rank else "model"]
    kept = training_bytes(profile, count["model"], computing, count["adapters"])
    values = 2 * layers + 17 if sft.gradient_checkpointing else 17 * layers
    token = computing * config.hidden_size * values + 3 * 4 * config.vocab_size
    plan = {
        "weights": kept["weights"] / cards,
        "copies": computing * copied,
        "gradients": kept["gradients"] / cards,
        "optimizer": kept["optimizer"] / cards,
        "activations": sft.micro_batch_size * sft.max_length * token,
    }
    return {name: round(size / 1e9, 2) for name, size in plan.items()}


def disk_plan(config: Any, profile: Profile) -> dict[str, float]:
    """GB (1e9 bytes) that a training writes (chapter 3).

    One checkpoint more than are kept, as the oldest goes last; the model as it is tried to be
    saved before the first step; and chapter 3's copy of the finished one.
    """
    sft, computing = profile.sft, dtype_for(profile.dtype).itemsize
    count = parameter_counts(config, sft.lora_rank)
    kept = training_bytes(profile, count["model"], computing, count["adapters"])
    written = min(sft.checkpoints + 1, math.ceil(sft.epochs)) if sft.checkpoints else 0
    plan = {
        "checkpoints": written * (kept["gradients"] + kept["optimizer"]),  # as large as the weights
        "finished": kept["weights"],
        "copy": computing * count["model"],
    }
    return {name: round(size / 1e9, 2) for name, size in plan.items()}


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


def free_memory(model) -> float:
    """GB for one process on the device that would train, with what `model` holds of it already."""
    if torch.cuda.is_available():
        return (torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()) / 1e9
    hand_back_memory()  # what this process has freed is free, but glibc may hold it
    free = psutil.virtual_memory().available / int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    parameters = getattr(model, "parameters", list)  # a shape has none
    return (free + sum(weight.nbytes for weight in parameters())) / 1e9


def training_minutes(config: Any, profile: Profile, tokens: int) -> float:
    """Minutes to train on so many tokens an epoch, good to about a factor of two (chapter 3)."""
    work = training_operations(profile, parameter_counts(config)["model"], tokens)
    rate = REACHED * matmul_rate(dtype_for(profile.dtype)) * this_process().num_processes
    return work / rate / 60


def matmul_rate(dtype: torch.dtype, seconds: float = 0.3) -> float:
    """Floating-point operations a second of this device's matrix products, measured for so long."""
    device, size = ("cuda", 8192) if torch.cuda.is_available() else ("cpu", 1024)
    square = torch.randn(size, size, device=device).to(dtype)
    timer = Timer("square @ square", globals={"square": square},
                  num_threads=torch.get_num_threads())
    return 2 * size**3 / timer.blocked_autorange(min_run_time=seconds).median
