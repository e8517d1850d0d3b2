"""The recipe in TRL's terms, and a run of it."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.distributed.tensor import DTensor
from transformers import set_seed
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig

from .. import devices, models
from ..designs import Design
from ..profiles import Profile, seed_name, seed_profiles
from ..rows import Sample
from .attention import quick_on_a_processor
from .audit import preflight
from .callbacks import Progress, UpdateFraction
from .conversation import to_messages, training_template
from .dropout import residual_dropout
from .runs import (
    FINISHED,
    SHARDS,
    copy_finished_run,
    drop_checkpoints,
    has_checkpoints,
    last_checkpoint,
    read_finished_run,
    run_name,
    save_finished_run,
    try_saving,
)
from .trainer import RecipeTrainer, accumulation_steps, shard_count, this_process


def sft_config(profile: Profile, folder: Path, held_out: bool = False) -> SFTConfig:
    """The profile's settings in TRL's names; the one place where those names stand (chapter 3).

    LIMA's recipe (arXiv 2305.11206, section 3): AdamW with betas (0.9, 0.95), no warm-up, and a
    learning rate that falls linearly to `final_learning_rate`.
    """
    sft, cpu = profile.sft, not torch.cuda.is_available()
    bf16 = models.dtype_for(profile.dtype) == torch.bfloat16
    config = SFTConfig(
        output_dir=str(folder),
        num_train_epochs=sft.epochs,
        per_device_train_batch_size=sft.micro_batch_size,
        gradient_accumulation_steps=accumulation_steps(sft),
        learning_rate=sft.learning_rate,
        lr_scheduler_type="polynomial",
        lr_scheduler_kwargs={"lr_end": sft.final_learning_rate, "power": 1.0},
        warmup_steps=0,
        optim={"adamw": "adamw_torch_fused", "adamw_8bit": "adamw_8bit"}[sft.optimizer],
        adam_beta1=0.9,
        adam_beta2=0.95,
        weight_decay=sft.weight_decay,
        max_length=sft.max_length,
        # A processor's kernels of bfloat16 take 16 rows at a time, and are made for each new shape.
        pad_to_multiple_of=16 if cpu and bf16 else None,
        packing=False,
        assistant_only_loss=True,
        activation_checkpointing=sft.gradient_checkpointing,
        bf16=bf16,
        use_cpu=cpu,
        seed=profile.seed,
        data_seed=profile.seed,
        save_strategy="epoch" if sft.checkpoints else "no",
        save_total_limit=sft.checkpoints or None,
        eval_strategy="epoch" if held_out else "no",
        per_device_eval_batch_size=sft.micro_batch_size,
        report_to="none",
        logging_steps=1,
        disable_tqdm=True,
        dataloader_pin_memory=not cpu,
        ddp_find_unused_parameters=False,
    )
    # One process, one card: the trainer would copy the model to all cards and multiply the batch.
    config._n_gpu = min(config.n_gpu, 1)
    return config


def train(profile: Profile, samples: Sequence[Sample], design: Design, folder: Path,
          held_out: Sequence[Sample] = ()) -> tuple[Any, Any, dict]:
    """Fine-tune the profile's model on samples written in a design (chapters 3 and 6).

    Weights that are trained are kept in float32 whatever the compute precision: at these learning
    rates most updates are too small for bfloat16 weights. With `sft.checkpoints`, one checkpoint an
    epoch is kept, and a run that was killed goes on from the last whole one; its folder is named by
    all that shapes the run (`run_name`), so that a checkpoint of another run is never used. A
    finished run is kept there, too, and is loaded and not trained again. Several processes, started
    by `accelerate launch`, train one model together; they share `folder`.

    Args:
        held_out: samples whose loss is taken after each epoch; they are not trained on.

    Returns:
        The model in evaluation mode and in the profile's `dtype`, its tokenizer, and a record with
        `losses` (one a step, in nats a token), `held_out` (one an epoch), `moved` (share of weights
        changed, one a step), `checkpoints` (name of the run's folder in `folder`), `seconds`,
        `tokens` and `samples`.

    Raises:
        UserError: before the first step what `preflight` finds, and a model that cannot be saved;
            later a full disk.
    """
    run = folder / run_name(profile, samples, design)
    record = read_finished_run(run)
    if record is not None and has_checkpoints(run, profile):
        if this_process().is_main_process:
            print(f"taken up: this training is finished ({record['steps']} steps), {run.name}")
        return *models.load(str(run / FINISHED), profile.dtype), record
    if record is not None:
        drop_checkpoints(run)  # more are wanted now: they come of training only
    devices.alone_on_card()  # the trainer needs all of it
    devices.hand_back_memory()  # of what ran before: training takes more at once than all else
    set_seed(profile.seed)
    model, tokenizer = _load_to_train(profile)
    run = folder / run_name(profile, samples, design)  # a hub model's revision is known only now
    preflight(profile, samples, design, model, tokenizer, run)
    try_saving(model, tokenizer, run)
    trainer, seconds = _fit(model, tokenizer, profile, samples, design, held_out, run)
    record = _record(trainer, profile, design, run) | {"seconds": round(seconds, 1)}
    model = trainer.model.merge_and_unload() if profile.sft.lora_rank else model
    model = devices.alone_on_card(model.to(models.dtype_for(profile.dtype)).eval())
    accelerator = trainer.accelerator
    save_finished_run(accelerator, model, tokenizer, record, run, profile)
    del trainer
    accelerator.free_memory()  # else the optimizer's state is there while another model is trained
    devices.hand_back_memory()
    return model, tokenizer, record


def _fit(model, tokenizer, profile: Profile, samples: Sequence[Sample], design: Design,
         held_out: Sequence[Sample], run: Path) -> tuple[RecipeTrainer, float]:
    """Train the model, from the last whole checkpoint if there is one; the trainer, and seconds."""
    checkpoints = run / SHARDS if shard_count() > 1 else run
    own_template, tokenizer.chat_template = tokenizer.chat_template, training_template(tokenizer)
    trainer = RecipeTrainer(
        model=model,
        args=sft_config(profile, checkpoints, bool(held_out)),
        processing_class=tokenizer,
        train_dataset=_dataset(samples, design),
        eval_dataset=_dataset(held_out, design) if held_out else None,
        peft_config=_lora_config(profile),
        callbacks=[Progress(f"training, design {design.name}"), UpdateFraction()],
    )
    trainer.remove_callback(PrinterCallback)
    began = time.perf_counter()
    if trainer.args.world_size > 1:
        set_seed(profile.seed + trainer.args.process_index)  # so that not all draw the same dropout
    dropout = residual_dropout(model, profile.sft.residual_dropout)
    with dropout, quick_on_a_processor(model, trainer.args):
        trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    seconds = time.perf_counter() - began
    tokenizer.chat_template = own_template
    return trainer, seconds


def _record(trainer: RecipeTrainer, profile: Profile, design: Design, run: Path) -> dict[str, Any]:
    """What is noted of a training; a checkpoint keeps the log that the curves come from."""
    def curve(key: str) -> list[float]:
        return [float(entry[key]) for entry in trainer.state.log_history if key in entry]

    weight = next(trainer.model.parameters())
    shards = weight.device_mesh.size() if isinstance(weight, DTensor) else 1  # as found, not as set
    return {
        "design": design.name,
        "samples": len(trainer.lengths),
        "steps": trainer.state.global_step,
        "tokens": int(sum(trainer.lengths) * profile.sft.epochs),
        "losses": curve("loss"),
        "held_out": curve("eval_loss"),
        "moved": curve("moved"),
        "checkpoints": run.name,
        "processes": trainer.args.world_size,
        "shards": shards,
    }


def _load_to_train(profile: Profile) -> tuple[Any, Any]:
    """The profile's model and tokenizer as training needs them.

    LoRA's frozen weights stay in the compute precision, and cannot learn a new token: there a base
    model's turns end with its own end of sequence.
    """
    lora = bool(profile.sft.lora_rank)
    model, tokenizer = models.load(
        profile.model, profile.dtype if lora else "float32", to_train=True,
        attention=profile.sft.attention, new_token=not lora)
    if not torch.cuda.is_available():  # a card gets its copy from the file itself
        devices.copied_from_file(model)
    return model, tokenizer


def _lora_config(profile: Profile):
    """LoRA on all linear layers but the head, scaled by 2; None for full fine-tuning."""
    rank = profile.sft.lora_rank
    if not rank:
        return None
    from peft import LoraConfig  # an optional package

    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear",
                      task_type="CAUSAL_LM")


def _dataset(samples: Sequence[Sample], design: Design) -> Dataset:
    return Dataset.from_list([{"messages": to_messages(sample, design)} for sample in samples])


def train_other_seeds(profile: Profile, samples: Sequence[Sample], designs: dict[str, Design],
                      folder: Path, trainings: Path) -> dict[str, list[dict]]:
    """Train each design with the seeds after the first (chapter 3).

    The models are saved as `<name>-seed<n>` in `folder`; returned are the records of each name.

    Args:
        trainings: where trainings are kept, to be taken up (`Stage.trainings`).
    """
    records: dict[str, list[dict]] = {name: [] for name in designs}
    for other in seed_profiles(profile)[1:]:
        for name, design in designs.items():
            record = train(other, samples, design, trainings)[2]
            saved = folder / seed_name(name, other.seed, profile.seed)
            copy_finished_run(trainings / record["checkpoints"], saved)
            records[name].append(record)
    return records
