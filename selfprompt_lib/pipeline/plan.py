"""A dry run: what would be done, with what model, data, cost, memory and time, and what is missing."""

import os
import shutil
from pathlib import Path

from .. import annotate, lima_role, sources
from ..errors import UserError
from ..estimates import parameters_from_name, training_bytes, training_operations
from ..profiles import Profile
from ..rows import STARTER_FOLDER, Sample, read_rows
from .run import Say, why_run
from .stage import Chapter

CHARACTERS_A_TOKEN = 4.2  # English prose; good to about 20%
CARD_FLOPS = 3e14  # bf16, what a good fine-tuning run reaches on one 80 GB card
COMPARISONS = 11  # of a planted pair of each kind: five kinds in both orders, and the identical ones in one
COMPARISON_TOKENS = 900  # guideline, examples, question and two answers, about
CPU_FLOPS = 8e10  # float32 on two laptop cores


def show(profile: Profile, root: Path, chapters: list[Chapter], say: Say = print) -> None:
    """Print the plan of a run. Nothing is fetched, asked, trained or written."""
    say(f"profile {profile.name}, seed {profile.seed}: {profile.about}")
    for chapter in chapters:
        try:
            reasons = why_run(chapter, profile, root)
        except UserError:  # an earlier chapter has to run first
            reasons = ["after the chapters it reads"]
        say(f"  {chapter.label} {chapter.title:<14} {'runs: ' + reasons[0] if reasons else 'skipped, nothing changed'}")
    for name, value in facts(profile).items():
        say(f"{name:<9} {value}")
    for what in missing(profile):
        say(f"missing   {what}")


def facts(profile: Profile) -> dict[str, str]:
    """Model, data, cost, memory and time, estimated from names, row counts and the starter data."""
    size = parameters_from_name(profile.model)
    hub = profile.data.train not in ("starter",) and not profile.data.train.endswith(".jsonl")
    rows = profile.data.train_rows or (annotate.LIMA_ROWS if hub else len(sources.training_samples(profile)))
    starter = read_rows(STARTER_FOLDER / "train.jsonl", Sample)
    words = sum(len("".join(s.conversations)) + len(s.role.text) for s in starter) / len(starter)
    tokens = rows * words / CHARACTERS_A_TOKEN * (2.5 if hub else 1)  # LIMA's samples are longer
    card = profile.dtype == "bfloat16"
    hours = 2 * training_operations(profile, size, tokens) / (CARD_FLOPS if card else CPU_FLOPS) / 3600
    kept = sum(training_bytes(profile, size, 2 if card else 4).values())
    live = rows if profile.annotate.train_on == "live" else profile.annotate.samples
    return {
        "model": f"{profile.model} ({size / 1e6:,.0f} M parameters)",
        "data": f"{rows} samples of {profile.data.train}, benchmarks: {profile.data.benchmarks}"
                + (f", read from {profile.data.mirror}" if profile.data.mirror else ""),
        "roles": f"{live} annotated live by {profile.annotate.model or profile.model}; trained on: {profile.annotate.train_on}",
        "cost": cost(profile, starter, live),
        "judge": judging(profile),
        "memory": f"about {kept / 1e9:.1f} GB for weights, gradients and {profile.sft.optimizer}"
                  + (" (LoRA: little but the frozen weights)" if profile.sft.lora_rank else "") + ", plus activations",
        "time": f"about {f'{hours:.0f} h' if hours > 2 else f'{60 * hours:.0f} min'} to train the two models of chapter 3, on "
                + ("one card at 300 TFLOP/s" if card else "two laptop cores"),
    }


def cost(profile: Profile, samples: list[Sample], rows: int) -> str:
    """The price of the annotation, as a sentence."""
    if profile.annotate.base_url is None:
        return "nothing: the annotator is a local model"
    settings = profile.annotate
    prompt = annotate.RolePrompt.from_settings(settings)
    usage = prompt.estimate_tokens(samples, lambda text: len(text) / CHARACTERS_A_TOKEN, rows)
    price = annotate.Price(settings.model or profile.model, settings.base_url, settings.price)
    dollars = price.dollars(usage["input_tokens"], usage["output_tokens"])
    limit = f", budget ${settings.budget:g}" if settings.budget else ""
    return f"about ${dollars:.2f} for {rows} roles{limit}" if dollars is not None else "price unknown for this model"


def judging(profile: Profile) -> str:
    """Who judges in appendix A1, how often, and the price, as a sentence.

    A judge that fails is asked about planted pairs only.
    """
    settings = profile.judge
    planted, real = COMPARISONS * settings.pairs, 2 * (settings.questions or profile.data.question_rows)
    asked = f"{planted} comparisons to examine it, {real} more if it passes"
    if settings.base_url is None:
        return f"{settings.model or profile.model}, on this machine: {asked}"
    price = annotate.Price(settings.model or profile.model, settings.base_url, settings.price)
    dollars = price.dollars((planted + real) * COMPARISON_TOKENS, (planted + real) * settings.max_tokens)
    limit = f", budget ${settings.budget:g}" if settings.budget else ""
    return f"{settings.model}: {asked}; " + (f"about ${dollars:.2f}{limit}" if dollars is not None else "price unknown")


def missing(profile: Profile) -> list[str]:
    """What this machine lacks for the profile: a card, a key, a token."""
    lacks = []
    if profile.dtype == "bfloat16" and not shutil.which("nvidia-smi"):
        lacks.append(f"a card: {profile.model} at this setting needs a GPU, and none is found")
    for asked in (profile.annotate, profile.judge):
        if asked.base_url and not os.environ.get(asked.api_key_env):
            lacks.append(f"a key: export {asked.api_key_env} for {asked.base_url}")
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    gated = (profile.data.train == lima_role.NAME or profile.data.train.startswith("GAIR/")) and not profile.data.mirror
    gated = gated or profile.model.startswith(("meta-llama/", "mistralai/"))
    if gated and not (os.environ.get("HF_TOKEN") or (home / "token").is_file()):
        lacks.append("a token: LIMA and some models are gated; accept their terms on the hub and export HF_TOKEN")
    return lacks
