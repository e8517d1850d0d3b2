"""Open LIMA-Role: the project's roles for the 1,030 training rows of LIMA, joined to the user's own copy (chapters 1 and 2).

The package holds no sentence of LIMA: only an index, the SHA-256 of the first prompt, and the role.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from .errors import UserError, require
from .files import write_json
from .hub import hub_rows
from .provenance import machine
from .rows import Conversation, Role, Sample, json_lines, parse_rows, read_rows

LIMA_ROLE_FOLDER = Path(__file__).parent / "resources" / "lima-role"
NAME = "lima-role"  # as a profile's data.train
LIMA = ("GAIR/lima", "plain_text", "train")
LEAST = 0.99  # matched share under which the copy of LIMA is taken to be another data set


class Entry(Role):
    """One line of `roles.jsonl`: a role, and the row of LIMA that it belongs to."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str  # the line's place in the file, which `read_rows` puts in
    index: int = Field(ge=0, strict=True)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


@dataclass(frozen=True)
class Joined:
    """What a join found: samples with roles, rows of LIMA without a role, and roles without a row (as indices)."""

    samples: list[Sample]
    unmatched: list[str]
    left_over: list[int]

    def __str__(self) -> str:
        text = f"{len(self.samples)} samples of LIMA have their roles"
        if self.unmatched:
            text += f"; without a role: {', '.join(self.unmatched[:10])}{' …' if len(self.unmatched) > 10 else ''}"
        if self.left_over:
            shown = ", ".join(map(str, self.left_over[:10]))
            text += f"; roles whose row is not in this copy: index {shown}{' …' if len(self.left_over) > 10 else ''}"
        return text


def digest(prompt: str) -> str:
    """SHA-256 of a first prompt in UTF-8, its white space collapsed, so that line endings do not matter."""
    return hashlib.sha256(" ".join(prompt.split()).encode()).hexdigest()


def entries(path: Path = LIMA_ROLE_FOLDER / "roles.jsonl") -> list[Entry]:
    """The project's roles, in LIMA's order.

    Raises:
        UserError: a malformed line, or an index or prompt that occurs twice.
    """
    found = read_rows(path, Entry)
    for field in ("index", "sha256"):
        seen: set[object] = set()
        for (line, _), entry in zip(json_lines(path), found, strict=True):
            value = getattr(entry, field)
            require(value not in seen, f"{path}, line {line}: {field} {value} occurs twice; keep one of the two lines")
            seen.add(value)
    return found


def join(rows: Sequence[dict], roles: Sequence[Entry]) -> Joined:
    """Put the roles to the rows of LIMA (its columns are `conversations` and `source`), matched by hash.

    A conversation that ends on a user turn loses that turn: it has no answer to learn.

    Raises:
        UserError: fewer than 99% matched, so that this is not LIMA, or not all of it.
    """
    by_hash = {entry.sha256: entry for entry in roles}
    samples, unmatched = [], []
    for conversation in parse_rows(rows, Conversation, "LIMA"):
        entry = by_hash.pop(digest(conversation.question), None)
        turns = conversation.conversations[: len(conversation.conversations) // 2 * 2]
        if entry is None or not turns:
            unmatched.append(conversation.id)
            continue
        role = Role(expert=entry.expert, brings=entry.brings, request=entry.request)
        samples.append(Sample(id=f"lima-{entry.index}", source=conversation.source, conversations=turns, role=role))
    joined = Joined(samples, unmatched, sorted(entry.index for entry in by_hash.values()))
    share = len(samples) / max(len(samples) + len(unmatched), len(roles))
    require(share >= LEAST, f"data.train: {100 * share:.1f}% of LIMA-Role matched, {100 * LEAST:.0f}% are needed; {joined}; "
                            "give LIMA's own training split (GAIR/lima, or a mirror of it in data.mirror)")
    return joined


def load(mirror: str | None = None) -> Joined:
    """LIMA-Role, from LIMA on the hub (which is gated: accept its terms there) or in a mirror folder."""
    return join(hub_rows(*LIMA, mirror=mirror), entries())


def dataset(samples: Sequence[Sample]):
    """The samples as a `datasets.Dataset`: id, source, conversations, messages, role (chapter 3 puts it into the messages)."""
    import datasets

    return datasets.Dataset.from_list([
        {"id": s.id, "source": s.source, "conversations": list(s.conversations), "messages": list(_messages(s)),
         "role": s.role.model_dump()}
        for s in samples
    ])


def _messages(sample: Sample) -> Iterator[dict[str, str]]:
    for number, turn in enumerate(sample.conversations):
        yield {"role": "assistant" if number % 2 else "user", "content": turn}


def save(joined: Joined, folder: Path) -> Path:
    """Write the joined data set with its card; `datasets.load_dataset(folder)` reads it, `data.train` takes its JSONL.

    Raises:
        UserError: the folder holds something else; nothing is overwritten.
    """
    card = folder / "README.md"
    ours = card.is_file() and "LIMA-Role" in card.read_text(encoding="utf-8")
    free = not folder.exists() or ours or (folder.is_dir() and not any(folder.iterdir()))
    require(free, f"--out {folder}: is a file or not empty; give a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder}: cannot make the folder ({error.strerror}); give another") from None
    dataset(joined.samples).to_json(folder / "train.jsonl", force_ascii=False)
    text = (LIMA_ROLE_FOLDER / "README.md").read_text(encoding="utf-8")
    text = text.replace("data_files: roles.jsonl", "data_files: train.jsonl")
    copy = ("`train.jsonl` has LIMA's own conversations beside the roles (id, source, conversations, messages, role), so LIMA's "
            f"terms hold for it. Joined by `selfprompt_lib`: {joined}.")
    card.write_text(f"{text}\n## This copy\n\n{copy}\n", encoding="utf-8")
    return folder


def measure(joined: Joined, embedder: str = "starter", seed: int = 0) -> dict[str, Any]:
    """The quality of LIMA-Role as chapter 2 measures it, on all of LIMA; written to `quality.json` (see `published`)."""
    from . import roles

    frame = roles.table(joined.samples)
    model = roles.embedder(embedder)
    questions, texts = roles.embed(model, frame.question), roles.embed(model, frame.role)
    ranks = roles.relevance(questions, texts)
    return {
        "measures": roles.summary(frame, questions, texts, seed),
        "by_source": roles.by_group(frame, ranks, "source").to_dict("records"),
        "least_fitting": roles.least_fitting(frame, questions, texts)[["fit", "rank", "expert", "request"]].to_dict("records"),
        "rows": len(entries()),
        "matched": len(joined.samples),
        "unmatched": joined.unmatched,
        "left_over": joined.left_over,
        "seed": seed,
        "embedder": embedder,
        "roles_sha256": hashlib.sha256((LIMA_ROLE_FOLDER / "roles.jsonl").read_bytes()).hexdigest(),
    }


def published() -> dict[str, Any]:
    """The committed `quality.json`: a measurement on LIMA, which readers of the book do not have.

    Raises:
        UserError: it was measured on another version of the roles.
    """
    quality = json.loads((LIMA_ROLE_FOLDER / "quality.json").read_text(encoding="utf-8"))
    now = hashlib.sha256((LIMA_ROLE_FOLDER / "roles.jsonl").read_bytes()).hexdigest()
    require(quality["roles_sha256"] == now, f"{LIMA_ROLE_FOLDER / 'quality.json'}: was measured on other roles; "
                                            "run `python -m selfprompt_lib lima-role --measure` on LIMA again")
    return quality


def reviews() -> dict[str, tuple[Path, ...]]:
    """The published review sheets: name of the reading → its readers' files."""
    folder = LIMA_ROLE_FOLDER / "reviews"
    names = sorted({path.stem.rsplit("-", 1)[0] for path in folder.glob("*.csv")})
    return {name: tuple(sorted(folder.glob(f"{name}-*.csv"))) for name in names}


def add(commands: argparse._SubParsersAction) -> None:
    """Add `python -m selfprompt_lib lima-role`."""
    go = commands.add_parser("lima-role", help="LIMA with the project's roles, as a data set of your own",
                             description="Join the 1,030 roles of open LIMA-Role to your own copy of LIMA.")
    go.add_argument("--out", type=Path, metavar="FOLDER", help="write train.jsonl and its data set card here")
    go.add_argument("--mirror", metavar="FOLDER", help="a folder in the hub's layout that holds GAIR/lima (else: the hub)")
    go.add_argument("--measure", type=Path, metavar="FILE.json", help="also write the quality figures of chapter 2")


def command(given: argparse.Namespace) -> int:
    """Join, say what matched, and write what was asked for. Returns the exit status."""
    joined = load(given.mirror)
    print(joined)
    if given.out:
        print(f"written: {save(joined, given.out)}; use it with data.train={given.out / 'train.jsonl'}")
    if given.measure:
        write_json(given.measure, measure(joined) | {"provenance": machine()})
        print(f"written: {given.measure}")
    return 0
