"""How much of the model moved: the share of weights that a step changes."""

import numpy as np
import pandas as pd
from transformers import TrainerCallback

from .processes import DTensor, share

WATCHED = 1_000_000  # weights looked at, evenly spread: enough for a share to a tenth of a percent


class Moved(TrainerCallback):
    """Notes after each optimizer step which share of the watched weights is not what it was, as `moved` in the
    trainer's log, which a checkpoint keeps."""

    def on_train_begin(self, args, state, control, model=None, **_) -> None:
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        assert all(weight.dtype.itemsize == 4 for weight in trained), "weights that are trained must be float32"
        self.last = watched(model)

    def on_step_end(self, args, state, control, model=None, **_) -> None:
        now = watched(model)
        state.log_history.append({"moved": share(now != self.last), "step": state.global_step})
        self.last = now


def watched(model):
    """About a million of the trainable weights that this process holds, evenly spread, as one vector."""
    import torch

    weights = [p.to_local() if isinstance(p, DTensor) else p for p in model.parameters() if p.requires_grad]
    stride = max(1, sum(p.numel() for p in weights) // WATCHED)
    return torch.cat([p.detach().reshape(-1)[::stride].clone() for p in weights])


def moved_by_one_step(model, rates: tuple[float, ...] = (1e-6, 1e-5, 1e-4, 1e-3)) -> pd.DataFrame:
    """The share of this model's weights that a step of one learning rate changes, kept in float32 and in bfloat16.

    AdamW's steps are about as large as the learning rate, so one rate is added to every weight. A weight whose
    number format cannot hold so small a change stays what it was, and the update is lost (chapter 3).
    """
    import torch

    sample, rows = watched(model).float(), []
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        weights = sample.to(kind)
        rows += [{"weights in": name, "learning rate": rate, "share": float((weights + rate != weights).float().mean())}
                 for rate in rates]
    return pd.DataFrame(rows).assign(share=lambda frame: np.round(frame.share, 4))
