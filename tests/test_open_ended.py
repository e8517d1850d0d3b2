"""Measures without a judge: likelihood, similarity, length, repetition, paired differences."""


import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import t as student

from selfprompt_lib import infer, models, profiles, sources
from selfprompt_lib.designs import GAP, get_design
from selfprompt_lib.evaluate import gallery, likelihood, open_ended
from selfprompt_lib.generate import prompt_text
from selfprompt_lib.roles import metrics as measure
from selfprompt_lib.rows import Question

QUESTIONS = sources.held_out_questions(profiles.load("cpu", {"data.question_rows": 11}))
ROLE = "From now on, you are a teacher. You like plain words. Your task is to explain it."


@pytest.fixture(scope="module")
def smoke():
    """The smoke model with weights large enough to tell tokens, and their order, apart."""
    model, tokenizer = models.load("smoke", "float32")
    torch.manual_seed(0)
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.data = torch.randn_like(weight) * 0.3
    return model, tokenizer


@pytest.fixture(scope="module")
def embedder():
    return measure.load_embedder("starter")


def plain_likelihood(model, tokenizer, question, start=""):
    """One question, all logits: the slow way, the reference's tokens found by their text."""
    before = prompt_text(tokenizer, question.question) + start
    ids = tokenizer.encode(before + question.reference, add_special_tokens=False)
    count = next(
        n for n in range(1, len(ids)) if len(tokenizer.decode(ids[-n:])) >= len(question.reference)
    )
    assert tokenizer.decode(ids[-count:]) == question.reference
    with torch.no_grad():
        scores = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return (
        sum(float(scores[place - 1, ids[place]]) for place in range(len(ids) - count, len(ids)))
        / count
    )


@pytest.mark.parametrize("start", ["", ROLE + GAP])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_likelihoods_are_those_of_a_plain_computation_in_any_batch(smoke, monkeypatch, batch_size, start):
    monkeypatch.setattr(likelihood, "BATCH_TOKENS", batch_size)
    ours = open_ended.likelihoods(*smoke, QUESTIONS, [start] * len(QUESTIONS))
    assert ours == pytest.approx(
        [plain_likelihood(*smoke, question, start) for question in QUESTIONS], abs=2e-4
    )
    assert len({round(value, 2) for value in ours}) > 5 and max(ours) < 0


def test_what_stands_before_the_reference_matters(smoke):
    ours = open_ended.likelihoods(*smoke, QUESTIONS, [ROLE + GAP] * len(QUESTIONS))
    assert all(
        abs(a - b) > 1e-3
        for a, b in zip(ours, open_ended.likelihoods(*smoke, QUESTIONS), strict=True)
    )


def test_a_right_answer_is_likelier_than_another_question_s():
    model, tokenizer = models.load(models.STARTER)
    right = open_ended.likelihoods(model, tokenizer, QUESTIONS[:6])
    moved = [
        question.model_copy(update={"reference": other.reference})
        for question, other in zip(QUESTIONS[:6], [*QUESTIONS[1:6], QUESTIONS[0]], strict=True)
    ]
    wrong = open_ended.likelihoods(model, tokenizer, moved)
    assert np.mean(right) > np.mean(wrong) + 0.2 and -4 < np.mean(right) < -1


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"reference": " \n"}, ["question odd", "reference is empty"]),
        ({"reference": "word " * 9000}, ["question odd", "context", "shorten"]),
    ],
)
def test_a_reference_that_cannot_be_scored_is_named(smoke, refused, change, parts):
    with refused(*parts):
        open_ended.likelihoods(
            *smoke, [*QUESTIONS[:2], QUESTIONS[2].model_copy(update={"id": "odd"} | change)]
        )


def test_no_questions_no_likelihoods(smoke):
    assert open_ended.likelihoods(*smoke, []) == []


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0),
        ("one two three", 0),
        ("one two three four", 0),
        ("a b c d e f", 0),
        ("a b c d a b c d", 1 / 5),
        ("go " * 5, 1 / 2),
        ("go " * 103, 99 / 100),
        ("A b c d. a B C D.", 1 / 5),
    ],
)
def test_repetition_counts_runs_that_stood_before(text, share):
    assert open_ended.repetition(text) == pytest.approx(share)


def test_similarity_orders_answers_as_a_reader_would(embedder):
    own = QUESTIONS[0].reference
    answers = [own, own[: len(own) // 2], QUESTIONS[5].reference, " "]
    same, part, other, none = open_ended.similarities(embedder, answers, [own] * 4)
    assert same == pytest.approx(1, abs=1e-5) and same > part > 0.5 > other > -0.2 and none == 0


def replied(answers, questions=QUESTIONS):
    return [
        {"id": question.id, "answer": answer, "answer_tokens": len(answer.split())}
        for question, answer in zip(questions, answers, strict=True)
    ]


@pytest.fixture(scope="module")
def measured(embedder):
    first = replied([question.reference for question in QUESTIONS])
    second = replied([question.reference.split(".")[0] for question in QUESTIONS])
    return open_ended.measure_replies(
        {"baseline": second, "self-prompt": first}, QUESTIONS, embedder)


def test_the_table_has_a_row_a_question_and_arm(measured):
    assert list(measured) == ["arm", "item", "domain", *open_ended.MEASURES]
    assert measured.groupby("arm").size().to_dict() == {"baseline": 11, "self-prompt": 11}
    assert measured[measured.arm == "self-prompt"].similarity.to_list() == pytest.approx(
        [1.0] * 11, abs=1e-5
    )


def test_differences_are_paired_and_have_student_s_interval(measured):
    steps = np.where(measured.arm == "self-prompt", np.arange(22) - 11.0, 0)
    found = open_ended.mean_changes(measured.assign(tokens=steps), "baseline")
    row = found.set_index(["arm", "measure"]).loc["self-prompt", "tokens"]
    reach = student.ppf(0.975, 10) * np.arange(11).std(ddof=1) / np.sqrt(11)
    assert [row.difference, row.low, row.high, row.n] == pytest.approx([5, 5 - reach, 5 + reach, 11])


def test_equal_differences_have_no_interval(measured):
    alike = measured.assign(tokens=np.where(measured.arm == "self-prompt", 3.0, 4.0))
    row = (
        open_ended.mean_changes(alike, "baseline")
        .set_index(["arm", "measure"])
        .loc["self-prompt", "tokens"]
    )
    assert row.difference == pytest.approx(-1) and np.isnan([row.low, row.high]).all()


def test_intervals_cover_the_truth_as_often_as_they_promise():
    rng, covered = np.random.default_rng(0), []
    for _ in range(400):
        change = rng.gamma(4, size=50) - 4
        found = open_ended._change(pd.Series(change), pd.Series(np.zeros(50)))
        covered.append(found["low"] <= 0 <= found["high"])
    assert 0.92 < np.mean(covered) < 0.98


def test_differences_by_domain_add_up(measured):
    whole = open_ended.mean_changes(measured, "baseline")
    parts = pd.concat([
        open_ended.mean_changes(part, "baseline").assign(domain=domain)
        for domain, part in measured.groupby("domain")
    ])
    one = parts[(parts.arm == "self-prompt") & (parts.measure == "tokens")]
    assert set(one.domain) == {question.domain for question in QUESTIONS} and one.n.sum() == 11
    both = whole[(whole.arm == "self-prompt") & (whole.measure == "tokens")].difference.item()
    assert (one.difference * one.n).sum() / 11 == pytest.approx(both)


def test_the_figure_has_a_panel_a_measure_and_each_arm_s_interval(measured):
    figure = gallery.open_ended_changes(open_ended.mean_changes(measured, "baseline"), "baseline")
    first, *rest = figure.axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["self-prompt"]
    assert len(rest) == 2
    low, high = sorted(first.containers[0].lines[2][0].get_segments()[0][:, 0])
    changed = measured.pivot(index="item", columns="arm", values="similarity")
    assert low < (changed["self-prompt"] - changed["baseline"]).mean() < high
    plt.close("all")


def test_an_arm_with_other_questions_is_named(embedder, refused):
    with refused("arm self-prompt", "10 replies", "11 questions"):
        open_ended.measure_replies(
            {"self-prompt": replied(["x"] * 10, QUESTIONS[:10])}, QUESTIONS, embedder
        )
    with refused("arm self-prompt", QUESTIONS[0].id):
        open_ended.measure_replies({"self-prompt": replied(["x"] * 11)[::-1]}, QUESTIONS, embedder)
    with refused("occurs twice"):
        open_ended.measure_replies({}, [QUESTIONS[0]] * 2, embedder)
    with refused("no arm 'base'", "baseline"):
        open_ended.mean_changes(
            open_ended.measure_replies({"baseline": replied(["x"] * 11)}, QUESTIONS, embedder),
            "base",
        )


def test_questions_without_references_keep_length_and_repetition(embedder):
    questions = [
        Question(id="a", question="Why?"),
        Question(id="b", question="How?", reference="So."),
    ]
    found = open_ended.measure_replies(
        {"base": replied(["So.", "So."], questions)}, questions, embedder
    )
    assert (
        np.isnan(found.similarity[0])
        and found.similarity[1] > 0.99
        and found.tokens.to_list() == [1, 1]
    )


def test_replies_of_a_model_go_through(smoke, embedder):
    profile, design = profiles.load("smoke"), get_design("from-now-on")
    rows = infer.ask_questions(*smoke, profile, design, QUESTIONS[:3])
    found = open_ended.measure_replies({"base": rows}, QUESTIONS[:3], embedder)
    assert found[list(open_ended.MEASURES)].notna().all(axis=None)
