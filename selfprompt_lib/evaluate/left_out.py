"""Does a model prompt itself in domains that it was not trained on? Two models, each trained on half of them (chapter 5).

`python -m selfprompt_lib.evaluate.left_out --out book/measured/left-out.md` measures it. Every question is asked of a
model that was trained on its domain and of one that was not, so the questions are their own control.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from .. import profiles, sft, sources
from ..designs import get_design
from ..errors import UserError, require
from ..files import write_json
from ..pipeline.provenance import describe
from ..profiles import Profile
from ..roles.metrics import embedder
from ..rows import DOMAINS
from ..two_way import Effect, two_way_interval
from . import robust
from .words import points

HALVES = DOMAINS[::2], DOMAINS[1::2]
MARK = "<!-- Written by selfprompt_lib.evaluate.left_out: run it again rather than change this. -->"
MEASURES = {"role_written": "roles written", "fits": "roles nearer to their question than to a shuffled one"}
ABOUT = """\
Train two self-prompt models a seed, each on five of the ten domains, ask both all held-out questions, and write what
came of it: a Markdown table for the book and, beside it, every reply's measures as JSON.
Exit status: 0 measured, 2 bad input."""


def measure(profile: Profile, folder: Path, say: Callable[[str], None] = print) -> pd.DataFrame:
    """One row a question, seed and model: id, domain, seed, `trained` (on its domain), and the columns of `robust.measured`.

    Args:
        folder: the trainers' checkpoints, where the profile keeps any.

    Raises:
        UserError: training data without domains or roles.
    """
    design, samples, questions = get_design(profile.design), sources.training_samples(profile), robust.left_out(DOMAINS)
    minilm, frames, runs = embedder(profile.roles.embedder), [], sft.seeds(profile)
    rows = min(profile.data.train_rows or len(samples), *(len(_of(samples, half)) for half in HALVES))
    say(f"{2 * len(runs)} models to train, each on {rows} samples of five domains; {len(questions)} questions for each")
    for one in runs:
        for half in HALVES:
            mine = sources.take_evenly_spaced(_of(samples, half), rows)
            sources.check_roles(one, mine)
            model, tokenizer, _ = sft.train(one, mine, design, folder)
            asked = robust.ask(model, tokenizer, one, design, questions, label=f"asking, seed {one.seed}")
            frame = robust.measured(asked, minilm, one.seed)
            frames.append(frame.assign(seed=one.seed, trained=frame.domain.isin(half), rows=rows))
    return pd.concat(frames, ignore_index=True)


def _of(samples: Sequence, half: Sequence[str]) -> list:
    return robust.without(samples, [domain for domain in DOMAINS if domain not in half])


def change(frame: pd.DataFrame, column: str) -> Effect:
    """The model trained on other domains minus the one trained on the question's, over questions and seeds.

    Only questions for which every model has the measure (a role that was not written has no fit).

    Raises:
        UserError: there is no such question.
    """
    wide = frame.pivot(index="id", columns=["trained", "seed"], values=column).dropna().astype(float)
    require(len(wide), f"{column}: no question has it for every model")
    return two_way_interval((wide[False] - wide[True]).to_numpy())


def fragment(frame: pd.DataFrame, profile: Profile) -> str:
    """The table for the book, and what made it."""
    lines = [MARK, "", "|  | domain trained on | domain left out | difference in points, 95% interval | p | questions |",
             "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for column, title in MEASURES.items():
        shares = {trained: part[column].dropna().mean() for trained, part in frame.groupby("trained")}
        if (frame.groupby("id")[column].count() == frame.groupby("id").size()).any():
            effect = change(frame, column)
            told = f"{points(effect.value)} [{points(effect.low)}, {points(effect.high)}] | {effect.p:.2f} | {effect.n}"
        else:
            told = "– | – | 0"
        lines.append(f"| {title} | {_percent(shares[True])} | {_percent(shares[False])} | {told} |")
    lines += ["", "| roles written | domain trained on | domain left out | replies of each |", "| --- | ---: | ---: | ---: |"]
    for domain, part in frame.groupby("domain", sort=False):
        shares = part.groupby("trained").role_written.mean()
        lines.append(f"| {domain} | {_percent(shares[True])} | {_percent(shares[False])} | {len(part) // 2} |")
    seeds = frame.seed.nunique()
    made = (f"*{profile.model}, {frame.rows.iloc[0]} samples of {profile.data.train} a model, {seeds} training "
            f"seed{'s' * (seeds > 1)}, replies of {profile.infer.max_new_tokens} tokens at most; {datetime.now(UTC):%Y-%m-%d}.*")
    return "\n".join([*lines, "", made, ""])


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{100 * share:.0f}%"


def main(arguments: list[str] | None = None) -> int:
    """`python -m selfprompt_lib.evaluate.left_out`; returns the exit status."""
    top = argparse.ArgumentParser(prog="python -m selfprompt_lib.evaluate.left_out", description=ABOUT,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    profiles.add_arguments(top, "sft.seeds=3 or data.train_rows=32")
    top.add_argument("--out", type=Path, required=True, metavar="FILE.md", help="the table; FILE.json is written beside it")
    given = top.parse_args(arguments)
    try:
        require(given.out.suffix == ".md", f"--out {given.out}: give a name that ends in .md")
        require(not given.out.exists() or given.out.read_text(encoding="utf-8").startswith(MARK),
                f"--out {given.out}: exists and was not written by this command; give another name")
        profile = profiles.load(given.profile, profiles.parse_settings(given.set))
        frame = measure(profile, Path("runs/left-out"))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    columns = ["id", "domain", "seed", "trained", "role_written", "fit", "shuffled", "fits"]
    kept = frame[columns].astype(object).where(frame[columns].notna(), None)
    write_json(given.out.with_suffix(".json"), describe(profile) | {"replies": kept.to_dict("records")})
    given.out.write_text(fragment(frame, profile), encoding="utf-8")
    print(fragment(frame, profile))
    return 0


if __name__ == "__main__":
    sys.exit(main())
