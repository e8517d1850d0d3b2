"""`python -m selfprompt_lib annotate`: annotate a JSONL file without a notebook."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from .. import models, profiles
from ..errors import require
from ..llm_client.ask import ask_all, estimate, first_call, statement
from ..llm_client.batch import ask_in_batches
from ..llm_client.endpoint import connect
from ..llm_client.job import PromptRun, spent
from ..llm_client.response_cache import ResponseCache
from ..rows import Conversation, stream_rows, write_rows
from .outcomes import failures
from .role_prompt import RolePrompt

ABOUT = """\
Have a model write a role for every row of a JSONL file. Rows have LIMA's conversations, TRL's messages or
prompt, Alpaca's instruction, or a question. OUT.jsonl gets the rows with their roles (data.train takes it),
OUT.replies.jsonl every reply with its provenance, OUT.failed.jsonl the rows without a role and why.
Run the same command again after a stop: only what is missing is asked.
Exit status: 0 all rows have roles, 1 some do not, 2 bad input, 130 stopped by Ctrl-C."""

DEFAULTS = {"annotate.base_url": "https://api.openai.com/v1", "annotate.model": "gpt-5-mini",
            "annotate.max_tokens": 1000, "annotate.concurrency": 16, "annotate.tries": 3}


def _fields() -> str:
    """The settings of annotation with their defaults and what they mean, for --help."""
    only_chapter_1 = ("samples", "train_on", "price_model")
    here = {name: field for name, field in profiles.Annotate.model_fields.items() if name not in only_chapter_1}
    default = {name: json.dumps(DEFAULTS.get(f"annotate.{name}", field.default)) for name, field in here.items()}
    lines = [f"  annotate.{name:<20} {field.description} [{default[name]}]" for name, field in here.items()]
    return "settings:\n" + "\n".join(lines)


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its arguments."""
    go = commands.add_parser("annotate", help="write a role for every row of a JSONL file", description=ABOUT, epilog=_fields(),
                             formatter_class=argparse.RawDescriptionHelpFormatter)
    go.add_argument("--data", required=True, type=Path, metavar="FILE.jsonl", help="rows to annotate")
    go.add_argument("--out", required=True, type=Path, metavar="OUT.jsonl", help="rows with their roles")
    go.add_argument("--base-url", metavar="URL", help="an OpenAI-compatible server, or local (default: OpenAI's)")
    go.add_argument("--model", help="the model's name there (default: gpt-5-mini)")
    go.add_argument("--budget", type=float, metavar="DOLLARS", help="stop before more than this is spent")
    go.add_argument("--mode", choices=("live", "batch"), help="one by one (default), or by the Batch API")
    go.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE",
                    help="another setting, such as annotate.concurrency=32 (below)")


def settings(given: argparse.Namespace) -> profiles.Profile:
    """The profile that the arguments make, on top of `DEFAULTS`."""
    chosen = DEFAULTS | profiles.parse_settings(given.set)
    for name in ("base_url", "model", "budget", "mode"):
        if getattr(given, name) is not None:
            chosen[f"annotate.{name}"] = getattr(given, name)
    if given.base_url == "local":
        small = {"annotate.max_tokens": 96, "annotate.concurrency": 24, "annotate.tries": 1}  # what two cores can bear
        chosen |= small | profiles.parse_settings(given.set)
        chosen |= {"annotate.base_url": None, "annotate.model": given.model or models.STARTER}
    return profiles.load("cpu", chosen)


def run(given: argparse.Namespace, say: Callable[[str], None] = print) -> int:
    """Check everything that can be checked without the server, then ask. Returns the exit status."""
    profile, out = settings(given), given.out
    log = out.with_suffix(".replies.jsonl")
    require(out.suffix == ".jsonl", f"--out {out}: give a name that ends in .jsonl")
    require(out.resolve() != given.data.resolve(), f"--out {out}: this is the data file; give another name")
    require(not out.exists() or log.exists(), f"--out {out}: exists and was not written by this command; give another name")
    turns = [len(row.conversations) for row in stream_rows(given.data, Conversation)]  # a bad row stops here, before it costs
    rows, open_ended = len(turns), sum(count % 2 and count > 1 for count in turns)
    if open_ended:
        say(f"{open_ended} conversations end on a user turn without an answer: {out.name} leaves that turn out")
    return asyncio.run(_ask(profile, given.data, out, log, rows, say))


async def _ask(profile: profiles.Profile, data: Path, out: Path, log: Path, total: int, say: Callable[[str], None]) -> int:
    def samples() -> Iterator[Conversation]:
        return stream_rows(data, Conversation)

    with ResponseCache(log) as replies:
        endpoint = await connect(profile)
        try:
            job = PromptRun.of(endpoint, RolePrompt.from_settings(profile.annotate), replies)
            first = None if profile.annotate.mode == "batch" else await first_call(job, samples())
            plan = estimate(job, samples(), first)
            say(statement(job, plan))
            if profile.annotate.mode == "batch":
                await ask_in_batches(job, samples(), out.with_suffix(".batches.json"), say)
            else:
                await ask_all(job, samples(), total, plan["done"])
        finally:
            endpoint.stop()
            await endpoint.client.close()
        return _write(job, samples, out, say)


def _write(job: PromptRun, samples: Callable[[], Iterator[Conversation]], out: Path, say: Callable[[str], None]) -> int:
    """Write the rows with roles and the list of those without; say what became of all."""
    kept = (_with_role(sample, row) for sample, row in zip(samples(), job.rows(samples()), strict=True) if row["role"])
    write_rows(out, kept)
    failed = failures(job.rows(samples()))
    write_rows(out.with_suffix(".failed.jsonl"), failed)
    for row in failed[:5]:
        say(f"  {row['id']}: {row['outcome']}: {row['reason']}")
    listed = f" ({out.with_suffix('.failed.jsonl')})" if failed else ""
    say(f"{out}: roles written; spent in all: {spent(job)}; without a role: {len(failed)}{listed}")
    if job.stopped:
        print(f"stopped: {job.stopped}; run the same command to go on", file=sys.stderr)
    return 130 if job.stopped == "Ctrl-C" else 1 if failed else 0


def _with_role(sample: Conversation, row: dict) -> dict:
    """The sample with its role; a last user turn without an answer, which nobody can train on, is left out."""
    kept = sample.conversations
    kept = kept[: len(kept) - len(kept) % 2] or kept
    return sample.model_dump(mode="json") | {"conversations": kept, "role": row["role"]}
