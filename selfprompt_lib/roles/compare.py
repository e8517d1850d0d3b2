"""Several annotators side by side on the same samples, and what chapter 2 reports."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import stats
from ..errors import require
from ..rows import Conversation, read_rows
from .metrics import derangement, embed, question_ranks, role_table, summarize_roles
from .review import between_raters, verdicts


def live_role_table(
    rows: Sequence[dict[str, Any]], reference: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The live roles of chapter 1 as a `role_table`, with the answers of `reference`.

    Rows without a role are left out.
    """
    live = role_table([
        Conversation.model_validate(row | {"conversations": (row["question"],)})
        for row in rows if row["role"]
    ])
    if reference is None:
        return live
    answers = dict(zip(reference.id, reference.answer, strict=True))
    return live.assign(answer=live.id.map(answers).fillna(""))


def read_role_files(paths: Sequence[str], reference: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Other annotators' role files for the questions of `reference`, by file name.

    The annotate command writes such files.

    Raises:
        UserError: a file that is missing or malformed, or none of whose questions are among the
            reference's; two files of one name.
    """
    known = dict(zip(reference.question, reference.id, strict=True))
    frames: dict[str, pd.DataFrame] = {}
    for path in paths:
        name = Path(path).stem
        require(name not in (*frames, "reference", "live"),
                f"roles.files: {path}: other roles are named {name} too; rename it")
        frame = role_table(read_rows(Path(path), Conversation))
        frame = frame[frame.question.isin(known)].assign(id=lambda part: part.question.map(known))
        require(len(frame), f"roles.files: {path} has no role for any question of this run; "
                            "annotate the same data")
        frames[name] = frame.drop_duplicates("id").reset_index(drop=True)
    return frames


def same_samples(frames: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The rows that all (non-empty) frames have, in one order, so that they can be compared."""
    filled = {name: frame for name, frame in frames.items() if len(frame)}
    common = set.intersection(*(set(frame.id) for frame in filled.values())) if filled else set()
    if not common:
        return {}
    return {name: frame[frame.id.isin(common)].sort_values("id").reset_index(drop=True)
            for name, frame in filled.items()}


def compare_role_sets(
    model, frames: dict[str, pd.DataFrame], seed: int = 0
) -> dict[str, dict[str, Any]]:
    """`summarize_roles` for several sets on the same samples; an empty set is left out."""
    summaries = {}
    for name, frame in same_samples(frames).items():
        questions, roles = embed(model, frame.question), embed(model, frame.role)
        summaries[name] = summarize_roles(frame, questions, roles, seed)
    return summaries


def agreement_with_reference(
    model, frames: dict[str, pd.DataFrame], seed: int = 0
) -> dict[str, dict[str, float]]:
    """`annotator_agreement` of each set with the set `reference`, where samples are shared."""
    reference = frames["reference"]
    return {name: annotator_agreement(model, reference, frame, seed)
            for name, frame in frames.items()
            if name != "reference" and frame.id.isin(reference.id).sum() > 1}


def annotator_agreement(
    model, one: pd.DataFrame, other: pd.DataFrame, seed: int = 0
) -> dict[str, float]:
    """How alike two annotators' roles are for the same samples, against shuffled ones.

    Mean cosines. `finds the other's` is the share of roles whose nearest role of the other
    annotator is the one for the same sample. `experts` leaves the request out, so it does not
    share the question's words.
    """
    pair = same_samples({"one": one, "other": other})
    require(len(pair) == 2 and len(pair["one"]) > 1,
            "agreement needs two sets of roles with at least two samples in common")
    role_a, role_b = embed(model, pair["one"].role), embed(model, pair["other"].role)
    expert_a, expert_b = embed(model, pair["one"].expert), embed(model, pair["other"].expert)
    shuffled = expert_b[derangement(len(expert_b), seed)]
    return {
        "samples": len(role_a),
        "roles": float((role_a * role_b).sum(axis=1).mean()),
        "experts": float((expert_a * expert_b).sum(axis=1).mean()),
        "experts, shuffled": float((expert_a * shuffled).sum(axis=1).mean()),
        "finds the other's": float((question_ranks(role_b, role_a) == 0).mean()),
    }


def question_likeness(
    model, frames: dict[str, pd.DataFrame], seed: int = 0
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Cosines of roles with their own questions and with shuffled ones, on the same samples.

    By name of the set of roles.
    """
    found = {}
    for name, frame in same_samples(frames).items():
        questions, roles = embed(model, frame.question), embed(model, frame.role)
        shuffled = questions[derangement(len(frame), seed)]
        found[name] = (questions * roles).sum(axis=1), (shuffled * roles).sum(axis=1)
    return found


def rater_metrics(raters: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """What filled-in review sheets say, for the chapter's record; agreement of the first two."""
    agreed = between_raters(*raters[:2]).to_dict("records") if len(raters) > 1 else None
    return {"reviews": [verdicts(rater).to_dict("records") for rater in raters],
            "between_readers": agreed}


def rows_that_pass(readings: dict[str, Sequence[pd.DataFrame]]) -> pd.DataFrame:
    """The share of rows that pass all criteria, one row a rater of each reading."""
    return pd.DataFrame(
        {"reading": f"{name}, rater {number}", **stats.rate(sheet.passes).columns("share")}
        for name, sheets in readings.items() for number, sheet in enumerate(sheets, 1))


def rater_agreement(readings: dict[str, Sequence[pd.DataFrame]]) -> pd.DataFrame:
    """`between_raters` for the two raters of each reading, side by side."""
    tables = {name: between_raters(*pair).set_index("criterion")[["same verdict", "kappa"]]
              for name, pair in readings.items()}
    return pd.concat(tables, axis=1)


def roles_report(metrics: dict[str, Any], live: int, last: Sequence[pd.DataFrame]) -> str:
    """Chapter 2 in a few sentences (Markdown).

    Args:
        metrics: what the chapter recorded.
        live: how many roles the small model wrote.
        last: the sheets of the last reading of LIMA-Role.
    """
    reference, quality = metrics["reference"], metrics["lima_role"]
    measures, among = quality["measures"], "finds its question among"
    live_fits = "none do"
    if "live" in metrics["compared"]:
        on_same = {name: round(summary[f"{among} all"] * summary["roles"])
                   for name, summary in metrics["compared"].items()}
        live_fits = (f"{on_same['live']} do among themselves, of the reference roles for the same "
                     f"samples {on_same['reference']}")
    passed = " and ".join(str(stats.rate(sheet.passes)) for sheet in last)
    return (
        f"Of {reference['roles']} reference roles, **{reference['distinct experts']}** name a "
        f"different expert, and **{metrics['fits']}** find their own question first among all "
        f"(shuffled: {metrics['chance']}). Of the {live} roles that the small model wrote live, "
        f"{live_fits}. Open LIMA-Role has {quality['rows']:,} roles; of the "
        f"{quality['matched']:,} that were matched with LIMA and measured, "
        f"{100 * measures[f'{among} 100']:.0f}% find their question among 100 "
        f"(shuffled: {100 * measures['the same, shuffled']:.0f}%), and in the last reading "
        f"{passed} of 100 rows passed. Measures of fit are not measures of truth or wisdom: "
        "that is why people read."
    )
