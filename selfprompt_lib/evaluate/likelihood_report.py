"""What the contrasts of likelihoods say, in plain words (chapter 5)."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..stats import signed
from .compare import ALL
from .contrasts import CONTRASTS, TEXT, Contrast
from .prefixes import NEUTRAL, NEUTRAL_TEXT, NOTHING, OWN_ROLE
from .results import BASELINE, OTHER, OWN

PRIMARY, AGAINST_NEUTRAL = (each.label for each in CONTRASTS if each.primary)
ANOTHER = Contrast((OWN, OWN_ROLE), (OWN, OTHER)).label
TAKEN_AWAY = Contrast((OWN, OWN_ROLE), (OWN, NOTHING)).label
PUT_BEFORE = Contrast((BASELINE, OWN_ROLE), (BASELINE, NOTHING)).label
PARAGRAPH = Contrast((NEUTRAL, NEUTRAL_TEXT), (BASELINE, NOTHING)).label
# (contrast, the question that it answers, what is compared)
QUESTIONS = (
    (PRIMARY, "Does a role help?",
     "the self-prompt model behind its own role against the baseline"),
    (AGAINST_NEUTRAL, "Does it beat a neutral paragraph?",
     "the self-prompt model behind its own role against the model that was tuned with a neutral "
     "paragraph, behind that"),
    (ANOTHER, "Is it the right role that counts?",
     "the self-prompt model behind its own role against the same model behind another question's"),
    (TAKEN_AWAY, "And with its role taken away?",
     "the self-prompt model behind its own role against the same model behind none"),
    (PUT_BEFORE, "Does the role help a model that was not trained to write one?",
     "the baseline behind the self-prompt model's role against itself behind none"),
    (PARAGRAPH, "Does any paragraph do as much?",
     "the model tuned with a neutral paragraph against the baseline"),
)
CAUTION = ("This is not the gain of a role: it holds what it costs a model to begin in another way "
           "than it was trained to.")


def likelihood_text(contrasts: pd.DataFrame, needed: pd.DataFrame | None = None,
                    gates: pd.DataFrame | None = None) -> str:
    """Does a role help, does the right one, does it beat a neutral paragraph, and how sure is that?

    Args:
        contrasts: of `likelihood_contrasts`, of one measure or of several one below the other.
        needed: of `likelihood_sizes`, in the same way.
        gates: of `gate`.

    Returns:
        Markdown: a list of questions and answers for open questions, and one for each form and
        measure of choices.
    """
    if contrasts.empty:
        return "No two models and prefixes were measured that could be compared."
    paragraphs = []
    for (form, measure), part in contrasts.groupby(["form", "measure"], sort=False):
        whole = part[part.task == ALL].set_index("contrast")
        more = None if needed is None else needed[
            (needed.form == form) & (needed.measure == measure)].set_index("contrast")
        single = part[(part.task != ALL) & part.interpreted]
        answers = "\n".join(_answers(form, whole, single))
        paragraphs += [_tasks(form, part, gates), answers, " ".join(_limits(whole, more))]
    return "\n\n".join(filter(None, paragraphs))


def _tasks(form: str, part: pd.DataFrame, gates: pd.DataFrame | None) -> str:
    """What is measured, and which tasks are left out."""
    if form == TEXT:
        return f"**Open questions** ({int(part.n.max()):,}): how likely is the reference answer?"
    tasks = part[part.task != ALL].drop_duplicates("task")
    kept, left_out = tasks[tasks.interpreted], tasks[~tasks.interpreted]
    pmi = ", PMI" if part.measure.iloc[0].endswith("pmi") else ""
    text = f"**Choices, {form} form{pmi}**: how likely is the right option, beside the others?"
    if len(left_out):
        text += (f" Not interpreted, {len(left_out)} of {len(tasks)}, as the untuned model is not "
                 f"seen to do better than guessing: {', '.join(left_out.task)}.")
    if len(kept) and gates is not None:
        better = gates[gates.better & (gates.form == form) & gates.task.isin(kept.task)].task
        text += (f" In this form the untuned model does better than in the other at "
                 f"{', '.join(better)}." if len(better) and gates.form.nunique() > 1 else "")
    return text


def _answers(form: str, whole: pd.DataFrame, single: pd.DataFrame) -> Iterator[str]:
    """One answer a question that was measured; whether a role helps is told by task, too."""
    for contrast, question, compared in QUESTIONS:
        if contrast in whole.index:
            row = whole.loc[contrast]
            caution = f" {CAUTION}" if contrast == TAKEN_AWAY and row.p_holm < 0.05 else ""
            parts = single[single.contrast == contrast]
            more = _by_task(parts) if contrast == PRIMARY and len(parts) > 1 else ""
            yield (f"- *{question}* {_verdict(row, form)} ({compared}: {_numbers(row, form)})."
                   f"{caution}{more}")


def _by_task(rows: pd.DataFrame) -> str:
    told = [f"{row.task} {signed(row.difference)} [{signed(row.low)}, {signed(row.high)}]"
            for row in rows.itertuples()]
    return f" By task: {', '.join(told)}."


def _verdict(row: pd.Series, form: str) -> str:
    if np.isnan(row.low):
        return "There is nothing to compare: both are the same"
    what = "answers" if form == TEXT else "right options"
    if row.p_holm < 0.05:
        return f"The {what} become {'likelier' if row.difference > 0 else 'less likely'}"
    if row.low > 0 or row.high < 0:
        return ("Not sure: the interval leaves out zero, but the corrected p-value is not below "
                "0.05")
    return ("No difference was seen; one of "
            f"{row.smallest:.2g} nats or more would have been, four times in five")


def _numbers(row: pd.Series, form: str) -> str:
    unit = "nats a token" if form == TEXT else "nats"
    text = f"{signed(row.difference)} {unit}"
    if np.isnan(row.low):
        return text
    p = f"p = {row.p_holm:.3f}" if row.p_holm >= 0.001 else "p < 0.001"
    text += f", 95% interval {signed(row.low)} to {signed(row.high)}, {p} after Holm"
    if form == TEXT:
        change = signed(100 * np.expm1(row.difference), ".1f")
        text += f"; a token's probability changes by {change}%"
    return text + f"; likelier in {round(row.above * row.n)} of {row.n:,}"


def _limits(whole: pd.DataFrame, needed: pd.DataFrame | None) -> Iterator[str]:
    """What the seeds allow one to say, and what would show more."""
    if whole.empty:
        return
    seeds = int(whole.seeds.max())
    yield (f"All intervals are over items and {seeds} training seeds." if seeds > 1 else
           "With one training seed this is about these models; other seeds may differ.")
    if needed is None or PRIMARY not in needed.index or whole.loc[PRIMARY].p_holm < 0.05:
        return
    row = needed.loc[PRIMARY]
    ways = [f"{int(count):,} {more}" for count, more in (
        (row.items_needed, "items with as many seeds"),
        (row.seeds_needed, "seeds with as many items")) if pd.notna(count)]
    alone = f"about {' or '.join(ways)}" if ways else "more items and more seeds, both"
    yield (f"To see {row.target:g} nats between the self-prompt model and the baseline it would "
           f"take {alone}.")
