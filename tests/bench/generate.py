"""Speed of asking, beside the ways one would take otherwise (chapters 4 to 6).

`python tests/bench/generate.py` asks the starter model 128 questions of the starter data, in one process, one way
after the other, and prints a table for replies of at most 64 tokens:

- one at a time: plain `generate`;
- static 32: plain `generate` on padded batches of 32, in the order of the questions;
- lm_eval: `HFLM.generate_until` with its defaults, which are batches of one;
- ours: `ask`, in batches of 128 as the profile `cpu` has it.

New tokens are counted up to the end of a reply, without what fills a batch up. The two slow ways are timed on
some of the questions (`--single`), at even distances; a reply is compared with single decoding where there is one.
A reply that differs is a tie where both tokens' logits, in a run of one, are nearer than rounding (tests/single.py).
"""

import argparse
import logging
import statistics
import sys
import time
from pathlib import Path

from fragment import show, spread, write
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM

from selfprompt_lib import generate, models, profiles, sources

sys.path.insert(0, str(Path(__file__).parent.parent))
from single import resolution, single, tie  # noqa: E402


def one_at_a_time(model, tokenizer, prompts, limit):
    return [single(model, tokenizer, prompt, max_new_tokens=limit) for prompt in prompts]


def static(model, tokenizer, prompts, limit, size=32):
    replies = []
    for first in range(0, len(prompts), size):
        batch = tokenizer(prompts[first : first + size], return_tensors="pt", padding=True, add_special_tokens=False)
        produced = model.generate(**batch, max_new_tokens=limit, do_sample=False, pad_token_id=tokenizer.pad_token_id)
        replies += [ended(tokenizer, ids) for ids in produced[:, batch["input_ids"].shape[1] :].tolist()]
    return replies


def ended(tokenizer, ids):
    """Without what stands after the end of the turn."""
    return ids[: ids.index(tokenizer.eos_token_id) + 1] if tokenizer.eos_token_id in ids else ids


def lm_eval(model, tokenizer, prompts, limit):
    """lm-eval gives texts; their tokens are counted again, with one for the end where a reply was not cut."""
    asked = [Instance("generate_until", {}, (prompt, {"until": [], "do_sample": False, "max_gen_toks": limit}), i)
             for i, prompt in enumerate(prompts)]  # fmt: skip
    texts = HFLM(pretrained=model, tokenizer=tokenizer).generate_until(asked, disable_tqdm=True)
    new = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    return [ids if len(ids) >= limit else [*ids, tokenizer.eos_token_id] for ids in new]


def ours(model, tokenizer, prompts, limit):
    ids = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    return generate.reply_ids(model, ids, max_new_tokens=limit, batch_size=128)


def questions():
    """The 50 held-out questions, and more from the training samples, to fill a batch."""
    profile = profiles.load("cpu")
    more = sources.take_evenly_spaced(sources.training_samples(profile), QUESTIONS - profile.data.question_rows)
    return [row.question for row in sources.held_out_questions(profile)] + [sample.conversations[0] for sample in more]


QUESTIONS = 128
WAYS = {"one at a time": one_at_a_time, "static 32": static, "lm_eval": lm_eval, "ours": ours}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[64], help="longest replies")
    parser.add_argument("--single", type=int, default=4, help="questions for the two slow ways")
    parser.add_argument("--repeat", type=int, default=1, help="runs; more than one prints the median and the range")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--out", type=Path, help="also write the tables as a fragment of the book")
    given = parser.parse_args()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    model, tokenizer = models.load(models.STARTER, given.dtype)
    plain = AutoModelForCausalLM.from_pretrained(models.resolve(models.STARTER), dtype=model.dtype).eval()
    prompts = [generate.prompt_text(tokenizer, question) for question in questions()]
    parts = {}
    for limit in given.tokens:
        caption = (f"Replies of at most {limit} tokens to {len(prompts)} questions, {given.single} of them for one at a time "
                   f"and lm_eval; {str(model.dtype).removeprefix('torch.')}")
        parts[caption] = compare(model, plain, tokenizer, prompts, limit, given)
        print(f"\n{caption}")
        show(parts[caption])
    if given.out:
        write(given.out, parts)


def compare(model, plain, tokenizer, prompts, limit, given):
    """Time all ways, in turns: a row for each. The others ask the model as transformers loads it, ours as we do."""
    some = sources.take_evenly_spaced(prompts, given.single)
    speeds, replies = {way: [] for way in given.ways}, {}
    for _ in range(given.repeat):
        for way in given.ways:
            asked = prompts if way in ("static 32", "ours") else some
            began = time.perf_counter()
            new = WAYS[way](model if way == "ours" else plain, tokenizer, asked, limit)
            speeds[way].append(sum(map(len, new)) / (time.perf_counter() - began))
            replies[way] = dict(zip(asked, new, strict=True))
    alone = replies.get("one at a time", {})
    return [row(plain, tokenizer, way, found, replies[way], alone, speeds) for way, found in speeds.items()]


def row(plain, tokenizer, way, found, new, alone, speeds):
    """A way's line of the table; lm_eval gives texts, whose tokens are not compared."""
    differ = [p for p in alone if p in new and new[p] != alone[p]] if way != "lm_eval" else []
    ties = sum(tie(plain, tokenizer, p, alone[p], new[p]) < resolution(plain) for p in differ)
    compared = sum(p in new for p in alone) if way not in ("lm_eval", "one at a time") else 0
    ratio = f"{statistics.median(found) / statistics.median(speeds['one at a time']):.1f}" if alone else "–"
    counts = [str(len(differ)), str(ties)] if compared else ["–", "–"]
    return {"": way, "new tokens a second": spread(found), "times one at a time": ratio,
            "tokens": f"{sum(map(len, new.values())):,}",
            "replies compared": str(compared or "–"), "other than single": counts[0], "of them ties": counts[1]}


if __name__ == "__main__":
    main()
