"""What comes at the end is tried at the beginning: files, the tasks' data, room for the replies."""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from .. import sources
from ..annotate import annotation_prompt
from ..errors import UserError, require
from ..llm_client import endpoint
from ..profiles import Profile, flatten, load
from .chapters import Chapter

SHORTEST = 64  # tokens that a question takes at least, in its chat template
MEASURES = ("evaluate", "ablate")  # chapters that ask the tasks
MAY_NOT_FIT = ("model", "infer.max_new_tokens", "evaluate.max_new_tokens")


def check_run(profile: Profile, chapters: Sequence[Chapter]) -> None:
    """Read the files that a profile names, and whether its judge can be asked.

    Raises:
        UserError: a missing or faulty file; a judge without a key or a chat template.
    """
    sources.check_inputs(profile)
    annotation_prompt(profile.annotate)  # whose examples may be a file of the user's
    if any(chapter.name == "judge" for chapter in chapters):
        endpoint.check(profile.judge, profile.model)


def rehearse(profile: Profile, chapters: Sequence[Chapter]) -> None:
    """Load what chapters 5 and 6 will ask, in a process that hands back its memory.

    Nothing is tried where that is in the package and the settings are the profile's own.

    Raises:
        UserError: data that is missing, a faulty task, replies too long for the model's context.
    """
    if not any(chapter.name in MEASURES for chapter in chapters):
        return
    fields, usual = flatten(profile), flatten(load(profile.name))
    in_package = fields["data.benchmarks"] != "hub" and not fields["evaluate.include_path"]
    if in_package and all(fields[name] == usual[name] for name in MAY_NOT_FIT):
        return
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
