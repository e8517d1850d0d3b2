"""The likelihood spine: prefixes, contrasts by hand and in simulated worlds, the gate, the words."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import t, ttest_1samp

from selfprompt_lib import models, plots, roles
from selfprompt_lib.designs import DESIGNS, GAP, neutral_text
from selfprompt_lib.evaluate import contrasts, prefixes
from selfprompt_lib.evaluate.contrasts import gate, likelihood_contrasts, likelihood_sizes
from selfprompt_lib.evaluate.likelihood_report import CAUTION, likelihood_text
from selfprompt_lib.evaluate.prefixes import RoleSources, likelihood_plan, prefix_texts
from selfprompt_lib.generate import count_tokens
from selfprompt_lib.roles.fit import without_task
from selfprompt_lib.rows import STARTER_FOLDER, Role, Sample, read_rows
from selfprompt_lib.stats import holm
from selfprompt_lib.two_way import p_value, t_interval, two_way_interval, variance_components

BASE, BASELINE, NEUTRAL, OWN = (
    ("base", "none"), ("baseline", "none"), ("neutral", "neutral text"), ("self-prompt", "own role"))
ROLES = [
    "From now on, you are a night nurse who has calmed many frightened patients. You speak plainly. Your task is to say "
    "how much sleep a grown person needs.",
    None,
    "From now on, you are a clerk. You count twice. Your task is to add two numbers.",
    "From now on, you are a baker. You weigh everything. Your task is to explain why bread rises.",
]
ITEMS = pd.DataFrame({
    "task": "open questions", "item": list("abcd"), "role": ROLES,
    "question": ["How long should I sleep?", "Is it\n\nraining?", "What is 2 + 2?", "Why does bread rise?"]})


def rows(cell, values, seed=0, task="open questions", form="text", measure="nats", right=None):
    """One arm's rows of the table of likelihoods."""
    return pd.DataFrame({
        "model": cell[0], "prefix": cell[1], "seed": seed, "task": task, "form": form,
        "item": [f"{place}" for place in range(len(values))], "options": np.nan if form == "text" else 4,
        "nats": np.nan, "log_odds": np.nan, "log_odds_pmi": np.nan, "right": right} | {measure: values})


def world(rng, effect, items=40, seeds=3, of_seeds=0.02, cells=(OWN, BASELINE)):
    """Likelihoods of two arms whose difference over all items and seeds is `effect`."""
    hard, own = rng.normal(-3, 0.5, items), rng.normal(0, 0.05, items)
    found = []
    for seed in range(seeds):
        shift = effect + rng.normal(0, of_seeds) + own
        for cell, gain in zip(cells, (shift, 0), strict=True):
            found.append(rows(cell, hard + gain + rng.normal(0, 0.03, items), seed))
    return pd.concat(found)


def overall(table, **how):
    """The row over all tasks of the only contrast."""
    return likelihood_contrasts(table, **how).set_index("task").loc["all"]


@pytest.fixture(scope="module")
def sources():
    experts = [Role(expert=f"a {name}", brings="You look twice.", request="answer") for name in ("judge", "smith")]
    return RoleSources(experts, DESIGNS["from-now-on"], models.load("smoke", "float32")[1])


def test_one_seed_is_a_paired_t_test_by_hand():
    change = np.array([0.1, 0.2, 0.3, 0.4])
    found = overall(pd.concat([rows(OWN, change - 3), rows(BASELINE, np.full(4, -3.0))]))
    reach = 3.182446 * 0.0645497  # t(3) at 97.5%, and 0.129099 / √4
    assert [found.difference, found.low, found.high] == pytest.approx([0.25, 0.25 - reach, 0.25 + reach], abs=1e-5)
    assert found.p == pytest.approx(ttest_1samp(change, 0).pvalue)
    assert (found.n, found.seeds, found.above) == (4, 1, 1.0)


def test_several_seeds_are_a_two_way_table_by_hand():
    # Items' means 2 and 4, seeds' means 1.5 and 4.5: components 1, 2.25 and 0.25, their sum 1 + 2.25 - 0.25.
    table = pd.concat([part for seed, values in ((0, [1.0, 2.0]), (1, [3.0, 6.0])) for part in (
        rows(OWN, values, seed), rows(BASELINE, [0.0, 0.0], seed))])
    found, df = overall(table), 9 / (1 + 2.25**2 + 0.25**2)
    assert found.difference == pytest.approx(3)
    assert found.high - found.low == pytest.approx(2 * t.ppf(0.975, df) * np.sqrt(3))


def test_a_difference_of_nats_may_pass_one_and_a_share_may_not():
    change = np.array([[3.0], [5.0], [1.0], [4.0]])
    effect = two_way_interval(change, shares=False)
    interval = ttest_1samp(change[:, 0], 0).confidence_interval()
    assert (effect.low, effect.high) == pytest.approx((interval.low, interval.high))
    assert effect.high > 1 >= two_way_interval(np.sign(change)).high


@pytest.mark.parametrize(("seeds", "of_seeds"), [(1, 0.0), (3, 0.0), (3, 0.02), (5, 0.02)])
def test_the_interval_holds_a_known_effect_in_nats_and_false_alarms_are_few(seeds, of_seeds):
    rng, shape, effect = np.random.default_rng(4), (2000, 50, seeds), -1.5  # beyond what a share may be
    change = effect + rng.normal(0, 0.05, (*shape[:2], 1)) + rng.normal(0, of_seeds, (shape[0], 1, seeds))
    change += rng.normal(0, 0.04, shape)
    means, components = change.mean(axis=(1, 2)), variance_components(change)
    low, high = t_interval(means, components, np.inf)
    assert 0.92 <= np.mean((low <= effect) & (effect <= high)) <= 0.97
    assert np.mean(p_value(means - effect, components) < 0.05) <= 0.06
    alone = two_way_interval(change[0], shares=False)
    assert (alone.low, alone.high) == pytest.approx((low[0], high[0]))


def test_a_clear_effect_is_seen_with_its_sign():
    found = overall(world(np.random.default_rng(1), -0.1))
    assert found.high < 0 and found.p < 0.05 and found.above < 0.1


def test_holm_is_over_the_primary_contrasts_and_over_the_others_apart():
    rng = np.random.default_rng(0)
    table = pd.concat([rows(cell, rng.normal(-3 - 0.02 * place, 0.03, 30), -1 if cell == BASE else 0)
                       for place, cell in enumerate(likelihood_plan())])
    found = likelihood_contrasts(table)
    for primary, count in ((True, 2), (False, 7)):
        for whole in (True, False):
            part = found[(found.primary == primary) & ((found.task == "all") == whole)]
            assert len(part) == count and list(part.p_holm) == pytest.approx(holm(part.p))
    both = found[found.primary & (found.task == "all")]
    assert both.p_holm.min() == pytest.approx(min(1, 2 * both.p.min()))


def test_only_what_was_measured_is_compared_and_the_short_plan_answers_both_questions():
    values = np.random.default_rng(2).normal(-3, 0.1, (9, 12))
    table = pd.concat([rows(cell, part, -1 if cell == BASE else 0)
                       for cell, part in zip(likelihood_plan(), values, strict=True)])
    found = likelihood_contrasts(table)
    assert found[found.primary].contrast.nunique() == 2 and found.contrast.nunique() == 9
    assert set(found[~found.within_model & ~found.primary].contrast) == {
        "neutral, neutral text − baseline, none", "baseline, none − base, none"}
    fewer = likelihood_contrasts(table[table.model != "neutral"])
    assert set(found.contrast) - set(fewer.contrast) == {
        "self-prompt, own role − neutral, neutral text", "neutral, neutral text − baseline, none"}
    assert likelihood_contrasts(table[table.model == "base"]).empty


def test_the_full_plan_has_every_pair_and_every_contrast():
    plan = likelihood_plan(full=True)
    assert len(set(plan)) == len(plan) == 28 and set(likelihood_plan()) < set(plan)
    assert {cell for each in contrasts.CONTRASTS for cell in (each.new, each.old)} <= set(plan)
    assert len({each.label for each in contrasts.CONTRASTS}) == len(contrasts.CONTRASTS) == 11


def test_seeds_without_a_pair_are_left_out_and_so_are_items_that_did_not_fit(refused):
    table = world(np.random.default_rng(3), 0.1)
    assert overall(table[(table.model == "baseline") | (table.seed < 2)]).seeds == 2
    absent = table[(table.model == "baseline") | (table.item != "3") | (table.seed > 0)]  # in one seed
    empty = table.assign(nats=table.nats.where((table.item != "3") | (table.seed > 0)))
    without = overall(table[table.item != "3"])
    for part in (absent, empty):
        pd.testing.assert_series_equal(overall(part), without)
    assert without.n == 39 and likelihood_contrasts(table.assign(nats=np.nan)).empty
    with refused("open questions", "occur before"):
        likelihood_contrasts(pd.concat([table, table.head(1)]))
    with refused("measure", "odds", "log_odds_pmi"):
        likelihood_contrasts(table, "odds")


def test_two_prefixes_that_are_the_same_text_have_no_interval():
    values = np.array([-3.0, -2.5, -3.5])
    found = overall(pd.concat([rows(OWN, values), rows(("self-prompt", "none"), values)]))
    assert found.difference == 0 and found.p == 1 and np.isnan([found.low, found.high, found.smallest]).all()


def choices(task, form, right, shift, count=40):
    """The untuned model's rows of a task, and two arms that differ by about `shift`."""
    rng, how = np.random.default_rng(len(task)), {"task": task, "form": form, "measure": "log_odds"}
    flags = np.arange(count) < right
    return pd.concat([
        rows(BASE, rng.normal(size=count), -1, right=flags, **how),
        rows(BASELINE, np.zeros(count), right=flags, **how),
        rows(OWN, rng.normal(shift, 0.1, count), right=flags, **how)])


def test_what_is_no_better_than_guessing_is_not_interpreted():
    table = pd.concat([choices("openbookqa", "cloze", 30, 0.5), choices("piqa", "cloze", 10, -9),
                       choices("openbookqa", "letters", 12, 3), choices("arc_easy", "cloze", 20, 0.7)])
    gates = gate(table)
    keyed = gates.set_index(["task", "form"])
    assert dict(keyed.interpreted) == {("openbookqa", "cloze"): True, ("piqa", "cloze"): False,
                                       ("openbookqa", "letters"): False, ("arc_easy", "cloze"): True}
    assert dict(keyed.better) == {("openbookqa", "cloze"): True, ("piqa", "cloze"): True,
                                  ("openbookqa", "letters"): False, ("arc_easy", "cloze"): True}
    assert set(gates.chance) == {0.25} and keyed.accuracy["piqa", "cloze"] == 0.25

    found = likelihood_contrasts(table, "log_odds", gates)
    own = found[found.primary].set_index(["form", "task"])
    assert own.difference["cloze", "all"] == pytest.approx(
        (own.difference["cloze", "openbookqa"] + own.difference["cloze", "arc_easy"]) / 2)
    assert own.n["cloze", "all"] == 80 and ("letters", "all") not in own.index
    assert not own.interpreted["cloze", "piqa"] and np.isnan(own.p_holm["cloze", "piqa"])
    single = own.drop("all", level="task").query("interpreted")
    assert list(single.p_holm) == pytest.approx(holm(single.p))
    assert likelihood_contrasts(table, "log_odds").interpreted.all()


def test_a_task_in_which_all_but_a_few_are_right_is_interpreted_and_twelve_of_forty_are_not_enough():
    table = pd.concat([choices("a", "cloze", 12, 0), choices("b", "cloze", 17, 0), choices("c", "cloze", 40, 0)])
    assert list(gate(table).interpreted) == [False, True, True]  # 30% of 40 may be guessing at 25%


def test_sizes_are_those_that_show_the_target(monkeypatch):
    monkeypatch.setitem(contrasts.TARGETS, "nats", 0.05)
    table = pd.concat([world(np.random.default_rng(5), 0.0), world(np.random.default_rng(6), 0.0, cells=(NEUTRAL, OWN))])
    table = table.drop_duplicates(["model", "seed", "item"])
    sizes = likelihood_sizes(table)
    assert list(sizes.contrast) == [each.label for each in contrasts.CONTRASTS[:2]] and (sizes.target == 0.05).all()
    one = likelihood_sizes(table[table.seed == 0])
    assert one.seeds_needed.isna().all() and one.items_needed.notna().all()
    monkeypatch.setitem(contrasts.TARGETS, "nats", 0.5)
    assert likelihood_sizes(table).items_needed.max() <= 40


def test_prefixes_stand_in_the_order_of_the_items_each_with_its_gap(sources):
    texts = prefix_texts(list(prefixes.PREFIXES), ITEMS, sources)
    assert set(texts["none"]) == {""} and texts["question repeated"][1] == "Is it raining?" + GAP
    assert texts["own role"] == [role + GAP if role else "" for role in ROLES]
    assert texts["other question's role"][0] == ROLES[2] + GAP
    assert all(other and own != other for own, other in zip(texts["own role"], texts["other question's role"], strict=True))
    assert all(text.startswith("From now on, you are") for text in texts["irrelevant role"] + texts["random expert"])
    every = [text for name, column in texts.items() for text in column if name != "none" and text]
    assert all(text.endswith(GAP) and text.count(GAP) == 1 and "\n" not in text.removesuffix(GAP) for text in every)


def test_neutral_text_is_as_long_as_the_role_ends_with_a_word_and_names_nobody(sources):
    found = [text.removesuffix(GAP) for text in prefix_texts(["neutral text"], ITEMS, sources)["neutral text"]]
    whole = neutral_text()
    wanted = count_tokens(sources.tokenizer, [role or "" for role in ROLES])
    wanted[1] = int(np.median([wanted[0], wanted[2], wanted[3]]))
    lengths = count_tokens(sources.tokenizer, found)
    assert all(most - 3 <= length <= most for most, length in zip(wanted, lengths, strict=True))
    words = whole.split()
    for text in found:
        cut = text.split()
        assert cut[:-1] == words[: len(cut) - 1] and cut[-1].rstrip(".") == words[len(cut) - 1].rstrip(".,")
    assert "you are" not in whole.lower() and 120 <= len(words) <= 180
    assert prefixes.cut_text(whole, 10_000, sources.tokenizer) == whole


def measured(effects, seeds=1, **how):
    """A table of the short plan, each pair of model and prefix with its own mean."""
    rng, found = np.random.default_rng(0), []
    hard = rng.normal(-3, 0.5, 50)
    for cell in likelihood_plan():
        for seed in [-1] if cell == BASE else range(seeds):
            values = hard + effects.get(cell, 0) + rng.normal(0, 0.03, 50)
            found.append(rows(cell, values, seed, **how))
    return pd.concat(found)


# As the first measurement on two cores found them (nats a token, less the baseline's).
FIRST = {BASE: -0.386, ("baseline", "own role"): -0.023, OWN: -0.028, ("self-prompt", "none"): -0.127,
         ("self-prompt", "other question's role"): -0.105, ("self-prompt", "neutral text"): -0.024, NEUTRAL: -0.008}


def test_words_say_whether_a_role_helps_and_warn_of_taking_it_away():
    text = likelihood_text(likelihood_contrasts(measured(FIRST)))
    helps, neutral, right, away, *_ = [line for line in text.splitlines() if line.startswith("- ")]
    assert "Does a role help?* The answers become less likely" in helps and "of 50)" in helps
    assert "neutral paragraph?* The answers become less likely" in neutral
    assert "right role that counts?* The answers become likelier" in right
    assert "The answers become likelier" in away and away.endswith(CAUTION)
    assert "With one training seed this is about these models" in text and "Choices" not in text


def test_words_tell_a_null_with_what_could_have_been_seen_and_what_it_would_take():
    table = measured({}, seeds=2)
    text = likelihood_text(likelihood_contrasts(table), likelihood_sizes(table))
    assert text.count("No difference was seen; one of 0.0") >= 4 and "2 training seeds" in text
    assert "To see 0.01 nats between the self-prompt model and the baseline it would take" in text
    assert likelihood_text(likelihood_contrasts(table[table.model == "base"])).startswith("No two models")


def test_words_name_the_tasks_that_are_not_interpreted():
    table = pd.concat([choices("openbookqa", "cloze", 30, 0.5), choices("piqa", "cloze", 10, -9),
                       choices("piqa", "letters", 9, 0)])
    gates = gate(table)
    text = likelihood_text(likelihood_contrasts(table, "log_odds", gates), gates=gates)
    assert "Not interpreted, 1 of 2, as the untuned model is not seen to do better than guessing: piqa." in text
    assert "The right options become likelier" in text and "better than in the other at openbookqa." in text
    two = likelihood_text(likelihood_contrasts(pd.concat([table, choices("arc_easy", "cloze", 30, 0.4)]), "log_odds", gates))
    assert "By task" not in text and "By task: openbookqa +0." in two and ", arc_easy +0." in two
    assert text.rstrip().endswith("Not interpreted, 1 of 1, as the untuned model is not seen to do better than guessing: piqa.")


def test_the_figure_has_the_primary_contrasts_on_top_zero_in_the_middle_and_grey_ones_hollow():
    found = likelihood_contrasts(measured(FIRST))
    whole = found[found.task == "all"]
    axes = plots.contrast_plot(whole.assign(interpreted=whole.primary), contrasts.MEASURES["nats"])
    low, high = axes.get_xlim()
    assert low == -high and high > 0.1
    height = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert list(height)[1].startswith("self-prompt, own role − baseline, none")
    assert height["Each begins as it was trained to"] < height["One model with another beginning than its own"]
    faces = {line.get_markerfacecolor() for line in axes.lines if line.get_marker() in ("s", "o")}
    assert faces == {"white"} and any(line.get_marker() == ">" for line in axes.lines)
    by_task = found.assign(form="cloze", interpreted=found.task == "all")
    names = [text.get_text() for text in plots.contrast_by_task_plot(by_task[by_task.primary][:2], "nats").texts]
    assert names[0] == "cloze form" and {"open questions", "mean of the tasks"} < set(names)
    plots.contrast_plot(whole.assign(low=np.nan, high=np.nan, difference=0.0), "nats").figure.canvas.draw()
    plt.close("all")


def test_a_role_finds_its_question_and_less_often_without_the_sentence_that_restates_it():
    design, samples = DESIGNS["from-now-on"], read_rows(STARTER_FOLDER / "train.jsonl", Sample)[::3]
    questions, own = [s.question for s in samples], [design.role_text(s.role) for s in samples]
    model = roles.load_embedder("starter")
    found = roles.role_fit(model, design, questions, {"its own": [None, *own[1:]], "none": [float("nan")] * len(own)})
    whole, rest = found.itertuples()
    assert (whole.n, whole.among) == (len(own) - 1, len(own) - 1)
    assert whole.low <= whole.found <= whole.high and whole.found > 0.9 > rest.found > 0.3 > 0.1 > whole.shuffled
    assert roles.fit_text(found).startswith(f"Of the {len(own) - 1} roles (its own) {whole.found:.0%} [")
    assert "cannot be measured" in roles.fit_text(found.iloc[:0])


@pytest.mark.parametrize(("design", "left"), [
    ("from-now-on", "From now on, you are a smith. Your task is your life."), ("title-only", "Role: a smith."),
    ("first-person", "I answer as a smith. Your task is your life.")])
def test_the_last_sentence_is_taken_off_where_a_design_has_one(design, left):
    role = Role(expert="a smith", brings="Your task is your life.", request="say how my task is done")
    assert without_task(DESIGNS[design].role_text(role), DESIGNS[design]) == left
