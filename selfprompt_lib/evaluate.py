"""Chapter 5: benchmarks through lm-evaluation-harness, with task YAMLs of our own."""

import logging
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pandas as pd
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text
from lm_eval.tasks import TaskManager

from . import stats
from .designs import get_design
from .errors import require
from .generate import reply_ids
from .profiles import Profile
from .rows import STARTER

TASK_FOLDER = Path(__file__).parent / "tasks"
UNREAD = "[none]"
TRIGGERED_TOKENS = 8


class StartedLM(HFLM):
    """lm-eval's Hugging Face model, asked as in chapter 4; replies can be made to begin and to end in a given way.

    Replies are those of `HFLM` in greedy decoding, written faster. `starts` maps (task, doc id) to the
    text a reply begins with. With `second_pass` the model goes on after an answer trigger (role-play
    prompting, arXiv 2308.07702). Both are part of the reply.
    """

    def __init__(self, *, starts: dict[tuple[str, int], str] | None = None, second_pass: bool = False, **arguments: Any):
        super().__init__(**arguments)
        self.starts, self.second_pass = starts or {}, second_pass

    def generate_until(self, requests, disable_tqdm: bool = False) -> list[str]:
        """As HFLM does, with starts and the second pass."""
        replies = self._go_on(requests, [self.starts.get((r.task_name, r.doc_id), "") for r in requests], {}, disable_tqdm)
        if self.second_pass:
            ends = [reply + trigger(request.doc) for request, reply in zip(requests, replies, strict=True)]
            replies = self._go_on(requests, ends, {"max_gen_toks": TRIGGERED_TOKENS}, disable_tqdm)
        return replies

    def _go_on(self, requests, begun: list[str], limits: dict[str, int], quiet: bool) -> list[str]:
        asked = [replace(request, arguments=(request.args[0] + text, request.args[1] | limits))
                 for request, text in zip(requests, begun, strict=True)]
        return [text + more for text, more in zip(begun, self._greedy_until(asked, quiet), strict=True)]

    def _greedy_until(self, requests, quiet: bool) -> list[str]:
        """HFLM's replies: requests with the same settings at a time, cut at the task's stop texts."""
        groups: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            groups.setdefault(repr(request.args[1]), []).append(place)
        replies = [""] * len(requests)
        for places in groups.values():
            texts = self._written([requests[place].args[0] for place in places], requests[places[0]].args[1], quiet)
            for place, text in zip(places, texts, strict=True):
                replies[place] = text
        return replies

    def _written(self, contexts: list[str], settings: dict[str, Any], quiet: bool) -> list[str]:
        settings = normalize_gen_kwargs(settings, self.max_gen_toks)
        require(not settings["do_sample"], "do_sample: replies are written greedily; set it to false in the task")
        stops, new = [stop for stop in settings["until"] if stop], settings["max_gen_toks"]
        require(new < self.max_length, f"evaluate.max_new_tokens: {new:,} leave no room for a question in the model's context "
                                       f"of {self.max_length:,}; set it lower")
        prompts = [self.tok_encode(context, left_truncate_len=self.max_length - new) for context in contexts]
        written = reply_ids(
            self.model, prompts, max_new_tokens=new, batch_size=int(self.batch_size), label=None if quiet else "evaluating",
            stopped=(lambda ids: any(stop in self.tok_decode(ids) for stop in stops)) if stops else None,
        )
        return [postprocess_generated_text(self.tok_decode(ids), stops, None) for ids in written]


def trigger(doc: dict[str, Any]) -> str:
    """The predecessor's answer trigger for an item; none where a program is asked for."""
    if "options" in doc:
        return f"\n\nTherefore, among A through {ascii_uppercase[len(doc['options']) - 1]}, the answer is"
    if "entry_point" in doc:
        return ""
    return f"\n\nTherefore, the answer ({'Yes or No' if isinstance(doc['answer'], bool) else 'arabic numerals'}) is"


def scored_tasks(profile: Profile, tasks: tuple[str, ...] | None = None) -> list[str]:
    """The tasks that are scored: HumanEval only where running model-written code is switched on."""
    return [t for t in tasks or profile.evaluate.tasks if t != "humaneval" or profile.evaluate.run_code]


def task_manager(profile: Profile) -> TaskManager:
    """lm-eval's task manager over our YAMLs, reading the profile's data."""
    data = str(STARTER) if profile.data.benchmarks == "starter" else profile.data.mirror
    return TaskManager(include_path=str(TASK_FOLDER), include_defaults=False,
                       metadata={"data": data, "items": profile.evaluate.items})


def run(model, tokenizer, profile: Profile, arm: str, tasks: tuple[str, ...] | None = None,
        starts: dict[tuple[str, int], str] | None = None) -> list[dict[str, Any]]:
    """Ask one model all items, zero-shot, greedily, in its chat template (chapters 5 and 6).

    Returns:
        One row an item: arm, task, item, question, reply, role, read (what the extractor took
        as the answer, `[none]` where nothing was found), key, correct.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    lm = StartedLM(pretrained=model, tokenizer=tokenizer, batch_size=profile.evaluate.batch_size, starts=starts,
                   second_pass=profile.evaluate.second_pass)
    results = simple_evaluate(
        model=lm, tasks=[f"selfprompt_{task}" for task in scored_tasks(profile, tasks)], task_manager=task_manager(profile),
        apply_chat_template=True, log_samples=True, bootstrap_iters=0,
        gen_kwargs={"max_gen_toks": profile.evaluate.max_new_tokens, "do_sample": False},
        confirm_run_unsafe_code=profile.evaluate.run_code,
    )
    design = get_design(profile.design)
    rows = []
    for task, samples in results["samples"].items():
        for sample in samples:
            score = sample.get("exact_match", sample.get("pass_at_1"))
            rows.append({
                "arm": arm, "task": task.removeprefix("selfprompt_"), "item": sample["doc_id"],
                "question": sample["doc"].get("question") or sample["doc"]["prompt"],
                "reply": sample["resps"][0][0], "role": design.read(sample["resps"][0][0]).role,
                "read": sample["filtered_resps"][0], "key": str(sample["target"]), "correct": bool(score),
            })
    return rows


def accuracy(frame: pd.DataFrame) -> pd.DataFrame:
    """Accuracy with its Wilson interval for each arm and task, and how many answers were not read."""
    rows = []
    for (arm, task), part in frame.groupby(["arm", "task"], sort=False):
        estimate = stats.rate(part.correct)
        rows.append({"arm": arm, "task": task, "accuracy": estimate.value, "low": estimate.low, "high": estimate.high,
                     "n": estimate.n, "not read": int((part["read"] == UNREAD).sum())})
    return pd.DataFrame(rows)


def differences(frame: pd.DataFrame, new: str, old: str, seed: int = 0) -> pd.DataFrame:
    """Paired differences of two arms by task and over all items, with intervals and p-values.

    p is the exact McNemar test of that task; `p_holm` is adjusted over the tasks. The row `all`
    pools the items.
    """
    wide = frame.pivot_table(index=["task", "item"], columns="arm", values="correct", sort=False).astype(bool)
    parts = [*wide.groupby(level="task", sort=False), ("all", wide)]
    rows = []
    for task, part in parts:
        estimate = stats.paired_difference(part[new], part[old], seed)
        rows.append({"task": task, "difference": estimate.value, "low": estimate.low, "high": estimate.high,
                     "wins": int((part[new] & ~part[old]).sum()), "losses": int((~part[new] & part[old]).sum()),
                     "n": estimate.n, "p": stats.mcnemar_p(part[new], part[old])})
    table = pd.DataFrame(rows)
    table["p_holm"] = [*stats.holm(table.p[:-1]), table.p.iloc[-1]]
    return table


def wins(frame: pd.DataFrame, winner: str, loser: str) -> pd.DataFrame:
    """The items that `winner` answered rightly and `loser` wrongly, with both replies."""
    won, lost = frame[frame.arm == winner], frame[frame.arm == loser]
    both = won.merge(lost, on=["task", "item", "question", "key"], suffixes=("", " (other)"))
    picked = both[both.correct & ~both["correct (other)"]]
    return picked[["task", "question", "key", "reply", "reply (other)"]].rename(columns={"reply": winner, "reply (other)": loser})


def data_note(profile: Profile) -> str:
    """Which data the tasks read, said plainly; every page with scores shows it."""
    if profile.data.benchmarks == "hub":
        return "The items are those of the real benchmarks" + (" (a fixed subset)." if profile.evaluate.items else ".")
    return ("The items are this project's own **mini benchmarks**, which stand in for the real ones where no hub can be reached. "
            "Their scores must not be compared with published ones.")
