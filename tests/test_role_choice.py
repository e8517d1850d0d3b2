"""With a role or without: gaps at the beginning of a reply, and what a choice by them brings."""

import numpy as np
import pandas as pd
import pytest
from role_choice import _best_threshold, choice_gains
from role_choice_study import measure_choice, role_gaps

from selfprompt_lib import models, profiles
from selfprompt_lib.designs import get_design
from selfprompt_lib.generate import ask
from selfprompt_lib.rows import Question
from selfprompt_lib.two_way import two_way_interval

QUESTIONS = ["Why is the sky blue?", "What is 2 + 2?", "Name a fruit."]


@pytest.fixture(scope="module")
def smoke():
    return models.load(models.SMOKE, "float32")


@pytest.mark.parametrize("push", [-100.0, 100.0])
def test_a_gap_is_above_zero_where_the_greedy_reply_begins_with_the_opening(smoke, push):
    model, tokenizer = smoke
    design = get_design("from-now-on")
    first = tokenizer.encode("From", add_special_tokens=False)[0]

    def pushed(head, given, logits):
        logits[..., first] += push
        return logits

    hook = model.lm_head.register_forward_hook(pushed)
    try:
        gaps = role_gaps(model, tokenizer, design, QUESTIONS)
        begun = [text.startswith("From") for text in ask(model, tokenizer, QUESTIONS, max_new_tokens=1)]
    finally:
        hook.remove()
    assert list(gaps > 0) == begun == [push > 0] * len(QUESTIONS)
    bare = role_gaps(model, tokenizer, design, QUESTIONS)
    assert gaps == pytest.approx(bare + push, abs=1e-3)


@pytest.mark.parametrize("name", ["none", "after-answer"])
def test_a_design_without_a_role_in_front_has_no_gap(smoke, name, refused):
    with refused(f"design {name}", "take another design"):
        role_gaps(*smoke, get_design(name), QUESTIONS)


def test_measured_and_judged_from_one_model(tmp_path):
    asked = {"open questions": [Question(id=str(n), question=q, reference="It is so.") for n, q in enumerate(QUESTIONS)]}
    table, gaps = measure_choice("smoke", profiles.load("smoke"), asked, {}, tmp_path)
    assert sorted(zip(table.prefix, table["item"], strict=True)) == sorted((p, i) for p in ("none", "own role") for i in "012")
    found = choice_gains(table, gaps).set_index("rule")
    assert found.loc["never", "mean"] == pytest.approx(table[table.prefix == "none"].nats.mean())
    assert found.loc["model's choice", "share"] == 0


def world(gains, gaps, task="facts", form="cloze", measure="log_odds"):
    """The two tables: each item's likelihood is 1 without a role, and `gains` more with one; shape (items, seeds)."""
    keys = [{"seed": seed, "task": task, "item": str(item)} for item, seed in np.ndindex(gains.shape)]
    rows = pd.DataFrame(keys).assign(model="self-prompt", form=form)
    table = pd.concat([rows.assign(prefix="none", **{measure: 1.0}),
                       rows.assign(prefix="own role", **{measure: 1 + gains.ravel()})])
    return table, pd.DataFrame(keys).assign(gap=gaps.ravel())


def test_a_gap_that_tells_beats_always_and_never_and_the_model_s_own_choice():
    rng = np.random.default_rng(0)
    gaps = rng.normal(0, 2, (100, 3))
    gains = np.where(gaps > 2, 1.0, -0.5) + rng.normal(0, 0.1, gaps.shape)
    found = choice_gains(*world(gains, gaps)).set_index("rule")
    gap = found.loc["gap"]
    assert gap.over_always_low > 0 and gap.over_never_low > 0 and gap["mean"] > found["mean"].drop("gap").max()
    assert gap.share == pytest.approx((gaps > 2).mean(), abs=0.06)
    assert found.loc["model's choice", "share"] == pytest.approx((gaps > 0).mean())
    by_hand = two_way_interval(gains, shares=False)
    always = found.loc["always"]
    assert always[["over_never", "over_never_low", "over_never_high"]].tolist() == pytest.approx(
        [by_hand.value, by_hand.low, by_hand.high])
    assert always.over_always == 0 and np.isnan(always.over_always_low)


def test_a_gap_that_tells_nothing_is_not_credited():
    rng = np.random.default_rng(1)
    worlds = [rng.normal(0, 1, (2, 20, 1)) for _ in range(40)]
    judged = [choice_gains(*world(*each)).set_index("rule").over_never["gap"] for each in worlds]
    same = [np.where(gap > _best_threshold([(gap[:, 0], gain[:, 0])]), gain, 0).mean() for gain, gap in worlds]
    error = np.std(judged) / 40**0.5
    assert abs(np.mean(judged)) < 3 * error < np.mean(same)  # chosen and judged on the same questions it looks like a gain


def test_one_threshold_for_all_tasks_and_each_counts_the_same():
    rng = np.random.default_rng(2)
    facts, form = (world(rng.normal(gain, 0.1, (n, 2)), rng.normal(gap, 0.1, (n, 2)), task)
                   for n, gain, gap, task in ((40, -1.0, 1.0, "facts"), (10, 1.0, 3.0, "form")))
    found = choice_gains(*(pd.concat(both) for both in zip(facts, form, strict=True))).set_index(["task", "rule"])
    assert found.loc[("form", "gap"), "share"] > 0.8 and found.loc[("facts", "gap"), "share"] < 0.1
    assert found.loc[("all", "always"), "over_never"] == pytest.approx(
        (found.loc[("facts", "always"), "over_never"] + found.loc[("form", "always"), "over_never"]) / 2)
    assert found.loc[("all", "gap"), "over_never"] > 0.35


def test_tables_that_do_not_match_are_refused(refused):
    table, gaps = world(np.ones((4, 1)), np.ones((4, 1)))
    with refused("no rows of model self-prompt", "measure"):
        choice_gains(table.assign(model="baseline"), gaps)
    with refused("no rows behind ['own role']"):
        choice_gains(table[table.prefix == "none"], gaps)
    with refused("2 of 4 items have no gap", "'2'", "role_gaps"):
        choice_gains(table, gaps[:2])
    with refused("task facts has 1 items"):
        choice_gains(*world(np.ones((1, 1)), np.ones((1, 1))))
