"""A stage: what a chapter starts from, what it leaves behind, and whether it must run again.

Every chapter begins with `start_chapter` and ends with `Stage.finish`. Its artefacts lie in
`<out>/<profile>/<chapter>/`, next to `stage.json`, which says what they were made from.
"""

import json
import resource
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import __version__, profiles
from ..errors import require
from ..files import make_writable, run_folder, write_json, write_rows
from ..profiles import Profile
from ..provenance import PACKAGE, code_hash, data_identity, describe, outputs

NOTEBOOKS = PACKAGE.parent / "nbs"


@dataclass(frozen=True)
class Chapter:
    """What a chapter depends on: profile fields (prefixes), earlier chapters, code, parameters."""

    label: str  # "1" to "6", "a1", "a2": what --only and --from take
    name: str
    title: str
    fields: tuple[str, ...]
    reads: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()

    @property
    def notebook(self) -> Path:
        return NOTEBOOKS / f"{self.label.zfill(2)}_{self.name}.ipynb"


CHAPTERS = {
    chapter.name: chapter
    for chapter in (
        Chapter("1", "annotate", "Annotate", ("model", "dtype", "data.train", "data.longest", "data.mirror", "annotate"),
                code=("annotate",)),
        Chapter("2", "roles", "Inspect roles", ("seed", "data.train", "data.longest", "roles"), ("annotate",), ("roles",)),
        Chapter("3", "sft", "Fine-tune", ("model", "dtype", "design", "seed", "sft"), ("annotate",),
                ("sft",)),
        Chapter("4", "infer", "Infer", ("model", "dtype", "design", "seed", "data.question", "infer"),
                ("sft",), ("infer",), ("question",)),
        Chapter("5", "evaluate", "Evaluate",
                ("model", "dtype", "design", "seed", "data.question", "data.benchmarks", "data.mirror", "roles.embedder",
                 "infer", "evaluate"),
                ("annotate", "sft", "infer"), ("evaluate", "infer", "annotate", "roles", "sft")),
        Chapter("6", "ablate", "Ablate",
                ("model", "dtype", "design", "seed", "data.question", "data.benchmarks",
                 "data.mirror", "sft", "infer", "evaluate", "ablate"),
                ("annotate", "sft", "infer", "evaluate"), ("ablate", "sft", "evaluate", "infer")),
        Chapter("a1", "judge", "The judge",
                ("model", "dtype", "design", "seed", "data.question", "data.mirror", "infer", "judge",
                 "roles.review_rows"),
                ("infer",), ("evaluate", "infer", "annotate", "roles")),
        Chapter("a2", "robustness", "Robustness",
                ("model", "dtype", "design", "seed", "data.question", "data.mirror", "infer", "evaluate",
                 "roles.embedder"),
                ("sft",), ("evaluate", "infer", "roles", "sft")),
    )
    if chapter.label.isdigit() or chapter.notebook.is_file()
}
COMMON = ("profile", "seed", "out", "settings")


@dataclass
class Stage:
    """A chapter under way: its profile, its folder, and what it read."""

    chapter: Chapter
    profile: Profile
    root: Path
    inputs: dict[str, Any]
    clock: float = field(default_factory=time.perf_counter)

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
        path = self.path(name)
        if isinstance(content, list):
            return write_rows(path, content)
        return write_json(path, content)

    def finish(self, metrics: dict[str, Any], **provenance: Any) -> dict[str, Any]:
        """Record that the stage is done: inputs, provenance, metrics, seconds, peak memory."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        record = {
            "chapter": self.chapter.name,
            "metrics": metrics,
            "seconds": round(time.perf_counter() - self.clock, 1),
            "peak_memory_gb": round(usage.ru_maxrss / (1024**3 if sys.platform == "darwin" else 1024**2), 2),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "inputs": self.inputs,
            "outputs": outputs(self.folder),
            "provenance": describe(self.profile) | provenance,
        }
        write_json(self.path("stage.json"), record)
        return record


def start_chapter(name: str, parameters: dict[str, Any]) -> Stage:
    """Open a chapter with what its parameters cell set (pass `globals()`); chapters 1 to 6.

    Raises:
        UserError: unknown parameter, profile or field; a chapter that must run first; a run
            folder that cannot be written.
    """
    chapter = CHAPTERS[name]
    given = given_parameters(parameters)
    known = COMMON + chapter.parameters
    for key in given:
        require(key in known, f"{chapter.notebook.name}: unknown parameter {key!r}; it takes {', '.join(known)}")
    seed = given.get("seed", -1)
    profile = profiles.load(given["profile"], given.get("settings"), seed if seed >= 0 else None)
    stage = Stage(chapter, profile, run_folder(given.get("out", "runs"), profile.name), {})
    stage.inputs = fingerprint(chapter, profile, stage.root, extra={k: given[k] for k in chapter.parameters})
    make_writable(stage.folder)
    return stage


def given_parameters(namespace: dict[str, Any]) -> dict[str, Any]:
    """The plain values among a notebook's globals: at its start, these are its parameters."""
    plain = (str, int, float, bool, dict, list, tuple, type(None))
    hidden = {"In", "Out", "quit", "exit", "open"}
    return {
        key: value
        for key, value in namespace.items()
        if not key.startswith("_") and key not in hidden and isinstance(value, plain)
    }


def fingerprint(chapter: Chapter, profile: Profile, root: Path, extra: dict | None = None) -> dict[str, Any]:
    """All that shapes a chapter's result: profile fields, artefacts read, code, data, version.

    Raises:
        UserError: when a chapter that this one reads has not finished.
    """
    fields = {k: v for k, v in profiles.flatten(profile).items() if k.startswith(chapter.fields)}
    artefacts = {}
    for earlier in chapter.reads:
        record = read_record(root, earlier)
        require(record, f"{root / earlier}: chapter {CHAPTERS[earlier].label} ({earlier}) has not finished; run it first")
        _of_one_run(chapter, CHAPTERS[earlier], record, root)
        artefacts |= {f"{earlier}/{name}": digest for name, digest in record["outputs"].items()}
    return {
        "fields": fields,
        "parameters": extra or {},
        "artefacts": artefacts,
        "data": data_identity(profile) if any(f.startswith("data.") for f in chapter.fields) else {},
        "version": __version__,
        "code": code_hash(chapter.notebook, without=set(CHAPTERS) - set(chapter.code) | {"profiles", "run", "book"}),
    }


def _of_one_run(chapter: Chapter, earlier: Chapter, record: dict[str, Any], root: Path) -> None:
    """Stop where two chapters that this one reads do not belong together, such as replies of another model."""
    for name, digest in record["inputs"]["artefacts"].items():
        source, _, file = name.partition("/")
        there = read_record(root, source) if source in chapter.reads else None
        require(not there or there["outputs"].get(file) == digest,
                f"{root / earlier.name}: chapter {earlier.label} ({earlier.name}) was made from another {name} than is there "
                "now; run it again")


def changed(chapter: Chapter, profile: Profile, root: Path) -> list[str]:
    """What has changed since the chapter last finished; empty means it can be skipped."""
    record = read_record(root, chapter.name)
    if not record:
        return ["it has not finished before"]
    extra = record["inputs"]["parameters"]
    now = json.loads(json.dumps(fingerprint(chapter, profile, root, extra)))
    reasons = []
    for part, new in now.items():
        old = record["inputs"][part]
        if isinstance(new, dict):
            reasons += [f"{part}: {key}" for key in sorted(new | old) if new.get(key) != old.get(key)]
        elif new != old:
            reasons.append(part)
    now_there = outputs(root / chapter.name)
    reasons += [f"artefact {name}" for name, digest in record["outputs"].items() if now_there.get(name) != digest]
    return reasons


def read_record(root: Path, name: str) -> dict[str, Any] | None:
    """The `stage.json` of a chapter, or None where it has not finished."""
    path = root / name / "stage.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
