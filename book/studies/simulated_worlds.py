"""Worlds whose true difference is known, and how often intervals and tests are right in them.

An answer is right where a normal variable lies below a threshold. The variable is the sum of the
item's difficulty, what the arm makes of this item, and noise; the threshold moves a little with
the training seed. So the share of right answers of any model, and the mean over all models, are
values of the normal distribution function. `interval_coverage.py` makes the book's page of this.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
import rival_intervals as rivals
from scipy.stats import binom, norm
from tqdm import tqdm

from selfprompt_lib.sample_size import minimum_detectable_effect
from selfprompt_lib.two_way import VarianceComponents, p_value, t_interval, variance_components

SEEDS, ITEMS, TASKS = (1, 3, 5), (25, 250, 1300), 8
CHUNK = 250  # repeats at a time, which bounds the memory
BCA_REPEATS = 400  # of the slow bootstrap, which is left out for many items
ONE_SEED = {  # method → its function; Newcombe's takes both arms' answers, see `coverage`
    "Tango": rivals.score,
    "Newcombe": None,
    "Bonett and Price": rivals.bonett_price,
    "plain": rivals.plain,
    "BCa bootstrap": rivals.bca,
}
SEVERAL_SEEDS = {
    "crossed": rivals.chosen,
    "bootstrap of seeds": rivals.seed_bootstrap,
    "two-way clustered": rivals.two_way_cluster,
    "all independent": rivals.independent,
}
BOOK = {1: "Tango", 3: "crossed", 5: "crossed"}  # seeds → the method that the book takes


@dataclass(frozen=True)
class World:
    """How answers come about.

    `old`: accuracy of the old arm. `gain`: what the new arm has more. `spread`: standard deviation
    over seeds of a pair's difference. `alike`: share of an item's variance that both arms have in
    common; `noise`: share that every model has of its own. `family`: items that stand or fall
    together. `shared`: share of the seeds' variance that is common to all tasks.
    """

    name: str
    old: float = 0.25
    gain: float = 0.0
    spread: float = 0.0
    alike: float = 0.6
    noise: float = 0.25
    family: int = 1
    shared: float = 0.5

    @property
    def thresholds(self) -> tuple[float, float]:
        """The two arms' thresholds that give the wanted shares over all models."""
        scale = np.sqrt(1 + self.shift**2)
        return scale * norm.ppf(self.old + self.gain), scale * norm.ppf(self.old)

    @property
    def shift(self) -> float:
        """Standard deviation over seeds of one arm's threshold."""
        return self.spread / norm.pdf(norm.ppf(self.old)) / np.sqrt(2)


WORLDS = (
    World("no difference, seeds alike"),
    World("no difference, seeds vary by 2 points", spread=0.02),
    World("+5 points", gain=0.05, spread=0.02),
    World("+5 points, easy items", old=0.7, gain=0.05, spread=0.02),
    World("+2 points, arms nearly alike", gain=0.02, spread=0.01, alike=0.95, noise=0.02),
)
HARD = (  # what the intervals are not made for
    World("+5 points, seeds vary by 6 points", gain=0.05, spread=0.06),
    World("+5 points, items in families of 5", gain=0.05, spread=0.02, family=5),
)


def draw(world: World, rng: np.random.Generator, repeats: int, items: int, seeds: int,
         tasks: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right answers of the new arm and of the old one, and the true difference.

    Answers are bool of shape (repeats, tasks, items, seeds). The truth has shape (repeats, tasks):
    with one seed the difference of that pair of models over all items, with several the difference
    over all items and seeds.
    """

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal((repeats, *shape), dtype=np.float32)

    def by_family(tasks: int, items: int) -> np.ndarray:
        families = normal(tasks, -(-items // world.family), 1)
        return np.repeat(families, world.family, axis=2)[:, :, :items]

    difficulty = np.float32(np.sqrt(world.alike)) * by_family(tasks, items)
    arm_share = np.float32(np.sqrt(max(0.0, 1 - world.alike - world.noise)))
    noise_share = np.float32(np.sqrt(world.noise))
    right, accuracy = [], []
    for threshold in world.thresholds:
        common = np.sqrt(world.shared) * normal(1, 1, seeds)
        own = np.sqrt(1 - world.shared) * normal(tasks, 1, seeds)
        seed = world.shift * (common + own)
        arm, noise = arm_share * by_family(tasks, items), noise_share * normal(tasks, items, seeds)
        right.append(difficulty + arm + noise < threshold + seed)
        accuracy.append(norm.cdf(threshold + seed[:, :, 0, 0]))
    one_pair = accuracy[0] - accuracy[1]
    truth = one_pair if seeds == 1 else np.full((repeats, tasks), world.gain)
    return right[0], right[1], truth


def coverage(world: World, items: int, seeds: int, repeats: int, entropy: int,
             only_book: bool = False) -> list[dict]:
    """How often each interval held the truth, with its mean width: one row a method."""
    rng = np.random.default_rng([entropy, items, seeds])
    chunks = [draw(world, rng, size, items, seeds) for size in _chunks(repeats)]
    new, old, truth = (np.concatenate([chunk[place][:, 0] for chunk in chunks])
                       for place in range(3))
    change = new.astype(np.int8) - old
    rows = []
    for method, ends in (ONE_SEED if seeds == 1 else SEVERAL_SEEDS).items():
        too_slow = method == "BCa bootstrap" and items > 250
        if too_slow or (only_book and method != BOOK[seeds]):
            continue
        some = slice(BCA_REPEATS if method == "BCa bootstrap" else None)
        low, high = ends(change[some]) if ends else rivals.newcombe(new, old)
        held = (low <= truth[some]) & (truth[some] <= high)
        rows.append({
            "world": world.name, "n": items, "seeds": seeds, "method": method,
            "held": int(held.sum()), "repeats": len(held), "coverage": held.mean(),
            "width": float(np.mean(high - low)),
        })
    return rows


def family(world: World, items: int, seeds: int, repeats: int, entropy: int) -> list[dict]:
    """How often any of eight tests was wrong after Holm, and the pooled interval held the truth."""
    rng = np.random.default_rng([entropy, items, seeds, TASKS])
    false, uncorrected, held = 0, 0, 0
    for size in _chunks(repeats):
        new, old, truth = draw(world, rng, size, items, seeds, TASKS)
        change = new.astype(np.int8) - old
        components = variance_components(*np.moveaxis(change, 1, 0))
        low, high = t_interval(change.mean(axis=(1, 2, 3)), components)
        mean_truth = truth.mean(axis=1)
        held += int(((low <= mean_truth) & (mean_truth <= high)).sum())
        tests = p_values(change)
        uncorrected += int((tests <= 0.05).any(axis=1).sum())
        # Holm's first step, without which there is no other
        false += int((tests.min(axis=1) <= 0.05 / TASKS).sum())
    return [{"world": world.name, "n": items, "seeds": seeds, "repeats": repeats,
             "uncorrected": uncorrected, "false": false, "pooled": held}]


def p_values(change: np.ndarray) -> np.ndarray:
    """The book's test of each task; differences of shape (repeats, tasks, items, seeds)."""
    if change.shape[-1] == 1:
        wins, losses = (change > 0).sum(axis=(2, 3)), (change < 0).sum(axis=(2, 3))
        fewer = binom.cdf(np.minimum(wins, losses), wins + losses, 0.5)
        return np.minimum(1, 2 * fewer)  # exact McNemar
    return p_value(change.mean(axis=(2, 3)), variance_components(change))


def power(world: World, items: int, seeds: int, repeats: int, entropy: int) -> list[dict]:
    """How often the minimum detectable effect is found. It promises 80%."""
    rng = np.random.default_rng([entropy, items, seeds, 80])
    gain = 0.05
    for _ in range(2):  # the variances change a little with the difference
        new, old, _ = draw(World("", world.old, gain, world.spread), rng, CHUNK, items, seeds)
        components = variance_components((new.astype(np.int8) - old)[:, 0])
        gain = minimum_detectable_effect(_mean(components))
    found = 0
    for size in _chunks(repeats):
        new, old, _ = draw(World("", world.old, gain, world.spread), rng, size, items, seeds)
        found += int((p_values(new.astype(np.int8) - old) <= 0.05).sum())
    return [{"world": world.name, "n": items, "seeds": seeds, "repeats": repeats,
             "smallest": gain, "found": found}]


def _mean(found: VarianceComponents) -> VarianceComponents:
    """The variances to expect, from those of many repeats."""
    values = (found.items, found.seeds, found.residual, found.df_items, found.df_residual)
    return VarianceComponents(*(np.mean(value) for value in values), found.n_seeds)


def _chunks(repeats: int) -> list[int]:
    return [min(CHUNK, repeats - first) for first in range(0, repeats, CHUNK)]


def run(repeats: int, processes: int = 2) -> dict[str, pd.DataFrame]:
    """All cells of `coverage`, `family` and `power`, the same for any number of processes."""
    jobs: list[tuple[Callable, World, int]] = [
        *((coverage, world, place) for place, world in enumerate((*WORLDS, *HARD))),
        *((family, world, place) for place, world in enumerate(WORLDS[:2])),
        *((power, world, place) for place, world in enumerate(WORLDS[:2])),
    ]
    rows = {"coverage": [], "family": [], "power": []}
    with ProcessPoolExecutor(processes) as pool:
        waiting = [(kind.__name__, pool.submit(kind, world, items, seeds, repeats, place))
                   for kind, world, place in jobs for seeds in SEEDS for items in ITEMS]
        for kind, future in tqdm(waiting, desc="simulating", unit="cell"):
            rows[kind] += future.result()
    return {kind: pd.DataFrame(found) for kind, found in rows.items()}
