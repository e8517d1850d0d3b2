"""Small checks of chapters 3 to 6 and of the figures that need no trained model."""

import numpy as np
import pandas as pd
import pytest

from selfprompt_lib import evaluate, infer, plots, profiles, sft
from selfprompt_lib.designs import DESIGNS, get_design
from selfprompt_lib.rows import STARTER_FOLDER, Sample, read_rows

SAMPLES = read_rows(STARTER_FOLDER / "train.jsonl", Sample)


@pytest.mark.parametrize("name", DESIGNS)
def test_the_role_stands_before_the_first_answer_only(name):
    design, sample = get_design(name), next(s for s in SAMPLES if len(s.conversations) > 2)
    turns = sft.to_messages(sample, design)
    assert [t["role"] for t in turns] == ["user", "assistant"] * (len(turns) // 2)
    assert turns[1]["content"] == design.write(sample.role, sample.answer)
    assert [t["content"] for t in turns[2:]] == list(sample.conversations[2:])


def test_a_sample_without_a_role_is_named(refused):
    bare = SAMPLES[0].model_copy(update={"role": None})
    assert sft.to_messages(bare, get_design("none"))
    with refused(f"sample {bare.id} has no role", "annotate it (chapter 1)"):
        sft.to_messages(bare, get_design("title-only"))


def test_the_trainer_gets_the_recipe(tmp_path):
    config = sft.sft_config(profiles.load("llama-2-7b", {"dtype": "float32"}), tmp_path)
    assert (config.adam_beta1, config.adam_beta2, config.weight_decay, config.warmup_steps) == (
        0.9,
        0.95,
        0.1,
        0,
    )
    assert (config.learning_rate, config.lr_scheduler_kwargs["lr_end"]) == (1e-5, 1e-6)
    assert config.per_device_train_batch_size * config.gradient_accumulation_steps == 64
    assert config.max_length == 2048 and config.num_train_epochs == 15 and not config.packing


def test_a_role_of_another_is_never_ones_own_and_never_empty():
    roles = [f"role {i}" for i in range(5)]
    assert all(other in roles and other != own for own, other in zip(roles, infer.roles_of_others(roles), strict=True))
    assert infer.roles_of_others(["a", None, "", "b"]) == ["b", "b", "a", "a"], "one that has none still gets one"
    assert infer.roles_of_others(["a", "b", "a", "a"])[::2] == ["b", "b"], "the same words elsewhere are no other role"
    assert infer.roles_of_others(["a"]) == [None] == infer.roles_of_others([None]) and infer.roles_of_others([]) == []


def items(arm, right, seed=0):
    rows = [{"seed": seed, "arm": arm, "task": "t", "item": str(i), "stratum": "",
             "question": "q", "reply": "r", "role": None, "key": "A",
             "strict": "[none]", "tolerant": "A", "second": "A",
             "correct_strict": False, "correct_tolerant": bool(c),
             "correct_second": bool(c), "correct": bool(c)}
            for i, c in enumerate(right)]  # fmt: skip
    return pd.DataFrame(rows)


def test_wins_are_the_items_that_one_arm_alone_answered():
    frame = pd.concat([items("new", [1, 1, 1, 0]), items("old", [0, 1, 0, 0])[::-1]])
    assert (
        len(evaluate.won_items(frame, "new", "old")) == 2
        and evaluate.won_items(frame, "old", "new").empty
    )
    table = evaluate.differences(frame, "new", "old").set_index("task")
    assert (
        table.loc["t", ["wins", "losses"]].tolist() == [2, 0]
        and table.loc["all", "difference"] == 0.5
    )


def test_readings_count_what_each_reader_found():
    table = evaluate.readings(items("base", [1, 1, 0, 0], -1)).set_index("reader")
    assert table.loc["strict", ["right", "read"]].tolist() == [0, 0]
    assert table.loc["tolerant", ["right", "read"]].tolist() == [0.5, 1]
    assert len(evaluate.disputed(items("base", [1, 1, 0, 0], -1))) == 2


def test_causes_compare_the_own_role_with_given_ones_in_the_seeds_that_both_have():
    own = [items("self-prompt", [1, 1, 0, 1], seed) for seed in (0, 1)]
    given = [items("no role", [0, 0, 0, 0]), items("random expert", [0, 1, 0, 1])]
    frame = pd.concat(own + given)
    table = evaluate.role_contrasts(frame).set_index("contrast")
    assert table.difference.to_dict() == {
        "its own minus random expert": 0.25,
        "its own minus no role": 0.75,
    }
    assert (table.seeds == 1).all() and (table.p_holm >= table.p).all() and len(table) == 2


def test_the_untuned_model_is_paired_with_every_seed():
    frame = pd.concat(
        [items("baseline", [1, 1, 0, 1], seed) for seed in (0, 1)]
        + [items("base", [0, 1, 0, 1], -1)]
    )
    (row,) = evaluate.arm_contrasts(frame).to_dict("records")
    assert (
        row["contrast"] == "baseline minus base" and row["difference"] == 0.25 and row["seeds"] == 2
    )


@pytest.mark.parametrize(("new", "old", "said"), [
    ([1] * 40, [0] * 40, "leaves out zero: a gain for this one pair of models"),
    ([0] * 40, [1] * 40, "a loss for this one pair"),
    ([1, 0] * 20, [0, 1] * 20, "an effect of either sign was not seen"),
    ([1, 0], [0, 0], "So small a sample could not have shown any effect."),
])  # fmt: skip
def test_what_was_found_is_said_in_words(new, old, said):
    frame = pd.concat([items("self-prompt", new), items("baseline", old)])
    pair = "self-prompt", "baseline"
    assert said in evaluate.report_text(
        evaluate.differences(frame, *pair), pd.DataFrame(), evaluate.needed_sizes(frame, *pair)
    )


@pytest.mark.parametrize(("new", "old", "said"), [
    ([1] * 40, [1] * 39 + [0], "Both are seen to be better than guessing."),
    ([1] * 40, [0, 0, 0, 1] * 10, "Of the two only the self-prompt model is seen"),
    ([0, 0, 0, 1] * 10, [0, 0, 0, 1] * 10,
     "on 25.0% (mean of the tasks); guessing would be right on 25.0%. Neither is seen"),
])  # fmt: skip
def test_the_level_is_set_beside_guessing(new, old, said):
    frame = pd.concat([items("self-prompt", new), items("baseline", old)])
    assert said in evaluate.vs_chance(frame, dict.fromkeys([*frame.task.unique(), "all"], 0.25))


def test_figures_draw_intervals_and_percent():
    frame = pd.DataFrame(
        {
            "task": ["a", "b"],
            "accuracy": [0.5, 0.2],
            "low": [0.4, 0.1],
            "high": [0.6, 0.4],
            "arm": ["x", "y"],
        }
    )
    axes = plots.interval_plot(frame, "accuracy", "task", group="arm", axis="accuracy")
    assert len(axes.containers) == 2 and axes.get_xlabel() == "accuracy"


def test_an_interval_that_rounding_turned_around_is_drawn():
    frame = pd.DataFrame({"task": ["a"], "accuracy": [1.0], "low": [0.5], "high": [1.0 - 1e-12]})
    _, caps, (bar,) = plots.interval_plot(frame, "accuracy", "task").containers[0]
    assert bar.get_segments()[0][:, 0].tolist() == [0.5, 1] and len(caps) == 2


def test_dropout_rises_from_the_first_layer_to_the_last_and_is_drawn_so():
    axes = plots.dropout_curves({"recipe": sft.dropout_rates(5, 0.2), "none": sft.dropout_rates(5, 0)})
    drawn = [list(line.get_ydata()) for line in axes.lines if len(line.get_ydata())]
    assert drawn == [pytest.approx([0, 0.05, 0.1, 0.15, 0.2]), [0] * 5]
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == ["recipe", "none"]


def test_a_logarithmic_axis_has_numbers_and_no_formulas():
    plots.set_style()
    table = pd.DataFrame({"weights in": ["float32"] * 4, "learning rate": [1e-6, 1e-5, 1e-4, 1e-3], "share": [0, 0.1, 0.5, 1]})
    axes = plots.update_fraction_curves(table)
    axes.figure.canvas.draw()
    labels = [label.get_text().replace("\N{MINUS SIGN}", "-") for label in axes.get_xticklabels()]
    assert {"1e-06", "1e-03"} <= set(labels) and not any("$" in label for label in labels)


def test_what_training_found_counts_roles_that_go_on_to_an_answer():
    wrote, missing = ({"outcome": outcome, "answer": "a"} for outcome in ("role", "missing"))
    replies = {"base": [missing] * 2, "self-prompt": [wrote, missing], "baseline": [missing] * 2}
    said = sft.report_text({"steps": 3, "samples": 9, "probe_roles": "50%"}, replies, 40)
    assert "began 1 of 2 unseen questions" in said and "the baseline 0, the base model 0" in said
    assert "(95% Wilson interval: 50%)" in said and said.endswith("asks 40.")


def test_the_map_shows_each_role_in_its_groups_colour():
    places = np.array([[0, 0], [1, 1], [2, 2]])
    axes = plots.role_map(places, pd.Series(["x", "y", "x"], index=[7, 8, 9]))
    points = axes.collections[0]
    assert points.get_offsets().tolist() == places.tolist()
    first, second, third = points.get_facecolors().tolist()
    assert first == third != second
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == ["x", "y"]


def test_likeness_is_drawn_for_each_set_with_own_and_shuffled_questions():
    axes = plots.likeness_boxes(
        {"one": ([0.6, 0.7, 0.8], [0.1, 0.2, 0.3]), "other": ([0.5] * 3, [0.0] * 3)}
    )
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "other"]
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == [
        "their own question",
        "a shuffled one",
    ]
    medians = sorted(
        round(float(line.get_xdata()[0]), 3)
        for line in axes.lines
        if len(set(line.get_xdata())) == 1
    )
    assert {0.7, 0.2, 0.5, 0.0} <= set(medians)


def test_no_set_in_common_draws_an_empty_figure():
    assert len(plots.likeness_boxes({}).lines) == 0
