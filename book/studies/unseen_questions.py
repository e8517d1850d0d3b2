"""Does the default run show the method? Rates on fifty questions that no setting was chosen on.

`python book/studies/unseen_questions.py --run runs/cpu` asks the models of a finished run and
renews the table on *Where this book differs* (book/deviations.md). No reply is kept or printed.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from pages import made_with, require_own, table, written_by

from selfprompt_lib import infer, models, stats
from selfprompt_lib.cli import run_command
from selfprompt_lib.designs import get_design
from selfprompt_lib.errors import require
from selfprompt_lib.evaluate.open_ended import repetition
from selfprompt_lib.profiles import Profile
from selfprompt_lib.rows import STARTER_FOLDER, Question, read_rows

MARK = written_by("unseen_questions.py")
ARMS = ("self-prompt", "baseline")
ABOUT = """\
Ask the models of a finished run the fifty unseen questions, as chapter 4 asks, and write how often
a role was written, a second role stood in place of an answer, and a reply ended by itself.
Exit status: 0 written, 2 bad input."""


def rates(rows: list[dict[str, Any]], profile: Profile) -> dict[str, str]:
    """The table's cells for one model, from the rows of `infer.ask_questions`."""
    opening = get_design(profile.design).opening
    least = profile.infer.max_new_tokens - 4  # the parts, counted alone, may have a token less
    ended = [row["role_tokens"] + row["answer_tokens"] < least for row in rows]
    repeated = pd.Series([repetition(row["answer"]) for row in rows])
    return {
        "a role, then an answer": str(stats.rate([infer.wrote_role(row) for row in rows])),
        "a second role in place of the answer": str(
            stats.rate([opening.strip() in row["answer"] for row in rows])),
        "ended by itself": str(stats.rate(ended)),
        "repeated four-word runs": f"{repeated.mean():.1%}",
        "tokens of role and answer": " + ".join(
            f"{pd.DataFrame(rows)[part].mean():.0f}" for part in ("role_tokens", "answer_tokens")),
    }


def measure(run: Path) -> tuple[dict[str, dict[str, str]], Profile]:
    """The cells of each model of a run's folder, and its profile.

    Raises:
        UserError: chapter 3 has not run there.
    """
    record = run / "sft" / "stage.json"
    require(record.is_file(), f"--run {run}: no sft/stage.json; run chapter 3 there first")
    provenance = json.loads(record.read_text(encoding="utf-8"))["provenance"]
    profile = Profile.model_validate(provenance["profile"])
    questions, found = read_rows(STARTER_FOLDER / "unseen.jsonl", Question), {}
    for arm in ARMS:
        model, tokenizer = models.load(str(run / "sft" / arm), profile.dtype)
        rows = infer.ask_questions(model, tokenizer, profile, get_design(profile.design), questions,
                                   label=arm)
        found[arm] = rates(rows, profile)
    return found, profile


def main(arguments: list[str] | None = None) -> None:
    """The command; raises UserError on bad input."""
    parser = argparse.ArgumentParser(description=ABOUT,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, metavar="FOLDER",
                        help="a run's folder, such as runs/cpu")
    parser.add_argument("--out", type=Path, default=Path("book/measured/unseen.md"),
                        metavar="FILE", help="where it is written (default: %(default)s)")
    given = parser.parse_args(arguments)
    require_own(given.out, MARK)
    found, profile = measure(given.run)
    lines = [{"": name, **{arm: found[arm][name] for arm in ARMS}} for name in found[ARMS[0]]]
    precision = str(models.dtype_for(profile.dtype)).removeprefix("torch.")
    note = f"*Profile `{profile.name}`, seed {profile.seed}, {precision}; " \
           f"{made_with('torch', 'transformers')}. 95% Wilson intervals.*"
    given.out.write_text("\n".join([MARK, "", *table(lines), "", note, ""]), encoding="utf-8")
    print(given.out)


if __name__ == "__main__":
    sys.exit(run_command(main))
