"""What comes at the end is tried at the beginning: the tasks' data, and room for the replies."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from ..errors import UserError, require
from ..profiles import Profile

SHORTEST = 64  # tokens that a question takes at least, in its chat template


def rehearse(profile: Profile) -> None:
    """Load what chapters 5 and 6 will ask, in a process that hands back its memory.

    Raises:
        UserError: data that is missing, a faulty task, replies too long for the model's context.
    """
    print("trying the benchmarks' data and the model's settings first …", flush=True)
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            pool.submit(_try, profile).result()
    except BrokenProcessPool:
        raise UserError("the benchmarks' data could not be tried: the process was killed, most "
                        "likely because memory ran out; close other programs") from None


def _try(profile: Profile) -> None:
    # They load torch and lm-eval: not into the run's own process.
    from .. import ablate, evaluate, models

    config = models.shape(profile.model)[0].config.get_text_config()
    context = getattr(config, "max_position_embeddings", None)
    for field, tokens in (("infer", profile.infer.max_new_tokens),
                          ("evaluate", profile.evaluate.max_new_tokens)):
        require(context is None or tokens + SHORTEST < context,
                f"{field}.max_new_tokens: {tokens:,} leave no room for a question in the model's "
                f"context of {context or 0:,}; set it lower")
    evaluate.overview(evaluate.load_tasks(profile))
    ablate.load_ablate_tasks(profile)
