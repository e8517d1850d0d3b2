"""Profiles: one typed YAML file a setting, checked before the first cell runs.

A profile says everything a run depends on. `--set key=value` on the command line, or the
`settings` parameter of a notebook, changes single fields; unknown or ill-typed ones are refused.
"""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .designs import get_design
from .errors import UserError, require
from .rows import first_fault

FOLDER = Path(__file__).parent / "data" / "profiles"
TASKS = (
    "mmlu", "strategyqa", "commonsense_qa", "openbookqa",
    "truthful_qa", "gsm8k", "aqua_rat", "humaneval",
)
ARMS = (
    "base", "baseline", "role-play", "self-prompt",
    "other question's role", "random expert", "irrelevant role", "no role",
)
NonNegative = Annotated[float, Field(ge=0)]
DesignName = Annotated[str, AfterValidator(lambda name: get_design(name).name)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Data(_Section):
    """Where rows come from."""

    train: str = Field("starter", description="starter, lima-role (LIMA with our roles), a hub id, or a .jsonl file")
    train_rows: int | None = Field(None, ge=2, description="samples to train on; null means all")
    longest: int | None = Field(None, ge=100, description="characters of a sample's turns; longer samples are left out")
    questions: str = Field("starter", description="held-out questions: starter, lima-test, or a .jsonl file")
    question_rows: int = Field(50, ge=2, description="held-out questions to ask")
    benchmarks: Literal["starter", "hub"] = Field("starter", description="mini or real benchmarks")
    mirror: str | None = Field(None, description="a folder in the hub's layout, read in its place")


class Client(_Section):
    """How a model on a server is asked: what chapters 1 (annotator) and 5 (judge) share."""

    section: ClassVar[str]  # where the settings stand in the profile, for messages
    base_url: str | None = Field(None, description="endpoint; null starts a local server")
    model: str | None = Field(None, description="model name there; null means the profile's model")
    api_key_env: str = Field("OPENAI_API_KEY", description="environment variable that holds the key")
    mode: Literal["live", "batch"] = Field("live", description="one by one, or by the Batch API")
    max_tokens: int = Field(110, ge=16, description="longest reply, in tokens")
    longest_question: int = Field(12_000, ge=200, description="characters; the middle of longer ones is cut")
    parameters: dict[str, Any] = Field({}, description="more of the request, such as {temperature: 0.7}")
    guideline: str | None = Field(None, description="text file; null means the package's")
    tries: int = Field(3, ge=1, description="times a row is asked until its reply can be used")
    retries: int = Field(6, ge=0, description="times the client repeats a call that failed")
    timeout: float = Field(600, gt=0, description="seconds to wait for one reply")
    concurrency: int = Field(2, ge=1, description="requests in flight")
    requests_per_minute: int | None = Field(None, ge=1, description="limit; null means none")
    tokens_per_minute: int | None = Field(None, ge=100, description="limit; null means none")
    poll_seconds: float = Field(30, gt=0, description="between two looks at a batch")
    budget: float | None = Field(None, gt=0, description="US dollars that are not passed; null means no limit")
    price: tuple[NonNegative, NonNegative] | None = Field(
        None, description="[input, output] in US dollars per million tokens; null: asked of genai-prices"
    )

    @field_validator("parameters")
    @classmethod
    def _only_more(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        ours = {"messages", "model", "n", "stream", "response_format"} & set(parameters)
        if ours:
            raise ValueError(f"{', '.join(sorted(ours))} cannot be set here")
        for name in ("max_tokens", "max_completion_tokens"):
            if not isinstance(parameters.get(name, 1), int) or parameters.get(name, 1) < 1:
                raise ValueError(f"{name} must be a number of tokens, so that the cost is limited")
        return parameters

    @field_validator("base_url")
    @classmethod
    def _no_secret(cls, url: str | None) -> str | None:
        if url and (not url.startswith(("http://", "https://")) or "@" in url or re.search(r"[?&][^=]*key=", url)):
            raise ValueError("needs http(s):// and no credentials; put the key into the variable of api_key_env")
        return url


class Annotate(Client):
    """Chapter 1: who writes roles, how they are asked, and which roles the later chapters train on."""

    section: ClassVar[str] = "annotate"
    samples: int = Field(24, ge=1, description="samples annotated live")
    json_schema: bool = Field(False, description="the server takes response_format with a JSON schema")
    examples: str | None = Field(None, description="JSONL file with question and role; null means the package's")
    train_on: Literal["reference", "live"] = Field(
        "reference", description="roles to train on: those of the data, or those annotated live"
    )
    price_model: str = Field("gpt-5-mini", description="hosted model whose price is stated")


class Roles(_Section):
    """Chapter 2: how roles are measured."""

    embedder: str = Field("starter", description="starter (MiniLM from PyPI) or a model name")
    review_rows: int = Field(20, ge=1, description="rows on the review sheet")
    files: tuple[str, ...] = Field((), description="role files of other annotators, to compare on the same rows")
    reviews: tuple[str, ...] = Field((), description="filled-in review sheets of one reader or two")
    clusters: int = Field(8, ge=2, description="groups of alike roles that are shown")


class Sft(_Section):
    """Chapter 3: fine-tuning. Defaults are the paper's and LIMA's."""

    epochs: float = Field(15, gt=0)
    learning_rate: float = Field(1e-5, gt=0)
    final_learning_rate: float = Field(1e-6, ge=0)
    batch_size: int = Field(64, ge=1, description="samples an optimizer step")
    micro_batch_size: int = Field(8, ge=1, description="samples a forward pass")
    max_length: int = Field(2048, ge=32, description="tokens; longer samples are cut")
    weight_decay: float = Field(0.1, ge=0)
    residual_dropout: float = Field(0.2, ge=0, lt=1, description="rate at the last layer; LIMA: 0.3, smaller models 0.2")
    gradient_checkpointing: bool = False
    checkpoints: int = Field(0, ge=0, description="epochs whose checkpoint is kept, to resume and to choose from; 0: none")
    seeds: int = Field(1, ge=1, description="models trained of each kind: with seed, seed + 1, …")
    lora_rank: int = Field(0, ge=0, description="rank of LoRA adapters; 0: full fine-tuning")
    optimizer: Literal["adamw", "adamw_8bit"] = Field("adamw", description="adamw_8bit keeps its state in 8 bits")
    attention: str = Field("sdpa", description="attention kernel in transformers' words: sdpa, eager, flash_attention_2, …")

    @field_validator("micro_batch_size")
    @classmethod
    def _divides(cls, micro: int, info: Any) -> int:
        batch = info.data.get("batch_size", micro)
        if batch % micro:
            raise ValueError(f"{micro} does not divide batch_size {batch}")
        return micro


class Infer(_Section):
    """Chapter 4: asking."""

    max_new_tokens: int = Field(256, ge=8)
    no_repeat_ngram_size: int = Field(10, ge=0, description="no run of so many tokens twice; 0 is off")
    batch_size: int = Field(64, ge=1)


class Evaluate(_Section):
    """Chapter 5: benchmarks."""

    tasks: tuple[str, ...] = Field(TASKS, min_length=1, description="the eight, or tasks of include_path")
    include_path: str | None = Field(None, description="a folder with more task YAMLs")
    arms: tuple[Literal[ARMS], ...] = Field(ARMS, min_length=2)  # type: ignore[valid-type]
    given_seeds: int = Field(1, ge=1, description="training seeds whose models also answer with given roles")
    items: int | None = Field(None, ge=2, description="items a task; null means all")
    subset_seed: int = Field(0, ge=0, description="which items, where not all are taken")
    max_new_tokens: int = Field(512, ge=8)
    batch_size: int = Field(64, ge=1)
    second_pass: bool = Field(True, description="put an answer trigger behind each reply, and score what follows")
    run_code: bool = Field(False, description="run model-written code (HumanEval) in the sandbox")
    question_rows: int | None = Field(None, ge=2, description="open questions whose reference answer is scored; null: all")
    probes: int | None = Field(None, ge=1, description="robustness probes of each kind; null means all")

    @field_validator("arms")
    @classmethod
    def _pair(cls, arms: tuple[str, ...]) -> tuple[str, ...]:
        if not {"baseline", "self-prompt"} <= set(arms):
            raise ValueError("the chapter compares baseline and self-prompt; keep both")
        return arms

    @field_validator("include_path")
    @classmethod
    def _exists(cls, folder: str | None) -> str | None:
        if folder and not list(Path(folder).expanduser().glob("*.yaml")):
            raise ValueError(f"{folder} has no task YAMLs; give the folder that they lie in")
        return folder

    @model_validator(mode="after")
    def _known(self) -> "Evaluate":
        for name in self.tasks:
            if name not in TASKS and not self.include_path:
                raise ValueError(f"tasks: unknown task {name!r}; choose of {', '.join(TASKS)}, or set include_path for your own")
        return self


class Judge(Client):
    """Chapter 5: who judges pairs of answers, and what a judge must pass before it is believed."""

    section: ClassVar[str] = "judge"
    max_tokens: int = Field(64, ge=16, description="longest reply, in tokens; a model that thinks first needs 1000 or more")
    concurrency: int = Field(12, ge=1, description="requests in flight")
    questions: int | None = Field(None, ge=2, description="questions whose answers are judged; null means all")
    pairs: int = Field(50, ge=1, le=50, description="planted pairs of each kind in the examination")
    bar: float = Field(0.7, gt=0, lt=1, description="the lower 95% bound of accuracy on planted pairs must reach it")
    position_bias: float = Field(0.2, ge=0, le=1, description="largest excess of either place among a judge's preferences")
    length_bias: float = Field(0.2, ge=0, le=1, description="largest share of pairs won by an answer that was only padded")


class Ablate(_Section):
    """Chapter 6: prompt designs, compared at equal data and budget."""

    designs: tuple[DesignName, ...] = Field(("none", "title-only", "first-person", "from-now-on"), min_length=1)
    tasks: tuple[Literal[TASKS], ...] = Field(("openbookqa", "commonsense_qa"), min_length=1)  # type: ignore[valid-type]
    question_rows: int = Field(20, ge=2, description="held-out questions asked of each model")


class Profile(_Section):
    """A whole setting. See `selfprompt_lib/data/profiles/*.yaml` for those that exist."""

    name: str
    about: str
    seed: int = Field(0, ge=0)
    model: str = Field("smollm2-135m-instruct", description="the starter model, a hub id or a folder")
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
        require(name != "none", "the self-prompt model needs a design that writes roles, not none")
        return name


def names() -> list[str]:
    """The names of the profiles in the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str, settings: dict[str, Any] | None = None, seed: int | None = None) -> Profile:
    """The profile of that name, with `settings` ({"sft.epochs": 2, …}) and `seed` put in.

    Raises:
        UserError: unknown profile, unknown field, or a value of the wrong type.
    """
    path = FOLDER / f"{name}.yaml"
    require(name in names(), f"profile: unknown profile {name!r}; choose one of {', '.join(names())}")
    fields = {"name": name} | yaml.safe_load(path.read_text(encoding="utf-8"))
    for key, value in (settings or {}).items():
        _put(fields, key, value)
    if seed is not None:
        fields["seed"] = seed
    try:
        return Profile.model_validate(fields)
    except ValidationError as error:
        fault = first_fault(error)
        given = "" if "base_url" in fault else f"; got {error.errors()[0]['input']!r}"  # an address may hold a password
        raise UserError(f"profile {name}: {fault}{given}") from None


def _put(fields: dict, key: str, value: Any) -> None:
    known = {k: v for k, v in flatten(Profile(name="", about="")).items() if k not in ("name", "about")}
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"--set {key}: no profile has this field{hint} (fields: {', '.join(known)})")
    truth = isinstance(value, bool) and not isinstance(known[key], bool)  # pydantic would read true as 1
    require(not truth, f"--set {key}: true and false are no values for it")
    section, _, field = key.rpartition(".")
    (fields.setdefault(section, {}) if section else fields)[field] = value


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """`["sft.epochs=2", …]` as a dictionary; values are read as YAML (2, true, null, [a, b])."""
    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        require(equals and key, f"--set {pair}: write it as field=value, for example sft.epochs=2")
        try:
            settings[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"--set {key}: cannot read the value {value!r} as YAML") from None
    return settings


def flatten(profile: Profile) -> dict[str, Any]:
    """The profile as `{"sft.epochs": …}`: the keys that `--set` takes, with their values."""
    flat = {}
    for name, value in profile.model_dump(mode="json").items():
        inner = value.items() if isinstance(value, dict) else ()
        flat |= {f"{name}.{key}": item for key, item in inner} or {name: value}
    return flat
