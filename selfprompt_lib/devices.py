"""Where models lie, on a card or in main memory, and in which precision they compute."""

import ctypes
import gc
import os
from weakref import WeakSet

from .errors import require

_ON_CARD: WeakSet = WeakSet()  # the models that were put on the card


def dtype_for(setting: str):
    """The torch dtype of a profile's `dtype`; `auto`: bfloat16 where that is fast (chapter 1)."""
    import torch

    if setting != "auto":
        return getattr(torch, setting)
    return torch.bfloat16 if has_bfloat16() else torch.float32


def has_bfloat16() -> bool:
    """Whether bfloat16 is fast here: on a card, and on processors that multiply in it.

    The environment variable SELFPROMPT_BF16, 0 or 1, overrides what is found, so that a run or a
    test behaves on any processor as on one without, or with, such instructions.
    """
    import torch

    given = os.environ.get("SELFPROMPT_BF16", "")
    require(given in ("", "0", "1"), f"SELFPROMPT_BF16={given}: set it to 0 or 1, or unset it")
    if given:
        return given == "1"
    processor = torch.cpu.get_capabilities()
    return torch.cuda.is_available() or any(map(processor.get, ("avx512_bf16", "amx_bf16")))


def imitates_bfloat16(setting: str) -> bool:
    """Whether a profile's `dtype` is bfloat16 and this processor only imitates that, slowly."""
    import torch

    return dtype_for(setting) == torch.bfloat16 and not has_bfloat16()


def on_device(model):
    """Put a model, to be asked, on the card, or store it as a processor likes it."""
    import torch

    return alone_on_card(model) if torch.cuda.is_available() else _column_major(model)


def alone_on_card(model=None):
    """Put a model on the card, and those that lay there into main memory; without one, all.

    A card has room for one model and what it works with. To move one takes a second for 7B, so
    whoever uses a model calls this first. Without a card, models stay where they are.
    """
    import torch

    if torch.cuda.is_available():
        for other in set(_ON_CARD) - {model}:
            other.to("cpu")
            _ON_CARD.remove(other)
        torch.cuda.empty_cache()
        if model is not None:
            _ON_CARD.add(model.to("cuda"))
    return model


def hand_back_memory() -> None:
    """Give memory that is not used any more back to the system.

    glibc keeps what was freed, in pieces, so that chapter 3 would grow with each model it trains;
    TCMalloc keeps it, too. Elsewhere there is no such call. A model that was trained refers to
    itself, as its forward was wrapped, so it stays until Python looks for such circles.
    """
    gc.collect()
    process = ctypes.CDLL(None) if os.name == "posix" else None
    if hasattr(process, "MallocExtension_ReleaseFreeMemory"):
        process.MallocExtension_ReleaseFreeMemory()
    if hasattr(process, "malloc_trim"):
        process.malloc_trim(0)


def _column_major(model):
    """Store linear weights by column: the same numbers, a sixth faster in small batches.

    The other weights are copied as well: one that stays keeps the whole file in memory,
    beside the copies: 0.4 GB for each model of 135M in float32.
    """
    import torch

    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear) and layer is not model.get_output_embeddings():
            layer.weight.data = layer.weight.data.t().contiguous().t()
    return copied_from_file(model)


def copied_from_file(model):
    """Copy the weights that still lie in the checkpoint's file as it was mapped into memory.

    A mapped file is in small pages, each of which the system copies when it is first written to:
    the first step of a training took four seconds more for a model of 135M.
    """
    for weight in model.parameters():
        if weight.is_contiguous():
            weight.data = weight.data.clone()
    return model
