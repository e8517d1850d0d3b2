"""What each chapter of a run takes on this machine: rates measured here, times tokens to come."""

import gc
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from datasets import disable_progress_bars
from transformers.utils.logging import disable_progress_bar

from .. import devices, models, sft, sources
from ..ablate_measure import is_worded_role
from ..decoding import Request
from ..designs import get_design
from ..digests import text_digest
from ..evaluate import likelihood_plan, measurement_plan, scored_tasks
from ..evaluate.likelihood import encode_pairs, score_ids
from ..evaluate.results import BASE
from ..files import make_writable, write_json
from ..generate import encode_prefill, generate_ids, prompt_text
from ..profiles import Profile, changed, flatten, trained_designs
from ..provenance import machine
from ..rows import Question, Sample
from .chapters import read_json
from .plan import COMPARISON_TOKENS, COMPARISONS

# Seconds that hardly grow with the sizes: libraries and models are loaded, figures drawn, a server
# started. From the cells of a finished run of the default profile on two cores, in which a chapter
# took 22 to 94 s; `book` is its building. What the chapters train, read and write comes on top.
START = {"annotate": 29, "roles": 22, "sft": 36, "infer": 36, "evaluate": 36, "ablate": 20,
         "compare": 12, "judge": 30, "robustness": 30, "book": 24}
# Finished runs of the default profile took about so much of the time that their counts of tokens
# would take at the rates measured here: first steps are slow, texts that begin alike are read once,
# and many replies end early. On processors with AVX-512 a little more, without it a little less.
TAKEN = {"trained": 0.85, "read": 0.7, "written": 0.7}
DAY = 86400  # seconds
STEPS = 2  # of training that are measured, after one that is not: the first one is slow
PROMPT_TOKENS = 1000  # guideline, examples and question, as an annotator reads them, about
ITEM_TOKENS = 150  # an item with its options and a role, about
SECOND_TOKENS = 8  # of a second pass
SMALL_BATCH = 16  # replies; a batch of fewer takes about as long for each token
SWAPPED = 15  # questions that chapter 4 asks three times more
PROBE_KINDS, PROBES = 13, 11  # of appendix A2, and how many of each there are
MINI_ITEMS, CONTROL_ITEMS = 25, 60  # of a task of the starter benchmarks; of arc_easy and piqa
DESIGN_TEXTS = 2  # before each answer in chapter 6: own and another's
PROMPTED = 2  # models that get the text as a prompt there
HUB_ITEMS = 500  # of a real benchmark: as many as the profile for a card asks
CONTROLS = ("arc_easy", "piqa")
Counts = dict[str, float]


class Data(NamedTuple):
    """All that a profile could train on and ask."""

    samples: list[Sample]
    questions: list[Question]
    most: dict[str, int]  # of each size; of real benchmarks, what the profile for a card asks

    def sizes(self, profile: Profile) -> dict[str, int]:
        """The profile's sizes; null means all."""
        fields = flatten(profile)
        return {name: fields[name] or most for name, most in self.most.items()}


def load_data(profile: Profile) -> Data:
    """All samples and questions of a profile, whatever its sizes, and how many there are."""
    questions = sources.held_out_questions(changed(profile, {"data.question_rows": 10**9}))
    samples, starter = sources.training_samples(profile), profile.data.benchmarks == "starter"
    return Data(samples, questions, {
        "data.train_rows": len(samples), "data.question_rows": len(questions),
        "evaluate.items": MINI_ITEMS if starter else HUB_ITEMS,
        "evaluate.choice_items": CONTROL_ITEMS if starter else HUB_ITEMS,
        "evaluate.question_rows": len(questions)})


def measure(profile: Profile, data: Data, folder: Path) -> Counts:
    """Tokens a second that are `trained`, `read` and `written` here, and lengths in tokens.

    Training is some steps of chapter 3's own, with the profile's model, precision and batch, in a
    folder that is deleted. `sample`, `bare` (a sample without its role) and `reply` are means.
    """
    disable_progress_bars()
    disable_progress_bar()
    began = time.perf_counter()
    count = max(32, STEPS * profile.sft.batch_size)
    some = sources.take_evenly_spaced([s for s in data.samples if s.role] or data.samples, count)
    design = get_design(profile.design if some[0].role else "none")
    model, tokenizer = models.load(profile.model, profile.dtype)
    lengths, bare = (sft.token_counts(tokenizer, some, each).clip(upper=profile.sft.max_length)
                     for each in (design, get_design("none")))
    contexts = [prompt_text(tokenizer, sample.question) for sample in some[:8]]
    pairs = [(context[-256:], text[:256]) for context, text in encode_pairs(
        tokenizer, contexts, [sample.conversations[1] for sample in some[:8]])]
    requests = [Request(encode_prefill(tokenizer, prompt_text(tokenizer, question.question)), 24)
                for question in data.questions[:32]]
    score_ids(model, pairs[:1])  # the first pass of a model is slower
    _, reading = _timed(score_ids, model, pairs)
    (replies, _), writing = _timed(generate_ids, model, requests,
                                   batch_size=profile.infer.batch_size)
    del model
    short = changed(profile, {"sft.epochs": 1, "sft.checkpoints": 0})
    batch = profile.sft.batch_size
    steps = sources.take_evenly_spaced(some, max(STEPS * batch, 8))
    make_writable(folder)
    with TemporaryDirectory(dir=folder) as place:
        for part in (steps[:batch], steps):
            record = sft.train(short, part, design, Path(place))[2]
    gc.collect()
    devices.alone_on_card()  # the chapters, in processes of their own, need the memory
    return {"trained": record["tokens"] / record["seconds"],
            "read": sum(len(a) + len(b) for a, b in pairs) / reading,
            "written": sum(map(len, replies)) / writing,
            "sample": lengths.tokens.mean(), "bare": bare.tokens.mean(),
            "reply": lengths.answer.mean(), "seconds": time.perf_counter() - began}


def measure_once(profile: Profile, folder: Path, anew: bool = False) -> tuple[Counts, Data]:
    """`measure`, kept in `folder` for a day, and the data it was measured with.

    No longer than a day, because other work may have slowed this machine at the time.
    """
    data = load_data(profile)
    made_with = {name: value for name, value in machine().items() if name != "commit"}
    asked = [profile.model, profile.dtype, os.environ.get("SELFPROMPT_BF16"), profile.design,
             profile.data.train, profile.sft.micro_batch_size, profile.sft.max_length,
             platform.node(), made_with]
    path = folder / f"{text_digest(asked)[:16]}.json"
    kept = path.exists() and time.time() - path.stat().st_mtime < DAY
    measured = read_json(path) if kept and not anew else None
    if measured is None:
        print(f"measuring how fast this machine trains, reads and writes with {profile.model} …",
              flush=True)
        measured = measure(profile, data, folder)
        write_json(path, measured)
    return measured, data


def _timed(function: Callable, *given: Any, **options: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    return function(*given, **options), time.perf_counter() - began


def predict(profile: Profile, rates: Counts) -> Counts:
    """Seconds of each chapter, of the book and of the measuring, for a profile with all its sizes.

    Args:
        rates: of `measure`.
    """
    work = {"trained": tokens_trained(profile, rates), "read": tokens_read(profile, rates),
            "written": tokens_written(profile, rates)}
    return {"measuring": rates["seconds"]} | {
        name: start + sum(TAKEN[kind] * tokens.get(name, 0) / rates[kind]
                          for kind, tokens in work.items())
        for name, start in START.items()}


def tokens_trained(profile: Profile, lengths: Counts) -> Counts:
    """Tokens that chapters 3 and 6 train on."""
    sample = lengths["sample"] * profile.data.train_rows * profile.sft.epochs
    bare = lengths["bare"] * profile.data.train_rows * profile.sft.epochs
    first = (len(trained_designs(profile)) - 1) * sample + bare  # the baseline has no role
    known = {design.name for design in trained_designs(profile).values()}
    new = len({*profile.ablate.designs} - known) * profile.ablate.seeds
    return {"sft": profile.sft.seeds * first, "ablate": new * sample}


def tokens_read(profile: Profile, lengths: Counts) -> Counts:
    """Tokens of the prompts of annotator, judge and benchmarks, and of likelihoods."""
    settings, ablate, seeds = profile.evaluate, profile.ablate, profile.sft.seeds
    full, there = settings.contrasts == "full", {BASE, *trained_designs(profile)}

    def times(options: bool) -> int:
        """How often chapter 5 scores an answer: behind each text, with each model and seed."""
        plan = likelihood_plan(full, options)
        return sum(1 if name == BASE else seeds for name, _ in plan if name in there)

    questions = min(settings.question_rows, profile.data.question_rows)
    cloze = times(options=True)
    letters = cloze if full else 1  # else of the untuned model alone, for the gate
    options = _choice_items(profile, settings.choices) * (cloze + letters)
    asked = settings.items * len(scored_tasks(profile)) * len(list(measurement_plan(profile)))
    own_texts = DESIGN_TEXTS * _of_designs(profile, new=True)
    prompted = PROMPTED * sum(map(is_worded_role, ablate.designs))
    of_designs = _of_designs(profile) * _choice_items(profile, ablate.tasks)
    return {
        "annotate": _annotated(profile) * PROMPT_TOKENS,
        "evaluate": questions * times(options=False) * lengths["sample"]
        + (options + asked) * ITEM_TOKENS,
        "ablate": questions * lengths["sample"] * (own_texts + prompted)
        + of_designs * ITEM_TOKENS,
        "judge": COMPARISONS * profile.judge.pairs * COMPARISON_TOKENS,
    }


def tokens_written(profile: Profile, lengths: Counts) -> Counts:
    """Tokens of roles, replies and verdicts: a tuned model writes as much as it was shown."""
    settings, ablate, seeds = profile.evaluate, profile.ablate, profile.sft.seeds
    reply = min(profile.infer.max_new_tokens, lengths["reply"])
    answer = min(settings.max_new_tokens, lengths["reply"])
    answer += SECOND_TOKENS * settings.second_pass
    role = lengths["sample"] - lengths["bare"]
    questions = min(settings.question_rows, profile.data.question_rows)
    forms = 2 if settings.contrasts == "full" else 1  # cloze and letters, or cloze
    roles = seeds * (questions + forms * _choice_items(profile, settings.choices))
    arms = sum(len(names) for _, _, names in measurement_plan(profile))
    answers = settings.items * len(scored_tasks(profile)) * arms
    of_design = questions + _choice_items(profile, ablate.tasks)
    design_roles = _of_designs(profile, new=True) * of_design
    design_replies = _of_designs(profile) * min(ablate.question_rows, questions)
    return {
        "annotate": _annotated(profile) * profile.annotate.max_tokens,
        # Four questions to each model and the untuned one, as long as the longest reply.
        "sft": (1 + len(trained_designs(profile))) * SMALL_BATCH * profile.infer.max_new_tokens,
        "infer": 3 * (profile.data.question_rows + SWAPPED) * reply,
        "evaluate": roles * role + answers * answer,
        "ablate": design_roles * role + design_replies * reply,
        "judge": COMPARISONS * profile.judge.pairs * profile.judge.max_tokens,
        "robustness": 2 * PROBE_KINDS * (profile.evaluate.probes or PROBES) * reply,
    }


def _of_designs(profile: Profile, new: bool = False) -> int:
    """Models that chapter 6 measures; the `new` ones are those that chapter 5 has not."""
    known = {profile.design, "none"} if new else set()
    return len({*profile.ablate.designs} - known) * profile.ablate.seeds


def _annotated(profile: Profile) -> int:
    live = profile.annotate.train_on == "live"
    return profile.data.train_rows if live else profile.annotate.samples


def _choice_items(profile: Profile, tasks: Sequence[str]) -> int:
    """Items of some tasks with options together."""
    asked = profile.evaluate.choice_items
    if profile.data.benchmarks == "hub":
        return min(asked, HUB_ITEMS) * len(tasks)
    return sum(min(asked, CONTROL_ITEMS if name in CONTROLS else MINI_ITEMS) for name in tasks)
