"""Examine a judge on control pairs, and write its column of the table of judges.

`python book/studies/judge_table.py` renews the table of the page *The judge* (book/judge.md).
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pages import require_own, table, written_by

from selfprompt_lib.cli import add_profile_arguments, chosen_profile, run_command
from selfprompt_lib.errors import require
from selfprompt_lib.evaluate.judge_exam import EXPECTED, JudgeExam, judge_exam
from selfprompt_lib.files import write_json
from selfprompt_lib.llm_client.endpoint import connect
from selfprompt_lib.profiles import Profile
from selfprompt_lib.stats import Estimate

MARK = written_by("judge_table.py")
FORMER_MARK = "<!-- Written by selfprompt_lib.evaluate.examine:"
SUMMARY = {
    "accuracy": "**all pairs**",
    "position": "position bias",
    "length": "length bias",
    "consistency": "same verdict in both orders",
    "unread": "replies without a verdict",
}
ABOUT = """\
Examine a judge on control pairs and write what came of it for the book's page "The judge"
(book/judge.md): a Markdown table and, beside it, the same as JSON. A judge that was examined before
keeps its column; the one examined now is put in or replaced.
Exit status: 0 the judge may be used, 1 it may not, 2 bad input."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns 0 for a judge that may be used, else 1; UserError on bad input."""
    given = _parser().parse_args(arguments)
    known = _known(given.out)
    profile = chosen_profile(given)
    exam = asyncio.run(_exam(profile, given.folder))
    require(not exam.silent, exam.statement())
    bar = profile.judge.model_dump(include={"bar", "position_bias", "length_bias", "pairs"})
    known[given.name or exam.judge] = asdict(exam) | {
        "settings": bar,
        "measured": f"{datetime.now(UTC):%Y-%m-%d}",
    }
    write_json(given.out.with_suffix(".json"), known)
    given.out.write_text(fragment(known), encoding="utf-8")
    print(exam.statement())
    return 0 if exam.fit else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=ABOUT,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_profile_arguments(parser, "judge.base_url=https://api.openai.com/v1 or judge.pairs=6")
    parser.add_argument("--out", type=Path, default=Path("book/measured/judge.md"),
                        metavar="FILE.md",
                        help="the table; FILE.json is written beside it (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("runs/judge"),
                        help="where replies are kept: run again, and only what is missing is asked "
                             "(default: %(default)s)")
    parser.add_argument("--name", help="the judge's name in the table (default: the model's)")
    return parser


def _known(out: Path) -> dict[str, Any]:
    """The examinations of an earlier run, by the judge's name.

    Raises:
        UserError: an `out` that this command did not write.
    """
    require_own(out, MARK, FORMER_MARK)
    saved = out.with_suffix(".json")
    require(saved.is_file() or not out.exists(),
            f"--out {out}: exists without {saved.name} beside it; give another name")
    return json.loads(saved.read_text(encoding="utf-8")) if out.exists() else {}


async def _exam(profile: Profile, folder: Path) -> JudgeExam:
    endpoint = await connect(profile, profile.judge)
    try:
        return await judge_exam(endpoint, profile, folder)
    finally:
        endpoint.stop()
        await endpoint.client.close()


def fragment(known: Mapping[str, dict[str, Any]]) -> str:
    """The examinations as a Markdown table with one column a judge."""

    def row(title: str, cells: Mapping[str, str]) -> dict[str, str]:
        return {"": title, **cells}

    def shares(title: str, values: Mapping[str, dict[str, Any] | None]) -> dict[str, str]:
        return row(title, {judge: "–" if value is None else _unbroken(Estimate(**value))
                           for judge, value in values.items()})

    rows = [
        *(shares(kind, {judge: one["kinds"][kind] for judge, one in known.items()})
          for kind in EXPECTED),
        *(shares(title, {judge: one[name] for judge, one in known.items()})
          for name, title in SUMMARY.items()),
        row("pairs", {judge: str(one["pairs"]) for judge, one in known.items()}),
        row("measured", {judge: one["measured"] for judge, one in known.items()}),
        row("**may judge**",
            {judge: "**yes**" if one["fit"] else "**no**" for judge, one in known.items()}),
    ]
    return "\n".join([MARK, "", *table(rows), ""])


def _unbroken(estimate: Estimate) -> str:
    return str(estimate).replace(" ", "\N{NO-BREAK SPACE}")


if __name__ == "__main__":
    sys.exit(run_command(main))
