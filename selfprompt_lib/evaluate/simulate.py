"""Do the intervals and tests of chapter 5 keep their promise? Worlds whose truth is known, drawn many times.

`python -m selfprompt_lib.evaluate.simulate --out book/measured` writes `statistics.md` (the tables that
the book's page on statistics includes), `statistics.json` (all numbers) and `statistics.svg`.

An answer is right where a normal variable lies below a threshold: the sum of the item's difficulty, what
the arm makes of this item, what this seed's model has of its own, and noise. So the share of right
answers of any model, and the mean over all models, are values of the normal distribution function.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binom, norm
from tqdm import tqdm

from ..two_way import (
    VarianceComponents,
    minimum_detectable_effect,
    p_value,
    t_interval,
    variance_components,
)
from . import rivals

SEEDS, ITEMS, TASKS = (1, 3, 5), (25, 250, 1300), 8
CHUNK = 250  # repeats at a time, which bounds the memory
BCA = 400  # repeats of the slow bootstrap, which is left out for many items
ONE = {"Tango": rivals.score, "Newcombe": None, "Bonett and Price": rivals.bonett_price, "plain": rivals.plain,
       "BCa bootstrap": rivals.bca}
SEVERAL = {"crossed": rivals.chosen, "bootstrap of seeds": rivals.seed_bootstrap, "two-way clustered": rivals.two_way_cluster,
           "all independent": rivals.independent}


@dataclass(frozen=True)
class World:
    """How answers come about. `old`: the old arm's accuracy. `gain`: the new arm's. `spread`: standard deviation over
    seeds of a pair's difference. `alike`: share of an item's variance that both arms have in common, beside `noise`
    of its own for every model. `family`: items that stand or fall together. `shared`: share of the seeds' variance
    that is common to all tasks."""

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
        """Where the two arms' thresholds lie, so that the shares over all models are as given."""
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


def draw(world: World, rng: np.random.Generator, repeats: int, items: int, seeds: int, tasks: int = 1) -> tuple:
    """Answers of the new and the old arm, each bool of shape (repeats, tasks, items, seeds), and the truth.

    The truth has shape (repeats, tasks): with one seed the difference of that pair of models over all
    items, with several the difference over all items and seeds.
    """

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal((repeats, *shape), dtype=np.float32)

    def by_family(tasks: int, items: int) -> np.ndarray:
        return np.repeat(normal(tasks, -(-items // world.family), 1), world.family, axis=2)[:, :, :items]

    difficulty = np.float32(np.sqrt(world.alike)) * by_family(tasks, items)
    own = np.float32(np.sqrt(max(0.0, 1 - world.alike - world.noise)))
    noise = np.float32(np.sqrt(world.noise))
    right, share = [], []
    for threshold in world.thresholds:
        seed = world.shift * (np.sqrt(world.shared) * normal(1, 1, seeds) + np.sqrt(1 - world.shared) * normal(tasks, 1, seeds))
        right.append(difficulty + own * by_family(tasks, items) + noise * normal(tasks, items, seeds) < threshold + seed)
        share.append(norm.cdf(threshold + seed[:, :, 0, 0]))
    truth = share[0] - share[1] if seeds == 1 else np.full((repeats, tasks), world.gain)
    return right[0], right[1], truth


def coverage(world: World, items: int, seeds: int, repeats: int, entropy: int, others: bool = True) -> list[dict]:
    """How often each interval held the truth, with its mean width: one row a method, or only the book's."""
    rng, rows = np.random.default_rng([entropy, items, seeds]), []
    chunks = [draw(world, rng, size, items, seeds) for size in _sizes(repeats)]
    new, old, truth = (np.concatenate([chunk[place][:, 0] for chunk in chunks]) for place in range(3))
    change = new.astype(np.int8) - old
    for method, ends in (ONE if seeds == 1 else SEVERAL).items():
        if (ends is rivals.bca and items > 250) or not (others or ends in (rivals.score, rivals.chosen)):
            continue
        some = slice(BCA if ends is rivals.bca else None)
        low, high = ends(change[some]) if ends else rivals.newcombe(new, old)
        held = (low <= truth[some]) & (truth[some] <= high)
        rows.append({"world": world.name, "n": items, "seeds": seeds, "method": method, "held": int(held.sum()),
                     "repeats": len(held), "coverage": held.mean(), "width": float(np.mean(high - low))})
    return rows


def family(world: World, items: int, seeds: int, repeats: int, entropy: int) -> list[dict]:
    """How often any of eight tests was wrong after Holm, and how often the pooled interval held the truth."""
    rng = np.random.default_rng([entropy, items, seeds, TASKS])
    false, uncorrected, held = 0, 0, 0
    for size in _sizes(repeats):
        new, old, truth = draw(world, rng, size, items, seeds, TASKS)
        change = new.astype(np.int8) - old
        found = variance_components(*np.moveaxis(change, 1, 0))
        low, high = t_interval(change.mean(axis=(1, 2, 3)), found)
        held += int(((low <= truth.mean(axis=1)) & (truth.mean(axis=1) <= high)).sum())
        tests = p_values(change)
        uncorrected += int((tests <= 0.05).any(axis=1).sum())
        false += int((tests.min(axis=1) <= 0.05 / TASKS).sum())  # Holm's first step, without which there is no other
    return [{"world": world.name, "n": items, "seeds": seeds, "repeats": repeats, "uncorrected": uncorrected, "false": false,
             "pooled": held}]


def p_values(change: np.ndarray) -> np.ndarray:
    """The book's test of each task; differences of shape (repeats, tasks, items, seeds)."""
    if change.shape[-1] == 1:
        wins, losses = (change > 0).sum(axis=(2, 3)), (change < 0).sum(axis=(2, 3))
        return np.minimum(1, 2 * binom.cdf(np.minimum(wins, losses), wins + losses, 0.5))  # exact McNemar
    return p_value(change.mean(axis=(2, 3)), variance_components(change))


def power(world: World, items: int, seeds: int, repeats: int, entropy: int) -> list[dict]:
    """How often the difference that `minimum_detectable_effect` names is found. It promises 80%."""
    rng = np.random.default_rng([entropy, items, seeds, 80])
    gain = 0.05
    for _ in range(2):  # the variances change a little with the difference
        new, old, _ = draw(World("", world.old, gain, world.spread), rng, CHUNK, items, seeds)
        gain = minimum_detectable_effect(_mean(variance_components((new.astype(np.int8) - old)[:, 0])))
    found = 0
    for size in _sizes(repeats):
        new, old, _ = draw(World("", world.old, gain, world.spread), rng, size, items, seeds)
        found += int((p_values(new.astype(np.int8) - old) <= 0.05).sum())
    return [{"world": world.name, "n": items, "seeds": seeds, "repeats": repeats, "smallest": gain, "found": found}]


def _mean(found: VarianceComponents) -> VarianceComponents:
    """The variances to expect, from those of many repeats."""
    values = (found.items, found.seeds, found.residual, found.df_items, found.df_residual)
    return VarianceComponents(*(np.mean(value) for value in values), found.n_seeds)


def _sizes(repeats: int) -> list[int]:
    return [min(CHUNK, repeats - first) for first in range(0, repeats, CHUNK)]


def run(repeats: int, processes: int = 2) -> dict[str, pd.DataFrame]:
    """All cells: `coverage`, `family` and `power`; the same numbers for any number of processes."""
    jobs: list[tuple[Callable, World, int]] = [
        *((coverage, world, place) for place, world in enumerate((*WORLDS, *HARD))),
        *((family, world, place) for place, world in enumerate(WORLDS[:2])),
        (power, WORLDS[0], 0), (power, WORLDS[1], 1),
    ]
    rows = {"coverage": [], "family": [], "power": []}
    with ProcessPoolExecutor(processes) as pool:
        waiting = [(kind.__name__, pool.submit(kind, world, items, seeds, repeats, place))
                   for kind, world, place in jobs for seeds in SEEDS for items in ITEMS]
        for kind, future in tqdm(waiting, desc="simulating", unit="cell"):
            rows[kind] += future.result()
    return {kind: pd.DataFrame(found) for kind, found in rows.items()}


def main() -> None:
    """The command."""
    from .simulated import write

    parser = argparse.ArgumentParser(prog="python -m selfprompt_lib.evaluate.simulate", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("book/measured"), help="folder for statistics.md, .json and .svg")
    parser.add_argument("--repeats", "--repeat", type=int, default=2000, help="draws of each cell")
    options = parser.parse_args()
    write(run(options.repeats), options.out, options.repeats)


if __name__ == "__main__":
    main()
