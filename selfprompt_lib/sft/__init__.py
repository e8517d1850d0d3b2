"""Chapter 3: fine-tune with TRL's SFTTrainer, with roles and without.

`train` has the recipe and a run of it, `trainer` which samples make a step, `dropout` LIMA's
residual dropout, `conversation` what a sample looks like to the model, `audit` what is checked
before, `memory` what fits where and how long it takes, `callbacks` how much of the model moves, and
`runs` trainings on disk: finished ones, and what each kept epoch can do.
"""

from .audit import audit, preflight
from .callbacks import one_step_update_fraction
from .conversation import to_messages, token_counts, tokens_in_loss, training_template
from .dropout import dropout_rates, residual_dropout
from .memory import fits, memory_plan, plan_table
from .runs import (
    copy_finished_run,
    epoch_comparison,
    list_checkpoints,
    read_finished_run,
    report_text,
    reusable_run,
    run_name,
    save_model,
    throughput_text,
    training_metrics,
)
from .train import sft_config, train, train_other_seeds
