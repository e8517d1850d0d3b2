"""lm-eval's likelihoods of options, for several arms of one model at once (chapter 5)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lm_eval.models.huggingface import HFLM
from tqdm import tqdm

from ..errors import require
from .benchmarks import PREFIX
from .likelihood import Pair, encode_pairs, score_ids

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


class OptionsLM(HFLM):
    """lm-eval's Hugging Face model, whose likelihoods are those of several arms (see `ArmsLM`)."""

    def __init__(self, *, arms: Sequence[Any], **arguments: Any):
        super().__init__(**arguments)
        self.arms, self.arm = arms, arms[0].name
        self.scores: dict[OptionKey, Score] = {}
        self.unfit: dict[ItemKey, str] = {}

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
        names, label = list(asked), f"scoring {', '.join(arm.name for arm in self.arms)}"
        with tqdm(total=len(asked), desc=label, unit="option", mininterval=1, disable=quiet) as bar:
            for start in range(0, len(names), BLOCK):
                block = names[start : start + BLOCK]
                self._score_block({name: asked[name] for name in block})
                bar.update(len(block))
        for name in names:
            if name[1] in self.unfit:
                self.scores[name] = Score(math.nan, False, 0)

    def _score_block(self, asked: dict[OptionKey, tuple[Any, Any]]) -> None:
        room, pairs = self.max_length, dict(zip(asked, self._pairs(asked), strict=True))
        for (arm, key, _), (context, option) in pairs.items():
            require(option, f"task {key[0]}, item {key[1]}: an option has no tokens; give each "
                            "option a text")
            length = len(context) + len(option)
            if length > room:
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

    def _pairs(self, asked: dict[OptionKey, tuple[Any, Any]]) -> list[Pair]:
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
