"""Memory of fine-tuning, planned from a model's shape: what fits on which card, and with which option."""

from typing import Any

import pandas as pd

from ..models import dtype_for
from ..profiles import Profile

CARDS = (24, 80, 141)  # GiB, though sold as GB: a gaming card, an A100 or H100, an H200
RANK = 16  # of the LoRA row where the profile gives none
OPTIMIZER_BYTES = {"adamw": 8.0, "adamw_8bit": 2 * (1 + 4 / 256)}  # a weight; 8 bits have a scale for each block of 256
OPTIONS = {
    "full, AdamW": {"optimizer": "adamw"},
    "full, 8-bit AdamW": {"optimizer": "adamw_8bit"},
    f"LoRA, rank {RANK}": {"lora_rank": RANK},
    **{f"full, {cards} cards, FSDP2": {"cards": cards} for cards in (2, 4, 8)},
}


def memory_plan(config: Any, profile: Profile, optimizer: str = "adamw", lora_rank: int = 0, cards: int = 1) -> dict[str, float]:
    """GB (1e9 bytes) on one card of fine-tuning a Llama- or Mistral-type model, by what takes them (chapter 3).

    Weights that are trained are float32; with LoRA the frozen ones are in the computing precision. `cards`
    is the number of FSDP2's parts. `copies` are weights in the computing precision: under autocast all of them
    live as long as a forward pass without checkpointing; FSDP2 gathers the embeddings and two layers at a time.

    Activations are an estimate, good to about a third: 17 values a token and layer for each unit of width
    (Korthikanti et al. 2022, without the attention matrix, which fused kernels do not keep), or two, and one
    layer's 17, with checkpointing; and three copies of the logits in float32.
    """
    sft, config = profile.sft, config.get_text_config()
    half = 2 if str(dtype_for(profile.dtype)).endswith("bfloat16") else 4
    whole, tokens, layers = parameters(config), sft.micro_batch_size * sft.max_length, config.num_hidden_layers
    trained, frozen = (lora_parameters(config, lora_rank), whole) if lora_rank else (whole, 0)
    kept = 2 * layers + 17 if sft.gradient_checkpointing else 17 * layers
    numbers = {
        "weights": (4 * trained + half * frozen) / cards,
        "copies": _copies(config, trained, half, cards, sft.gradient_checkpointing),
        "gradients": 4 * trained / cards,
        "optimizer": OPTIMIZER_BYTES[optimizer] * trained / cards,
        "activations": tokens * (kept * config.hidden_size * half + 3 * 4 * config.vocab_size),
    }
    return {name: round(value / 1e9, 2) for name, value in numbers.items()}


def _copies(config: Any, trained: int, half: int, cards: int, checkpointing: bool) -> float:
    """Bytes of weights in the computing precision beside the kept ones."""
    if cards > 1:
        return half * (embeddings(config) + 2 * layer(config))
    return 0 if half == 4 or checkpointing else half * trained


def plan_table(config: Any, profile: Profile) -> pd.DataFrame:
    """The memory plan of every option on one card: GB by what takes them, their sum, and where it fits (chapter 3)."""
    rows = {name: memory_plan(config, profile, **option) for name, option in OPTIONS.items()}
    table = pd.DataFrame(rows).T.rename_axis("way")
    return table.assign(total=table.sum(axis=1).round(1), **pd.DataFrame({name: fits(row) for name, row in rows.items()}).T)


def fits(plan: dict[str, float]) -> dict[str, bool]:
    """Whether a memory plan fits on usual cards, with a tenth left for buffers."""
    return {f"{card} GB card": sum(plan.values()) <= 0.9 * card * 2**30 / 1e9 for card in CARDS}


def parameters(config: Any) -> int:
    """Weights of a Llama- or Mistral-type model, from its shape."""
    return config.num_hidden_layers * layer(config) + embeddings(config) + config.hidden_size


def embeddings(config: Any) -> int:
    """Weights of the embeddings, and of the head where it has its own."""
    return config.vocab_size * config.hidden_size * (1 if config.tie_word_embeddings else 2)


def layer(config: Any) -> int:
    """Weights of one layer: its products and two norms."""
    return sum(wide * high for wide, high in _products(config)) + 2 * config.hidden_size


def lora_parameters(config: Any, rank: int) -> int:
    """Weights of LoRA adapters on all products of all layers."""
    return config.num_hidden_layers * sum(rank * (wide + high) for wide, high in _products(config))


def _products(config: Any) -> list[tuple[int, int]]:
    """Inputs and outputs of a layer's linear maps: query, key, value, output, and the three of the MLP."""
    width, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    head = getattr(config, "head_dim", None) or width // heads
    keys = head * (config.num_key_value_heads or heads)
    return [(width, head * heads), (width, keys), (width, keys), (head * heads, width), *[(width, inner)] * 2, (inner, width)]
