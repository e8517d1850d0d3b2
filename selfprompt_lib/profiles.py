"""Profiles: one typed YAML file a setting, checked before the first cell runs.

A profile says everything a run depends on. `--set key=value` on the command line, or the
`settings` parameter of a notebook, changes single fields; unknown or ill-typed ones are refused.
"""

import difflib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from .designs import Design, get_design, strategy_name
from .errors import UserError, require
from .rows import ROLE, all_faults
from .sections import Annotate, Judge
from .settings import ARMS, CHOICES, TASKS, Profile, Sft

__all__ = ["ARMS", "CHOICES", "TASKS", "Annotate", "Judge", "Profile", "Sft", "changed",
           "flat_fields", "flatten", "load", "names", "parse_settings", "seed_profiles",
           "trained_designs"]
PROFILES_FOLDER = Path(__file__).parent / "resources" / "profiles"


def names() -> list[str]:
    """The names of the profiles in the package."""
    return sorted(path.stem for path in PROFILES_FOLDER.glob("*.yaml"))


def load(name: str, settings: dict[str, Any] | None = None, seed: int | None = None) -> Profile:
    """The profile of that name, with `settings` ({"sft.epochs": 2, …}) and `seed` put in.

    Raises:
        UserError: unknown profile, unknown field, a value of the wrong type, or fields that
            contradict each other.
    """
    path = PROFILES_FOLDER / f"{name}.yaml"
    require(name in names(),
            f"profile: unknown profile {name!r}; choose one of {', '.join(names())}")
    fields = {"name": name} | yaml.safe_load(path.read_text(encoding="utf-8"))
    for key, value in (settings or {}).items():
        _put(fields, key, value)
    if seed is not None:
        fields["seed"] = seed
    try:
        profile = Profile.model_validate(fields)
    except ValidationError as error:
        faults = zip(all_faults(error), error.errors(), strict=True)
        told = " | ".join(fault + _shown(fault, detail) for fault, detail in faults)
        raise UserError(f"profile {name}: {told}") from None
    faults = " | ".join(_contradictions(flatten(profile)))
    require(not faults, f"profile {name}: {faults}")
    return profile


def changed(profile: Profile, fields: dict[str, Any]) -> Profile:
    """The profile with other values of some fields, checked as by `load`."""
    own = {name: value for name, value in flatten(profile).items() if name in _settable()}
    return load(profile.name, own | fields)


@cache
def _settable() -> dict[str, Any]:
    """The fields that may be set, with their defaults."""
    fields = flatten(Profile(name="", about=""))
    return {name: value for name, value in fields.items() if name not in ("name", "about")}


def _shown(fault: str, detail: Any) -> str:
    """The value that was given, and how a list is written."""
    if "base_url" in fault:
        return ""  # an address may hold a password
    given = detail["input"]
    mend = f"; write a list: [{given}]" if detail["type"] == "tuple_type" else ""
    return f"; got {given!r:.200}{mend}"


def _contradictions(fields: dict[str, Any]) -> Iterator[str]:
    """What fields allow one by one and not together, with the mend.

    They are taken from the flat profile: reading them here says nothing of what a chapter reads.
    """
    own_tasks = fields["evaluate.include_path"]
    for field in ("evaluate.choices", "ablate.tasks"):
        unknown = [name for name in fields[field] if name not in CHOICES]
        if unknown and not own_tasks:
            yield (f"{field}: no task {unknown[0]!r} has options to score; choose of "
                   f"{', '.join(CHOICES)}, or set evaluate.include_path for your own")
    unknown = [name for name in fields["evaluate.tasks"] if name not in TASKS]
    if unknown and not own_tasks:
        yield (f"evaluate.tasks: unknown task {unknown[0]!r}; got {fields['evaluate.tasks']}; "
               f"choose of {', '.join(TASKS)}, or set evaluate.include_path for your own")
    if set(fields["evaluate.tasks"]) == {"humaneval"} and not fields["evaluate.run_code"]:
        yield ("evaluate.tasks: humaneval alone, and evaluate.run_code is false, so nothing is "
               "asked; set evaluate.run_code=true, or add a task")
    for field, value in fields.items():
        names = value if isinstance(value, list) else []
        twice = [name for name in names if isinstance(name, str) and names.count(name) > 1]
        if twice:
            yield f"{field}: {twice[0]!r} is named twice; name it once"
    strategy, design = fields["annotate.strategy"], get_design(fields["design"])
    if strategy_name(strategy) != design.strategy:
        yield (f"design: {design.name} writes annotations of strategy {design.strategy}, and "
               f"annotate.strategy is {strategy}; name the same strategy in both")
    rows, experts = fields["data.train_rows"], fields["data.experts"]
    if fields["data.domains"] is not None and rows is None:
        yield ("data.domains: data.train_rows is null, so that fewer domains would also be fewer "
               "samples; set data.train_rows to what the smallest of them has")
    if experts is not None and strategy_name(strategy) != ROLE:
        yield (f"data.experts: {experts}, and annotate.strategy {strategy} writes no experts; set "
               "data.experts to null, or annotate.strategy to role")
    if experts is not None and rows is not None and experts > rows:
        yield (f"data.experts: {experts} is more than data.train_rows, {rows}; set it to {rows} "
               "or lower")
    low, high = fields["sft.final_learning_rate"], fields["sft.learning_rate"]
    if low >= high:
        yield (f"sft.final_learning_rate: {low:g} is not below sft.learning_rate, which is "
               f"{high:g}; set it lower, or null for a tenth of it")
    for section in ("annotate", "judge"):
        if fields[f"{section}.mode"] == "batch" and fields[f"{section}.base_url"] is None:
            yield (f"{section}.mode: batch, and {section}.base_url is null: the local server has "
                   "no Batch API; set a base_url, or live")


def _put(fields: dict, key: str, value: Any) -> None:
    """Set one field of a profile that is not validated yet; refuse a name that no profile has."""
    known = _settable()
    if key not in known:
        near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        if isinstance(value, dict) and value:  # as YAML has it
            hint = f"; write {key}.{next(iter(value))}"
        fields_there = ", ".join(known)
        raise UserError(f"--set {key}: no profile has this field{hint} (fields: {fields_there})")
    if isinstance(value, bool) and not isinstance(known[key], bool):  # pydantic reads true as 1
        raise UserError(f"--set {key}: true and false are no values for it")
    section, _, field = key.rpartition(".")
    (fields.setdefault(section, {}) if section else fields)[field] = value


def seed_profiles(profile: Profile, count: int | None = None) -> list[Profile]:
    """The profile once for each of its seeds: seed, seed + 1, …; `count`: other than `sft.seeds`
    of them (chapters 3 and 6)."""
    seeds = range(profile.seed, profile.seed + (count or profile.sft.seeds))
    return [profile.model_copy(update={"seed": seed}) for seed in seeds]


def seed_name(name: str, seed: int, first: int) -> str:
    """What chapter 3 calls a model of a seed: its name alone for the profile's `first` one."""
    return name if seed == first else f"{name}-seed{seed}"


def trained_designs(profile: Profile) -> dict[str, Design]:
    """The models that chapter 3 compares, by name: what each learns to write."""
    names = {"self-prompt": profile.design, "baseline": "none"}
    if profile.sft.neutral:
        names["neutral"] = "neutral"
    return {name: get_design(design) for name, design in names.items()}


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """`["sft.epochs=2", …]` as a dictionary; values are read as YAML (2, true, null, [a, b])."""
    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        require(equals and key, f"--set {pair}: write it as field=value, for example sft.epochs=2")
        try:
            settings[key] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):  # such as the date 2026-13-45
            raise UserError(f"--set {key}: cannot read the value {value!r:.200} as YAML") from None
    return settings


def flatten(profile: Profile) -> dict[str, Any]:
    """The profile as `{"sft.epochs": …}`: the keys that `--set` takes, with their values."""
    return flat_fields(profile.model_dump(mode="json"))


def flat_fields(profile: dict[str, Any]) -> dict[str, Any]:
    """The same of a profile as a record holds it."""
    flat = {}
    for name, value in profile.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{field}": item for field, item in value.items()}
        else:
            flat[name] = value
    return flat
