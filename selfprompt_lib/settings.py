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
CHOICES = ("arc_easy", "piqa", *TASKS[:5], "aqua_rat")  # those with options; two are controls
ARMS = (
    "base", "baseline", "role-play", "self-prompt",
    "other question's role", "random expert", "irrelevant role", "no role",
)
DesignName = Annotated[str, AfterValidator(lambda name: get_design(name).name)]
class Data(Section):
    """Where rows come from."""

    train: str = Field("starter", description="starter, lima-role, a hub id, a file or a folder")
    train_rows: int | None = Field(None, ge=2, description="samples to train on; null means all")
    longest: int | None = Field(None, ge=100, description="longest sample, in characters")
    questions: str = Field("starter", description="starter, lima-test, or a file")
    question_rows: int = Field(50, ge=2, description="held-out questions to ask")
    benchmarks: Literal["starter", "hub"] = Field("starter", description="mini or real benchmarks")
    mirror: str | None = Field(None, description="a folder in the hub's layout, read in its place")


class Roles(Section):
    """Chapter 2: how roles are measured."""

    embedder: str = Field("starter", description="starter (MiniLM from PyPI) or a model name")
    review_rows: int = Field(20, ge=1, description="rows on the review sheet")
    files: tuple[str, ...] = Field((), description="role files of other annotators, to compare")
    reviews: tuple[str, ...] = Field((), description="filled-in review sheets of one reader or two")
    clusters: int = Field(8, ge=2, description="groups of alike roles that are shown")


class Sft(Section):
    """Chapter 3: fine-tuning. Defaults are the paper's and LIMA's."""

    epochs: float = Field(15, gt=0)
    learning_rate: float = Field(1e-5, gt=0)
    final_learning_rate: float | None = Field(
        None, ge=0, description="at the end; null means a tenth of learning_rate"
    )
    batch_size: int = Field(64, ge=1, description="samples an optimizer step")
    micro_batch_size: int = Field(8, ge=1, description="samples a forward pass")
    max_length: int = Field(2048, ge=32, description="tokens; longer samples are cut")
    weight_decay: float = Field(0.1, ge=0)
    residual_dropout: float = Field(0.2, ge=0, lt=1, description="rate at the last layer")
    gradient_checkpointing: bool = False
    checkpoints: int = Field(0, ge=0, description="epochs whose checkpoint is kept; 0: none")
    neutral: bool = Field(True, description="train a third model, with a paragraph that is no role")
    seeds: int = Field(1, ge=1, description="models trained of each kind: with seed, seed + 1, …")
    lora_rank: int = Field(0, ge=0, description="rank of LoRA adapters; 0: full fine-tuning")
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    attention: str = Field("sdpa", description="sdpa, eager, flash_attention_2, …")

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

    max_new_tokens: int = Field(256, ge=8)
    temperature: float = Field(0.7, ge=0, le=10, description="0: greedy, with no top_p or penalty")
    top_p: float = Field(0.9, gt=0, le=1, description="probability of the tokens drawn from")
    repetition_penalty: float = Field(1.2, ge=1, description="on the reply's tokens; 1 is off")
    no_repeat_ngram_size: int = Field(0, ge=0, description="no so many tokens twice; 0 is off")
    batch_size: int = Field(64, ge=1)


class Evaluate(Section):
    """Chapter 5 (benchmarks) and appendix A2 (robustness)."""

    include_path: str | None = Field(None, description="a folder with more task YAMLs")
    tasks: tuple[str, ...] = Field(TASKS, min_length=1)
    arms: tuple[Literal[ARMS], ...] = Field(ARMS, min_length=2)  # type: ignore[valid-type]
    given_seeds: int = Field(1, ge=1, description="training seeds that get given roles too")
    items: int | None = Field(None, ge=2, description="items a task; null means all")
    choices: tuple[str, ...] = Field(CHOICES, description="tasks whose options are scored, too")
    choice_items: int | None = Field(None, ge=2, description="items of each; null means all")
    contrasts: Literal["short", "full"] = Field(
        "full", description="texts before answers whose likelihood is taken: some or all"
    )
    subset_seed: int = Field(0, ge=0, description="which items, where not all are taken")
    max_new_tokens: int = Field(512, ge=8)
    batch_size: int = Field(64, ge=1)
    second_pass: bool = Field(True, description="score what follows an answer trigger")
    run_code: bool = Field(False, description="run model-written code (HumanEval) in the sandbox")
    question_rows: int | None = Field(None, ge=2, description="open questions; null means all")
    probes: int | None = Field(None, ge=1, description="of each kind; null means all")

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
        ("none", "neutral", "title-only", "first-person", "from-now-on"), min_length=1
    )
    tasks: tuple[str, ...] = Field(("openbookqa", "commonsense_qa"), min_length=1)
    question_rows: int = Field(20, ge=2, description="held-out questions asked of each model")


class Profile(Section):
    """A whole setting. See `selfprompt_lib/resources/profiles/*.yaml` for those that exist."""

    name: str
    about: str
    seed: int = Field(0, ge=0, lt=2**31)
    model: str = Field("smollm2-135m-instruct",
                       description="the starter model, a hub id or a folder")
    dtype: Literal["auto", "float32", "bfloat16"] = Field("auto", description="compute precision")
    design: DesignName = Field("from-now-on", description="the prompt design of chapters 3 to 5")
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
        require(name not in ("none", "neutral"),
                f"the self-prompt model needs a design that writes roles, not {name}")
        return name

    @classmethod
    def flat_name(cls, field: str) -> str:
        """A field of the profile itself stands in no section."""
        return field

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """The whole profile as a dictionary, for records: counts as reading no field."""
        return BaseModel.model_dump(self, **options)
