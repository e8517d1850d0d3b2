"""How long a training will take, from what this machine multiplies in a second."""

import time
from typing import Any

import torch

from ..models import dtype_for
from ..profiles import Profile
from . import processes
from .memory import parameters

REACHED = 0.5  # the share of the rate of products that training reaches: about what tests/bench/sft.py measures
SIZE = {"cpu": 1024, "cuda": 8192}


def product_rate(kind: torch.dtype, seconds: float = 0.3) -> float:
    """Matrix products of this device in a precision: floating-point operations a second, measured for so long."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    square = torch.randn(SIZE[device], SIZE[device], device=device).to(kind)
    float((square @ square)[0, 0])
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        float((square @ square)[0, 0])  # read, so that a card has finished
        count += 1
    return 2 * len(square) ** 3 * count / (time.perf_counter() - began)


def minutes(config: Any, profile: Profile, tokens: int) -> float:
    """Minutes that training on so many tokens will take, good to about a factor of two (chapter 3).

    A token costs 6 operations a weight (forward 2, backward 4), and 2 more with activation checkpointing.
    """
    work = (8 if profile.sft.gradient_checkpointing else 6) * parameters(config.get_text_config()) * tokens * profile.sft.epochs
    return work / (REACHED * product_rate(dtype_for(profile.dtype)) * processes.count()) / 60
