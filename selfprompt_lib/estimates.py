"""What a training costs, by arithmetic: parameters, bytes and floating-point operations.

Nothing heavy is imported here, so that a dry run answers at once. `sft.memory` adds what depends on
the whole shape of a model.
"""

import re
from typing import Any

from .models import SMOKE
from .profiles import Profile

# Bytes of AdamW's state for each trained weight; in 8 bits there is one scale for a block of 256.
OPTIMIZER_BYTES = {"adamw": 8.0, "adamw_8bit": 2 * (1 + 4 / 256)}


def training_bytes(profile: Profile, parameters: float, computing: int,
                   adapters: float = 0) -> dict[str, float]:
    """Bytes of weights, gradients and optimizer state of a training, without activations.

    Args:
        parameters: weights of the model.
        computing: bytes of a number in the computing precision (2 for bfloat16, 4 for float32).
        adapters: weights of the LoRA adapters, where the profile trains those.
    """
    lora = bool(profile.sft.lora_rank)
    trained, frozen = (adapters, parameters) if lora else (parameters, 0)
    return {
        "weights": 4 * trained + computing * frozen,  # trained weights are float32
        "gradients": 4 * trained,
        "optimizer": OPTIMIZER_BYTES[profile.sft.optimizer] * trained,
    }


def training_operations(profile: Profile, parameters: float, tokens: float) -> float:
    """Floating-point operations of training on so many tokens an epoch.

    A token costs 6 operations a weight (forward 2, backward 4), and 2 more with activation
    checkpointing, which computes the forward pass twice.
    """
    per_weight = 8 if profile.sft.gradient_checkpointing else 6
    return per_weight * parameters * tokens * profile.sft.epochs


def parameters_from_name(name: str) -> float:
    """Parameters that a model's name tells (135M, 7B); 1e9 where it tells none."""
    if name == SMOKE:
        return 3e6
    found = re.search(r"(\d+(?:\.\d+)?)\s*([mb])\b", name.lower().replace("_", "-"))
    if found is None:
        return 1e9
    return float(found[1]) * {"m": 1e6, "b": 1e9}[found[2]]


def parameters_from_shape(config: Any) -> int:
    """Parameters of a Llama- or Mistral-type model, from its configuration."""
    layers = config.num_hidden_layers * layer_parameters(config)
    return layers + embedding_parameters(config) + config.hidden_size  # the last is the final norm


def embedding_parameters(config: Any) -> int:
    """Parameters of the embeddings, and of the output layer where it has its own."""
    matrices = 1 if config.tie_word_embeddings else 2
    return matrices * config.vocab_size * config.hidden_size


def layer_parameters(config: Any) -> int:
    """Parameters of one layer: its linear maps and two norms."""
    maps = sum(inputs * outputs for inputs, outputs in _linear_maps(config))
    return maps + 2 * config.hidden_size


def lora_parameters(config: Any, rank: int) -> int:
    """Parameters of LoRA adapters on all linear maps of all layers."""
    layer = sum(rank * (inputs + outputs) for inputs, outputs in _linear_maps(config))
    return config.num_hidden_layers * layer


def _linear_maps(config: Any) -> list[tuple[int, int]]:
    """Inputs and outputs of a layer's linear maps: query, key, value, output, three of the MLP."""
    width, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    head = getattr(config, "head_dim", None) or width // heads
    queries, keys = head * heads, head * (config.num_key_value_heads or heads)
    attention = [(width, queries), (width, keys), (width, keys), (queries, width)]
    return [*attention, (width, inner), (width, inner), (inner, width)]
