"""Several processes, as `accelerate launch` starts them: who is who, whole batches, weights in shards (FSDP2).

One process does what the plain trainer does. With more, each optimizer step has the same samples: they
are dealt out in rounds, and a round that the rows do not fill is filled up with rows that no loss counts.
"""

import os
from collections.abc import Iterator

import torch
from accelerate.data_loader import SeedableRandomSampler
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import AutocastKwargs, DistributedType, FullyShardedDataParallelPlugin, reduce
from datasets import Dataset, concatenate_datasets
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor
from torch.utils.data import RandomSampler, Sampler
from trl import SFTTrainer

from ..errors import require
from ..profiles import Sft


def count() -> int:
    """How many processes train together; the launcher says it."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_main() -> bool:
    """Whether this is the process that prints and writes."""
    return int(os.environ.get("RANK", 0)) == 0


def shards() -> int:
    """Into how many parts weights, gradients and optimizer shall be split: 1, or with FSDP2 one a process."""
    return count() if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true" else 1


def parts(model: torch.nn.Module) -> int:
    """Into how many parts this model's weights are split, as found."""
    weight = next(model.parameters())
    return weight.device_mesh.size() if isinstance(weight, DTensor) else 1


def join() -> PartialState:
    """Meet the other processes, each on its own device."""
    return PartialState(cpu=not torch.cuda.is_available())


def accumulation(sft: Sft) -> int:
    """Micro-batches that a process adds up to a step, so that a step has `sft.batch_size` samples over all of them.

    Raises:
        UserError: where they do not come out even.
    """
    together = sft.micro_batch_size * count()
    require(sft.batch_size % together == 0,
            f"sft.micro_batch_size: {count()} processes of {sft.micro_batch_size} samples each do not divide "
            f"sft.batch_size {sft.batch_size}; set another sft.micro_batch_size, or launch another number of processes")
    return sft.batch_size // together


def share(changed: torch.Tensor) -> float:
    """The share of true values over all processes."""
    both = torch.tensor([changed.sum(), changed.numel()], dtype=torch.float64, device=changed.device)
    true, total = reduce(both, "sum").tolist()
    return true / total


class Rounds(Sampler):
    """The order of another sampler, filled up with the index `blank` to rounds of `size` rows."""

    def __init__(self, order: Sampler, blank: int, size: int) -> None:
        self.order, self.blank, self.size = order, blank, size

    def __iter__(self) -> Iterator[int]:
        yield from self.order
        yield from [self.blank] * (-len(self.order) % self.size)

    def __len__(self) -> int:
        return len(self.order) + -len(self.order) % self.size

    def set_epoch(self, epoch: int) -> None:
        self.order.set_epoch(epoch)


class Trainer(SFTTrainer):
    """TRL's trainer, whose steps have the same samples at any number of processes.

    Accelerate would fill the last round with samples that were trained on already, which weighs them twice.
    """

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.rows = len(self.train_dataset)
        if count() > 1:
            unseen = {"labels": [-100, -100], "assistant_masks": [0, 0]}
            blank = {name: unseen.get(name, values[:2]) for name, values in self.train_dataset[0].items()}
            rows = Dataset.from_list([blank], features=self.train_dataset.features)
            self.train_dataset = concatenate_datasets([self.train_dataset, rows])

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler:
        order = super()._get_train_sampler(train_dataset)
        if count() == 1:
            return order
        if isinstance(order, RandomSampler):  # what accelerate makes of it in one process
            order = SeedableRandomSampler(range(self.rows), generator=order.generator, data_seed=self.args.data_seed)
        return Rounds(order, self.rows, self.args.train_batch_size * count())

    def _build_accelerator_args(self, **options) -> dict:
        given = super()._build_accelerator_args(**options)
        if self.args.activation_checkpointing:  # or autocast keeps a copy of all weights, to use each once
            given["kwargs_handlers"].append(AutocastKwargs(cache_enabled=False))
        return given

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        if shards() == 1:
            return
        state = self.accelerator.state
        if state.distributed_type == DistributedType.MULTI_CPU:
            # Accelerate splits weights on accelerators alone; on a CPU it would fall back to whole copies.
            AcceleratorState._shared_state["fsdp_plugin"] = FullyShardedDataParallelPlugin()
            for shared in (AcceleratorState._shared_state, PartialState._shared_state):
                shared["distributed_type"] = DistributedType.FSDP
            self.is_fsdp_enabled = True
        if self.args.bf16:  # compute in bfloat16, but add up gradients in float32
            policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
            state.fsdp_plugin.mixed_precision_policy = policy
