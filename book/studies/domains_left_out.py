"""Does a model prompt itself in domains it was not trained on? Two models, each trained on half.

`python book/studies/domains_left_out.py` renews the section on domains left out of training of the
page *Robustness* (book/robustness.md). Every question is asked of a model that was trained on its
domain and of one that was not, so the questions are their own control.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from pages import require_own, table, written_by

from selfprompt_lib import sft, sources
from selfprompt_lib.cli import add_profile_arguments, chosen_profile, run_command
from selfprompt_lib.designs import get_design
from selfprompt_lib.errors import require
from selfprompt_lib.evaluate import robustness
from selfprompt_lib.evaluate.report import points
from selfprompt_lib.files import write_json
from selfprompt_lib.profiles import Profile, seed_profiles
from selfprompt_lib.provenance import describe
from selfprompt_lib.roles.metrics import load_embedder
from selfprompt_lib.rows import DOMAINS, STARTER_FOLDER, Question, Sample, read_rows
from selfprompt_lib.two_way import Effect, two_way_interval

HALVES = DOMAINS[::2], DOMAINS[1::2]
MARK = written_by("domains_left_out.py")
FORMER_MARK = "<!-- Written by selfprompt_lib.evaluate.left_out:"
MEASURES = {
    "role_written": "roles written",
    "fits": "roles nearer to their question than to a shuffled one",
}
KEPT = ["id", "domain", "seed", "trained", "role_written", "fit", "shuffled", "fits"]
ABOUT = """\
Train two self-prompt models a seed, each on five of the ten domains, ask both all held-out
questions, and write what came of it: a Markdown table for the book's page "Robustness"
(book/robustness.md) and, beside it, every reply's measures as JSON.
Exit status: 0 measured, 2 bad input."""


def measure(profile: Profile, folder: Path, say: Callable[[str], None] = print) -> pd.DataFrame:
    """A row a question, seed and model: `trained` (on its domain) and what `measure_probes` finds.

    Args:
        folder: the trainers' checkpoints, where the profile keeps any.

    Raises:
        UserError: training data without domains or roles.
    """
    design, samples = get_design(profile.design), sources.training_samples(profile)
    halves = [without_domains(samples, other) for other in HALVES[::-1]]
    questions = heldout_probes(DOMAINS)
    minilm, frames, runs = load_embedder(profile.roles.embedder), [], seed_profiles(profile)
    rows = min(profile.data.train_rows or len(samples), *map(len, halves))
    say(f"{2 * len(runs)} models to train, each on {rows} samples of five domains; "
        f"{len(questions)} questions for each")
    for run in runs:
        for domains, half in zip(HALVES, halves, strict=True):
            mine = sources.take_evenly_spaced(half, rows)
            sources.check_roles(run, mine)
            model, tokenizer, _ = sft.train(run, mine, design, folder)
            asked = robustness.ask_probes(model, tokenizer, run, design, questions,
                                          label=f"asking, seed {run.seed}")
            frame = robustness.measure_probes(asked, minilm, run.seed)
            trained = frame.domain.isin(domains)
            frames.append(frame.assign(seed=run.seed, trained=trained, rows=rows))
    return pd.concat(frames, ignore_index=True)


def without_domains(samples: Sequence[Sample], domains: Sequence[str]) -> list[Sample]:
    """Training samples that are not of these domains, to train a model that never saw them.

    Raises:
        UserError: a domain that no sample has, or no sample left.
    """
    unknown = set(domains) - {sample.domain for sample in samples}
    require(not unknown, f"without_domains: no sample has the domain {', '.join(sorted(unknown))}; "
                         "name domains of the training data")
    kept = [sample for sample in samples if sample.domain not in domains]
    require(kept, "without_domains: no sample is left to train on; leave out fewer domains")
    return kept


def heldout_probes(domains: Sequence[str]) -> list[robustness.Probe]:
    """The starter's held-out questions of these domains, for a model trained `without_domains`.

    Raises:
        UserError: an unknown domain.
    """
    unknown = set(domains) - set(DOMAINS)
    require(not unknown, f"heldout_probes: no domain {', '.join(sorted(unknown))}; "
                         f"choose of {', '.join(DOMAINS)}")
    questions = read_rows(STARTER_FOLDER / "heldout.jsonl", Question)
    return [robustness.Probe(id=row.id, kind="domain left out", question=row.question,
                             domain=row.domain, note=row.domain)
            for row in questions if row.domain in domains]


def change(frame: pd.DataFrame, column: str) -> Effect:
    """The model trained on other domains minus the one trained on the question's.

    Over questions and seeds, with an interval. Only questions for which every model has the
    measure (a role that was not written has no fit).

    Raises:
        UserError: there is no such question.
    """
    wide = frame.pivot(index="id", columns=["trained", "seed"], values=column)
    wide = wide.dropna().astype(float)
    require(len(wide), f"{column}: no question has it for every model")
    return two_way_interval((wide[False] - wide[True]).to_numpy())


def fragment(frame: pd.DataFrame, profile: Profile) -> str:
    """The tables for the book, and what made them."""
    measures = [_row(frame, column, title) for column, title in MEASURES.items()]
    domains = []
    for domain, part in frame.groupby("domain", sort=False):
        shares = part.groupby("trained").role_written.mean()
        domains.append({"roles written": domain, "domain trained on": _percent(shares[True]),
                        "domain left out": _percent(shares[False]),
                        "replies of each": str(len(part) // 2)})
    seeds = frame.seed.nunique()
    made = (f"*{profile.model}, {frame.rows.iloc[0]} samples of {profile.data.train} a model, "
            f"{seeds} training seed{'s' * (seeds > 1)}, replies of {profile.infer.max_new_tokens} "
            f"tokens at most; {datetime.now(UTC):%Y-%m-%d}.*")
    return "\n".join([MARK, "", *table(measures), "", *table(domains), "", made, ""])


def _row(frame: pd.DataFrame, column: str, title: str) -> dict[str, str]:
    """One measure: its share for both kinds of models, and the difference."""
    shares = {trained: part[column].dropna().mean() for trained, part in frame.groupby("trained")}
    difference, p, n = "–", "–", "0"
    if (frame.groupby("id")[column].count() == frame.groupby("id").size()).any():
        effect = change(frame, column)
        difference = f"{points(effect.value)} [{points(effect.low)}, {points(effect.high)}]"
        p, n = f"{effect.p:.2f}", str(effect.n)
    return {"": title, "domain trained on": _percent(shares[True]),
            "domain left out": _percent(shares[False]),
            "difference in points, 95% interval": difference, "p": p, "questions": n}


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{100 * share:.0f}%"


def main(arguments: list[str] | None = None) -> None:
    """The command; raises UserError on bad input."""
    parser = argparse.ArgumentParser(description=ABOUT,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_profile_arguments(parser, "sft.seeds=3 or data.train_rows=32")
    parser.add_argument("--out", type=Path, default=Path("book/measured/left-out.md"),
                        metavar="FILE.md",
                        help="the tables; FILE.json is written beside it (default: %(default)s)")
    given = parser.parse_args(arguments)
    require_own(given.out, MARK, FORMER_MARK)
    profile = chosen_profile(given)
    frame = measure(profile, Path("runs/left-out"))
    kept = frame[KEPT].astype(object).where(frame[KEPT].notna(), None)
    replies = {"replies": kept.to_dict("records")}
    write_json(given.out.with_suffix(".json"), describe(profile) | replies)
    given.out.write_text(fragment(frame, profile), encoding="utf-8")
    print(fragment(frame, profile))


if __name__ == "__main__":
    sys.exit(run_command(main))
