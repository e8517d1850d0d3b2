"""Speed of scoring options beside plain lm-eval, on the same items and model (chapter 5).

`python tests/bench/score.py` has the starter model score the options of items with four options, in one process: by lm_eval's
`loglikelihood` with its default, batches of one, and in batches of 16, and by ours. An item counts once for each prefix that
stands before its options. Cloze tasks also have each option without its question scored, for lm-eval's acc_mutual_info.
"""

import argparse
import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from fragment import show, spread, write
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM

from selfprompt_lib import evaluate, models, profiles
from selfprompt_lib.designs import GAP, get_design
from selfprompt_lib.evaluate import Arm, ArmsLM
from selfprompt_lib.evaluate.option_scores import item_key
from selfprompt_lib.rows import STARTER_FOLDER, Sample, read_rows

TASKS = ("mmlu", "openbookqa", "arc_easy")
KINDS = {"cloze": ("cloze", 1), "cloze, two prefixes": ("cloze", 2), "letters": ("letters", 1)}
WAYS = ("plain lm_eval", "lm_eval, batches of 16", "ours")
OPTIONS = 4


def asked_requests(lm, profile, form):
    """lm-eval's requests for all items of the tasks of this form."""
    tasks = evaluate.load_tasks(profile, [f"{task}_{form}" for task in TASKS])
    for task in tasks.values():
        task.build_all_requests(apply_chat_template=True, chat_template=lm.apply_chat_template)
    return [request for task in tasks.values() for request in task.instances]


def by_lm_eval(lm, requests, arms):
    """Scores by arm, item and place; a prefix is put into the requests' contexts."""
    names, given = [], []
    for arm in arms:
        for request in requests:
            key = item_key(request.task_name, request.doc)
            context, option = request.args
            names.append((arm.name, key, request.idx))
            context = context and context + arm.prefills[key]
            given.append(replace(request, arguments=(context, option), resps=[], filtered_resps={}))
    return dict(zip(names, [score for score, _ in lm.loglikelihood(given, disable_tqdm=True)], strict=True))


def by_us(model, tokenizer, requests, arms):
    """The same by ours."""
    lm = ArmsLM(pretrained=model, tokenizer=tokenizer, arms=arms)
    lm.loglikelihood(requests, disable_tqdm=True)
    return {name: score.nats for name, score in lm.scores.items()}


def best_options(scores):
    """The likeliest option by arm and item."""
    items = {name[:2] for name in scores}
    return {item: int(np.argmax([scores[*item, place] for place in range(OPTIONS)])) for item in items}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=3, help="items a task")
    parser.add_argument("--repeat", type=int, default=1, help="runs; more than one prints the median and the range")
    parser.add_argument("--out", type=Path, help="also write the table as a fragment of the book")
    asked = parser.parse_args()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    profile = profiles.load("cpu", {"evaluate.items": asked.items})
    model, tokenizer = models.load(models.STARTER)
    as_it_comes = AutoModelForCausalLM.from_pretrained(models.resolve(models.STARTER), dtype=model.dtype).eval()
    single, sixteen = (HFLM(pretrained=as_it_comes, tokenizer=tokenizer, batch_size=size) for size in (1, 16))
    samples, design = read_rows(STARTER_FOLDER / "train.jsonl", Sample), get_design("from-now-on")
    roles = [design.role_text(sample.role) + GAP for sample in samples]
    seconds, counts, same = {}, {}, []
    for _ in range(asked.repeat):
        for kind, (form, prefixes) in KINDS.items():
            requests = asked_requests(single, profile, form)
            keys = list(dict.fromkeys(item_key(request.task_name, request.doc) for request in requests))
            arms = [Arm(f"role {place}", prefills={key: roles[number * prefixes + place] if prefixes > 1 else ""
                                                   for number, key in enumerate(keys)}) for place in range(prefixes)]  # fmt: skip
            counts[kind], best = len(keys) * prefixes, {}
            ways = {WAYS[0]: lambda r, a: by_lm_eval(single, r, a), WAYS[1]: lambda r, a: by_lm_eval(sixteen, r, a),
                    WAYS[2]: lambda r, a: by_us(model, tokenizer, r, a)}  # fmt: skip
            for way, work in ways.items():
                began = time.perf_counter()
                scores = work(requests, arms)
                seconds.setdefault((kind, way), []).append(time.perf_counter() - began)
                best[way] = best_options(scores)
            same += [best[WAYS[2]][item] == choice for item, choice in best[WAYS[1]].items()]
    table = [{"": f"{kind}: {way}", "items a second": spread([counts[kind] / spent for spent in seconds[kind, way]], ".1f"),
              "times plain lm_eval": spread([first / spent for first, spent in zip(seconds[kind, WAYS[0]], seconds[kind, way],
                                                                                   strict=True)], ".1f")}
             for kind in KINDS for way in WAYS]  # fmt: skip
    caption = (f"{len(keys)} items of four options in {len(TASKS)} tasks of the mini benchmarks, in "
               f"{str(model.dtype).removeprefix('torch.')}; the likeliest option is lm_eval's in {np.mean(same):.1%}")
    print(f"\n{caption}")
    show(table)
    if asked.out:
        write(asked.out, {caption: table})


if __name__ == "__main__":
    main()
