"""What a training costs, by arithmetic: parameters, bytes and floating-point operations.

Nothing heavy is imported here, so that a dry run answers at once. `sft.memory` adds what depends on
a model's shape.
"""

import re

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
