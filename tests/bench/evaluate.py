"""Speed of the benchmarks beside plain lm-eval, on the same tasks, items and model (chapter 5).

`python tests/bench/evaluate.py` asks the starter model the items of the starter data, in one process, and prints:

- plain lm_eval: its `hf` model with its defaults, which are batches of one;
- ours, one arm: the same replies, written as chapter 5 does;
- ours, with the second pass: the same, and each reply goes on behind an answer trigger;
- ours, four given roles: four more arms of the same model, whose prompts are read once.

An item counts once for each arm. With `--mirror` the items are those of the real benchmarks. Plain lm_eval's scores
and ours are compared reply by reply.
"""

import argparse
import logging
import time
from pathlib import Path

from fragment import report, spread
from lm_eval.evaluator import evaluate as lm_evaluate
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM

from selfprompt_lib import evaluate, models, profiles
from selfprompt_lib.designs import get_design
from selfprompt_lib.evaluate import SUBSTITUTED, RoleSources, ask_benchmarks, plain_arm, substituted_arms
from selfprompt_lib.rows import STARTER_FOLDER, Sample, read_rows

WAYS = ("plain lm_eval", "ours, one arm", "ours, with the second pass", "ours, four given roles")


def by_lm_eval(model, tokenizer, tasks):
    """What plain lm_eval reads in each reply: (task, id) → strict, tolerant."""
    lm = HFLM(pretrained=model, tokenizer=tokenizer)
    results = lm_evaluate(lm, {"tasks": tasks, "groups": {}}, apply_chat_template=True, bootstrap_iters=0)
    found = {}
    for task, samples in results["samples"].items():
        for sample in samples:
            item = task.removeprefix("selfprompt_"), sample["doc"]["id"]
            found.setdefault(item, {})[sample["filter"]] = sample["filtered_resps"][0]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=6, help="items a task")
    parser.add_argument("--tokens", type=int, default=40, help="longest replies")
    parser.add_argument("--repeat", type=int, default=1, help="runs; more than one prints the median and the range")
    parser.add_argument("--mirror", help="a folder in the hub's layout, for the real benchmarks")
    parser.add_argument("--out", type=Path, help="also write the table as a fragment of the book")
    asked = parser.parse_args()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    source = {"data.benchmarks": "hub", "data.mirror": asked.mirror} if asked.mirror else {}
    settings = source | {"evaluate.items": asked.items, "evaluate.max_new_tokens": asked.tokens, "evaluate.second_pass": False}
    profile = profiles.load("cpu", settings)
    second = profiles.load("cpu", settings | {"evaluate.second_pass": True})
    model, tokenizer = models.load(models.STARTER)
    as_it_comes = AutoModelForCausalLM.from_pretrained(models.resolve(models.STARTER), dtype=model.dtype).eval()
    tasks = evaluate.load_tasks(profile)
    experts = [sample.role for sample in read_rows(STARTER_FOLDER / "train.jsonl", Sample)]
    seconds, found = {way: [] for way in WAYS}, {}

    def timed(way, work):
        began = time.perf_counter()
        found[way] = work()
        seconds[way].append(time.perf_counter() - began)

    for _ in range(asked.repeat):
        timed(WAYS[0], lambda: by_lm_eval(as_it_comes, tokenizer, tasks))
        timed(WAYS[1], lambda: ask_benchmarks(model, tokenizer, profile, tasks, [plain_arm("base")]))
        timed(WAYS[2], lambda: ask_benchmarks(model, tokenizer, second, tasks, [plain_arm("base")]))
        sources = RoleSources(experts, get_design(profile.design), tokenizer)
        others = substituted_arms(SUBSTITUTED, found[WAYS[1]], sources)
        timed(WAYS[3], lambda others=others: ask_benchmarks(model, tokenizer, second, tasks, others))
    items = len(found[WAYS[0]])
    ours = {(row.task, row.item): {"strict": row.strict, "tolerant": row.tolerant} for row in found[WAYS[1]].itertuples()}
    same = sum(ours[item] == read for item, read in found[WAYS[0]].items())
    table = [{"": way, "items a second": spread([count / spent for spent in seconds[way]], ".2f"),
              "times plain lm_eval": spread([count / items * first / spent
                                             for first, spent in zip(seconds[WAYS[0]], seconds[way], strict=True)], ".1f")}
             for way, count in zip(WAYS, (items, items, items, len(SUBSTITUTED) * items), strict=True)]
    caption = (f"{items} items in {len(tasks)} tasks of the {'real' if asked.mirror else 'mini'} benchmarks, replies of at most "
               f"{asked.tokens} tokens; both readers read the same in {same} of {items}")
    report(caption, table, asked.out)


if __name__ == "__main__":
    main()
