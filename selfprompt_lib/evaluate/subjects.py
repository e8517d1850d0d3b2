"""MMLU by subject and by group of subjects, with partial pooling (chapter 5)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import t

from ..errors import require
from ..stats import ROUNDING
from ..two_way import two_way_interval
from .compare import paired_table
from .results import BASELINE, OWN

# The 57 subjects in the four groups of Hendrycks et al., Measuring Massive Multitask Language
# Understanding (2021), as lm-evaluation-harness tags them. The authors' own code counts anatomy as
# "other".
GROUPS = {
    "STEM": """
        abstract_algebra anatomy astronomy college_biology college_chemistry
        college_computer_science college_mathematics college_physics computer_security
        conceptual_physics electrical_engineering elementary_mathematics high_school_biology
        high_school_chemistry high_school_computer_science high_school_mathematics
        high_school_physics high_school_statistics machine_learning""",
    "humanities": """
        formal_logic high_school_european_history high_school_us_history high_school_world_history
        international_law jurisprudence logical_fallacies moral_disputes moral_scenarios
        philosophy prehistory professional_law world_religions""",
    "social sciences": """
        econometrics high_school_geography high_school_government_and_politics
        high_school_macroeconomics high_school_microeconomics high_school_psychology
        human_sexuality professional_psychology public_relations security_studies sociology
        us_foreign_policy""",
    "other": """
        business_ethics clinical_knowledge college_medicine global_facts human_aging management
        marketing medical_genetics miscellaneous nutrition professional_accounting
        professional_medicine virology""",
}
GROUP_OF = {subject: group for group, subjects in GROUPS.items() for subject in subjects.split()}


def subject_differences(items: pd.DataFrame, new: str = OWN, old: str = BASELINE) -> pd.DataFrame:
    """MMLU's four groups and its subjects, as seen and shrunk (chapter 5).

    Columns: level ("group" or "subject"), group, name, n, difference, low, high, shrunk,
    shrunk_low, shrunk_high.

    Raises:
        UserError: items of MMLU without a subject, or as `paired_table`.
    """
    table = paired_table(items, new, old, "mmlu")
    rows = items[(items.task == "mmlu") & (items.arm == new)].drop_duplicates("item")
    strata = rows.set_index("item").stratum.reindex(table.index)
    require((strata.fillna("") != "").all(),
            "items: mmlu has rows without a stratum; it is the item's subject")
    group = strata.map(GROUP_OF).fillna("other")
    frames = []
    for level, labels in (("group", group), ("subject", strata)):
        parts = {str(name): table[labels == name].to_numpy() for name in sorted(set(labels))}
        groups = [group[labels == name].iloc[0] for name in parts]
        names = pd.DataFrame({"level": level, "group": groups, "name": list(parts)})
        frames.append(names.join(shrink(list(parts.values()))))
    return pd.concat(frames, ignore_index=True)


def shrink(parts: Sequence[np.ndarray]) -> pd.DataFrame:
    """Differences of several groups of items, as seen and drawn towards their mean.

    Args:
        parts: one table a group, shape (items, seeds).
    """
    whole = two_way_interval(np.concatenate(parts))
    sizes = np.array([len(part) for part in parts])
    seen = np.array([part.mean() for part in parts])
    # An item varies alike in all groups: a group of few items has no variance worth the name.
    squares = sum(((part.mean(axis=1) - part.mean()) ** 2).sum() for part in parts)
    of_item = squares / max(1, sizes.sum() - len(parts))
    if of_item <= ROUNDING:  # none is seen: what `variance_components` takes for it
        of_item = float(whole.components.items) * whole.n
    noise = of_item / sizes  # of each group's mean, shape (groups,)
    shrunk, variance = partial_pooling(seen, noise) if len(parts) > 1 else (seen, noise)

    # What the seeds have in common moves all groups alike: it is not shrunk, and widens them all.
    quantile, seeds = t.ppf(0.975, whole.df), whole.components.between_seeds
    seen_reach, shrunk_reach = (quantile * np.sqrt(part + seeds) for part in (noise, variance))
    return pd.DataFrame({
        "n": sizes, "difference": seen,
        "low": np.maximum(-1, seen - seen_reach), "high": np.minimum(1, seen + seen_reach),
        "shrunk": shrunk, "shrunk_low": np.maximum(-1, shrunk - shrunk_reach),
        "shrunk_high": np.minimum(1, shrunk + shrunk_reach)})


def partial_pooling(seen: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances of groups' true values, given what was seen and its noise's variances.

    Notes:
        The hierarchical normal model of Gelman et al., Bayesian Data Analysis (2013), section 5.4,
        with flat priors: seen_j is normal around true_j with variance noise_j, and true_j is normal
        around m with standard deviation s. With the weights w_j = 1 / (s² + noise_j):

            m given s:     mean M = Σ w_j seen_j / Σ w_j, variance V = 1 / Σ w_j
            true_j given s: mean k_j seen_j + (1 - k_j) M, variance k_j noise_j + (1 - k_j)² V,
                            where k_j = s² w_j is the share that is kept
            s given seen:  density ∝ V^½ Π w_j^½ exp(-w_j (seen_j - M)² / 2)

        The result is the mean over s, taken on a grid. One best guess of s is often zero, and its
        intervals are then far too narrow.
    """
    widest = 3 * max(seen.std(), np.sqrt(noise.mean()))
    spread = np.linspace(0, widest, 300)[:, None]  # s, shape (grid, 1)
    total = spread**2 + noise  # 1 / w, shape (grid, groups)
    mean_variance = 1 / (1 / total).sum(axis=1, keepdims=True)  # V, shape (grid, 1)
    mean = mean_variance * (seen / total).sum(axis=1, keepdims=True)  # M, shape (grid, 1)

    misfit = (np.log(total) + (seen - mean) ** 2 / total).sum(axis=1, keepdims=True)
    log_density = 0.5 * (np.log(mean_variance) - misfit)
    density = np.exp(log_density - log_density.max())
    density /= density.sum()  # of each spread, shape (grid, 1)

    keep = spread**2 / total  # k, shape (grid, groups)
    given_spread = keep * seen + (1 - keep) * mean
    centre = (density * given_spread).sum(axis=0)  # shape (groups,)
    within = keep * noise + (1 - keep) ** 2 * mean_variance
    variance = (density * (within + (given_spread - centre) ** 2)).sum(axis=0)
    return centre, variance
