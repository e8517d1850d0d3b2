"""TRL's trainer, through its own extension points: which samples make a step.

A step has the samples that chance gives it, at any micro-batch and any number of processes. Within
a step, samples of like length go together, so that little is padded. The trainer's own ways to
group by length do not keep that promise: `group_by_length` fills whole steps with samples of one
length, `batch_rebalance` draws one order for all seeds and repeats samples in a last step.
"""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.data_loader import SeedableRandomSampler
from accelerate.state import AcceleratorState
from accelerate.utils import (
    AutocastKwargs,
    DistributedType,
    FullyShardedDataParallelPlugin,
    is_peft_model,
)
from datasets import Dataset, concatenate_datasets
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import BatchRebalanceSampler
from trl import SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from ..checkpoints import told_saving
from ..errors import require
from ..profiles import Sft
from .loss import OUTSIDE_LOSS, loss_in_forward


def this_process() -> PartialState:
    """How many processes train together, and which one this is; the first call meets the others.

    Accelerate has to be told that they are on a CPU: otherwise each takes itself for the only one.
    """
    return PartialState(cpu=not torch.cuda.is_available())


def accumulation_steps(sft: Sft) -> int:
    """Micro-batches that each process adds up, so that all have `sft.batch_size` samples a step.

    Raises:
        UserError: where they do not come out even.
    """
    processes = this_process().num_processes
    together = sft.micro_batch_size * processes
    require(sft.batch_size % together == 0,
            f"sft.micro_batch_size: {processes} processes of {sft.micro_batch_size} samples each "
            f"do not divide sft.batch_size {sft.batch_size}; set another sft.micro_batch_size, or "
            "launch another number of processes")
    return sft.batch_size // together


def shard_count() -> int:
    """Parts into which weights, gradients and optimizer are split: with FSDP2, one a process."""
    fsdp2 = os.environ.get("ACCELERATE_USE_FSDP") == "true"  # as accelerate launch sets it
    return this_process().num_processes if fsdp2 else 1


class StepSampler(BatchRebalanceSampler):
    """transformers' micro-batches that cost alike, with the samples of a step as chance gives them.

    A micro-batch has few long samples or more short ones, so that little is padded and the longest
    need no more memory than the others. Transformers itself draws one order for all seeds, and
    fills up a last step that has too few samples with repeated ones.

    Args:
        order: draws the indices of an epoch.
        lengths: tokens of each sample. The row behind the last sample fills up a last step.
        options: of the base class: samples of a step over all processes, and how it is divided.
    """

    def __init__(self, order: Sampler, lengths: Sequence[int], **options: int) -> None:
        super().__init__(lengths, **options)
        self.order, self.blank, self.most = order, len(lengths), self.grad_accum
        self.lengths.append(0)

    def __iter__(self) -> Iterator[list[int]]:
        order, step = list(self.order), self.effective_batch_size
        for first in range(0, len(order), step):
            samples = order[first : first + step]
            self.grad_accum = self._micro_batches(len(samples))  # by which the base class divides
            samples += [self.blank] * (self.dp_size * self.grad_accum - len(samples))
            yield from self._yield_global_batch(samples)

    def __len__(self) -> int:
        return self.num_full_batches * self.most + self._micro_batches(self.remainder)

    def _micro_batches(self, samples: int) -> int:
        """Of each process, for a step of so many samples: in a last one, no more than needed."""
        return math.ceil(samples * self.most / self.effective_batch_size)

    def set_epoch(self, epoch: int) -> None:
        self.order.set_epoch(epoch)


class UnmaskedCollator(DataCollatorForLanguageModeling):
    """TRL's collator without the attention mask, which keeps attention from its fast causal kernel.

    Padding stands on the right: causal attention never looks there, and no loss counts it.
    """

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super().torch_call(examples)
        mask = batch.pop("attention_mask")
        batch["position_ids"] = torch.arange(mask.shape[1]).expand_as(mask)  # (samples, tokens)
        return batch


class RecipeTrainer(SFTTrainer):
    """TRL's trainer, whose steps have the same samples at any micro-batch and number of processes.

    With several processes, a row that no loss counts stands behind the samples, to fill up a last
    step that has too few for all.
    """

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.data_collator = UnmaskedCollator(
            self.processing_class.pad_token_id, pad_to_multiple_of=self.args.pad_to_multiple_of)
        if self.args.use_cpu:
            lora = is_peft_model(self.model)
            loss_in_forward(self.model.get_base_model() if lora else self.model)
        self.lengths = list(map(len, self.train_dataset["input_ids"]))
        if self.args.world_size > 1:  # one process never has fewer samples than micro-batches
            outside_loss = {"labels": [OUTSIDE_LOSS] * 2, "assistant_masks": [0, 0]}
            first = self.train_dataset[0].items()
            blank = {name: outside_loss.get(name, values[:2]) for name, values in first}
            rows = Dataset.from_list([blank], features=self.train_dataset.features)
            self.train_dataset = concatenate_datasets([self.train_dataset, rows])

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler:
        args, accumulated = self.args, self.args.gradient_accumulation_steps
        samples = range(len(self.lengths))
        order = SeedableRandomSampler(samples, data_seed=args.data_seed)  # as accelerate does
        return StepSampler(
            order, self.lengths,
            effective_batch_size=args.train_batch_size * accumulated * args.world_size,
            dp_size=args.world_size, rank=args.process_index, grad_accum=accumulated)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """TRL's loss; on a CPU, with logits of the places only that are in it.

        There TRL's own head, which is made for Triton, scores every place in pieces and makes the
        logits twice: a third of a step's time.
        """
        if return_outputs or self.aux_loss_enabled or not self.args.use_cpu:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        others = {name: value for name, value in inputs.items() if name != "labels"}
        loss = model(**others, loss_labels=inputs["labels"])
        tokens = num_items_in_batch
        if tokens is None:
            tokens = (inputs["labels"][:, 1:] != OUTSIDE_LOSS).sum()
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # which average their gradients
        return loss / torch.as_tensor(tokens).clamp(min=1)

    def _build_accelerator_args(self, **options) -> dict:
        given = super()._build_accelerator_args(**options)
        if self.args.activation_checkpointing:
            # Otherwise autocast keeps a copy of all weights, and uses each once.
            given["kwargs_handlers"].append(AutocastKwargs(cache_enabled=False))
        return given

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        if shard_count() > 1:
            self._prepare_fsdp2()
            self.is_fsdp_enabled = True

    def _prepare_fsdp2(self) -> None:
        """Let accelerate use FSDP2 on a CPU, too, and add up gradients in float32."""
        state = self.accelerator.state
        if state.distributed_type == DistributedType.MULTI_CPU:
            # Accelerate splits weights on accelerators only; on a CPU it would take whole copies.
            AcceleratorState._shared_state["fsdp_plugin"] = FullyShardedDataParallelPlugin()
            for shared in (AcceleratorState._shared_state, PartialState._shared_state):
                shared["distributed_type"] = DistributedType.FSDP
        if self.args.bf16:
            policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
            state.fsdp_plugin.mixed_precision_policy = policy

    def _save_checkpoint(self, *args) -> None:
        with told_saving(Path(self.args.output_dir)):
            super()._save_checkpoint(*args)
