"""Wordings at equal training tokens, beside those at equal samples: a part of *Does it matter?*

`keep_designs.py RUN --out book/measured/designs-tokens` keeps a run with `ablate.equal=tokens`.
"""

from pathlib import Path
from typing import Any

import beyond_designs
from beyond_designs import Section

from selfprompt_lib import ablate


def facts(folder: Path, at_equal_samples: Section | None) -> dict[str, Any] | None:
    """What is said of wordings at equal tokens; None where one of the two is not kept."""
    section = beyond_designs.read_section(folder)
    if section is None or at_equal_samples is None:
        return None
    beyond_designs.correct_together([section])
    metrics = section.record["metrics"]
    before, now = (_minus_none(each) for each in (at_equal_samples, section))
    mine = section.contrasts[section.contrasts.design.isin(section.names)]
    rates = section.rates[section.rates.design.isin(section.names)]
    rows = [{"name": name, "samples": metrics["samples"][name],
             "tokens": metrics["training_tokens"][name], "before": before.get(name, "–"),
             "now": now[name]} for name in section.order if name in now]
    fewer = [row["samples"] for row in rows]
    tokens_of_none = metrics["training_tokens"][ablate.TUNED_WITHOUT]
    of_none = mine[mine.against == ablate.AGAINST_NONE]
    better, worse = ablate.count_differences(of_none)
    return {"rows": rows, "least": min(fewer), "most": max(fewer), "seeds": metrics["seeds"],
            "record": section.record,
            "short": f"At equal training tokens, which a longer text has to pay for with fewer "
                     f"samples, they are likelier with {better} and less likely with {worse} of "
                     f"{len(of_none)}{_one_seed(metrics['seeds'])}.",
            "of_none": metrics["samples"][ablate.TUNED_WITHOUT],
            "tokens_of_none": tokens_of_none,
            "off": max(abs(row["tokens"] / tokens_of_none - 1) for row in rows),
            "answer": ablate.report_text(rates, mine, ablate.design_spread(section.table).head(0))}


def _one_seed(seeds: int) -> str:
    return " (one training seed, whose luck the test cannot know)" if seeds == 1 else ""


def _minus_none(section: Section) -> dict[str, str]:
    """Each design against the model tuned without a text, in words."""
    rows = section.contrasts[section.contrasts.against == ablate.AGAINST_NONE]
    return {row.design: beyond_designs.told(row) for row in rows.itertuples()}
