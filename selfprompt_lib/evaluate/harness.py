"""lm-evaluation-harness asked our way: several arms of one model at once, replies with a given
beginning, a second pass, and rows of the table of items (chapter 5)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from lm_eval.evaluator import evaluate
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text
from lm_eval.utils import apply_template

from ..designs import get_design
from ..errors import require
from ..generate import chat_prompt, encode_prefill, generate_ids, reply_texts
from ..profiles import Profile
from ..tasks.checks import BASES
from ..tasks.extraction import extract_answer
from .option_scores import ItemKey, OptionsLM, item_key

SECOND_TOKENS = 8  # the longest second reply
SHORTEST = 8  # tokens that a reply may have behind a prefill, however long the prefill is
TEXT = pd.StringDtype(na_value=math.nan)  # also where no item has a role


@dataclass
class Arm:
    """One way of asking a model: what the chat has before the question, what replies begin with.

    Attributes:
        prefills: for each item the text that its reply begins with, or None: then the reply may
            not begin as `opening` does. Empty: replies begin freely.
    """

    name: str
    rounds: Sequence[dict[str, str]] = ()
    prefills: Mapping[ItemKey, str | None] = field(default_factory=dict)
    opening: str = ""


def ask_benchmarks(model, tokenizer, profile: Profile, tasks: dict[str, Any], arms: Sequence[Arm],
                   seed: int = -1) -> pd.DataFrame:
    """Ask one model all items in each arm, zero-shot, greedily, in its chat template (chapter 5).

    Args:
        tasks: of `load_tasks`.
        arms: ways of asking with the same rounds; they are asked together.
        seed: the training seed of the model, for the table; -1 for one that was not tuned here.

    Returns:
        The table of items (see `results`): one row an arm and item.

    Raises:
        UserError: a task in which no reply is written.
    """
    for name, task in tasks.items():
        require(task.OUTPUT_TYPE == "generate_until", f"{name}: no reply is written in this task; "
                f"give it to measure_options, or include one of {BASES}")
    triggers = {}
    if profile.evaluate.second_pass:
        triggers = {name: task.config.metadata["trigger"] for name, task in tasks.items()}
    lm = ArmsLM(pretrained=model, tokenizer=tokenizer, batch_size=profile.evaluate.batch_size,
                arms=arms, triggers=triggers)
    rows = []
    for arm in arms:
        lm.arm = arm.name
        # `simple_evaluate` would describe the machine each time, which takes seconds.
        results = evaluate(lm, {"tasks": tasks, "groups": {}}, apply_chat_template=True,
                           bootstrap_iters=0, confirm_run_unsafe_code=profile.evaluate.run_code)
        for name, samples in results["samples"].items():
            rows += _item_rows(lm, tasks[name], name, samples, profile.design)
    return pd.DataFrame(rows).assign(seed=seed).astype({"role": TEXT})


def _item_rows(lm: "ArmsLM", task, name: str, samples: list[dict[str, Any]],
               design: str) -> list[dict[str, Any]]:
    """The rows of one arm and task; lm-eval gives one sample an item and reader."""
    kind, rows = task.config.metadata["kind"], {}
    for sample in samples:
        doc, reader = sample["doc"], sample["filter"]
        item, reply = item_key(name, doc), sample["resps"][0][0]
        row = rows.setdefault(item, {
            "arm": lm.arm, "task": item[0], "item": item[1], "stratum": doc["stratum"],
            "question": task.doc_to_text(doc), "reply": reply,
            "role": get_design(design).read(reply).role, "key": str(sample["target"])})
        row[reader] = "[code]" if kind == "code" else sample["filtered_resps"][0]
        row[f"correct_{reader}"] = bool(sample.get("exact_match", sample.get("pass_at_1")))
        second = lm.second_replies.get((lm.arm, item))
        if second:
            row["second"] = extract_answer(kind, "tolerant", second.strip(), doc)
            row["correct_second"] = row["second"] == row["key"]
    for row in rows.values():
        row.setdefault("second", row["tolerant"])
        row.setdefault("correct_second", row["correct_tolerant"])
        row["correct"] = row["correct_second"]
    return list(rows.values())


class ArmsLM(OptionsLM):
    """lm-eval's Hugging Face model, asked as in chapter 4, in several arms at once.

    Replies are those of `HFLM` in greedy decoding, written faster: all `arms`, which have the same
    rounds, are asked together, so that what their prompts share is read once; `arm` says whose
    replies lm-eval gets. A prefill counts as part of the reply and of its length. With `triggers`
    (task → Jinja template), `second_replies` gets what the model wrote behind the answer trigger
    after each reply: the second pass of role-play prompting (arXiv 2308.07702, section 3).

    Options are scored in all arms together, too: see `OptionsLM.loglikelihood`.
    """

    def __init__(self, *, arms: Sequence[Arm] = (Arm("plain"),),
                 triggers: Mapping[str, str] | None = None, **arguments: Any):
        super().__init__(arms=arms, **arguments)
        self.triggers = triggers or {}
        self.replies: dict[tuple[str, ItemKey], str] = {}
        self.second_replies: dict[tuple[str, ItemKey], str] = {}

    def apply_chat_template(self, chat_history: list[dict[str, str]],
                            add_generation_prompt: bool = True) -> str:
        """Where the answer begins (`chat_prompt`), with the arm's rounds before the question."""
        rounds = next(arm.rounds for arm in self.arms if arm.name == self.arm)
        history = [*chat_history[:-1], *rounds, *chat_history[-1:]]
        if add_generation_prompt:
            return chat_prompt(self.tokenizer, history)
        return super().apply_chat_template(history, add_generation_prompt)

    def tok_decode(self, tokens: Sequence[int], skip_special_tokens: bool = True) -> str:
        """As HFLM does, but with the tokens that mark a thought."""
        return reply_texts(self.tokenizer, [tokens])[0]

    def generate_until(self, requests, disable_tqdm: bool = False) -> list[str]:
        """As HFLM does; the first call asks for all arms."""
        names = [(self.arm, item_key(request.task_name, request.doc)) for request in requests]
        if any(name not in self.replies for name in names):
            by_settings: dict[str, list] = {}
            for request in requests:
                by_settings.setdefault(repr(request.args[1]), []).append(request)
            for alike in by_settings.values():
                self._ask(alike, alike[0].args[1], disable_tqdm)
        return [self.replies[name] for name in names]

    def _ask(self, requests: list, settings: dict[str, Any], quiet: bool) -> None:
        """Ask requests of the same generation settings in all arms, and keep the replies."""
        settings = normalize_gen_kwargs(settings, self.max_gen_toks)
        require(not settings["do_sample"],
                "do_sample: replies are written greedily; set it to false in the task")
        stops = [stop for stop in settings["until"] if stop]
        longest = settings["max_gen_toks"]

        rows = [(arm, request) for request in requests for arm in self.arms]
        keys = [item_key(request.task_name, request.doc) for _, request in rows]
        prefills = [arm.prefills.get(key, "") for (arm, _), key in zip(rows, keys, strict=True)]
        triggers = [apply_template(self.triggers.get(request.task_name, ""), request.doc)
                    for _, request in rows]
        suffixes = [self._ids(trigger) for trigger in triggers]
        reserved = longest + max(map(len, suffixes)) + SECOND_TOKENS * any(suffixes)
        require(reserved < self.max_length, f"evaluate.max_new_tokens: {longest:,} leave no room "
                f"for a question in the model's context of {self.max_length:,}; set it lower")

        prompts = [self._prompt(request.args[0], prefill or "", self.max_length - reserved)
                   for (_, request), prefill in zip(rows, prefills, strict=True)]
        limits = [max(SHORTEST, longest - len(self._ids(prefill))) if prefill else longest
                  for prefill in prefills]
        forbidden = [self._ids(arm.opening)[:1] if prefill is None else []
                     for (arm, _), prefill in zip(rows, prefills, strict=True)]
        names = ", ".join(arm.name for arm in self.arms)
        first, second = generate_ids(
            self.model, prompts, max_new_tokens=limits, batch_size=int(self.batch_size),
            forbidden_first=forbidden, suffixes=suffixes, suffix_max_new_tokens=SECOND_TOKENS,
            label=None if quiet else f"asking {names}")

        for place, (arm, _) in enumerate(rows):
            name = arm.name, keys[place]
            reply = postprocess_generated_text(self.tok_decode(first[place]), stops, None)
            self.replies[name] = (prefills[place] or "") + reply
            if triggers[place]:
                self.second_replies[name] = triggers[place] + self.tok_decode(second[place])

    def _prompt(self, context: str, prefill: str, room: int) -> list[int]:
        """As HFLM encodes a prompt; the reply must go on as in training."""
        special = self.special_ids(context)
        return special + encode_prefill(self.tokenizer, context + prefill)[len(special) - room :]

    def _ids(self, text: str | None) -> list[int]:
        return self.tok_encode(text, add_special_tokens=False) if text else []
