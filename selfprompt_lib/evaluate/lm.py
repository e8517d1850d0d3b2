"""How lm-eval asks our models: replies begun in a given way, and ended with an answer trigger."""

from dataclasses import replace
from string import ascii_uppercase
from typing import Any

from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text

from ..errors import require
from ..generate import reply_ids

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
