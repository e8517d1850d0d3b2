"""Chapter 3: fine-tune with TRL's SFTTrainer, with roles and without.

`train` has the recipe and the run, `text` what a sample looks like to the model, `audit` what is
checked before, `batches` how samples are put together, `dropout` LIMA's residual dropout, `moved` how
much of the model moved, and `choice` what each epoch can do.
"""

from .audit import audit, fits, memory_plan, preflight
from .choice import choices, kept
from .dropout import dropout_rates, residual_dropout
from .moved import moved_by_one_step
from .text import conversation, tokens_in_loss, training_template
from .train import save, sft_config, train, train_again

__all__ = [
    "audit", "choices", "conversation", "dropout_rates", "fits", "kept", "memory_plan", "moved_by_one_step", "preflight",
    "residual_dropout", "save", "sft_config", "tokens_in_loss", "train", "train_again", "training_template",
]
