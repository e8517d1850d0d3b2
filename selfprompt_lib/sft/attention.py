"""Attention and casts of training on a processor, where PyTorch's own cost more than they need."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    PreTrainedModel,
    TrainingArguments,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

PRODUCTS = "causal_products"  # the attention's name in transformers, for a model in memory only
MOST_SCORES = 2**21  # samples x places x places of a micro-batch: 1.1 GB for a model of 135M


def causal_products(module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor,
                    value: torch.Tensor, attention_mask: torch.Tensor | None, scaling: float,
                    **options) -> tuple[torch.Tensor, None]:
    """Causal attention in two products and a softmax, as transformers calls it (chapter 3).

    PyTorch's fused kernel is slow on the way back in bfloat16, and its plain products look for
    rows that see nothing, which causal attention has not, and copy the keys that heads share.
    Products keep a matrix of places by places, so long rows stay with the fused kernel, and so does
    what needs a mask.

    Args:
        query: (samples, heads, places, size of a head).
        key, value: (samples, key heads, places, size of a head); a value may have another size.

    Returns:
        (samples, places, heads, size of a value), and no attention weights.
    """
    samples, heads, places, size = query.shape
    short = samples * places**2 <= MOST_SCORES and key.shape[2] == places
    causal = options.get("is_causal")
    if causal is None:  # as sdpa decides
        causal = getattr(module, "is_causal", True)
    biased = attention_mask is not None or options.get("position_bias") is not None
    if not short or not causal or biased or options.get("dropout"):
        return sdpa_attention_forward(module, query, key, value, attention_mask,
                                      scaling=scaling, **options)
    sharing = heads // key.shape[1]  # heads that read the same keys: their queries become rows
    query = query.reshape(-1, sharing * places, size)
    key, value = key.flatten(0, 1), value.flatten(0, 1)  # (samples x key heads, places, size)
    later = query.new_full((places, places), -torch.inf).triu(1).repeat(sharing, 1)
    scores = torch.baddbmm(later.expand(len(query), -1, -1), query, key.mT, alpha=scaling)
    mixed = scores.softmax(-1) @ value
    return mixed.view(samples, heads, places, -1).transpose(1, 2), None


AttentionInterface.register(PRODUCTS, causal_products)
AttentionMaskInterface.register(PRODUCTS, sdpa_mask)


@contextmanager
def quick_on_a_processor(model: PreTrainedModel, args: TrainingArguments) -> Iterator[None]:
    """In bfloat16, train with `causal_products` in place of sdpa and with fewer casts.

    Autocast casts what a layer reads once for each product that reads it, and turns queries and
    keys back to float32, as the angles of their places are. Here norms and angles are cast once.
    In float32, and on a card, nothing is changed: sdpa is as fast there, and needs less memory.
    """
    if not (args.use_cpu and args.bf16):
        yield
        return

    def cast_once(module, inputs, output):
        parts = output if isinstance(output, tuple) else (output,)
        cast = tuple(part.to(torch.bfloat16) if part.is_floating_point() else part
                     for part in parts)  # some models have complex numbers for the angles
        return cast if isinstance(output, tuple) else cast[0]

    hooks = [module.register_forward_hook(cast_once) for module in model.modules()
             if type(module).__name__.endswith(("RMSNorm", "RotaryEmbedding"))]
    own = model.config._attn_implementation
    if own == "sdpa":
        model.set_attn_implementation(PRODUCTS)
    try:
        yield
    finally:
        model.set_attn_implementation(own)
        for hook in hooks:
            hook.remove()
