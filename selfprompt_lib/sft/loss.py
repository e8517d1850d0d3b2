"""The loss of training on a processor, in the memory of one copy of the logits instead of four."""

import functools
from typing import Any

import torch
from transformers import PreTrainedModel

OUTSIDE_LOSS = -100  # the label of tokens that are not in the loss, as in PyTorch and TRL
SOME = 64  # places at a time: their logits in float32 stay in a processor's cache


class SummedCrossEntropy(torch.autograd.Function):
    """Cross-entropy with labels, added up, computed in float32 a few places at a time (chapter 3).

    PyTorch's own keeps the log-softmax of all logits and makes two gradients, each of places x
    vocabulary: a fifth of a step's time, and hundreds of megabytes. Here the gradient, softmax
    minus one for the label, takes the place of the logits, which nothing needs after it. So it can
    be taken once, and none of the gradient.
    """

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar in float32.

        Args:
            logits: (places, vocabulary).
            labels: (places,), -100 for those that are not in the loss.
        """
        places = torch.arange(len(labels), device=labels.device)
        sums = torch.cat([some.float().logsumexp(-1) for some in logits.split(SOME)])
        counted = labels != OUTSIDE_LOSS
        of_labels = logits[places, labels.where(counted, 0)].float()
        ctx.save_for_backward(logits, labels, sums)
        return (sums - of_labels)[counted].sum()

    @staticmethod
    def backward(ctx: Any, weight: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The gradient at the logits, times `weight`."""
        logits, labels, sums = ctx.saved_tensors
        parts = (tensor.split(SOME) for tensor in (logits, labels, sums))
        for some, wanted, total in zip(*parts, strict=True):
            softmax = (some.float() - total[:, None]).exp_()
            counted = (wanted != OUTSIDE_LOSS).nonzero()[:, 0]
            softmax[counted, wanted[counted]] -= 1
            scale = torch.zeros_like(total).index_fill_(0, counted, 1) * weight
            some.copy_(softmax.mul_(scale[:, None]))
        return logits, None


def loss_in_forward(model: PreTrainedModel) -> None:
    """Let the model's forward return the added-up loss, not logits, where it gets `loss_labels`.

    Within it the logits are still in the compute precision. What leaves it, accelerate turns to
    float32, and its gradient back: two more copies of all logits. TRL's fused head is added in the
    same way. Logits are made for the places only that are in the loss.
    """
    forward = model.forward

    @functools.wraps(forward)  # the trainer looks at its signature
    def with_loss(*inputs, loss_labels: torch.Tensor | None = None, **named):
        if loss_labels is None:
            return forward(*inputs, **named)
        labels = loss_labels[:, 1:]  # (samples, tokens - 1): the logits at a place are of the next
        places = (labels != OUTSIDE_LOSS).any(dim=0).nonzero()[:, 0]
        logits = forward(*inputs, **named, use_cache=False, logits_to_keep=places).logits
        return SummedCrossEntropy.apply(logits.flatten(0, 1), labels[:, places].flatten())

    model.forward = with_loss
