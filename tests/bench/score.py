"""Speed of scoring options beside plain lm-eval, on the same items and model (chapter 5).

`python tests/bench/score.py` has the starter model score the options of items with four options, in one process: by lm_eval's
`loglikelihood` with its default, batches of one, and in batches of 16, and by ours; by ours also behind four roles an item. An
item counts once for each role. Cloze tasks also have each option without its question scored, for lm-eval's acc_mutual_info.
"""

import argparse
import logging
import time
from functools import partial
from pathlib import Path

import numpy as np
from fragment import report, spread
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM

from selfprompt_lib import evaluate, models, profiles
from selfprompt_lib.designs import GAP, get_design
from selfprompt_lib.evaluate import Arm, ArmsLM
from selfprompt_lib.evaluate.harness import item_key
from selfprompt_lib.rows import STARTER_FOLDER, Sample, read_rows

TASKS = ("mmlu", "openbookqa", "arc_easy")
FORMS = ("cloze", "letters")
WAYS = ("plain lm_eval", "lm_eval, batches of 16", "ours", "ours, four roles")
OPTIONS = 4


def asked_requests(lm, profile, form):
    """lm-eval's requests for all items of the tasks of this form."""
    tasks = evaluate.load_tasks(profile, [f"{task}_{form}" for task in TASKS])
    for task in tasks.values():
        task.build_all_requests(apply_chat_template=True, chat_template=lm.apply_chat_template)
    return [request for task in tasks.values() for request in task.instances]


def by_lm_eval(lm, requests):
    """Scores by item and place."""
    names = [(item_key(request.task_name, request.doc), request.idx) for request in requests]
    return dict(zip(names, [score for score, _ in lm.loglikelihood(requests, disable_tqdm=True)], strict=True))


def by_us(model, tokenizer, requests, arms):
    """The same by ours, in the first arm."""
    lm = ArmsLM(pretrained=model, tokenizer=tokenizer, arms=arms)
    lm.loglikelihood(requests, disable_tqdm=True)
    return {name[1:]: score.nats for name, score in lm.scores.items() if name[0] == arms[0].name}


def best_options(scores):
    """The likeliest option of each item."""
    return {item: int(np.argmax([scores[item, place] for place in range(OPTIONS)])) for item, _ in scores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=4, help="items a task")
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
    seconds, same = {}, []
    for _ in range(asked.repeat):
        for form in FORMS:
            requests = asked_requests(single, profile, form)
            keys = list(dict.fromkeys(item_key(request.task_name, request.doc) for request in requests))
            arms = [Arm(f"role {place}", prefills=dict(zip(keys, roles[place * len(keys) :], strict=False)))
                    for place in range(4)]
            works, best = (partial(by_lm_eval, single, requests), partial(by_lm_eval, sixteen, requests),
                           partial(by_us, model, tokenizer, requests, [Arm("none")]),
                           partial(by_us, model, tokenizer, requests, arms)), []  # fmt: skip
            for way, work in zip(WAYS, works, strict=True):
                began = time.perf_counter()
                best.append(best_options(work()))
                seconds.setdefault((form, way), []).append(time.perf_counter() - began)
            same += [best[2][key] == best[1][key] for key in keys]
    table = []
    for (form, way), spent in seconds.items():
        count = len(keys) * (len(arms) if way == WAYS[3] else 1)
        speeds, plain = [count / one for one in spent], [len(keys) / one for one in seconds[form, WAYS[0]]]
        table.append({"": f"{form}: {way}", "items a second": spread(speeds, ".1f"),
                      "times plain lm_eval": spread([ours / other for ours, other in zip(speeds, plain, strict=True)], ".1f")})
    caption = (f"{len(keys)} items of four options in {len(TASKS)} tasks of the mini benchmarks, in "
               f"{str(model.dtype).removeprefix('torch.')}; the likeliest option is lm_eval's in {np.mean(same):.1%}")
    report(caption, table, asked.out)


if __name__ == "__main__":
    main()
