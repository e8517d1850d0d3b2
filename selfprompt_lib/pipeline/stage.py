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
from ..digests import folder_digests
from ..errors import require
from ..files import (
    make_writable,
    measured_folder,
    run_folder,
    trainings_folder,
    write_json,
    write_rows,
)
from ..profiles import Profile
from ..provenance import describe, peak_memory_gb
from .chapters import CHAPTERS, Chapter, run_digest
from .inputs import artefact_digest, current_inputs, used_inputs

SHARED = ("profile", "seed", "out", "settings")  # parameters that every notebook takes
# Of those that are no mere texts: the type, in words, and how papermill is told one.
PARAMETERS = {
    "profile": (str, "text", "-p {0} cpu"),
    "seed": (int, "a whole number from 0, or -1 for the profile", "-p {0} 1"),
    "out": (str | Path, "text", "-r {0} {1}"),
    "settings": (dict, "a dictionary of profile fields", "-y '{0}: {{sft.epochs: 2}}'"),
    "runs": (list, "a list of folders", "-y '{0}: [runs/cpu, other/runs/cpu]'"),
}
TEXT = (str, "text", "-r {0} '{1}'")
NO_RESULT = ("stage.json", "trainer/", "parts/")  # in a chapter's folder; see also `Stage.aside`


@dataclass
class Stage:
    """A chapter under way: its profile, its folder, and what it started from."""

    chapter: Chapter
    profile: Profile
    root: Path
    inputs: dict[str, Any]
    started: float = field(default_factory=time.perf_counter)
    set_aside: list[str] = field(default_factory=lambda: list(NO_RESULT))

    @property
    def folder(self) -> Path:
        return self.root / self.chapter.name

    def path(self, name: str) -> Path:
        """Where this chapter's artefact of that name lies."""
        return self.folder / name

    def aside(self, name: str) -> Path:
        """Where something lies that is no result, such as a sheet that people fill in.

        Whatever begins with this name may change, and the chapter need not run again.
        """
        self.set_aside.append(name)
        return self.path(name)

    @property
    def trainings(self) -> Path:
        """Where trainings are kept, to be taken up: in a sweep those of all its cells."""
        return trainings_folder(self.root)

    @property
    def parts(self) -> Path:
        """Where measurements are kept, in the same way, for this chapter and others."""
        return measured_folder(self.root)

    def source(self, chapter: str, name: str) -> Path:
        """An artefact of an earlier chapter, which this one depends on from now on."""
        path = self.root / chapter / name
        require(path.exists(), f"{path}: missing; run chapter {CHAPTERS[chapter].label} again")
        taken = f"{chapter}/{name}"
        self.inputs["artefacts"][taken] = artefact_digest(self.root, taken)
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
            "outputs": folder_digests(self.folder, without=tuple(self.set_aside)),
            "provenance": describe(self.profile) | provenance,
        }
        write_json(self.path("stage.json"), record)
        return record


def start_chapter(name: str, namespace: dict[str, Any]) -> Stage:
    """Open a chapter with what its parameters cell set (pass `globals()`); all chapters.

    Raises:
        UserError: unknown or ill-typed parameter, unknown profile or field; a chapter that must run
            first; a run folder that cannot be written.
    """
    chapter = CHAPTERS[name]
    given = read_parameters(chapter.notebook.name, namespace, chapter.parameters)
    profile, root = profile_and_folder(given)
    own = {key: given[key] for key in chapter.parameters}
    stage = Stage(chapter, profile, root, current_inputs(chapter, profile, root, own))
    stage.inputs["runs"] = {name: run_digest(name) for name in own.get("runs", ())
                            if isinstance(name, str)}
    make_writable(stage.folder)
    return stage


def profile_and_folder(given: dict[str, Any]) -> tuple[Profile, Path]:
    """The profile that a notebook's parameters choose, which is told, and its run's folder."""
    seed = given["seed"]
    profile = profiles.load(given["profile"], given["settings"], seed if seed >= 0 else None)
    fields = profiles.flatten(profile)
    root = run_folder(given["out"], fields["name"])
    print("profile {name}, seed {seed}, model {model}".format(**fields))
    return profile, root


def read_parameters(
    page: str, namespace: dict[str, Any], own: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A notebook's parameters, checked: at its start, they are the plain values of its globals.

    Args:
        own: those that only this notebook takes; texts, but for those of `PARAMETERS`.

    Raises:
        UserError: an unknown or ill-typed parameter, with the page that takes it.
    """
    plain = (str, int, float, bool, dict, list, tuple, type(None))
    hidden = {"In", "Out", "quit", "exit", "open"}
    known = {name: PARAMETERS.get(name, TEXT) for name in (*SHARED, *own)}
    for key, value in namespace.items():
        unknown = not key.startswith("_") and key not in {*known, *hidden}
        require(not (unknown and isinstance(value, plain)),
                f"{page}: unknown parameter {key!r}; it takes {', '.join(known)}")
    given = {"seed": -1, "out": "runs", "settings": {}} | namespace
    for key, (kind, words, call) in known.items():
        value = given.get(key)
        fits = isinstance(value, kind) and not isinstance(value, bool) and value != ""
        require(fits and not (kind is int and value < -1),
                f"{page}: {key} is {value!r}, but must be {words}; with papermill: "
                + call.format(key, "FOLDER" if value in ("", None) else value))
    return {key: given[key] for key in known}
