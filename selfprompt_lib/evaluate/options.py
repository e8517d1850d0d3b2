"""How likely a model finds the right option of an item, behind each prefix (chapter 5).

A forward pass a prefix and item, and a continuous measure: it sees differences that written answers
of so few items, right or wrong, do not.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import require
from .harness import Arm, ArmsLM, Score, item_key


def measure_options(model, tokenizer, tasks: dict[str, Any], arms: Sequence[Arm]) -> pd.DataFrame:
    """Score all options of all items behind each arm's prefix, in the chat template (chapter 5).

    Args:
        tasks: of `load_tasks`, such as `mmlu_cloze` and `mmlu_letters`.
        arms: ways of asking with the same rounds; the text of their `prefills` stands before the
            option. Its items are named by `item_key`, as (`mmlu_cloze`, "7").

    Returns:
        One row an arm and item, with `prefix` (the arm), `task`, `form` (cloze or letters), `item`,
        `stratum`, `options` (how many); and, with s the log-probability of an option:
        `nats`, s of the right option divided by its tokens; `log_odds`, its s minus the logsumexp
        of the others'; `log_odds_pmi`, the same with s minus the option's s behind an empty
        question; and whether the right option is the best one: `right` by s a character (lm-eval's
        acc_norm; with letters the same as acc), `right_sum` by s (acc), `right_pmi` by the
        difference. An item that does not fit the model's context behind one of the prefixes is left
        out behind all of them, and counted on the screen.

    The empty question gives each option one number a model, whatever the prefix: how likely it is
    where an answer begins. lm-eval's acc_mutual_info takes it behind the tokenizer's first token.
    In many chat formats the name of a speaker stands there, so it would measure the template.

    Raises:
        UserError: a task that has no options, an option without tokens, no item that fits.
    """
    for name, task in tasks.items():
        require(task.OUTPUT_TYPE == "multiple_choice",
                f"{name}: its options cannot be scored; give a task that includes _cloze.yaml or "
                "_letters.yaml")
    lm = ArmsLM(pretrained=model, tokenizer=tokenizer, arms=arms)
    requests = {name: [_requests(lm, task, number, doc) for number, doc
                       in enumerate(task.eval_docs)] for name, task in tasks.items()}
    flat = [request for items in requests.values() for item in items for request in item]
    lm.loglikelihood(flat)
    alone = lm.score_alone(sorted({request.args[1] for request in flat}))
    rows = [{"prefix": arm.name} | _row(lm, tasks[name], arm, item, alone)
            for arm in arms for name, items in requests.items() for item in items
            if item_key(name, item[0].doc) not in lm.unfit]
    _report_unfit(lm, len(rows))
    return pd.DataFrame(rows)


def _requests(lm: ArmsLM, task, number: int, doc: dict[str, Any]) -> list:
    """lm-eval's requests for an item, one an option."""
    context = task.fewshot_context(doc, 0, apply_chat_template=True, chat_template=
                                   lm.apply_chat_template, gen_prefix=task.doc_to_prefix(doc))
    found = task.construct_requests(doc, context, apply_chat_template=True,
                                    metadata=(task.config.task, number, 1))
    return found[: len(task.doc_to_choice(doc))]  # without those of acc_mutual_info


def _row(lm: ArmsLM, task, arm: Arm, requests: list, alone: dict[str, Score]) -> dict[str, Any]:
    doc, form = requests[0].doc, task.config.metadata["form"]
    name, item = item_key(task.config.task, doc)
    options, right = task.doc_to_choice(doc), task.doc_to_target(doc)
    right = right if isinstance(right, int) else options.index(right)
    scores = [lm.scores[arm.name, (name, item), request.idx] for request in requests]
    nats = np.array([score.nats for score in scores])
    gained = nats - [alone[request.args[1]].nats for request in requests]
    return {
        "task": name.removesuffix(f"_{form}"), "form": form, "item": item,
        "stratum": doc["stratum"], "options": len(options),
        "nats": nats[right] / scores[right].tokens,
        "log_odds": _log_odds(nats, right), "log_odds_pmi": _log_odds(gained, right),
        "right": np.argmax(nats / [len(option) for option in options]) == right,
        "right_sum": np.argmax(nats) == right, "right_pmi": np.argmax(gained) == right,
    }


def _log_odds(values: np.ndarray, right: int) -> float:
    return values[right] - np.logaddexp.reduce(np.delete(values, right))


def _report_unfit(lm: ArmsLM, rows: int) -> None:
    if not lm.unfit:
        return
    (task, item), reason = next(iter(lm.unfit.items()))
    told = (f"{len(lm.unfit)} items left out, which do not fit the model's context of "
            f"{lm.max_length:,} behind each prefix (task {task}, item {item}: {reason})")
    require(rows, f"{told}; shorten the prefixes, or take a model with a longer context")
    print(told)
