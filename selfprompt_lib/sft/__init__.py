"""Chapter 3: fine-tune with TRL's SFTTrainer, with roles and without.

`train` has the recipe and the run, `text` what a sample looks like to the model, `audit` what is
checked before, `memory` what fits where, `pace` how long it takes, `trainer` how samples are dealt
out, `dropout` LIMA's residual dropout, `moved` how much of the model moved, `choice` what each epoch
can do, `processes` what several processes do together, and `finished` keeps a run that is done.
"""

from .audit import audit, preflight
from .callbacks import moved_by_one_step
from .choice import choices, kept
from .conversation import conversation, tokens_in_loss, training_template
from .dropout import dropout_rates, residual_dropout
from .finished import copy, finished
from .memory import fits, memory_plan, plan_table
from .train import identity, save, seeds, sft_config, train, train_again

__all__ = [
    "audit", "choices", "conversation", "copy", "dropout_rates", "finished", "fits", "identity", "kept", "memory_plan",
    "moved_by_one_step", "plan_table", "preflight", "residual_dropout", "save", "seeds", "sft_config", "tokens_in_loss", "train",
    "train_again", "training_template",
]
