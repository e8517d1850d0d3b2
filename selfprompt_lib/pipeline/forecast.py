"""How long a run will take on this machine, told before it starts.

It follows from rates that are measured here (see `rates`), once a day for each model; they are
kept in the cache.
"""

import multiprocessing
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from ..digests import cache_folder
from ..models import SMOKE
from ..profiles import Profile, changed
from .chapters import CHAPTERS, Chapter

TAKE_LONG = ("sft", "infer", "evaluate", "ablate")  # chapters that are worth the measuring


def predicted_seconds(profile: Profile, chapters: Sequence[Chapter]) -> dict[str, float]:
    """Seconds of each of the chapters; empty where that is not worth the measuring.

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
    return {chapter.name: seconds[chapter.name] for chapter in chapters}


def _predict(profile: Profile) -> dict[str, float]:
    from . import rates  # heavy, so not in the process that only starts notebooks

    measured, data = rates.measure_once(profile, cache_folder() / "rates")
    return rates.predict(changed(profile, data.sizes(profile)), measured)


def forecast_text(seconds: dict[str, float]) -> str:
    """The minutes of all chapters together, and of the longest, as a line."""
    longest = sorted(seconds, key=lambda name: -seconds[name])[:3]
    told = ", ".join(f"{CHAPTERS[name].title} {seconds[name] / 60:.0f}" for name in longest)
    return (f"about {sum(seconds.values()) / 60:.0f} minutes on this machine, as far as its speed "
            f"tells ({told}); --minutes N chooses sizes that take N minutes")
