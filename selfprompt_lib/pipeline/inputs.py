"""What a chapter's result depends on, and whether any of it has changed since the chapter ran.

Nobody lists by hand what a chapter depends on. When it finishes, its `stage.json` keeps the profile
fields that were read and the code that was imported in its process; later runs compare those.
"""

import json
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import require
from ..profiles import Profile, flatten
from ..provenance import (
    file_digest,
    folder_digests,
    loaded_rooms,
    named_path_digests,
    package_digests,
)
from ..sections import fields_read
from .chapters import CHAPTERS, Chapter, read_record

# Rooms that decide no result: they read settings, which are compared as such, and run chapters.
NEUTRAL_ROOMS = {"pipeline", "provenance", "profiles", "sections", "settings", "resources/profiles"}
PARTLY_USED = ("fields", "named_paths", "code")  # inputs of which a chapter uses some


def current_inputs(
    chapter: Chapter, profile: Profile, root: Path, parameters: dict[str, Any]
) -> dict[str, Any]:
    """All that may shape a chapter's result, as it is now.

    Raises:
        UserError: when a chapter that this one reads has not finished, or belongs to another run.
    """
    fields = flatten(profile)
    artefacts = {}
    for name in chapter.reads:
        record = read_record(root, name)
        require(record, f"{root / name}: chapter {CHAPTERS[name].label} ({name}) has not "
                        "finished; run it first")
        _require_one_run(chapter, name, record, root)
        artefacts |= {f"{name}/{file}": digest for file, digest in record["outputs"].items()}
    return {
        "fields": fields,
        "parameters": parameters,
        "artefacts": artefacts,
        "named_paths": named_path_digests(fields),
        "version": __version__,
        "code": package_digests() | {"notebook": file_digest(chapter.notebook)},
    }


def _require_one_run(chapter: Chapter, read: str, record: dict[str, Any], root: Path) -> None:
    """Stop where a chapter that is read was made from other artefacts than are there now.

    Such as replies of a model that was trained again since.
    """
    for name, digest in record["inputs"]["artefacts"].items():
        source, _, file = name.partition("/")
        there = read_record(root, source) if source in chapter.reads else None
        same = there is None or there["outputs"].get(file) == digest
        require(same, f"{root / read}: chapter {CHAPTERS[read].label} ({read}) was made from "
                      f"another {name} than is there now; run it again")


def used_inputs(inputs: dict[str, Any]) -> dict[str, Any]:
    """Those of `current_inputs` that this process has used."""
    fields, rooms = fields_read(), loaded_rooms() - NEUTRAL_ROOMS

    def used_code(room: str) -> bool:
        return room in rooms or room == "notebook" or (
            room.startswith("resources/") and room not in NEUTRAL_ROOMS
        )

    return inputs | {
        "fields": {name: value for name, value in inputs["fields"].items() if name in fields},
        "named_paths": {name: digest for name, digest in inputs["named_paths"].items()
                        if name.partition("=")[0] in fields},
        "code": {room: digest for room, digest in inputs["code"].items() if used_code(room)},
    }


def why_run(chapter: Chapter, profile: Profile, root: Path) -> list[str]:
    """Why a chapter must run; empty where it can be skipped.

    Raises:
        UserError: when a chapter that this one reads has not finished.
    """
    record, page = read_record(root, chapter.name), chapter.executed_notebook(root)
    if not page.is_file():
        return ["not run here before"]
    if record is None:
        return ["it has not finished before"]
    if (root / chapter.name / "stage.json").stat().st_mtime > page.stat().st_mtime:
        return ["its artefacts are newer than its executed notebook"]
    there = folder_digests(root / chapter.name)
    edited = [name for name, digest in record["outputs"].items()
              if there.get(name) != digest and not name.endswith(".csv")]  # people fill those in
    return [*_changed_inputs(chapter, profile, root, record["inputs"]),
            *(f"artefact {name}" for name in edited)]


def _changed_inputs(
    chapter: Chapter, profile: Profile, root: Path, before: dict[str, Any]
) -> list[str]:
    """What differs from the inputs that a chapter's record holds, in words."""
    now = current_inputs(chapter, profile, root, before["parameters"])
    now = json.loads(json.dumps(now))  # tuples become lists, as in the record
    reasons = []
    for part, new in now.items():
        old = before.get(part)
        if isinstance(new, dict) and isinstance(old, dict):
            names = set(old) if part in PARTLY_USED else set(old) | set(new)
            reasons += [f"{part}: {name}" for name in sorted(names)
                        if new.get(name) != old.get(name)]
        elif new != old:
            reasons.append(part)
    return reasons
