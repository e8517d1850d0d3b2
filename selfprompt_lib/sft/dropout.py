"""LIMA's residual dropout: on the outputs of attention and MLP, before they are added."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch.nn.functional import dropout

from ..errors import require

# Model types whose layers have self_attn and mlp, each added to the residual stream.
DROPOUT_MODELS = ("llama", "mistral")


def dropout_rates(layers: int, last: float) -> list[float]:
    """One rate a layer, rising linearly from 0 to `last` (arXiv 2305.11206, section 3)."""
    return [last * index / (layers - 1) if layers > 1 else 0.0 for index in range(layers)]


@contextmanager
def residual_dropout(model, last: float) -> Iterator[None]:
    """Switch residual dropout on while the block runs (chapter 3).

    Hooks do it, and only in training mode: the model has no new weight, its checkpoint is that of
    the plain model, and in evaluation mode it computes bit for bit what the plain model does.

    Raises:
        UserError: for an architecture whose residual sums are not known here.
    """
    if not last:
        yield
        return
    kind = model.config.model_type
    require(kind in DROPOUT_MODELS,
            f"sft.residual_dropout: the layers of a {kind} model are not known here (known: "
            f"{', '.join(DROPOUT_MODELS)}); set it to 0, or add the model type with a test")
    layers = model.get_decoder().layers
    handles = []
    for layer, rate in zip(layers, dropout_rates(len(layers), last), strict=True):
        if rate:
            hook = partial(_drop, rate)
            handles += [part.register_forward_hook(hook) for part in (layer.self_attn, layer.mlp)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _drop(rate: float, module, _inputs: Any, output: Any) -> Any:
    """A forward hook: attention returns a tuple whose first item is added, an MLP a tensor."""
    if not module.training:
        return None
    if isinstance(output, tuple):
        return dropout(output[0], rate), *output[1:]
    return dropout(output, rate)
