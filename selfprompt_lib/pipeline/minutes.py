"""How long a run will take on this machine, and sizes of a run that fit a time (`--minutes N`).

Both follow from rates that are measured here (see `rates`). For the forecast that a run begins with
they are measured once a day for each model, and kept in the cache. The sizes are kept in
`sizes.json` of the run's folder: a later run with the same minutes and settings takes them from
there, so that what is finished is skipped.
"""

import math
import multiprocessing
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from ..devices import dtype_for, imitates_bfloat16
from ..digests import cache_folder
from ..errors import require
from ..files import write_json
from ..models import SMOKE
from ..profiles import Profile, changed, flatten
from .chapters import CHAPTERS, Chapter, read_json

TAKE_LONG = ("sft", "infer", "evaluate", "ablate")  # chapters that are worth the measuring
# The fields that one factor multiplies, with the least that still shows the method.
LEAST = {"data.train_rows": 48, "data.question_rows": 20, "evaluate.items": 4,
         "evaluate.choice_items": 4, "evaluate.question_rows": 20}
Sizes = dict[str, int]


def predicted_seconds(profile: Profile, chapters: Sequence[Chapter]) -> dict[str, float]:
    """Seconds of each of the chapters; empty where nothing is measured.

    Rates are measured in a process of their own, which hands its memory back. On a card nothing is
    measured: the model would be loaded once more.
    """
    worth = any(chapter.name in TAKE_LONG for chapter in chapters)
    if not worth or profile.model == SMOKE or shutil.which("nvidia-smi"):
        return {}
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            seconds = pool.submit(_predict, profile).result()
    except BrokenProcessPool:
        return {}  # such as for want of memory: the chapters tell what they need
    return {chapter.name: seconds[chapter.name] for chapter in chapters if seconds}


def _predict(profile: Profile) -> dict[str, float]:
    """Seconds of all chapters; none where the measuring alone would take an hour."""
    if _told_of_imitation(profile):
        return {}
    from . import rates  # heavy, so not in the process that only starts notebooks

    measured, data = rates.measure_once(profile, cache_folder() / "rates")
    return rates.predict(changed(profile, data.sizes(profile)), measured)


def _told_of_imitation(profile: Profile) -> bool:
    imitated = imitates_bfloat16(profile.dtype)
    if imitated:
        print("dtype: this processor only imitates bfloat16, which can be a hundred times slower "
              "than float32; you may want to stop here and set dtype=float32, or auto", flush=True)
    return imitated


def forecast_text(seconds: dict[str, float]) -> str:
    """The minutes of all chapters together, and of the longest, as a line."""
    longest = sorted(seconds, key=lambda name: -seconds[name])[:3]
    told = ", ".join(f"{CHAPTERS[name].title} {seconds[name] / 60:.0f}" for name in longest)
    return (f"about {sum(seconds.values()) / 60:.0f} minutes on this machine, as far as its speed "
            f"tells ({told}); --minutes N chooses sizes that take N minutes")


def choose_sizes(minutes: str, profile: Profile, settings: dict[str, Any], root: Path) -> Sizes:
    """The sizes for a run of so many minutes, as fields to set; those in `settings` stay as given.

    Raises:
        UserError: `minutes` that are no positive number, or too few.
    """
    asked = {"minutes": read_minutes(minutes), "profile": flatten(profile)}
    path = root / "sizes.json"
    kept = read_json(path) or {}
    if kept.get("asked") != asked:
        if kept:
            old = kept["asked"]["minutes"]
            print(f"{path}: its sizes, for {old:g} minutes or other settings, are replaced")
        kept = {"asked": asked} | _measured_sizes(asked["minutes"], profile, settings)
        write_json(path, kept)
    print(table(kept, path))
    return kept["sizes"]


def read_minutes(text: str) -> float:
    """The number of `--minutes`; refuses zero, what is negative or endless, and other text."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    require(0 < number < math.inf, f"--minutes {text}: give a number above 0, such as 30")
    return number


def _measured_sizes(limit: float, profile: Profile,
                    settings: dict[str, Any]) -> dict[str, Any]:
    from . import rates  # heavy: where sizes are kept, a run need not wait for it

    _told_of_imitation(profile)  # before the measuring, which is as slow
    measured, data = rates.measure_once(profile, cache_folder() / "rates", anew=True)
    whole = data.sizes(profile)

    def predict(sizes: Sizes) -> dict[str, float]:
        return rates.predict(changed(profile, whole | sizes), measured)

    own = {name: size for name, size in whole.items() if name not in settings}
    found = fit(limit, own, data.most, predict)
    return found | {"dtype": str(dtype_for(profile.dtype)), "rates": measured}


def fit(limit: float, own: Sizes, most: Sizes,
        predict: Callable[[Sizes], dict[str, float]]) -> dict[str, Any]:
    """The largest factor of all sizes whose predicted seconds fit into the minutes, by bisection.

    Args:
        own: the profile's sizes; most: what the data have.
        predict: seconds by chapter, for sizes.
    """
    def total(factor: float) -> float:
        return sum(predict(sizes_at(factor, own, most)).values()) / 60

    least = total(0)
    require(least <= limit, f"--minutes {limit:g}: the least that shows the method takes "
            f"{math.ceil(10 * least) / 10:g} minutes here; give that many, or a smaller model")
    # From the least of each size to all that the data have; 20 halvings tell a millionth of that.
    low, high = 0.0, max((most[name] / own[name] for name in own), default=0.0)
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if total(middle) <= limit else (low, middle)
    sizes = sizes_at(low, own, most)
    return {"factor": round(low, 4), "sizes": sizes, "seconds": predict(sizes)}


def sizes_at(factor: float, own: Sizes, most: Sizes) -> Sizes:
    """Each size times the factor: not below the least, not above what the data have."""
    return {name: min(most[name], max(LEAST[name], round(factor * size)))
            for name, size in own.items()}


def table(kept: dict[str, Any], path: Path) -> str:
    """What is predicted, by chapter, and the sizes, as lines."""
    seconds = kept["seconds"]
    titles = {name: f"{chapter.label} {chapter.title}" for name, chapter in CHAPTERS.items()}
    rows = [f"  {titles.get(name, name):<16} {value:>5.0f} s" for name, value in seconds.items()]
    head = f"{sum(seconds.values()) / 60:.1f} of {kept['asked']['minutes']:g} minutes predicted"
    sizes = ", ".join(f"{name}={size}" for name, size in kept["sizes"].items())
    return "\n".join([f"{head} ({path}):", *rows, f"  sizes: {sizes or 'all given'}"])
