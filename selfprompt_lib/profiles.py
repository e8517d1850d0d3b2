"""Profiles: one typed YAML file a setting, checked before the first cell runs.

A profile says everything a run depends on. `--set key=value` on the command line, or the
`settings` parameter of a notebook, changes single fields; unknown or ill-typed ones are refused.
"""

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from .errors import UserError, require
from .rows import all_faults
from .sections import Annotate, Judge
from .settings import ARMS, TASKS, Profile, Sft

__all__ = ["ARMS", "TASKS", "Annotate", "Judge", "Profile", "Sft", "flatten", "load", "names",
           "parse_settings", "seed_profiles"]
PROFILES_FOLDER = Path(__file__).parent / "resources" / "profiles"


def names() -> list[str]:
    """The names of the profiles in the package."""
    return sorted(path.stem for path in PROFILES_FOLDER.glob("*.yaml"))


def load(name: str, settings: dict[str, Any] | None = None, seed: int | None = None) -> Profile:
    """The profile of that name, with `settings` ({"sft.epochs": 2, …}) and `seed` put in.

    Raises:
        UserError: unknown profile, unknown field, or a value of the wrong type.
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
        return Profile.model_validate(fields)
    except ValidationError as error:
        faults = zip(all_faults(error), error.errors(), strict=True)
        told = " | ".join(fault + _shown(fault, detail) for fault, detail in faults)
        raise UserError(f"profile {name}: {told}") from None


def _shown(fault: str, detail: Any) -> str:
    """The value that was given, and how a list is written."""
    if "base_url" in fault:
        return ""  # an address may hold a password
    given = detail["input"]
    mend = f"; write a list: [{given}]" if detail["type"] == "tuple_type" else ""
    return f"; got {given!r:.200}{mend}"


def _put(fields: dict, key: str, value: Any) -> None:
    """Set one field of a profile that is not validated yet; refuse a name that no profile has."""
    known = flatten(Profile(name="", about=""))
    del known["name"], known["about"]
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


def seed_profiles(profile: Profile) -> list[Profile]:
    """The profile once for each of its seeds: seed, seed + 1, … (chapter 3)."""
    seeds = range(profile.seed, profile.seed + profile.sft.seeds)
    return [profile.model_copy(update={"seed": seed}) for seed in seeds]


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
    flat = {}
    for name, value in profile.model_dump(mode="json").items():
        if isinstance(value, dict):
            flat |= {f"{name}.{field}": item for field, item in value.items()}
        else:
            flat[name] = value
    return flat
