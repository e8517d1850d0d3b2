"""lm-evaluation-harness's Hugging Face model, asked our way (chapter 5).

Several arms of one model at once, replies with a given beginning and a second pass, and options
scored only where their own tokens stand.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text
from lm_eval.utils import apply_template
from tqdm import tqdm

from ..decoding import Request
from ..errors import require
from ..generate import chat_prompt, encode_prefill, generate_ids, reply_texts
from .benchmarks import PREFIX
from .likelihood import Pair, encode_pairs, score_ids

SECOND_TOKENS = 8  # the longest second reply
SHORTEST = 8  # tokens that a reply may have behind a prefill, however long the prefill is
BLOCK = 4096  # options that are encoded and scored at once
ItemKey = tuple[str, str]  # task and item
OptionKey = tuple[str, ItemKey, int]  # arm, item, and which of lm-eval's requests for the item


def item_key(task: str, doc: Mapping[str, Any]) -> ItemKey:
    """What names an item in every table of this chapter."""
    return task.removeprefix(PREFIX), str(doc["id"])


class Score(NamedTuple):
    """How likely an option is: its log-probability in nats, whether it is greedy, its tokens."""

    nats: float
    greedy: bool
    tokens: int


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


class ArmsLM(HFLM):
    """lm-eval's Hugging Face model, asked as in chapter 4, in several arms at once.

    Replies are those of `HFLM` in greedy decoding, written faster: all `arms`, which have the same
    rounds, are asked together, so that what their prompts share is read once; `arm` says whose
    replies lm-eval gets. A prefill counts as part of the reply and of its length. With `triggers`
    (task → Jinja template), `second_replies` gets what the model wrote behind the answer trigger
    after each reply: the second pass of role-play prompting (arXiv 2308.07702, section 3).

    Options are scored in all arms together, too: see `loglikelihood`.
    """

    def __init__(self, *, arms: Sequence[Arm] = (Arm("plain"),),
                 triggers: Mapping[str, str] | None = None, **arguments: Any):
        super().__init__(**arguments)
        self.arms, self.arm = arms, arms[0].name
        self.triggers = triggers or {}
        self.replies: dict[tuple[str, ItemKey], str] = {}  # by arm and item
        self.second_replies: dict[tuple[str, ItemKey], str] = {}
        self.scores: dict[OptionKey, Score] = {}
        self.unfit: dict[ItemKey, str] = {}

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

        asked = []
        for (arm, request), prefill, suffix in zip(rows, prefills, suffixes, strict=True):
            prompt = self._prompt(request.args[0], prefill or "", self.max_length - reserved)
            left = max(SHORTEST, longest - len(self._ids(prefill))) if prefill else longest
            forbidden = self._ids(arm.opening)[:1] if prefill is None else []
            asked.append(Request(prompt, left, suffix, forbidden))
        names = ", ".join(arm.name for arm in self.arms)
        first, second = generate_ids(
            self.model, asked, batch_size=int(self.batch_size),
            suffix_max_new_tokens=SECOND_TOKENS, label=None if quiet else f"asking {names}")

        for place, (arm, _) in enumerate(rows):
            name = arm.name, keys[place]
            reply = postprocess_generated_text(self.tok_decode(first[place]), stops, None)
            self.replies[name] = (prefills[place] or "") + reply
            if triggers[place]:
                self.second_replies[name] = triggers[place] + self.tok_decode(second[place])

    def _prompt(self, context: str, prefill: str, room: int) -> list[int]:
        """As HFLM encodes a prompt; the reply must go on as in training."""
        special = self.special_ids(context)
        kept = room - len(special)  # of a longer prompt, its last tokens
        return special + encode_prefill(self.tokenizer, context + prefill)[-kept:]

    def _ids(self, text: str | None) -> list[int]:
        return self.tok_encode(text, add_special_tokens=False) if text else []

    def loglikelihood(self, requests, disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """As HFLM does, but for what is scored; the first call scores for all arms.

        The text of an arm's `prefills` stands between the prompt and the option. Only the option's
        tokens are scored: see `encode_pairs`. An option without a context, as `acc_mutual_info` has
        it, stands behind the tokenizer's first token, as in HFLM. An item that does not fit the
        model's context in one of the arms is in `unfit`, with the reason, and its scores are not a
        number in any.

        Raises:
            UserError: an option without tokens, with its task and item.
        """
        names = [(self.arm, item_key(request.task_name, request.doc), request.idx)
                 for request in requests]
        if any(name not in self.scores for name in names):
            self._score(requests, disable_tqdm)
        return [self.scores[name][:2] for name in names]

    def _score(self, requests: list, quiet: bool) -> None:
        """Score requests in all arms, in blocks, and keep the scores."""
        asked = {(arm.name, item_key(request.task_name, request.doc), request.idx): (arm, request)
                 for request in requests for arm in self.arms}
        label = f"scoring {', '.join(arm.name for arm in self.arms)}"
        with tqdm(total=len(asked), desc=label, unit="option", mininterval=1, disable=quiet) as bar:
            for start in range(0, len(asked), BLOCK):
                block = dict(islice(asked.items(), start, start + BLOCK))
                self._score_block(block)
                bar.update(len(block))
        unfit = [name for name in asked if name[1] in self.unfit]
        self.scores |= dict.fromkeys(unfit, Score(math.nan, False, 0))

    def _score_block(self, asked: dict[OptionKey, tuple[Arm, Any]]) -> None:
        pairs = dict(zip(asked, self._pairs(asked), strict=True))
        for (arm, key, _), (context, option) in pairs.items():
            require(option, f"task {key[0]}, item {key[1]}: an option has no tokens; give each "
                            "option a text")
            length = len(context) + len(option)
            if length > self.max_length:
                self.unfit[key] = f"{length:,} tokens in arm {arm!r}"
        fit = {name: pair for name, pair in pairs.items() if name[1] not in self.unfit}
        scores = score_ids(self.model, list(fit.values()))
        self.scores |= {name: Score(*score, len(option))
                        for (name, (_, option)), score in zip(fit.items(), scores, strict=True)}

    def score_alone(self, options: Sequence[str]) -> dict[str, Score]:
        """Options behind an empty question: how likely each is where an answer begins."""
        context = self.apply_chat_template([{"role": "user", "content": ""}])
        pairs = [(self.special_ids(context) + start, option) for start, option
                 in encode_pairs(self.tokenizer, [context] * len(options), options)]
        return {option: Score(*score, len(ids)) for option, (_, ids), score
                in zip(options, pairs, score_ids(self.model, pairs), strict=True)}

    def _pairs(self, asked: dict[OptionKey, tuple[Arm, Any]]) -> list[Pair]:
        """Context and option of each request as token ids."""
        contexts = [request.args[0] and request.args[0] + (arm.prefills.get(key) or "")
                    for (_, key, _), (arm, request) in asked.items()]
        options = [request.args[1] for _, request in asked.values()]
        special = {context: self.special_ids(context) for context in set(contexts) if context}
        return [(special[context] + start if context else [self.prefix_token_id], option)
                for context, (start, option)
                in zip(contexts, encode_pairs(self.tokenizer, contexts, options), strict=True)]

    def special_ids(self, context: str) -> list[int]:
        """The special tokens that HFLM puts in front of a context, such as a first <s>."""
        whole = self.tok_encode(context)
        return whole[: len(whole) - len(self.tok_encode(context, add_special_tokens=False))]
