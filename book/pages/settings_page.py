"""What the page *Settings* tells of each field, taken from the classes of the profile."""

from typing import Any

from selfprompt_lib.profiles import flatten, load
from selfprompt_lib.sections import Section
from selfprompt_lib.settings import Profile

SHOWN = "cpu"  # the profile whose values stand beside the defaults


def groups() -> list[dict[str, Any]]:
    """The fields that `--set` takes, by section: its `name`, what it is `about`, its `rows`.

    A field that an earlier section has in the same words, as the judge's address, is left out,
    unless the profile sets it.
    """
    values, told, groups = flatten(load(SHOWN)), set(), []
    sections = {name: type(section) for name, section in Profile(name="", about="")
                if isinstance(section, Section)}
    for name, kind in {"": Profile, **sections}.items():
        rows = []
        for key, field in kind.model_fields.items():
            if key in ("name", "about", *sections):
                continue
            full, default = f"{name}.{key}".lstrip("."), as_set(field.default)
            value, words = as_set(values[full]), (key, field.description, default)
            if words not in told or value != default:
                rows.append({"name": full, "meaning": field.description, "default": default,
                             "value": value})
            told.add(words)
        groups.append({"name": name, "about": kind.__doc__.splitlines()[0], "rows": rows})
    return groups


def as_set(value: Any) -> str:
    """A value as `--set` takes it: null, true, 1e-05, [a, b]."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_set, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    names = {None: "null", True: "true", False: "false"}
    return names[value] if value is None or isinstance(value, bool) else str(value)
