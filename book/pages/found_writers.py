"""Whose answers a role makes likelier, on the page *What we found*: this project's or LIMA's.

`likelihood_study.py --lima-answers` asks LIMA's questions beside those of this project.
"""

from typing import Any

import pandas as pd
from found_likelihood import UNSEEN, verdicts
from measurements import difference_text
from scipy.stats import ttest_ind

from selfprompt_lib import plots
from selfprompt_lib.evaluate import likelihood_contrasts
from selfprompt_lib.evaluate.compare import ALL
from selfprompt_lib.evaluate.contrasts import CONTRASTS, MEASURES
from selfprompt_lib.evaluate.likelihood_report import AGAINST_NEUTRAL, ANOTHER, PRIMARY

LIMA_QUESTIONS = "LIMA's questions"  # as the study names them
SHOWN = [PRIMARY, AGAINST_NEUTRAL, ANOTHER]
WRITERS = {UNSEEN: "this project", LIMA_QUESTIONS: "LIMA"}  # who wrote a set's answers


def facts(studies: dict[str, tuple[pd.DataFrame, bool]]) -> dict[str, Any] | None:
    """Rows of the table, what is drawn, and whether the writer changes what a role is worth.

    Args:
        studies: by what was trained on, the table of likelihoods, and whether that was LIMA.

    Returns:
        None where no study has asked LIMA's questions.
    """
    asked = {label: (asked_both(table), lima) for label, (table, lima) in studies.items()}
    asked = {label: found for label, found in asked.items() if len(found[0])}
    if not asked:
        return None
    drawn, rows = [], []
    for label, (table, lima) in asked.items():
        for task, writer in WRITERS.items():
            found = likelihood_contrasts(table[table.task == task])
            found = found[found.task == ALL].set_index("contrast").loc[SHOWN].reset_index()
            name = f"trained on {label}, answers of {writer}"
            drawn.append(found.assign(**{"trained on, answers of": name}))
            rows.append({"trained": label, "writer": writer, "asked": int(found.n.max()),
                         "lima": lima, "seeds": int(found.seeds.max()),
                         "verdicts": verdicts(found),
                         "told": [difference_text(each.difference, each.low, each.high,
                                                  each.p_holm) for each in found.itertuples()]})
    changes = [{"trained": label, "lima": lima, **writer_change(table)}
               for label, (table, lima) in asked.items()]
    return {"rows": rows, "drawn": pd.concat(drawn), "changes": changes}


def asked_both(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the seeds that were asked both sets of questions, and of these sets alone."""
    both = table[table.task.isin(WRITERS)]
    seeds = both[both.task == LIMA_QUESTIONS].seed.unique()
    return both[both.seed.isin(seeds)]


def writer_change(table: pd.DataFrame) -> dict[str, Any]:
    """The gain over the baseline on LIMA's answers minus that on this project's.

    The questions differ, so nothing is paired: Welch's t-test over questions, each with the mean
    of its seeds.
    """
    gains = {task: item_gains(table[table.task == task]) for task in WRITERS}
    test = ttest_ind(gains[LIMA_QUESTIONS], gains[UNSEEN], equal_var=False)
    interval = test.confidence_interval()
    difference = gains[LIMA_QUESTIONS].mean() - gains[UNSEEN].mean()
    return {"p": float(test.pvalue), "seen": bool(test.pvalue < 0.05),
            "falls": bool(difference < 0),
            "text": difference_text(difference, interval.low, interval.high)}


def item_gains(rows: pd.DataFrame) -> pd.Series:
    """By question, the first primary contrast: nats a token, averaged over seeds."""
    main = next(each for each in CONTRASTS if each.label == PRIMARY)
    nats = rows.set_index(["model", "prefix", "item", "seed"]).nats.sort_index()
    return (nats.loc[main.new] - nats.loc[main.old]).groupby("item").mean().dropna()


def figure(drawn: pd.DataFrame) -> dict[str, Any]:
    """The figure's axes, by its file's name."""
    return {"likelihood-answers": plots.interval_plot(
        drawn, "difference", "contrast", group="trained on, answers of", zero=True, shares=False,
        axis=MEASURES["nats"])}
