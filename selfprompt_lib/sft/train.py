"""The recipe in TRL's terms, and a run of it."""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from tqdm import tqdm
from transformers import TrainerCallback, set_seed
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig

from .. import models
from ..designs import Design
from ..profiles import Profile
from ..rows import Sample
from . import processes
from .audit import preflight
from .callbacks import Moved
from .conversation import conversation, training_template
from .dropout import residual_dropout
from .finished import code_digest, keep, take_up
from .trainer import Trainer


def sft_config(profile: Profile, folder: Path, held_out: bool = False) -> SFTConfig:
    """The profile's settings in TRL's names; the one place where those names stand (chapter 3).

    LIMA's recipe (arXiv 2305.11206, section 3): AdamW with betas (0.9, 0.95), no warm-up, and a
    learning rate that falls linearly to `final_learning_rate`.
    """
    import torch

    sft, cpu = profile.sft, not torch.cuda.is_available()
    config = SFTConfig(
        output_dir=str(folder),
        num_train_epochs=sft.epochs,
        per_device_train_batch_size=sft.micro_batch_size,
        gradient_accumulation_steps=processes.accumulation(sft),
        learning_rate=sft.learning_rate,
        lr_scheduler_type="polynomial",
        lr_scheduler_kwargs={"lr_end": sft.final_learning_rate, "power": 1.0},
        warmup_steps=0,
        optim={"adamw": "adamw_torch_fused", "adamw_8bit": "adamw_8bit"}[sft.optimizer],
        adam_beta1=0.9,
        adam_beta2=0.95,
        weight_decay=sft.weight_decay,
        max_length=sft.max_length,
        packing=False,
        assistant_only_loss=True,
        activation_checkpointing=sft.gradient_checkpointing,
        bf16=models.dtype_for(profile.dtype) == torch.bfloat16,
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
    config._n_gpu = min(config.n_gpu, 1)  # one process, one card: the trainer would copy the model to all and multiply the batch
    return config


def train(profile: Profile, samples: Sequence[Sample], design: Design, folder: Path,
          held_out: Sequence[Sample] = (), leave: bool = False) -> tuple[Any, Any, dict[str, Any]]:
    """Fine-tune the profile's model on samples written in a design (chapters 3 and 6).

    Weights that are trained are kept in float32 whatever the compute precision: at these learning
    rates most updates are too small for bfloat16 weights. With `sft.checkpoints`, one checkpoint an
    epoch is kept, and a run that was killed goes on from the last; its folder is named by all that
    shapes the run, so that another run's checkpoint is never taken up. A run that `python -m
    selfprompt_lib.sft` has finished is taken up whole. Several processes, started by `accelerate
    launch`, train one model together; they share `folder`.

    Args:
        held_out: samples whose loss is taken after each epoch; they are not trained on.
        leave: keep the finished run in `folder`, to be taken up by chapter 3.

    Returns:
        The model in evaluation mode, its tokenizer, and a record with `losses` (one a step, in
        nats a token), `held_out` (one an epoch), `moved` (share of weights changed, one a step),
        `checkpoints` (name of the folder that holds them), `seconds`, `tokens` and `samples`.

    Raises:
        UserError: what `preflight` finds, before the first step.
    """
    folder = folder / identity(profile, samples, design)
    if (done := take_up(folder, profile)) is not None:
        return done
    set_seed(profile.seed)
    model, tokenizer = model_to_train(profile)
    preflight(profile, samples, design, model, tokenizer)
    own_template, tokenizer.chat_template = tokenizer.chat_template, training_template(tokenizer)
    checkpoints = folder / "shards" if processes.shards() > 1 else folder
    trainer = Trainer(
        model=model, args=sft_config(profile, checkpoints, bool(held_out)), processing_class=tokenizer,
        train_dataset=_rows(samples, design), eval_dataset=_rows(held_out, design) if held_out else None,
        peft_config=adapters(profile), callbacks=[_Progress(f"training, design {design.name}"), Moved()])
    trainer.remove_callback(PrinterCallback)
    began = time.perf_counter()
    if processes.count() > 1:
        set_seed(profile.seed + trainer.args.process_index)  # so that not all draw the same dropout
    with residual_dropout(model, profile.sft.residual_dropout):
        trainer.train(resume_from_checkpoint=get_last_checkpoint(checkpoints) if checkpoints.is_dir() else None)
    tokenizer.chat_template = own_template
    logged = {key: [float(entry[key]) for entry in trainer.state.log_history if key in entry]
              for key in ("loss", "eval_loss", "moved")}
    record = {
        "design": design.name,
        "samples": len(samples),
        "steps": trainer.state.global_step,
        "tokens": int(sum(map(len, trainer.train_dataset["input_ids"][: len(samples)])) * profile.sft.epochs),
        "seconds": round(time.perf_counter() - began, 1),
        "losses": logged["loss"],
        "held_out": logged["eval_loss"],
        "moved": logged["moved"],
        "checkpoints": folder.name,
        "processes": processes.count(),
        "shards": processes.parts(model),
    }
    model = trainer.model.merge_and_unload() if profile.sft.lora_rank else model
    model = model.to(models.dtype_for(profile.dtype)).eval()
    if leave:
        keep(trainer.accelerator, model, tokenizer, record, folder, profile)
    return model, tokenizer, record


def model_to_train(profile: Profile) -> tuple[Any, Any]:
    """The profile's model and tokenizer as training needs them.

    LoRA's frozen weights stay in the compute precision, and cannot learn a new token: there a base model's turns
    end with its own end of sequence.
    """
    lora = bool(profile.sft.lora_rank)
    return models.load(profile.model, profile.dtype if lora else "float32", to_train=True,
                       attention=profile.sft.attention, new_token=not lora)


def adapters(profile: Profile):
    """LoRA on all linear layers but the head, scaled by 2; None for full fine-tuning."""
    if not profile.sft.lora_rank:
        return None
    from peft import LoraConfig

    return LoraConfig(r=profile.sft.lora_rank, lora_alpha=2 * profile.sft.lora_rank, target_modules="all-linear",
                      task_type="CAUSAL_LM")


def seeds(profile: Profile) -> list[Profile]:
    """The profile once for each of its seeds: seed, seed + 1, …"""
    return [profile.model_copy(update={"seed": profile.seed + more}) for more in range(profile.sft.seeds)]


def train_again(profile: Profile, samples: Sequence[Sample], designs: dict[str, Design], folder: Path) -> dict[str, list[dict]]:
    """Train and save each design with the seeds after the first, as `<name>-seed<n>`; their records (chapter 3)."""
    records: dict[str, list[dict]] = {name: [] for name in designs}
    for other in seeds(profile)[1:]:
        for name, design in designs.items():
            model, tokenizer, record = train(other, samples, design, folder / "trainer")
            save(model, tokenizer, folder / f"{name}-seed{other.seed}")
            records[name].append(record)
    return records


def _rows(samples: Sequence[Sample], design: Design) -> Dataset:
    return Dataset.from_list([{"messages": conversation(sample, design)} for sample in samples])


def identity(profile: Profile, samples: Sequence[Sample], design: Design) -> str:
    """A short name for all that shapes a run: model, seed, recipe, design, samples and code; not the number of processes."""
    settings = profile.sft.model_dump(exclude={"seeds", "checkpoints"})
    recipe = [models.identity(profile.model), profile.dtype, profile.seed, settings, design.name, design.template, code_digest()]
    digest = hashlib.sha256(json.dumps([recipe, [s.model_dump(mode="json") for s in samples]]).encode())
    return f"{design.name}-{digest.hexdigest()[:12]}"


def save(model, tokenizer, folder: Path) -> None:
    """Save as an ordinary checkpoint folder, which any tool of the field can load."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class _Progress(TrainerCallback):
    """One progress bar with the loss, the same in a terminal and in a notebook."""

    def __init__(self, label: str) -> None:
        self.label = label

    def on_train_begin(self, args, state, control, **_) -> None:
        self.bar = tqdm(total=state.max_steps, desc=self.label, unit="step", mininterval=1, disable=not processes.is_main())

    def on_log(self, args, state, control, logs=None, **_) -> None:
        if "loss" in (logs or {}):
            self.bar.set_postfix(loss=f"{float(logs['loss']):.2f}", refresh=False)
            self.bar.update(state.global_step - self.bar.n)

    def on_train_end(self, args, state, control, **_) -> None:
        self.bar.close()
