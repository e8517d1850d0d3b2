"""Open LIMA-Role: the project's roles for LIMA, joined to the user's own copy (chapters 1 and 2).

The package holds no sentence of LIMA: only an index, the SHA-256 of the first prompt, and the
role, for each of its 1,030 training rows.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, Field

from .digests import file_digest
from .errors import require
from .files import hub_rows, make_writable, write_json, write_rows
from .provenance import machine
from .reading import user_path
from .rows import (
    Conversation,
    Role,
    Sample,
    chat_messages,
    drop_unanswered_turn,
    parse_rows,
    read_rows,
)

LIMA_ROLE_FOLDER = Path(__file__).parent / "resources" / "lima-role"
NAME = "lima-role"  # as a profile's data.train
LIMA = ("GAIR/lima", "plain_text", "train")
LEAST_MATCHED = 0.99  # a copy of LIMA with a smaller share is taken to be another data set


class RoleEntry(Role):
    """One line of `roles.jsonl`: a role, and the row of LIMA that it belongs to."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    UNIQUE: ClassVar = ("id", "index", "sha256")
    id: str  # the line's place in the file, which `read_rows` puts in
    index: int = Field(ge=0, strict=True)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


@dataclass(frozen=True)
class JoinedLima:
    """What a join found."""

    samples: list[Sample]  # with their roles
    unmatched: list[str]  # rows of LIMA without a role, by id
    left_over: list[int]  # roles without a row, by index

    def __str__(self) -> str:
        text = f"{len(self.samples)} samples of LIMA have their roles"
        if self.unmatched:
            text += f"; without a role: {_first_ten(self.unmatched)}"
        if self.left_over:
            text += f"; roles whose row is not in this copy: index {_first_ten(self.left_over)}"
        return text


def _first_ten(names: Sequence[object]) -> str:
    return ", ".join(map(str, names[:10])) + (" …" if len(names) > 10 else "")


def prompt_hash(prompt: str) -> str:
    """SHA-256 of a first prompt in UTF-8, its white space collapsed: line endings do not matter."""
    return hashlib.sha256(" ".join(prompt.split()).encode()).hexdigest()


def read_role_entries(path: Path = LIMA_ROLE_FOLDER / "roles.jsonl") -> list[RoleEntry]:
    """The project's roles, in LIMA's order.

    Raises:
        UserError: a malformed line, or an index or prompt that occurs twice.
    """
    return read_rows(path, RoleEntry)


def join_roles(rows: Sequence[dict], entries: Sequence[RoleEntry]) -> JoinedLima:
    """Put the roles to the rows of LIMA (`conversations` and `source`), matched by hash.

    A conversation that ends on a user turn loses that turn: it has no answer to learn.

    Raises:
        UserError: fewer than 99% matched, so that this is not LIMA, or not all of it.
    """
    by_hash = {entry.sha256: entry for entry in entries}
    samples, unmatched = [], []
    for row in parse_rows(rows, Conversation, "LIMA"):
        entry = by_hash.pop(prompt_hash(row.question), None)
        turns = drop_unanswered_turn(row.conversations)
        if entry is None or not turns:
            unmatched.append(row.id)
            continue
        role = Role(expert=entry.expert, brings=entry.brings, request=entry.request)
        samples.append(
            Sample(id=f"lima-{entry.index}", source=row.source, conversations=turns, role=role)
        )
    joined = JoinedLima(samples, unmatched, sorted(entry.index for entry in by_hash.values()))
    share = len(samples) / max(len(samples) + len(unmatched), len(entries))
    require(share >= LEAST_MATCHED,
            f"data.train: {100 * share:.1f}% of LIMA-Role matched, "
            f"{100 * LEAST_MATCHED:.0f}% are needed; {joined}; "
            "give LIMA's own training split (GAIR/lima, or a mirror of it in data.mirror)")
    return joined


def load_lima_role(mirror: str | None = None) -> JoinedLima:
    """LIMA-Role, from LIMA on the hub (gated: accept its terms there) or in a mirror folder."""
    return join_roles(hub_rows(*LIMA, mirror=mirror), read_role_entries())


def save_dataset(joined: JoinedLima, folder: Path) -> Path:
    """Write the joined data set with its card.

    `datasets.load_dataset(folder)` reads it, and `data.train` takes its train.jsonl.

    Raises:
        UserError: the folder holds something else; nothing is overwritten.
    """
    card = folder / "README.md"
    ours = card.is_file() and "LIMA-Role" in card.read_text(encoding="utf-8")
    free = ours or not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    require(free, f"--out {folder}: is a file or not empty; give a new folder")
    make_writable(folder)
    write_rows(folder / "train.jsonl", (  # chapter 3 puts the role into the messages
        {"id": s.id, "source": s.source, "conversations": list(s.conversations),
         "messages": chat_messages(*s.conversations), "role": s.role.model_dump()}
        for s in joined.samples))
    text = (LIMA_ROLE_FOLDER / "README.md").read_text(encoding="utf-8")
    text = text.replace("data_files: roles.jsonl", "data_files: train.jsonl")
    copy = ("`train.jsonl` has LIMA's own conversations beside the roles (id, source, "
            "conversations, messages, role), so LIMA's terms hold for it. "
            f"Joined by `selfprompt_lib`: {joined}.")
    card.write_text(f"{text}\n## This copy\n\n{copy}\n", encoding="utf-8")
    return folder


def measure_quality(joined: JoinedLima) -> dict[str, Any]:
    """What chapter 2 measures, on all of LIMA; `published_quality` reads what was written."""
    from . import roles  # loads pandas and SciPy, which the command line need not wait for

    embedder, seed = "starter", 0
    frame = roles.role_table(joined.samples)
    model = roles.load_embedder(embedder)
    questions, texts = roles.embed(model, frame.question), roles.embed(model, frame.role)
    ranks = roles.question_ranks(questions, texts)
    least = roles.least_fitting(frame, questions, texts)[["fit", "rank", "expert", "request"]]
    return {
        "measures": roles.summarize_roles(frame, questions, texts, seed),
        "by_source": roles.fit_by_group(frame, ranks, "source").to_dict("records"),
        "least_fitting": least.to_dict("records"),
        "rows": len(read_role_entries()),
        "matched": len(joined.samples),
        "unmatched": joined.unmatched,
        "left_over": joined.left_over,
        "seed": seed,
        "embedder": embedder,
        "roles_sha256": file_digest(LIMA_ROLE_FOLDER / "roles.jsonl"),
    }


def published_quality() -> dict[str, Any]:
    """The committed `quality.json`: a measurement on LIMA, which readers of the book do not have.

    Raises:
        UserError: it was measured on another version of the roles.
    """
    path = LIMA_ROLE_FOLDER / "quality.json"
    quality = json.loads(path.read_text(encoding="utf-8"))
    require(quality["roles_sha256"] == file_digest(LIMA_ROLE_FOLDER / "roles.jsonl"),
            f"{path}: was measured on other roles; "
            "run `python -m selfprompt_lib lima-role --measure` on LIMA again")
    return quality


def published_readings() -> dict[str, list]:
    """The published review sheets: name of the reading → `roles.read_sheet` of its raters."""
    from . import roles  # loads SciPy, which the command line need not wait for

    readings: dict[str, list] = {}
    for path in sorted((LIMA_ROLE_FOLDER / "reviews").glob("*.csv")):
        readings.setdefault(path.stem.rsplit("-", 1)[0], []).append(roles.read_sheet(path))
    return readings


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add `python -m selfprompt_lib lima-role`."""
    parser = commands.add_parser(
        "lima-role", help="LIMA with the project's roles, as a data set of your own",
        description="Join the 1,030 roles of open LIMA-Role to your own copy of LIMA.")
    parser.add_argument("--out", type=user_path, metavar="FOLDER",
                        help="write train.jsonl and its data set card here")
    parser.add_argument("--mirror", metavar="FOLDER",
                        help="a folder in the hub's layout that holds GAIR/lima (else: the hub)")
    parser.add_argument("--measure", type=user_path, metavar="FILE.json",
                        help="also write the quality figures of chapter 2")


def join_command(given: argparse.Namespace) -> int:
    """Join, say what matched, and write what was asked for. Returns the exit status."""
    file = given.measure
    ours = not file or not file.exists() or b"roles_sha256" in file.read_bytes()
    require(ours, f"--measure {file}: exists, and is no measurement of roles; give another name")
    joined = load_lima_role(given.mirror)
    print(joined)
    if given.out:
        folder = save_dataset(joined, given.out)
        print(f"written: {folder}; use it with data.train={folder / 'train.jsonl'}")
    if file:
        write_json(file, measure_quality(joined) | {"provenance": machine()})
        print(f"written: {file}")
    return 0
