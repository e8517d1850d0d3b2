"""A dry run: what would be done, with what model and data, what it costs, and what is missing."""

import os
import shutil
from pathlib import Path

from huggingface_hub import get_token

from .. import annotate, lima_role, sources
from ..errors import UserError
from ..estimates import parameters_from_name, training_bytes, training_operations
from ..profiles import Profile, trained_designs
from ..rows import STARTER_FOLDER, Sample, read_rows
from ..sections import Client
from .chapters import Chapter
from .inputs import why_run

CHARACTERS_PER_TOKEN = 4.2  # English prose; good to about 20%
HUB_SAMPLE_LENGTH = 2.5  # LIMA's samples are so many times as long as the starter data's
CARD_FLOPS = 3e14  # bf16, what a good fine-tuning run reaches on one 80 GB card
CPU_FLOPS = 8e10  # float32 on two laptop cores
COMPARISONS = 11  # of a control pair of each kind: five kinds in both orders, one (identical) once
COMPARISON_TOKENS = 900  # guideline, examples, question and two answers, about


def print_plan(profile: Profile, root: Path, chapters: list[Chapter]) -> None:
    """Print the plan of a run. Nothing is fetched, asked, trained or written."""
    print(f"profile {profile.name}, seed {profile.seed}: {profile.about}")
    for chapter in chapters:
        try:
            reasons = why_run(chapter, profile, root)
        except UserError:  # an earlier chapter has to run first
            reasons = ["after the chapters it reads"]
        state = f"runs: {reasons[0]}" if reasons else "skipped, nothing changed"
        print(f"  {chapter.label + ' ' + chapter.title:<16} {state}")
    for name, value in estimates(profile).items():
        print(f"{name:<9} {value}")
    for what in missing(profile):
        print(f"missing   {what}")


def estimates(profile: Profile) -> dict[str, str]:
    """Model, data, cost, memory and time, estimated from names, row counts and the starter data."""
    data, settings = profile.data, profile.annotate
    size = parameters_from_name(profile.model)
    from_hub = sources.from_hub(profile)
    starter = read_rows(STARTER_FOLDER / "train.jsonl", Sample)
    rows = data.train_rows
    if rows is None:
        rows = annotate.LIMA_ROWS if from_hub else len(sources.training_samples(profile))
    live = rows if settings.train_on == "live" else settings.samples
    mirror = f", read from {data.mirror}" if data.mirror else ""
    annotator = settings.model or profile.model
    return {
        "model": f"{profile.model} ({size / 1e6:,.0f} M parameters)",
        "data": f"{rows} samples of {data.train}, benchmarks: {data.benchmarks}{mirror}",
        "roles": f"{live} annotated live by {annotator}; trained on: {settings.train_on}",
        "cost": annotation_cost(profile, starter, live),
        "judge": judge_cost(profile),
        "memory": training_memory(profile, size),
        "time": training_time(profile, size, rows, starter, from_hub),
    }


def training_memory(profile: Profile, size: float) -> str:
    """The memory that training keeps for each weight, as a sentence."""
    kept = sum(training_bytes(profile, size, 2 if profile.dtype == "bfloat16" else 4).values())
    lora = " (LoRA: little but the frozen weights)" if profile.sft.lora_rank else ""
    parts = f"weights, gradients and {profile.sft.optimizer}{lora}"
    return f"about {kept / 1e9:.1f} GB for {parts}, plus activations"


def training_time(profile: Profile, size: float, rows: int, starter: list[Sample],
                  from_hub: bool) -> str:
    """How long the trainings of chapter 3 take, as a sentence."""
    hours = training_hours(profile, size, rows, starter, from_hub)
    trained = len(trained_designs(profile)) * profile.sft.seeds
    how_long = f"{hours:.0f} h" if hours > 2 else f"{60 * hours:.0f} min"
    machine = "one card at 300 TFLOP/s" if on_card(profile) else "two laptop cores"
    return f"about {how_long} to train the {trained} models of chapter 3, on {machine}"


def training_hours(profile: Profile, size: float, rows: int, starter: list[Sample],
                   from_hub: bool) -> float:
    """Hours of the trainings of chapter 3 together, good to about a factor of two."""
    characters = sum(len("".join(s.conversations)) + len(s.role.text) for s in starter)
    tokens = rows * characters / len(starter) / CHARACTERS_PER_TOKEN
    if from_hub:
        tokens *= HUB_SAMPLE_LENGTH
    trained = len(trained_designs(profile)) * profile.sft.seeds
    work = trained * training_operations(profile, size, tokens)
    return work / (CARD_FLOPS if on_card(profile) else CPU_FLOPS) / 3600


def on_card(profile: Profile) -> bool:
    """Whether a profile is made for a card, as its precision tells."""
    return profile.dtype == "bfloat16"


def annotation_cost(profile: Profile, samples: list[Sample], rows: int) -> str:
    """The price of the annotation, in words."""
    settings = profile.annotate
    if settings.base_url is None:
        return "nothing: the annotator is a local model"
    prompt = annotate.annotation_prompt(settings)
    usage = prompt.estimate_tokens(samples, lambda text: len(text) / CHARACTERS_PER_TOKEN, rows)
    return f"{_dollars(settings, profile.model, **usage)} for {rows} roles"


def judge_cost(profile: Profile) -> str:
    """Who judges in appendix A1, how often, and the price, in words.

    A judge that fails its examination is asked about control pairs only.
    """
    settings = profile.judge
    exam = COMPARISONS * settings.pairs
    real = 2 * (settings.questions or profile.data.question_rows)
    asked = f"{exam} comparisons to examine it, {real} more if it passes"
    if settings.base_url is None:
        return f"{settings.model or profile.model}, on this machine: {asked}"
    tokens = (exam + real) * COMPARISON_TOKENS, (exam + real) * settings.max_tokens
    return f"{settings.model}: {asked}; {_dollars(settings, profile.model, *tokens)}"


def _dollars(settings: Client, model: str, input_tokens: float, output_tokens: float) -> str:
    """The price of so many tokens, and the budget, in words."""
    price = annotate.Price(settings.model or model, settings.base_url, settings.price)
    dollars = price.dollars(input_tokens, output_tokens)
    budget = f" (budget ${settings.budget:g})" if settings.budget else ""
    return "price unknown" if dollars is None else f"about ${dollars:.2f}{budget}"


def missing(profile: Profile) -> list[str]:
    """What this machine lacks for the profile: a card, a key, a token."""
    lacks = []
    if on_card(profile) and not shutil.which("nvidia-smi"):
        lacks.append(f"a card: {profile.model} at this setting needs a GPU, and none is found")
    for settings in (profile.annotate, profile.judge):
        if settings.base_url and not os.environ.get(settings.api_key_env):
            lacks.append(f"a key: export {settings.api_key_env} for {settings.base_url}")
    train, mirror = profile.data.train, profile.data.mirror
    gated_model = profile.model.startswith(("meta-llama/", "mistralai/"))
    gated_data = not mirror and (train == lima_role.NAME or train.startswith("GAIR/"))
    if (gated_model or gated_data) and not get_token():
        lacks.append("a token: LIMA and some models are gated; accept their terms on the hub and "
                     "export HF_TOKEN")
    return lacks
