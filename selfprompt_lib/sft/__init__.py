"""Chapter 3: fine-tune with TRL's SFTTrainer, with roles and without.

`train` has the recipe and the run, `text` what a sample looks like to the model, `audit` what is
checked before, `memory` what fits where, `dropout` LIMA's residual dropout, `moved` how much of the
model moved, `processes` what several processes do together, and `finished` keeps a run that is done.
"""

from .audit import audit, preflight
from .dropout import dropout_rates, residual_dropout
from .finished import copy, finished
from .memory import fits, memory_plan, plan_table
from .moved import moved_by_one_step
from .text import conversation, tokens_in_loss, training_template
from .train import identity, save, sft_config, train

__all__ = [
    "audit", "conversation", "copy", "dropout_rates", "finished", "fits", "identity", "memory_plan", "moved_by_one_step",
    "plan_table", "preflight", "residual_dropout", "save", "sft_config", "tokens_in_loss", "train", "training_template",
]
