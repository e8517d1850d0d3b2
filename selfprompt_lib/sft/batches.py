"""Micro-batches without waste: samples of like length together, and no mask where none is needed."""

from typing import Any

import torch
from trl import SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling


class BalancedTrainer(SFTTrainer):
    """TRL's trainer, whose data order follows the profile's seed also where micro-batches are balanced by length.

    transformers draws the samples of an optimizer step at random and deals *those* into micro-batches of about equal
    cost (`train_sampling_strategy="batch_rebalance"`). What a step is computed from stays as the recipe has it.
    """

    def _get_train_sampler(self, train_dataset=None):
        sampler = super()._get_train_sampler(train_dataset)
        sampler.seed = self.args.data_seed  # transformers 5.23 leaves it at 42
        return sampler


class UnmaskedCollator(DataCollatorForLanguageModeling):
    """TRL's collator without the attention mask, which keeps attention from its fast causal kernel.

    Padding stands on the right: causal attention never looks there, and its labels are out of the loss.
    """

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super().torch_call(examples)
        mask = batch.pop("attention_mask")
        batch["position_ids"] = torch.arange(mask.shape[1]).expand_as(mask)
        return batch
