"""Chapter 5: arms, the table of items, and its measurement, with the smoke model."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from selfprompt_lib import evaluate, models, profiles
from selfprompt_lib.designs import GAP, get_design
from selfprompt_lib.evaluate import measure_arms, measurement_plan, results
from selfprompt_lib.generate import count_tokens
from selfprompt_lib.pipeline import notebooks, rehearsal, run
from selfprompt_lib.rows import STARTER_FOLDER, Sample, read_rows
from selfprompt_lib.sections import fields_noted

EXPERTS = [sample.role for sample in read_rows(STARTER_FOLDER / "train.jsonl", Sample)[:20]]
DESIGN = get_design("from-now-on")
ROLE = "From now on, you are a cook. You know bread. Your task is to say how it rises."


@pytest.fixture(scope="module")
def smoke():
    return models.load("smoke")


@pytest.fixture(scope="module")
def profile():
    return profiles.load(
        "smoke", {"evaluate.items": 3, "evaluate.tasks": ["mmlu", "gsm8k", "strategyqa"]}
    )


@pytest.fixture(scope="module")
def tasks(profile):
    return evaluate.load_tasks(profile)


@pytest.fixture(scope="module")
def own(smoke, profile, tasks):
    items = evaluate.ask_benchmarks(
        *smoke, profile, tasks, [evaluate.plain_arm("self-prompt")], seed=0
    )
    return items.assign(role=[f"{ROLE} ({i})" if i % 3 else None for i in range(len(items))])


def substituted(own, smoke):
    return evaluate.substituted_arms(
        evaluate.SUBSTITUTED, own, evaluate.RoleSources(EXPERTS, DESIGN, smoke[1])
    )


def test_every_item_is_asked_once_and_keeps_its_id(own, tasks):
    expected = [
        (name.removeprefix("selfprompt_"), doc["id"])
        for name, task in tasks.items()
        for doc in task.eval_docs
    ]
    assert list(zip(own.task, own.item, strict=True)) == expected
    assert set(own[own.task == "mmlu"].stratum) != {""} and set(
        own[own.task == "gsm8k"].stratum
    ) == {""}
    assert evaluate.check_items(own).columns.tolist() == list(results.COLUMNS)


def test_the_second_pass_ends_the_reply_and_counts(smoke, profile, tasks, own):
    without = profiles.load("smoke", {"evaluate.items": 3, "evaluate.tasks": list(profile.evaluate.tasks),
                                      "evaluate.second_pass": False})  # fmt: skip
    once = evaluate.ask_benchmarks(*smoke, without, tasks, [evaluate.plain_arm("self-prompt")])
    assert once.reply.tolist() == own.reply.tolist(), (
        "the trigger stands behind the reply and does not change it"
    )
    assert once.second.tolist() == once.tolerant.tolist()
    assert own.correct.tolist() == own.correct_second.tolist()


def test_arms_asked_together_reply_as_when_asked_alone(smoke, profile, tasks, own):
    given = substituted(own, smoke)
    together = evaluate.ask_benchmarks(*smoke, profile, tasks, given)
    assert together.arm.unique().tolist() == list(evaluate.SUBSTITUTED)
    for arm in given:
        alone = evaluate.ask_benchmarks(*smoke, profile, tasks, [arm])
        pd.testing.assert_frame_equal(
            alone, together[together.arm == arm.name].reset_index(drop=True)
        )
    for row in together[together.arm != "no role"].itertuples():
        start = next(arm for arm in given if arm.name == row.arm).prefills[row.task, row.item]
        assert row.reply.startswith(start)


def test_given_roles_are_what_their_names_say(smoke, own):
    found = {arm.name: [arm.prefills[key] for key in zip(own.task, own.item, strict=True)]
             for arm in substituted(own, smoke)}  # fmt: skip
    assert list(found) == list(evaluate.SUBSTITUTED) and found["no role"] == [None] * len(own)
    for (_, row), other in zip(own.iterrows(), found["other question's role"], strict=True):
        assert other.removesuffix(GAP) != row.role and other.removesuffix(GAP) in set(
            own[own.task == row.task].role.dropna()
        )
    assert all(any(expert.expert in text for expert in EXPERTS) for text in found["random expert"])
    usual = count_tokens(smoke[1], own.role.dropna().tolist())
    for role, text in zip(own.role, found["irrelevant role"], strict=True):
        length = (
            count_tokens(smoke[1], [role])[0]
            if isinstance(role, str)
            else sorted(usual)[len(usual) // 2]
        )
        (other,) = count_tokens(smoke[1], [text.removesuffix(GAP)])
        assert text.startswith(DESIGN.opening) and abs(other - length) <= 2


def test_without_a_role_the_reply_cannot_begin_like_one(smoke, profile, tasks, own):
    opening = own.reply[0][0]  # the smoke model writes one token again and again
    arm = evaluate.Arm(
        "no role", prefills=dict.fromkeys(zip(own.task, own.item, strict=True)), opening=opening
    )
    replies = evaluate.ask_benchmarks(*smoke, profile, tasks, [arm]).reply
    began = own.reply.str.startswith(opening)
    assert began.any() and not (replies == own.reply)[began].any()


def test_the_manual_role_stands_in_a_round_before_the_question(smoke, profile, tasks):
    lm = evaluate.ArmsLM(
        pretrained=smoke[0], tokenizer=smoke[1], arms=[evaluate.plain_arm("role-play")]
    )
    text = lm.apply_chat_template([{"role": "user", "content": "Why?"}])
    assert text.index("From now on") < text.index("I am glad") < text.index("Why?")


@pytest.fixture
def trained(tmp_path, smoke, profile):
    for name in ("baseline", "self-prompt", "baseline-seed1", "self-prompt-seed1"):
        for part in smoke:
            part.save_pretrained(tmp_path / "sft" / name)
    return tmp_path / "sft"


def test_all_arms_and_seeds_are_measured_and_kept(
    trained, tmp_path, profile, tasks, smoke, monkeypatch, capsys
):
    two = profile.model_copy(update={"sft": profile.sft.model_copy(update={"seeds": 2})})
    assert [(name, seed, len(asked)) for name, seed, asked in measurement_plan(two)] == [
        ("base", -1, 1), ("baseline", 0, 2), ("self-prompt", 0, 5), ("baseline", 1, 1), ("self-prompt", 1, 1)]  # fmt: skip
    given = tasks, lambda _, name: trained / name, EXPERTS, tmp_path / "parts"
    items = measure_arms(two, *given)
    said = "9 items in 3 tasks; 10 times asked, of 5 models;\nup to 16 tokens a reply\n"
    assert capsys.readouterr().out == said
    assert len(items) == 90 and set(items.arm) == set(profiles.ARMS)
    asked = []
    monkeypatch.setattr(models, "load", lambda place, *_: asked.append(Path(place).name) or smoke)
    with fields_noted() as read:
        pd.testing.assert_frame_equal(measure_arms(two, *given), items)
    assert not asked and {"evaluate.second_pass", "evaluate.batch_size", "design"} <= read
    once = two.evaluate.model_copy(update={"second_pass": False, "arms": ("base", "baseline", "self-prompt")})
    assert measure_arms(two.model_copy(update={"evaluate": once}), *given).arm.nunique() == 3
    assert len(asked) == 5
    (trained / "baseline" / "model.safetensors").write_bytes(b"other weights")
    measure_arms(two, *given)
    assert asked[5:] == ["baseline"], "the others are taken up"


def test_a_table_with_a_fault_is_named(own, tmp_path, refused):
    table = evaluate.check_items(own)
    with refused("no column reply", "run chapter 5 again"):
        evaluate.check_items(table.drop(columns="reply"))
    with refused("occurs twice", "id of its own"):
        evaluate.check_items(pd.concat([table, table.head(1)]))
    with refused("seed 0, has other items than", "same items"):
        evaluate.check_items(pd.concat([table, table.head(4).assign(arm="baseline")]))
    with refused("missing; run chapter 5 again"):
        evaluate.read_items(tmp_path / "none.parquet")


def test_a_table_survives_its_file(own, tmp_path):
    table = evaluate.check_items(own)
    pd.testing.assert_frame_equal(
        evaluate.read_items(evaluate.save_items(table, tmp_path / "items.parquet")), table
    )


@pytest.mark.parametrize(("field", "value", "parts"), [
    ("evaluate.tasks", ["mmlu", "svamp"], ("unknown task 'svamp'", "include_path")),
    ("evaluate.arms", ["base", "self-prompt"], ("evaluate.arms", "keep both")),
    ("evaluate.include_path", "/nowhere", ("/nowhere has no task YAMLs",)),
])  # fmt: skip
def test_settings_that_cannot_be_measured_are_refused(field, value, parts, refused):
    with refused(*parts):
        profiles.load("smoke", {field: value})


@pytest.mark.parametrize(("changed", "parts"), [
    ({"evaluate.max_new_tokens": 8190}, ("evaluate.max_new_tokens: 8,190 leave no room", "context of 8,192", "set it lower")),
    ({"infer.max_new_tokens": 9000}, ("infer.max_new_tokens: 9,000",)),
    ({"data.benchmarks": "hub", "data.mirror": "book"}, ("data.mirror: book/cais/mmlu/all/test.jsonl is missing",)),
])  # fmt: skip
def test_what_chapter_5_needs_is_tried_before_any_work(changed, parts, tmp_path, refused):
    bad = profiles.load("smoke", changed)
    with refused(*parts):
        rehearsal._try(bad)
    ran = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notebooks, "execute_chapter", lambda chapter, *_: ran.append(chapter.name))
        patch.setattr(rehearsal, "ProcessPoolExecutor", lambda count, _: ThreadPoolExecutor(count))
        with refused(*parts):
            run.run_chapters(bad, {}, tmp_path / "smoke", run.selected_chapters(None, None))
        patch.setattr(rehearsal, "ProcessPoolExecutor", None)  # nothing is tried
        rehearsal.rehearse(profiles.load("smoke"), run.selected_chapters(None, None))
        rehearsal.rehearse(bad, run.selected_chapters("4", None))
    assert ran == []
