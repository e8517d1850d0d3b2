"""What a chapter's result depends on, and whether any of it has changed since the chapter ran.

Nobody lists by hand what a chapter depends on. When it finishes, its `stage.json` keeps the profile
fields that were read, the artefacts that were taken, and the code and data of the package that its
process opened; later runs compare those. All are compared by content, so that a run copied to
another machine is skipped there too. For the same reason the versions of libraries are not
compared: they stand in the record's provenance.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..checkpoints import ADAPTER, hub_revision, model_digest
from ..digests import PACKAGE, folder_digests, opened_files, path_digest, text_digest
from ..errors import require
from ..profiles import Profile, flatten
from ..reading import user_path
from ..sections import fields_read
from .chapters import CHAPTERS, Chapter, page_record, read_record, run_digest

# These decide no result: they read settings, which are compared as such, and run chapters. In a
# wheel `project/` holds notebooks and pages.
DECIDES_NOTHING = (
    "__init__.py", "cli.py", "digests.py", "errors.py", "pipeline/", "profiles.py", "project/",
    "provenance.py", "resources/profiles/", "sections.py", "settings.py")


def current_inputs(
    chapter: Chapter, profile: Profile, root: Path, parameters: dict[str, Any]
) -> dict[str, Any]:
    """All that may shape a chapter's result, as it is now, but for the artefacts that it takes.

    Raises:
        UserError: when a chapter that this one reads has not finished, or belongs to another run.
    """
    for name in chapter.reads:
        record = read_record(root, name)
        require(record, f"{root / name}: chapter {CHAPTERS[name].label} ({name}) has not "
                        "finished; run it first")
        _require_one_run(chapter, name, record, root)
    fields = {name: _identity(name, value, root) for name, value in flatten(profile).items()}
    code = folder_digests(PACKAGE, without=DECIDES_NOTHING)
    return {"fields": fields, "parameters": parameters, "artefacts": {}, "runs": {},
            "code": code | {"notebook": _notebook_digest(chapter.notebook)}}


def _identity(field: str, value: Any, root: Path) -> Any:
    """What is compared of a field: of a file or folder that it names, the content."""
    if isinstance(value, list):
        return [_identity(field, part, root) for part in value]
    if field == "dtype" and (forced := os.environ.get("SELFPROMPT_BF16")):
        return f"{value}, SELFPROMPT_BF16={forced}"
    if isinstance(value, str) and value and field not in ("name", "about"):
        path = Path(os.path.abspath(user_path(value)))
        holds_the_run = root.is_relative_to(path)  # it only happens to be called like the value
        if os.path.exists(path) and not holds_the_run:
            beside = path.with_suffix(".jsonl")  # what a strategy of the user's wrote
            texts = field == "annotate.strategy" and beside.is_file()
            return f"sha256:{_content(path)}" + (f"+{path_digest(beside)}" if texts else "")
    return value


def _content(path: Path) -> str:
    """A digest of a file or folder; of a model's folder, of what it is loaded from."""
    is_model = any((path / name).is_file() for name in ("config.json", ADAPTER))
    return model_digest(str(path)) if is_model else path_digest(path)


def _notebook_digest(path: Path) -> str:
    """Of what a reader sees and a kernel runs: the cells, without their ids and settings."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return text_digest([(cell["cell_type"], "".join(cell["source"])) for cell in cells])


def artefact_digest(root: Path, name: str) -> str | None:
    """An artefact as it is now, such as `sft/baseline`; None where there is none."""
    return _content(root / name) if (root / name).exists() else None


def _require_one_run(chapter: Chapter, read: str, record: dict[str, Any], root: Path) -> None:
    """Stop where a chapter that is read was made from other artefacts than are there now.

    Such as replies of a model that was trained again since.
    """
    for name, digest in record["inputs"]["artefacts"].items():
        if name.partition("/")[0] in chapter.reads:
            require(artefact_digest(root, name) == digest,
                    f"{root / read}: chapter {CHAPTERS[read].label} ({read}) was made from "
                    f"another {name} than is there now; run it again")


def used_inputs(inputs: dict[str, Any]) -> dict[str, Any]:
    """Those of `current_inputs` that this process has used."""
    fields, files = _only(inputs["fields"], fields_read()), {*opened_files(), "notebook"}
    revisions = {name: hub_revision(value) for name, value in fields.items()}
    return inputs | {"fields": fields, "code": _only(inputs["code"], files),
                     "revisions": {name: found for name, found in revisions.items() if found}}


def _only(part: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name in names}


def why_run(chapter: Chapter, profile: Profile, root: Path,
            made_in: Path | None = None) -> list[str]:
    """Why a chapter must run; empty where it can be skipped.

    Args:
        made_in: another run's folder, whose result would be taken for this one; else its own.

    Raises:
        UserError: when a chapter that this one reads has not finished.
    """
    place = made_in or root
    record, page = read_record(place, chapter.name), page_record(chapter.executed_notebook(place))
    if page is None:
        return ["not run here before"]
    if record is None:
        return ["it has not finished before"]
    if record["finished"] > page.get("end_time", ""):
        return ["its artefacts are newer than its executed notebook"]
    folder = f"{chapter.name}/"
    edited = [name for name, digest in record["outputs"].items()
              if artefact_digest(place, folder + name) != digest]
    return [*_changed_inputs(chapter, profile, root, record["inputs"]),
            *(f"artefact {name}" for name in edited)]


def _changed_inputs(
    chapter: Chapter, profile: Profile, root: Path, before: dict[str, Any]
) -> list[str]:
    """What differs from the inputs that a chapter's record holds, in words."""
    now = current_inputs(chapter, profile, root, before["parameters"])
    # Where a hub model is not in this machine's cache, there is no other one to tell of.
    now["revisions"] = {name: hub_revision(now["fields"].get(name)) or old
                        for name, old in before.get("revisions", {}).items()}
    now["artefacts"] = {name: artefact_digest(root, name) for name in before["artefacts"]}
    now["runs"] = {name: run_digest(name) for name in before.get("runs", {})}
    parts = {part: used for part, used in before.items() if isinstance(used, dict)}
    return [f"{part}: {name}" for part, used in parts.items() for name, old in used.items()
            if now.get(part, {}).get(name) != old]
