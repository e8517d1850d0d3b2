"""TRL's trainer, through its own extension points: how samples are dealt out, and nothing computed in vain.

A step has the samples that chance gives it, at any micro-batch and any number of processes. Within a step, samples
of like length go together, so that little is padded.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from accelerate.data_loader import SeedableRandomSampler
from accelerate.utils import AutocastKwargs
from datasets import Dataset, concatenate_datasets
from torch.utils.data import Sampler
from trl import SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from . import processes


class Steps(Sampler):
    """The order of another sampler, in which the samples of each optimizer step are sorted, longest first.

    With several processes the last step is filled up with the index `blank` to whole rounds of micro-batches.
    """

    def __init__(self, order: Sampler, lengths: Sequence[int], step: int, round_: int = 1, blank: int = -1) -> None:
        self.order, self.lengths, self.step, self.round, self.blank = order, lengths, step, round_, blank

    def __iter__(self) -> Iterator[int]:
        order = list(self.order)
        for first in range(0, len(order), self.step):
            yield from sorted(order[first : first + self.step], key=lambda row: -self.lengths[row])
        yield from [self.blank] * (-len(order) % self.round)

    def __len__(self) -> int:
        return len(self.order) + -len(self.order) % self.round

    def set_epoch(self, epoch: int) -> None:
        self.order.set_epoch(epoch)


class UnmaskedCollator(DataCollatorForLanguageModeling):
    """TRL's collator without the attention mask, which keeps attention from its fast causal kernel.

    Padding stands on the right: causal attention never looks there, and its labels are out of the loss.
    """

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super().torch_call(examples)
        mask = batch.pop("attention_mask")
        batch["position_ids"] = torch.arange(mask.shape[1]).expand_as(mask)
        return batch


class Trainer(SFTTrainer):
    """TRL's trainer, whose steps have the same samples at any micro-batch and number of processes.

    Accelerate would fill the last round with samples that were trained on already, which weighs them twice; here it
    is filled with a row that no loss counts.
    """

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.data_collator = UnmaskedCollator(self.processing_class.pad_token_id)
        self.lengths = list(map(len, self.train_dataset["input_ids"]))
        if processes.count() > 1:
            unseen = {"labels": [-100, -100], "assistant_masks": [0, 0]}
            blank = {name: unseen.get(name, values[:2]) for name, values in self.train_dataset[0].items()}
            rows = Dataset.from_list([blank], features=self.train_dataset.features)
            self.train_dataset = concatenate_datasets([self.train_dataset, rows])

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler:
        args, rows = self.args, len(self.lengths)
        order = SeedableRandomSampler(range(rows), data_seed=args.data_seed)  # what accelerate makes of a random order
        together = args.train_batch_size * processes.count()
        return Steps(order, self.lengths, together * args.gradient_accumulation_steps,
                     round_=together if processes.count() > 1 else 1, blank=rows)

    def _build_accelerator_args(self, **options) -> dict:
        given = super()._build_accelerator_args(**options)
        if self.args.activation_checkpointing:  # or autocast keeps a copy of all weights, to use each once
            given["kwargs_handlers"].append(AutocastKwargs(cache_enabled=False))
        return given

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        if processes.shards() > 1:
            processes.split_weights(self.accelerator, self.args.bf16)
            self.is_fsdp_enabled = True
