"""`python -m selfprompt_lib annotate`: annotate a file without a notebook."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import models, profiles
from ..errors import UserError, require
from ..files import write_rows
from ..llm_client.ask import ask_missing
from ..llm_client.endpoint import connect
from ..llm_client.response_cache import ResponseCache
from ..llm_client.run import PromptRun
from ..reading import user_path
from ..rows import ROLE, Conversation, drop_unanswered_turn, read_rows
from .outcomes import failures
from .strategy_prompt import annotation_prompt

ABOUT = """\
Have a model write a role for every row of a file: JSON lines, a JSON list, CSV or Parquet. Rows
have LIMA's or ShareGPT's conversations, OpenAI's messages, TRL's prompt, Alpaca's or Dolly's
instruction, or a question. Columns that are not used are named. OUT.jsonl gets the rows with roles
(data.train takes it), OUT.replies.jsonl every reply with its provenance, OUT.failed.jsonl the
rows without a role and why. Run the same command again after a stop: only what is missing is
asked. Exit status: 0 all rows have roles, 1 some do not, 2 bad input, 130 stopped by Ctrl-C."""

DEFAULTS = {"annotate.base_url": "https://api.openai.com/v1", "annotate.model": "gpt-5-mini",
            "annotate.max_tokens": 1000, "annotate.concurrency": 16, "annotate.tries": 3}
# What two cores can bear, with `--base-url local`.
LOCAL_DEFAULTS = {"annotate.base_url": None, "annotate.model": models.STARTER,
                  "annotate.max_tokens": 96, "annotate.concurrency": 24, "annotate.tries": 1}
ONLY_IN_CHAPTER_1 = ("samples", "train_on", "price_model")


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its arguments."""
    go = commands.add_parser("annotate", help="write a role for every row of a file",
                             description=ABOUT, epilog=_settings_help(),
                             formatter_class=argparse.RawDescriptionHelpFormatter)
    go.add_argument("--data", required=True, type=user_path, metavar="FILE",
                    help="rows to annotate")
    go.add_argument("--out", required=True, type=user_path, metavar="OUT.jsonl",
                    help="rows with their roles")
    go.add_argument("--base-url", metavar="URL",
                    help="an OpenAI-compatible server, or local (default: OpenAI's)")
    go.add_argument("--model", help="the model's name there (default: gpt-5-mini)")
    go.add_argument("--budget", type=float, metavar="DOLLARS",
                    help="stop before more than this is spent")
    go.add_argument("--mode", choices=("live", "batch"),
                    help="one by one (default), or by the Batch API")
    go.add_argument("--strategy", metavar="NAME",
                    help="what is written: role (default), plan, rephrase, step-back, knowledge, "
                    "or the .yaml file of a strategy of your own")
    go.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE",
                    help="another setting, such as annotate.concurrency=32 (below)")


def _settings_help() -> str:
    """The settings of annotation with their meaning and defaults, for --help."""
    lines = ["settings:"]
    for name, field in profiles.Annotate.model_fields.items():
        if name not in ONLY_IN_CHAPTER_1:
            default = json.dumps(DEFAULTS.get(f"annotate.{name}", field.default))
            lines.append(f"  annotate.{name:<20} {field.description} [{default}]")
    return "\n".join(lines)


def settings(given: argparse.Namespace) -> profiles.Profile:
    """The profile that the arguments make, on top of the defaults."""
    local = given.base_url == "local"
    chosen = (LOCAL_DEFAULTS if local else DEFAULTS) | profiles.parse_settings(given.set)
    for name in ("base_url", "model", "budget", "mode", "strategy"):
        value = getattr(given, name)
        if value is not None:
            chosen[f"annotate.{name}"] = value
    if local:
        chosen["annotate.base_url"] = None
    strategy = chosen.get("annotate.strategy", ROLE)
    if strategy != ROLE:
        chosen["design"] = strategy  # its own, as a profile names the same in both
    return profiles.load("cpu", chosen)


def run(given: argparse.Namespace) -> int:
    """Check all that can be checked without the server, then ask. Returns the exit status."""
    profile, out = settings(given), given.out
    require(out.suffix == ".jsonl", f"--out {out}: give a name that ends in .jsonl")
    beside = [out.with_suffix(end) for end in (".replies.jsonl", ".failed.jsonl", ".batches.json")]
    require(given.data.resolve() not in [path.resolve() for path in (out, *beside)],
            f"--out {out}: the data file {given.data} would be written over; give another name")
    replies, failed, _ = beside
    foreign = [path for path in (out, failed) if path.exists() and not replies.exists()]
    if foreign:
        raise UserError(f"--out {out}: {foreign[0]} exists and was not written by this command; "
                        "give another name")
    data = read_rows(given.data, Conversation)  # a bad row stops here, before it costs
    turns = [len(row.conversations) for row in data]
    unanswered = sum(count % 2 and count > 1 for count in turns)
    if unanswered:
        print(f"{unanswered} conversations end on a user turn without an answer: {out.name} leaves "
              "that turn out")
    return asyncio.run(_annotate(profile, data, out))


async def _annotate(profile: profiles.Profile, data: Sequence[Conversation], out: Path) -> int:
    prompt = annotation_prompt(profile.annotate)
    with ResponseCache(out.with_suffix(".replies.jsonl")) as cache:
        endpoint = await connect(profile)
        try:
            asked = PromptRun(endpoint, prompt, cache)
            await ask_missing(asked, data, out.with_suffix(".batches.json"))
        finally:
            endpoint.stop()
            await endpoint.client.close()
        return _write(asked, data, out)


def _write(asked: PromptRun, data: Sequence[Conversation], out: Path) -> int:
    """Write the rows with roles and the list of those without; say what became of all."""
    rows = list(asked.rows(data))
    pairs = zip(data, rows, strict=True)
    write_rows(out, [_with_role(sample, row) for sample, row in pairs if row["role"]])
    failed = failures(rows)
    write_rows(out.with_suffix(".failed.jsonl"), failed)
    for row in failed[:5]:
        print(f"  {row['id']}: {row['outcome']}: {row['reason']}")
    listed = f" ({out.with_suffix('.failed.jsonl')})" if failed else ""
    print(f"{out}: roles written; spent in all: {asked.price.spent_text()}; "
          f"without a role: {len(failed)}{listed}")
    if asked.stopped:
        print(f"stopped: {asked.stopped}; run the same command to go on", file=sys.stderr)
    return 130 if asked.stopped == "Ctrl-C" else 1 if failed else 0


def _with_role(sample: Conversation, row: dict) -> dict:
    """The sample with its role; a last user turn without an answer cannot be trained on."""
    turns = drop_unanswered_turn(sample.conversations) or sample.conversations
    return sample.model_dump(mode="json") | {"conversations": turns, "role": row["role"]}
