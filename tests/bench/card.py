"""One card, measured: memory and speed of full fine-tuning at Mistral-7B's shape, and a real run of the recipe.

`python tests/bench/card.py` trains random weights (nothing is downloaded) at 2,048 tokens a sample,
with this project's settings and with TRL's defaults: peak memory, tokens a second, and the share of the card's own
bfloat16 products that the training reaches (6 × parameters × tokens a second over the measured rate). What does not
fit becomes a row. `--lima TRAIN.jsonl --questions QUESTIONS.jsonl` trains SmolLM2-135M by the full recipe instead,
and counts roles on 300 questions. `--shape tiny` tries the script on a CPU. It writes a JSON file, and beside it the
table that the page "One card, many cards" includes.
"""

import argparse
import gc
import json
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset
from fragment import write
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import SFTConfig, SFTTrainer

from selfprompt_lib import infer, models, profiles, sft, stats
from selfprompt_lib.designs import get_design
from selfprompt_lib.files import write_json
from selfprompt_lib.provenance import describe
from selfprompt_lib.rows import Question, Sample, read_rows
from selfprompt_lib.sft.trainer import RecipeTrainer

CUDA = torch.cuda.is_available()
TINY = {"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": 512}
LENGTHS = {"7b": 2048, "tiny": 128}


def matmul_rate() -> float:
    """Products a second (FLOP/s) of bfloat16 matrices on this device: the best of ten."""
    size = 8192 if CUDA else 512
    left = torch.randn(size, size, dtype=torch.bfloat16, device="cuda" if CUDA else "cpu")
    return max(2 * size**3 / seconds(lambda: left @ left) for _ in range(10))


def seconds(work) -> float:
    """Seconds of a piece of work, with the card waited for."""
    wait()
    began = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - began


def wait() -> None:
    """Until the card is done."""
    if CUDA:
        torch.cuda.synchronize()


def settings(name: str, folder: str, length: int, steps: int) -> SFTConfig:
    """This project's settings of the profile mistral-7b, or TRL's defaults, at the same length and samples a step."""
    profile = profiles.load("mistral-7b", {"sft.max_length": length, "sft.batch_size": 8, "dtype": "bfloat16"})
    ours = sft.sft_config(profile, Path(folder))
    ours.max_steps, ours.save_strategy = steps, "no"
    ours.assistant_only_loss = False  # random tokens have no turns: all are in the loss
    if name == "ours":
        return ours
    return SFTConfig(output_dir=folder, max_steps=steps, max_length=length, use_cpu=not CUDA, report_to="none",
                     save_strategy="no", disable_tqdm=True)


def training(name: str, shape: str, steps: int) -> dict:
    """One training of random weights: a row of the table; out of memory is a row, too."""
    length, row = LENGTHS[shape], {"settings": name, "shape": shape, "tokens a sample": LENGTHS[shape]}
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        with tempfile.TemporaryDirectory() as folder:
            args = settings(name, folder, length, steps)
            row |= measured(RecipeTrainer if name == "ours" else SFTTrainer, args, shape, length, steps)
    except torch.OutOfMemoryError as error:
        row["out of memory"] = str(error).splitlines()[0]
    gc.collect()
    return row | ({"peak GB": round(torch.cuda.max_memory_allocated() / 1e9, 2)} if CUDA else {})


def measured(kind: type, args: SFTConfig, shape: str, length: int, steps: int) -> dict:
    """Parameters, and tokens a second of the steps after the first."""
    torch.manual_seed(0)
    config = AutoConfig.for_model("mistral", **(TINY if shape == "tiny" else {}))
    with torch.device("cuda" if CUDA else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    words = Tokenizer(WordLevel({"<pad>": 0, "<end>": 1}, unk_token="<end>"))  # only pads: the samples are tokens
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<end>")
    together = args.per_device_train_batch_size * args.gradient_accumulation_steps
    tokens = torch.randint(3, config.vocab_size - 1, (together * steps, length)).tolist()
    rows = Dataset.from_list([{"input_ids": ids} for ids in tokens])
    trainer = kind(model=model, args=args, train_dataset=rows, processing_class=tokenizer, callbacks=[clock := Clock()])
    with sft.residual_dropout(model, 0.2 if kind is RecipeTrainer else 0.0):
        trainer.train()
    rate = together * length * (steps - 1) / (clock.ends[-1] - clock.ends[0])
    return {"parameters": model.num_parameters(), "samples a step": together,
            "micro-batch": args.per_device_train_batch_size, "tokens a second": round(rate, 1)}


class Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args, state, control, **_) -> None:
        wait()
        self.ends.append(time.perf_counter())


def speed(shape: str, steps: int) -> dict:
    """The table: each setting's row with its share of the card's own rate."""
    rate = matmul_rate()
    rows = [training(name, shape, steps) for name in ("ours", "TRL's defaults")]
    for row in rows:
        if "tokens a second" in row:
            row["share of the product rate"] = round(6 * row["parameters"] * row["tokens a second"] / rate, 3)
    return {"product rate, TFLOP/s": round(rate / 1e12, 2), "training": rows}


def recipe(model: str, samples: Path, questions: Path, folder: Path, more: dict) -> dict:
    """The full recipe on given samples: the loss curve, and how many of 300 questions are answered with a role first."""
    profile = profiles.load("gpu", {"model": model, "sft.checkpoints": 0} | more)
    design = get_design(profile.design)
    tuned, tokenizer, record = sft.train(profile, read_rows(samples, Sample), design, folder)
    replies = infer.ask_questions(tuned, tokenizer, profile, design, read_rows(questions, Question)[:300], label="asking")
    return record | {"roles": stats.rate([infer.wrote_role(row) for row in replies]), "profile": describe(profile)["profile"]}


def main() -> None:
    """Measure, and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("book/measured/card.json"))
    parser.add_argument("--shape", choices=("7b", "tiny"), default="7b")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--lima", type=Path, metavar="TRAIN", help="samples with roles: train by the recipe instead")
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--model", default=models.STARTER)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="for --lima")
    given = parser.parse_args()
    result = json.loads(given.out.read_text()) if given.out.exists() else {}
    if given.lima:
        with tempfile.TemporaryDirectory() as work:
            more = profiles.parse_settings(given.set)
            result["recipe"] = recipe(given.model, given.lima, given.questions, Path(work), more)
    else:
        result |= speed(given.shape, given.steps)
    result["device"] = torch.cuda.get_device_name() if CUDA else "CPU"
    result["provenance"] = describe(profiles.load("mistral-7b"))
    print(write_json(given.out, result))
    write(given.out.with_suffix(".md"), tables(result))


def tables(result: dict) -> dict[str, list[dict[str, str]]]:
    """What was measured as captions and rows of text, for the page."""
    parts = {}
    if "training" in result:
        columns = list(dict.fromkeys(name for row in result["training"] for name in row))
        caption = f"Training; the device's own rate of products is {result['product rate, TFLOP/s']} TFLOP/s"
        parts[caption] = [{name: str(row.get(name, "–")) for name in columns} for row in result["training"]]
    if "recipe" in result:
        curve, roles = result["recipe"]["losses"], result["recipe"]["roles"]
        parts["The recipe"] = [{"steps": str(len(curve)), "first loss": f"{curve[0]:.3f}", "last loss": f"{curve[-1]:.3f}",
                                "roles written": str(roles)}]
    return parts


if __name__ == "__main__":
    main()
