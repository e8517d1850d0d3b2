"""What is shown and noted while a training runs: its progress, and how much of the model moves."""

import pandas as pd
import torch
from accelerate.utils import reduce
from torch.distributed.tensor import DTensor
from tqdm import tqdm
from transformers import TrainerCallback

from .trainer import this_process

WEIGHT_SAMPLE = 1_000_000  # weights looked at: enough for a share to a tenth of a percent


class UpdateFraction(TrainerCallback):
    """Logs after each optimizer step which share of the weights it changed, as `moved`.

    The trainer's log is part of a checkpoint, so a resumed training keeps the shares before.
    """

    def on_train_begin(self, args, state, control, model=None, **_) -> None:
        kinds = {weight.dtype for weight in model.parameters() if weight.requires_grad}
        assert kinds == {torch.float32}, "weights that are trained must be float32"
        self.last = sample_weights(model)

    def on_step_end(self, args, state, control, model=None, **_) -> None:
        now = sample_weights(model)
        changed = now != self.last
        counts = torch.stack([changed.sum(), torch.tensor(changed.numel(), device=changed.device)])
        moved, looked_at = reduce(counts.double(), "sum").tolist()  # over all processes
        state.log_history.append({"moved": moved / looked_at, "step": state.global_step})
        self.last = now


def sample_weights(model) -> torch.Tensor:
    """About a million of this process's trainable weights, evenly spread, as one vector."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    local = [weight.to_local() if isinstance(weight, DTensor) else weight for weight in trained]
    stride = max(1, sum(weight.numel() for weight in local) // WEIGHT_SAMPLE)
    return torch.cat([weight.detach().reshape(-1)[::stride].clone() for weight in local])


def one_step_update_fraction(model, rates=(1e-6, 1e-5, 1e-4, 1e-3)) -> pd.DataFrame:
    """The share of this model's weights that a step changes, kept in float32 and in bfloat16.

    AdamW's steps are about as large as the learning rate, so one rate is added to every weight. A
    weight whose number format cannot hold so small a change stays what it was, and the update is
    lost (chapter 3).

    Returns:
        Columns `weights in`, `learning rate` and `share`.
    """
    sample, rows = sample_weights(model).float(), []
    for name in ("float32", "bfloat16"):
        weights = sample.to(getattr(torch, name))
        for rate in rates:
            share = float((weights + rate != weights).float().mean())
            rows.append({"weights in": name, "learning rate": rate, "share": round(share, 4)})
    return pd.DataFrame(rows)


class Progress(TrainerCallback):
    """One progress bar with the loss, the same in a terminal and in a notebook."""

    def __init__(self, label: str) -> None:
        self.label = label

    def on_train_begin(self, args, state, control, **_) -> None:
        self.bar = tqdm(total=state.max_steps, desc=self.label, unit="step", mininterval=1,
                        disable=not this_process().is_main_process)

    def on_log(self, args, state, control, logs=None, **_) -> None:
        if "loss" in (logs or {}):
            self.bar.set_postfix(loss=f"{float(logs['loss']):.2f}", refresh=False)
            self.bar.update(state.global_step - self.bar.n)

    def on_train_end(self, args, state, control, **_) -> None:
        self.bar.close()
