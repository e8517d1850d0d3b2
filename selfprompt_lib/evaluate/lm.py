"""How lm-eval asks our models: several arms of one model at once, replies begun in a given way, and a second pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text
from lm_eval.utils import apply_template

from ..errors import require
from ..generate import begun, written

SECOND_TOKENS = 8
SHORTEST = 8  # tokens that a reply may have behind a start, however long the start is
Key = tuple[str, str]  # task and item


def key(task: str, doc: Mapping[str, Any]) -> Key:
    """What names an item in every table of this chapter."""
    return task.removeprefix("selfprompt_"), str(doc["id"])


@dataclass
class Arm:
    """One way of asking a model: what the chat has before the question, and what replies begin with.

    `starts` has a text for an item, or None: the reply may then not begin as `opening` does.
    """

    name: str
    rounds: Sequence[dict[str, str]] = ()
    starts: Mapping[Key, str | None] = field(default_factory=dict)
    opening: str = ""


class StartedLM(HFLM):
    """lm-eval's Hugging Face model, asked as in chapter 4; its replies are those of `HFLM` in greedy decoding, written faster.

    All `arms` with the same rounds are asked together, so that what their prompts share is read once;
    `arm` says whose replies lm-eval gets. A start counts as part of the reply and of its length.
    With `triggers` (task → Jinja template), `seconds` gets what the model wrote behind the answer trigger
    after each reply: the second pass of role-play prompting (arXiv 2308.07702, section 3).
    """

    def __init__(self, *, arms: Sequence[Arm] = (Arm("plain"),), triggers: Mapping[str, str] | None = None, **arguments: Any):
        super().__init__(**arguments)
        self.arms, self.arm, self.triggers = arms, arms[0].name, triggers or {}
        self.replies: dict[tuple[str, Key], str] = {}
        self.seconds: dict[tuple[str, Key], str] = {}

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """As HFLM does, with the arm's rounds before the question."""
        rounds = next(arm.rounds for arm in self.arms if arm.name == self.arm)
        return super().apply_chat_template([*chat_history[:-1], *rounds, *chat_history[-1:]], add_generation_prompt)

    def generate_until(self, requests, disable_tqdm: bool = False) -> list[str]:
        """As HFLM does; the first call asks for all arms."""
        names = [(self.arm, key(request.task_name, request.doc)) for request in requests]
        if any(name not in self.replies for name in names):
            self._ask(requests, disable_tqdm)
        return [self.replies[name] for name in names]

    def _ask(self, requests, quiet: bool) -> None:
        groups: dict[str, list] = {}
        for request in requests:
            groups.setdefault(repr(request.args[1]), []).append(request)
        for alike in groups.values():
            self._written([(arm, request) for request in alike for arm in self.arms], alike[0].args[1], quiet)

    def _written(self, rows: list[tuple[Arm, Any]], settings: dict[str, Any], quiet: bool) -> None:
        settings = normalize_gen_kwargs(settings, self.max_gen_toks)
        require(not settings["do_sample"], "do_sample: replies are written greedily; set it to false in the task")
        stops, new = [stop for stop in settings["until"] if stop], settings["max_gen_toks"]
        starts = [self._start(arm, request) for arm, request in rows]
        triggers = [apply_template(self.triggers.get(request.task_name, ""), request.doc) for _, request in rows]
        then = [self._ids(text) for text in triggers]
        taken = new + max(map(len, then)) + SECOND_TOKENS * any(then)
        require(taken < self.max_length, f"evaluate.max_new_tokens: {new:,} leave no room for a question in the model's context "
                                         f"of {self.max_length:,}; set it lower")
        prompts = [self._prompt(request.args[0], start or "", self.max_length - taken)
                   for (_, request), start in zip(rows, starts, strict=True)]
        rooms = [max(SHORTEST, new - len(self._ids(start))) if start else new for start in starts]
        first, second = written(
            self.model, prompts, max_new_tokens=rooms, batch_size=int(self.batch_size), then=then, then_tokens=SECOND_TOKENS,
            label=None if quiet else f"asking {', '.join(arm.name for arm in self.arms)}",
            forbidden=[self._ids(arm.opening)[:1] if start is None else [] for (arm, _), start in zip(rows, starts, strict=True)],
            stopped=(lambda ids: any(stop in self.tok_decode(ids) for stop in stops)) if stops else None,
        )
        for (arm, request), start, reply, trigger, more in zip(rows, starts, first, triggers, second, strict=True):
            name = arm.name, key(request.task_name, request.doc)
            self.replies[name] = (start or "") + postprocess_generated_text(self.tok_decode(reply), stops, None)
            self.seconds[name] = trigger + self.tok_decode(more) if trigger else ""

    def _start(self, arm: Arm, request) -> str | None:
        return arm.starts.get(key(request.task_name, request.doc), "") if arm.starts else ""

    def _prompt(self, context: str, start: str, room: int) -> list[int]:
        """As HFLM encodes a prompt, with its first special tokens; behind a start it must be as in training."""
        if not start:
            return self.tok_encode(context, left_truncate_len=room)
        plain = self.tok_encode(context)
        special = plain[: len(plain) - len(self._ids(context))]
        return special + begun(self.tokenizer, context + start)[len(special) - room :]

    def _ids(self, text: str) -> list[int]:
        return self.tok_encode(text, add_special_tokens=False) if text else []
