"""Other strategies than roles: their texts, how they are annotated, and one of a user's own by files alone."""

import json
import random
import runpy
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import annotation
from test_annotate import SAMPLES

from selfprompt_lib import annotate, infer, profiles, roles, sft, sources
from selfprompt_lib.__main__ import main
from selfprompt_lib.designs import DESIGNS, RESOURCES, STRATEGIES, ParsedReply, get_design
from selfprompt_lib.pipeline.inputs import _identity
from selfprompt_lib.rows import Question, Role, StrategyText
from selfprompt_lib.strategies import read_strategy, read_texts

FOLDER = RESOURCES / "strategies"
BOOK = Path(__file__).parents[1] / "book"
TEXTS = {name: read_texts(FOLDER / f"{name}.jsonl", name) for name in STRATEGIES}
ANNOTATED = {name: [s.model_copy(update={"role": TEXTS[name][s.id]}) for s in SAMPLES] for name in STRATEGIES}
each_strategy = pytest.mark.parametrize("name", STRATEGIES)
NURSE = Role(expert="a night nurse", brings="Long shifts teach calm.", request="explain fever")
PLAN = StrategyText(strategy="plan", text="Cause first, then the cure.")
GUIDELINE = "Say in one sentence what a reader should doubt."
DOUBT = f"template: 'In doubt: {{text}}'\nreader: first-paragraph\nguideline: {GUIDELINE}\n"
ROLE_DESIGN = "template: 'Ask {expert}: {request}.'\nreader: first-paragraph\n"


@pytest.fixture
def own(tmp_path):
    """`own("mine", yaml, {id: text}, **more)`: a user's design, with annotations beside it; its path."""

    def write(name, yaml, texts=None, **more):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml, encoding="utf-8")
        if texts is not None:
            rows = [json.dumps({"id": key, "text": text} | more) for key, text in texts.items()]
            path.with_suffix(".jsonl").write_text("\n".join(rows), encoding="utf-8")
        return str(path)

    return write


def smoke(design, strategy, **more):
    fields = {"design": design, "annotate.strategy": strategy, "ablate.designs": ["none", design]}
    return profiles.load("smoke", fields | {"dtype": "float32"} | more)


def test_a_run_of_a_strategy_compares_no_designs_of_roles(refused):
    with refused("ablate.designs", "title-only", "set ablate.designs=[none,neutral,plan]"):
        sources.check_inputs(smoke("plan", "plan", **{"ablate.designs": ["none", "title-only"]}))
    sources.check_inputs(smoke("plan", "plan"))


# The texts of the package


@each_strategy
def test_every_starter_sample_has_one_text_of_the_guideline_s_form(name):
    lines = [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in lines] == [sample.id for sample in SAMPLES]
    texts = [line["text"] for line in lines]
    assert [text for text in texts if text != " ".join(text.split())] == []
    assert [text for text in texts if not 20 <= len(text.split()) <= 55] == []
    assert len({text.lower() for text in texts}) == len(texts)
    openings = Counter(tuple(text.lower().split()[:3]) for text in texts)
    assert openings.most_common(1)[0][1] <= 0.04 * len(texts) and len(openings) >= 0.85 * len(texts)


@each_strategy
def test_no_text_has_six_words_in_a_row_of_an_answer(name):
    every = roles.role_table(ANNOTATED[name])
    for turn in range(1, max(len(s.conversations) for s in SAMPLES), 2):
        answers = ["".join(sample.conversations[turn : turn + 1]) for sample in ANNOTATED[name]]
        assert roles.answer_leaks(every.assign(answer=answers), words=6).empty


def test_no_text_of_one_strategy_is_a_text_of_another():
    texts = [row.text for rows in TEXTS.values() for row in rows.values()]
    assert len(set(texts)) == len(texts)


@each_strategy
def test_every_text_is_read_back_and_every_answer_too(name):
    design = get_design(name)
    for sample in ANNOTATED[name]:
        for answer in sample.conversations[1::2]:
            assert design.read(design.write(sample.role, answer)) == ParsedReply(
                design.role_text(sample.role), answer, "role")


def test_what_one_strategy_writes_is_nothing_of_another():
    for name in (*STRATEGIES, "from-now-on"):
        for other in {*STRATEGIES} - {name}:
            assert get_design(name).read(get_design(other).write(TEXTS[other]["humanities-01"], "So.")).outcome == "missing"


# The second reading


@each_strategy
def test_the_reading_is_of_the_draw_that_is_told(name):
    sheet = roles.read_sheet(FOLDER / "reviews" / f"{name}.csv", roles.STRATEGY_CRITERIA)
    draw, drawn = random.Random(16), []
    for domain in dict.fromkeys(sample.domain for sample in SAMPLES):
        drawn += sorted(draw.sample([s.id for s in SAMPLES if s.domain == domain], 4))
    assert list(sheet.id) == drawn
    assert (sheet.notes.str.strip() != "").tolist() == (~sheet.passes).tolist()  # a reason for each that was sent back


def test_the_page_s_table_is_made_of_the_sheets(monkeypatch):
    monkeypatch.syspath_prepend(BOOK / "studies")
    study = runpy.run_path(str(BOOK / "studies" / "strategy_readings.py"))
    assert (BOOK / "measured" / "strategies.md").read_text(encoding="utf-8") == study["fragment"]()


# Chapter 1: the prompt, and what is made of a reply


@pytest.mark.parametrize("reply", [
    "Cause first, then the cure.", "Plan: Cause first, then the cure.", "**plan:** Cause first, then the cure.",
    "Cause first, then the cure.\nQuestion: Why?\nPlan: Ask.", "Cause first, then the cure.<|im_end|>",
    "Plan:\n\nCause first, then the cure.", "Cause first,\nthen the cure.\n\nShall I go on?"])
def test_a_reply_is_read_without_label_and_up_to_the_first_blank_line(reply):
    prompt = annotate.annotation_prompt(profiles.Annotate(strategy="plan"))
    assert prompt.read_answer(reply) == PLAN


@pytest.mark.parametrize("name, reply", [
    ("knowledge", "Useful to know: Ice floats."), ("step-back", "Step back: Ice floats."),
    ("step-back", "*The principle behind this*: Ice floats."), ("rephrase", "In other words: Ice floats.")])
def test_the_opening_of_the_design_is_not_written_twice(name, reply):
    prompt = annotate.annotation_prompt(profiles.Annotate(strategy=name))
    assert prompt.read_answer(reply) == StrategyText(strategy=name, text="Ice floats.")


@pytest.mark.parametrize("reply, reason", [
    ("", "at least 3"), (" \n\n ", "at least 3"), ("Plan:", "at least 3"), ("word " * 300, "at most 1200"),
    ("Here is the plan:\n\n1. Cause\n2. Cure", "colon")])
def test_a_reply_that_is_no_paragraph_is_refused_with_the_reason(reply, reason):
    prompt = annotate.annotation_prompt(profiles.Annotate(strategy="plan"))
    with pytest.raises(ValueError, match=reason):
        prompt.read_answer(reply)


@each_strategy
def test_the_prompt_has_guideline_and_examples_and_ends_on_the_question(name):
    prompt, file = annotate.annotation_prompt(profiles.Annotate(strategy=name)), read_strategy(name)
    turns = prompt.messages("Why does ice float?")
    assert file.guideline.strip() in turns[0]["content"] and turns[-1]["content"].endswith("Why does ice float?")
    assert [turn["content"] for turn in turns[2:-1:2]] == [example["text"] for example in file.examples]
    assert all(prompt.read_answer(example["text"]).text == example["text"] for example in file.examples)


def test_live_annotations_of_a_strategy_are_rows_to_train_on(loopback, tmp_path, jsonl):
    served = loopback(replies=[{"content": "Plan: Cause first, then the cure."}])
    data = jsonl("data.jsonl", *({"id": s.id, "conversations": s.conversations} for s in SAMPLES[:3]))
    out = tmp_path / "plans.jsonl"
    assert main([*annotation(served, data, out), "--strategy", "plan"]) == 0
    assert read_strategy("plan").guideline.strip() in served.bodies()[0]["messages"][0]["content"]
    found = sources.training_samples(smoke("plan", "plan", **{"data.train": str(out)}))
    assert [sample.role for sample in found] == [PLAN] * 3
    answer = sft.to_messages(found[0], get_design("plan"))[1]["content"]
    assert answer == "Plan: Cause first, then the cure.\n\n" + SAMPLES[0].answer


def test_chapter_1_trains_on_what_was_annotated_live(tmp_path):
    profile = smoke("plan", "plan", **{"annotate.train_on": "live"})
    samples = sources.training_samples(profile)[:3]
    assert {sample.role for sample in samples} == {None}  # reference roles are none of this strategy
    rows = [{"id": sample.id, "role": PLAN.model_dump()} for sample in samples[:2]]
    rows.append({"id": samples[2].id, "role": None})
    chosen = annotate.training_set(profile, samples, rows)
    assert [(sample.id, sample.role) for sample in chosen] == [(s.id, PLAN) for s in samples[:2]]


# Chapter 2


@each_strategy
def test_the_measures_of_roles_take_what_a_strategy_writes(name):
    table = roles.role_table(ANNOTATED[name][:20])
    assert list(table.role) == [TEXTS[name][key].text for key in table.id] and table.words.between(20, 55).all()
    vectors = np.eye(20)
    found = roles.summarize_roles(table, vectors, vectors)
    assert found["roles"] == 20 and found["distinct experts"] == 20
    assert roles.common_experts(table, 3).max() == 1


# What does not fit together


@pytest.mark.parametrize("design, annotation, parts", [
    ("from-now-on", PLAN, ["from-now-on", "strategy role", "of strategy plan"]),
    ("plan", NURSE, ["plan", "strategy plan", "of strategy role"]),
    ("rephrase", PLAN, ["strategy rephrase", "of strategy plan", "another design"])])
def test_a_design_refuses_annotations_of_another_strategy(refused, design, annotation, parts):
    with refused(*parts):
        get_design(design).role_text(annotation)
    for name in ("none", "neutral"):  # these write none
        assert DESIGNS[name].write(annotation, "So.").endswith("So.")


@pytest.mark.parametrize("design, strategy", [("plan", "role"), ("from-now-on", "plan"), ("plan", "rephrase"), ("plan", "nope")])
def test_a_profile_names_the_same_strategy_twice(refused, design, strategy):
    with refused("design", "annotate.strategy", strategy, "same strategy in both"):
        smoke(design, strategy)


@pytest.mark.parametrize("yaml, parts", [
    ("template: 'First: {text}'\nreader: first-paragraph\n", ["mine.yaml", "{text}", "guideline"]),
    (f"template: 'Ask {{expert}}.'\nreader: first-paragraph\nguideline: {GUIDELINE}\n", ["mine.yaml", "one field is {text}"]),
    (f"template: 'First: {{text}}'\nguideline: {GUIDELINE}\n", ["mine.yaml", "reader"]),
    (f"template: 'First: {{text}}'\nreader: last-line\nguideline: {GUIDELINE}\n", ["mine.yaml", "reader", "last-paragraph"]),
    (f"template: '{{text}}'\nreader: first-paragraph\nguideline: {GUIDELINE}\n", ["mine.yaml", "words of its own"]),
    (f"template: 'First: {{answer}}'\nreader: first-paragraph\nguideline: {GUIDELINE}\n", ["mine.yaml", "{text}"]),
    ("template: [", ["mine.yaml", "no YAML"])])
def test_a_faulty_strategy_file_is_refused_before_work(refused, own, yaml, parts):
    path = own("mine", yaml)
    with refused(*parts):
        smoke(path, path)


def test_a_design_of_roles_is_no_strategy_to_annotate_by(refused, own):
    with refused("mine.yaml", "no guideline"):
        annotate.annotation_prompt(profiles.Annotate(strategy=own("mine", ROLE_DESIGN)))


@pytest.mark.parametrize("example, fault", [
    ("{question: 'Why?'}", "text: Field required"), ("{question: '', text: Ask it.}", "question: ")])
def test_a_faulty_example_is_refused_before_a_server_is_asked(refused, own, tmp_path, jsonl, example, fault):
    path = own("mine", DOUBT + f"examples: [{{question: 'Why?', text: Whether so.}}, {example}]\n")
    given = ["--data", str(jsonl("data.jsonl", {"question": "Why?"})), "--base-url", "http://127.0.0.1:9"]
    assert main(["annotate", *given, "--out", str(tmp_path / "out.jsonl"), "--strategy", path]) == 2
    assert not (tmp_path / "out.replies.jsonl").exists()
    with refused("strategy", "mine.yaml: examples.2: " + fault):
        read_strategy(path)


@pytest.mark.parametrize("texts, more, parts", [
    (None, {}, ["mine.jsonl", "no such annotations", "annotate.train_on=live"]),
    ({"humanities-01": "Kant himself."}, {"strategy": "plan"}, ["mine.jsonl", "strategy plan", "humanities-01", "not of mine"]),
    ({"nobody-01": "Kant himself."}, {}, ["mine.jsonl", "none of the samples", "humanities-01"]),
    ({"humanities-01": ""}, {}, ["mine.jsonl", "text"])])
def test_annotations_that_do_not_belong_are_refused(refused, own, texts, more, parts):
    path = own("mine", DOUBT, texts, **more)
    with refused(*parts):
        sources.training_samples(smoke(path, path))


# A design and a strategy of a user's own, by files alone


def test_an_own_design_of_roles_is_written_and_read(own):
    path = own("mine", ROLE_DESIGN)
    profile = smoke(path, "role")
    design, sample = get_design(profile.design), sources.training_samples(profile)[0]
    answer = sft.to_messages(sample, design)[1]["content"]
    said = design.read(answer)
    assert said.role == f"Ask {sample.role.expert}: {sample.role.request}." and said.answer == sample.answer


def test_a_run_knows_when_an_own_strategy_or_its_texts_changed(own, tmp_path):
    def now():  # what runs compare of each field that names the file
        return [_identity(field, path, tmp_path / "run") for field in ("design", "annotate.strategy")]

    path = own("mine", DOUBT, {"humanities-01": "Whether it is Kant's."})
    design, strategy = now()
    own("mine", DOUBT, {"humanities-01": "Whether it was Kant's."})
    assert now()[0] == design and now()[1] != strategy
    own("mine", DOUBT.replace("doubt.", "ask."), {"humanities-01": "Whether it is Kant's."})
    assert now()[0] != design and now()[1] != strategy


def test_an_own_strategy_is_trained_and_its_reply_read(own, tmp_path):
    path = own("mine", DOUBT, {sample.id: f"Whether {sample.id} is asked well." for sample in SAMPLES[:4]})
    profile = smoke(path, path)
    design, samples = get_design(profile.design), sources.training_samples(profile)
    assert (design.name, design.strategy, len(samples)) == ("mine", "mine", 4)
    written = sft.to_messages(samples[0], design)[1]["content"]
    assert design.read(written) == ParsedReply("In doubt: Whether humanities-01 is asked well.", SAMPLES[0].answer, "role")
    model, tokenizer, record = sft.train(profile, samples, design, tmp_path / "trainer")
    question = Question(id="q", question="Why?")
    [free] = infer.ask_questions(model, tokenizer, profile, design, [question])
    [led] = infer.ask_questions(model, tokenizer, profile, design, [question], roles=["In doubt: Whether it is so."])
    assert free["outcome"] in ("role", "missing", "broken")
    assert (led["outcome"], led["role"]) == ("role", "In doubt: Whether it is so.")
