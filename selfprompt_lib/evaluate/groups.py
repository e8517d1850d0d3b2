"""MMLU by subject and by group of subjects, with partial pooling (chapter 5)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import t

from ..errors import require
from ..two_way import two_way_interval
from .paired import table

# The 57 subjects in the four groups of Hendrycks et al., Measuring Massive Multitask Language Understanding (2021), as
# lm-evaluation-harness tags them. The authors' own code counts anatomy as "other".
GROUPS = {
    "STEM": """abstract_algebra anatomy astronomy college_biology college_chemistry college_computer_science
        college_mathematics college_physics computer_security conceptual_physics electrical_engineering elementary_mathematics
        high_school_biology high_school_chemistry high_school_computer_science high_school_mathematics high_school_physics
        high_school_statistics machine_learning""",
    "humanities": """formal_logic high_school_european_history high_school_us_history high_school_world_history
        international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy prehistory professional_law
        world_religions""",
    "social sciences": """econometrics high_school_geography high_school_government_and_politics high_school_macroeconomics
        high_school_microeconomics high_school_psychology human_sexuality professional_psychology public_relations
        security_studies sociology us_foreign_policy""",
    "other": """business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing
        medical_genetics miscellaneous nutrition professional_accounting professional_medicine virology""",
}
GROUP_OF = {subject: group for group, subjects in GROUPS.items() for subject in subjects.split()}


def groups(items: pd.DataFrame, new: str, old: str, task: str = "mmlu", column: str = "correct") -> pd.DataFrame:
    """MMLU's four groups and its subjects, raw and shrunk (chapter 5).

    Columns: level ("group" or "subject"), group, name, n, difference, low, high, shrunk, shrunk_low,
    shrunk_high. Another task's strata stand in one group named after the task.

    Raises:
        UserError: the task has no strata, or as `matrix`.
    """
    cells = table(items, new, old, task, column)
    rows = items[(items.task == task) & (items.arm == new)]
    strata = rows.drop_duplicates("item").set_index("item").stratum.reindex(cells.index)
    require((strata.fillna("") != "").all(), f"items: {task} has rows without a stratum; only tasks with subjects have groups")
    group = strata.map(GROUP_OF).fillna("other" if task == "mmlu" else task)
    frames = []
    for level, labels in (("group", group), ("subject", strata)):
        parts = {str(name): cells[labels == name].to_numpy() for name in sorted(set(labels))}
        frame = shrink(list(parts.values()))
        frame.insert(0, "name", list(parts))
        frame.insert(0, "group", [group[labels == name].iloc[0] for name in parts])
        frame.insert(0, "level", level)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def shrink(parts: Sequence[np.ndarray]) -> pd.DataFrame:
    """Differences of several groups of items, raw and drawn towards their mean (partial pooling).

    An item has the same variance in all groups, for a group of a few items has none worth the name. What
    the seeds have in common moves all groups alike: it widens every interval and is not shrunk.
    """
    whole = two_way_interval(np.concatenate(parts))
    sizes, raw = np.array([len(part) for part in parts]), np.array([part.mean() for part in parts])
    within = sum(((part.mean(axis=1) - part.mean()) ** 2).sum() for part in parts) / max(1, sizes.sum() - len(parts))
    noise = (within or float(whole.components.items) * whole.n) / sizes
    shrunk, variance = partial_pooling(raw, noise) if len(parts) > 1 else (raw, noise)
    wide, narrow = (t.ppf(0.975, whole.df) * np.sqrt(part + whole.components.between_seeds) for part in (noise, variance))
    return pd.DataFrame({"n": sizes, "difference": raw, "low": np.maximum(-1, raw - wide), "high": np.minimum(1, raw + wide),
                         "shrunk": shrunk, "shrunk_low": np.maximum(-1, shrunk - narrow),
                         "shrunk_high": np.minimum(1, shrunk + narrow)})


def partial_pooling(values: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances of the true values, given estimates and the variances of their noise.

    The true values are normal around a mean; how far they spread is averaged over what the data leave
    possible (Gelman et al., Bayesian Data Analysis, section 5.4). One best guess of the spread is often
    zero, and its intervals are then far too narrow: `tests/test_effects.py` shows it.
    """
    spread = np.linspace(0, 3 * max(values.std(), np.sqrt(noise.mean())), 300)[:, None]
    total = spread**2 + noise
    of_mean = 1 / (1 / total).sum(axis=1, keepdims=True)
    mean = of_mean * (values / total).sum(axis=1, keepdims=True)
    fit = 0.5 * (np.log(of_mean) - (np.log(total) + (values - mean) ** 2 / total).sum(axis=1, keepdims=True))
    chance = np.exp(fit - fit.max())
    chance /= chance.sum()
    keep = spread**2 / total
    drawn = keep * values + (1 - keep) * mean
    centre = (chance * drawn).sum(axis=0)
    variance = keep * noise + (1 - keep) ** 2 * of_mean + (drawn - centre) ** 2
    return centre, (chance * variance).sum(axis=0)
