"""Several processes, as `accelerate launch` starts them: who is who, whole batches, weights in shards (FSDP2)."""

import os

import torch
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, reduce
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor

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


def split_weights(accelerator, bf16: bool) -> None:
    """Make an accelerator ready for FSDP2: also on a CPU, and with gradients added up in float32."""
    state = accelerator.state
    if state.distributed_type == DistributedType.MULTI_CPU:
        # Accelerate splits weights on accelerators alone; on a CPU it would fall back to whole copies.
        AcceleratorState._shared_state["fsdp_plugin"] = FullyShardedDataParallelPlugin()
        for shared in (AcceleratorState._shared_state, PartialState._shared_state):
            shared["distributed_type"] = DistributedType.FSDP
    if bf16:
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        state.fsdp_plugin.mixed_precision_policy = policy
