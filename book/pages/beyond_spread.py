"""How far apart wordings are, and whether that is more than the luck of their training seeds."""

import math
from typing import Any

import pandas as pd

from selfprompt_lib import ablate

USUAL = "from-now-on"  # the design of the other chapters
MATTERS = {True: "Models tuned on different designs differ by more than the luck of their training "
                 "seeds explains. The designs differ in what they say (the title or the request "
                 "alone), too, and not in wording only; which of the two counts was not measured.",
           False: "That the wording matters was not seen.",
           None: "Whether the wording matters cannot be told from one training seed's luck."}


def wording_matters(spread: pd.DataFrame) -> bool | None:
    """Whether tuned designs differ by more than the luck of their training seeds.

    The mean of k seeds still varies by their spread over the root of k, whatever the wording. None
    where one seed was trained, whose luck nobody knows.
    """
    rows = spread.set_index("what")
    if ablate.SEEDS not in rows.index or ablate.TUNED not in rows.index:
        return None
    luck = rows.loc[ablate.SEEDS]
    return bool(rows.low[ablate.TUNED] > luck.high / math.sqrt(luck.of))


def spread_text(spread: pd.DataFrame, record: dict[str, Any]) -> str:
    """Whether tuning makes a model less sensitive to the wording, as the paper says."""
    rows = spread.set_index("what")
    prompted = rows[rows.index.str.startswith("prompted")]
    if ablate.TUNED not in rows.index or prompted.empty:
        return ""
    tuned = rows.loc[ablate.TUNED]
    beside = " and ".join(f"{row.spread:.3f} [{row.low:.3f}, {row.high:.3f}] "
                          f"({row.Index.removeprefix('prompted, ')})"
                          for row in prompted.itertuples())
    if tuned.high < prompted.low.min():
        verdict = "So models tuned on a wording are the less sensitive to it, as the paper says."
    elif tuned.low > prompted.high.max():
        verdict = ("So that tuning makes a model less sensitive, as the paper says, was not seen "
                   "here: tuned models differ by more.")
    else:
        verdict = ("Intervals overlap: that tuning makes a model less sensitive, as the paper "
                   "says, was not seen here, nor the opposite.")
    if record["metrics"]["seeds"] == 1:
        luck = " What one training seed makes of a model is in the first number, not in the others."
    else:
        luck = (f" Each tuned model stands for the mean of {record['metrics']['seeds']} training "
                "seeds; what is left of their luck is in the first number, not in the others.")
    return (f"{MATTERS[wording_matters(spread)]} Between {int(tuned.of)} role designs, tuned "
            f"models differ by {tuned.spread:.3f} [{tuned.low:.3f}, {tuned.high:.3f}] nats a token "
            "(standard deviation); given the same texts as prompts, models that were tuned on none "
            f"differ by {beside}. "
            f"{verdict}{luck}")


def seeds_text(spread: pd.DataFrame) -> str:
    """How far the training seeds of a design are apart; nothing where there is one seed."""
    rows = spread.set_index("what")
    if ablate.SEEDS not in rows.index:
        return ""
    row, designs = rows.loc[ablate.SEEDS], rows.of.get(ablate.TUNED, 1)
    whose = f"`{USUAL}`" if designs == 1 else f"one design (on average over {designs})"
    text = (f"The {int(row.of)} training seeds of {whose} differ by {row.spread:.3f} "
            f"[{row.low:.3f}, {row.high:.3f}] nats a token (standard deviation)")
    if designs == 1:
        return text + "."
    return text + (f": if the wording did not matter, means of {int(row.of)} seeds would still "
                   f"differ by {row.spread / math.sqrt(row.of):.3f}.")
