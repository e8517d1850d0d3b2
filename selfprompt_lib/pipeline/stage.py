"""A chapter under way: what it starts from and what it leaves behind.

Every notebook begins with `start_chapter` and ends with `Stage.finish`. Its artefacts lie in
`<out>/<profile>/<chapter>/`, next to `stage.json`, which says what they were made from.
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import profiles
from ..errors import require
from ..files import make_writable, run_folder, write_json, write_rows
from ..profiles import Profile
from ..provenance import describe, folder_digests, peak_memory_gb
from .chapters import CHAPTERS, Chapter
from .inputs import current_inputs, used_inputs

PARAMETERS = ("profile", "seed", "out", "settings")  # that every notebook takes


@dataclass
class Stage:
    """A chapter under way: its profile, its folder, and what it started from."""

    chapter: Chapter
    profile: Profile
    root: Path
    inputs: dict[str, Any]
    started: float = field(default_factory=time.perf_counter)

    @property
    def folder(self) -> Path:
        return self.root / self.chapter.name

    def path(self, name: str) -> Path:
        """Where this chapter's artefact of that name lies."""
        return self.folder / name

    def source(self, chapter: str, name: str) -> Path:
        """An artefact of an earlier chapter."""
        path = self.root / chapter / name
        require(path.exists(), f"{path}: missing; run chapter {CHAPTERS[chapter].label} again")
        return path

    def save(self, name: str, content: Any) -> Path:
        """Write an artefact: a list as JSONL, anything else as JSON."""
        write = write_rows if isinstance(content, list) else write_json
        return write(self.path(name), content)

    def finish(self, metrics: dict[str, Any], **provenance: Any) -> dict[str, Any]:
        """Record that the chapter is done: inputs, provenance, metrics, seconds, peak memory."""
        record = {
            "chapter": self.chapter.name,
            "metrics": metrics,
            "seconds": round(time.perf_counter() - self.started, 1),
            "peak_memory_gb": peak_memory_gb(),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "inputs": used_inputs(self.inputs),
            "outputs": folder_digests(self.folder),
            "provenance": describe(self.profile) | provenance,
        }
        write_json(self.path("stage.json"), record)
        return record


def start_chapter(name: str, namespace: dict[str, Any]) -> Stage:
    """Open a chapter with what its parameters cell set (pass `globals()`); all chapters.

    Raises:
        UserError: unknown parameter, profile or field; a chapter that must run first; a run
            folder that cannot be written.
    """
    chapter = CHAPTERS[name]
    given = _parameters(namespace)
    known = PARAMETERS + chapter.parameters
    for key in given:
        require(key in known, f"{chapter.notebook.name}: unknown parameter {key!r}; "
                              f"it takes {', '.join(known)}")
    seed = given.get("seed", -1)
    profile = profiles.load(given["profile"], given.get("settings"), seed if seed >= 0 else None)
    fields = profiles.flatten(profile)
    root = run_folder(given.get("out", "runs"), fields["name"])
    own = {key: given[key] for key in chapter.parameters}
    stage = Stage(chapter, profile, root, current_inputs(chapter, profile, root, own))
    make_writable(stage.folder)
    print("profile {name}, seed {seed}, model {model}".format(**fields))
    return stage


def _parameters(namespace: dict[str, Any]) -> dict[str, Any]:
    """The plain values among a notebook's globals: at its start, these are its parameters."""
    plain = (str, int, float, bool, dict, list, tuple, type(None))
    hidden = {"In", "Out", "quit", "exit", "open"}
    return {
        key: value
        for key, value in namespace.items()
        if not key.startswith("_") and key not in hidden and isinstance(value, plain)
    }
