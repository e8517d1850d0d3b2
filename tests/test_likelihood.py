"""Likelihoods of given texts: against one-row forward passes, lm-eval's own, and under plain `lm_eval`."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api.instance import Instance
from lm_eval.evaluator import evaluate as lm_evaluate
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, Gemma3TextConfig, MistralConfig

from selfprompt_lib import evaluate, models, profiles
from selfprompt_lib.evaluate import Arm, ArmsLM, likelihood, measure_options
from selfprompt_lib.evaluate.harness import item_key
from selfprompt_lib.evaluate.likelihood import encode_pairs, score_ids
from selfprompt_lib.generate import prompt_text
from selfprompt_lib.rows import STARTER_FOLDER
from selfprompt_lib.tasks import TASKS_FOLDER
from selfprompt_lib.tasks.checks import check_task, check_task_folder

MIRROR = Path(__file__).parents[2] / "shared" / "data"
NAMES = ("mmlu", "strategyqa", "commonsense_qa", "openbookqa", "truthful_qa", "aqua_rat", "arc_easy", "piqa")
FORMS = ("cloze", "letters")
ROLE = "From now on, you are a careful nurse.\n\n"


def telling(model):
    """The model with weights large enough to tell tokens, and their order, apart."""
    torch.manual_seed(0)
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.data = (torch.randn(weight.shape) * 0.3).to(weight.dtype)
    return model.eval()


@pytest.fixture(scope="module")
def smoke():
    model, tokenizer = models.load("smoke", "float32")
    return telling(model), tokenizer


def load(*names, items=4, **settings):
    return evaluate.load_tasks(profiles.load("smoke", {"evaluate.items": items} | settings), names)


def four_options(tokenizer, items=3):
    """Questions of the starter data, each with four options, and these again behind a role."""
    docs = [doc for task in load("openbookqa_cloze", items=items).values() for doc in task.eval_docs]
    rows = [(prompt_text(tokenizer, doc["question"]) + start, option)
            for doc in docs for start in ("", ROLE) for option in doc["options"]]
    return encode_pairs(tokenizer, *zip(*rows, strict=True))


@torch.inference_mode()
def plain(model, pair):
    """One text, one row, all logits: the slow way."""
    context, option = pair
    logits = model(torch.tensor([[*context, *option]])).logits[0].float()[len(context) - 1 : -1]
    targets = torch.tensor(option)[:, None]
    return (float(logits.log_softmax(-1).gather(1, targets).sum()), bool((logits.argmax(-1) == targets[:, 0]).all()))


def near(ours, others, tolerance=1e-4):
    assert [score for score, _ in ours] == pytest.approx([score for score, _ in others], abs=tolerance)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in others]


# The engine


def test_scores_are_lm_eval_s_own_on_the_same_tokens(smoke):
    model, tokenizer = smoke
    pairs = four_options(tokenizer)
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=5)
    near(score_ids(model, pairs), lm._loglikelihood_tokens([(("", ""), *pair) for pair in pairs], disable_tqdm=True))


def test_scores_are_lm_eval_s_own_of_a_real_model():
    model, tokenizer = models.load(models.STARTER, "float32")
    pairs = four_options(tokenizer, 2)
    greedy = tokenizer.encode("The", add_special_tokens=False)
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4)
    pairs += [(pairs[0][0], greedy)]
    near(score_ids(model, pairs), lm._loglikelihood_tokens([(("", ""), *pair) for pair in pairs], disable_tqdm=True), 2e-3)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.1)])
def test_scores_are_those_of_one_text_a_row_in_both_precisions(dtype, tolerance):
    model, tokenizer = models.load("smoke", dtype)
    model, pairs = telling(model), four_options(tokenizer)
    ours = [score for score, _ in score_ids(model, pairs)]
    # By token: in bfloat16 each of its logits is rounded, and which way depends on the batch.
    alone = [plain(model, pair)[0] for pair in pairs]
    assert np.divide(ours, [len(option) for _, option in pairs]) == pytest.approx(
        np.divide(alone, [len(option) for _, option in pairs]), abs=tolerance)
    assert np.std(alone) > 10


def test_what_is_greedy_is_told(smoke):
    model, tokenizer = smoke
    context = list(range(20, 40))
    with torch.inference_mode():
        best = int(model(torch.tensor([context])).logits[0, -1].argmax())
    assert [greedy for _, greedy in score_ids(model, [(context, [best]), (context, [best + 1]), (context, [best, 7])])] == [
        True, False, False]


token_lists = st.lists(st.integers(5, 8), min_size=1, max_size=6)  # so few tokens that texts begin alike


@given(pairs=st.lists(st.tuples(token_lists, token_lists), max_size=8), batch=st.integers(1, 40), row=st.integers(0, 30))
def test_neither_batches_nor_what_is_shared_change_a_score(smoke, pairs, batch, row):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likelihood, "ROW_TOKENS", row)
        patch.setattr(likelihood, "BATCH_TOKENS", batch)
        near(score_ids(smoke[0], pairs), [plain(smoke[0], pair) for pair in pairs])


def test_what_texts_share_is_read_once_and_logits_are_made_where_tokens_are_scored(smoke):
    model, tokenizer = smoke
    pairs, read, scored = four_options(tokenizer)[:8], [], []
    hooks = [model.get_input_embeddings().register_forward_hook(lambda _, given, __: read.append(given[0].numel())),
             model.get_output_embeddings().register_forward_hook(lambda _, given, __: scored.append(given[0].shape[1]))]
    score_ids(model, pairs)
    for hook in hooks:
        hook.remove()
    longest = max(len(context) for context, _ in pairs)
    options = sum(len(option) for _, option in pairs)
    assert sum(read) <= longest + options < sum(len(context) for context, _ in pairs) / 4
    assert sum(scored) <= options


@pytest.mark.parametrize("kind", [MistralConfig, Gemma3TextConfig])
def test_a_window_that_slides_is_respected(kind):
    config = kind(sliding_window=6)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
             "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 50, "pad_token_id": 0}  # fmt: skip
    config.update(sizes | ({"layer_types": ["sliding_attention", "full_attention"]} if config.model_type != "mistral" else {}))
    model = telling(AutoModelForCausalLM.from_config(config))
    pairs = [(list(range(3, 20)), [4, 5]), (list(range(3, 20)), [6]), ([7, 8], [9])]
    near(score_ids(model, pairs), [plain(model, pair) for pair in pairs])
    near(score_ids(model, pairs[2:]), [plain(model, pairs[2])])


def test_a_pair_without_tokens_is_refused(smoke, refused):
    with refused("pair 2 of 2", "no tokens"):
        score_ids(smoke[0], [([3], [4]), ([3], [])])


def test_the_blank_line_behind_a_role_is_not_scored(smoke):
    tokenizer = smoke[1]
    before = prompt_text(tokenizer, "Why?") + ROLE
    (context, option), = encode_pairs(tokenizer, [before], ["Because."])
    assert tokenizer.decode(context) == before and tokenizer.decode(option) == "Because."
    assert context + option == tokenizer.encode(before + "Because.", add_special_tokens=False)


# Tasks of lm-eval


@pytest.mark.parametrize("data", ["starter", "mirror"])
def test_every_task_reads_the_starter_data_and_the_real_sets(data):
    if data == "mirror" and not MIRROR.is_dir():
        pytest.skip("no mirror of the real data sets beside this checkout")
    names = NAMES if data == "starter" else NAMES[:6]
    settings = {} if data == "starter" else {"data.benchmarks": "hub", "data.mirror": str(MIRROR)}
    found = load(*(f"{name}_{form}" for form in FORMS for name in names), items=200, **settings)
    for name, task in found.items():
        for doc in task.eval_docs:
            options, right = task.doc_to_choice(doc), task.doc_to_target(doc)
            letter = "ABCDEFGHIJKLM"[right] if isinstance(right, int) else right
            assert letter == doc["key"] and (options == list("ABCDEFGHIJKLM"[: len(options)])) == name.endswith("letters")
            assert all(option in task.doc_to_text(doc) for option in doc["options"]) or name.endswith("cloze")


def by_lm_eval(lm, tasks, **settings):
    """Scores of each option, and metrics, as lm-eval's `evaluate` has them."""
    found = lm_evaluate(lm, {"tasks": tasks, "groups": {}}, bootstrap_iters=0, **settings)
    scores = {(task, sample["doc_id"]): [tuple(score) for score in sample["filtered_resps"]]
              for task, samples in found["samples"].items() for sample in samples}
    return scores, {task: {name: value for name, value in row.items() if name.endswith("none") and "stderr" not in name}
                    for task, row in found["results"].items()}


def test_evaluate_gives_lm_eval_s_scores(smoke):
    model, tokenizer = smoke
    tasks = load(*(f"{name}_cloze" for name in NAMES), "mmlu_letters")
    theirs, their_metrics = by_lm_eval(HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8), tasks)
    ours, metrics = by_lm_eval(ArmsLM(pretrained=model, tokenizer=tokenizer), tasks)
    for item in theirs:
        near(ours[item], theirs[item])
    assert metrics == their_metrics
    assert set(metrics["selfprompt_piqa_cloze"]) == {"acc,none", "acc_norm,none", "acc_mutual_info,none"}


def test_in_the_chat_template_lm_eval_scores_the_line_break_too(smoke):
    model, tokenizer = smoke
    tasks = load("openbookqa_cloze", items=3)
    theirs, _ = by_lm_eval(HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8), tasks, apply_chat_template=True)
    ours, _ = by_lm_eval(ArmsLM(pretrained=model, tokenizer=tokenizer), tasks, apply_chat_template=True)
    for number, doc in enumerate(tasks["selfprompt_openbookqa_cloze"].eval_docs):
        prompt = tokenizer.encode(prompt_text(tokenizer, doc["question"]), add_special_tokens=False)
        (line_break, _), = score_ids(model, [(prompt[:-1], prompt[-1:])])
        item = "selfprompt_openbookqa_cloze", number
        assert tokenizer.decode(prompt[-1:]) == "\n" and line_break < -0.1
        assert [score + line_break for score, _ in ours[item][:4]] == pytest.approx(
            [score for score, _ in theirs[item][:4]], abs=1e-4)


def test_the_lm_eval_command_gives_the_same_metrics(tmp_path):
    """Of a model that knows its template, so that the line break in front of an answer is certain."""
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--batch_size", "4", "--device", "cpu",
               "--model_args", f"pretrained={models.resolve(models.STARTER)},dtype=float32", "--output_path", tmp_path,
               "--apply_chat_template",
               "--include_path", TASKS_FOLDER, "--tasks", "selfprompt_openbookqa_cloze,selfprompt_piqa_cloze",
               "--metadata", json.dumps({"data": str(STARTER_FOLDER), "items": 5})]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]
    theirs = json.loads(next(tmp_path.rglob("results*.json")).read_text())["results"]
    model, tokenizer = models.load(models.STARTER, "float32")
    _, ours = by_lm_eval(ArmsLM(pretrained=model, tokenizer=tokenizer), load("openbookqa_cloze", "piqa_cloze", items=5),
                         apply_chat_template=True)  # fmt: skip
    assert ours == {task: {name: row[name] for name in ours[task]} for task, row in theirs.items()}


# Arms


def keys_of(tasks):
    return [item_key(name, doc) for name, task in tasks.items() for doc in task.eval_docs]


def test_a_prefill_stands_between_the_prompt_and_the_option(smoke):
    model, tokenizer = smoke
    tasks = load("commonsense_qa_cloze", "piqa_letters", items=2)
    starts = {"none": {}, "role": dict.fromkeys(keys_of(tasks), ROLE), "free": dict.fromkeys(keys_of(tasks))}
    arms = [Arm(name, prefills=prefills) for name, prefills in starts.items()]
    lm = ArmsLM(pretrained=model, tokenizer=tokenizer, arms=arms)
    found = {}
    for arm in arms:
        lm.arm = arm.name
        found[arm.name] = by_lm_eval(lm, tasks, apply_chat_template=True)[0]
    assert found["free"] == found["none"]
    for (name, number), scores in found["role"].items():
        task, doc = tasks[name], tasks[name].eval_docs[number]
        options = task.doc_to_choice(doc)
        before = prompt_text(tokenizer, task.doc_to_text(doc)) + ROLE
        near(scores[: len(options)], [plain(model, pair) for pair in encode_pairs(tokenizer, [before] * len(options), options)])
        assert scores[len(options) :] == found["none"][name, number][len(options) :]  # the unconditional ones


def test_the_table_has_what_its_columns_say(smoke):
    model, tokenizer = smoke
    tasks = load("openbookqa_cloze", "openbookqa_letters", "mmlu_cloze", items=3)
    arms = [Arm("none"), Arm("role", prefills=dict.fromkeys(keys_of(tasks), ROLE))]
    table = measure_options(model, tokenizer, tasks, arms)
    assert list(table) == ["prefix", "task", "form", "item", "stratum", "options", "nats", "log_odds", "log_odds_pmi",
                           "right", "right_sum", "right_pmi"]  # fmt: skip
    assert table.groupby(["prefix", "task", "form"]).size().tolist() == [3] * 6
    for row in table.itertuples():
        task = tasks[f"selfprompt_{row.task}_{row.form}"]
        doc = next(doc for doc in task.eval_docs if doc["id"] == row.item)
        options, right = task.doc_to_choice(doc), "ABCD".index(doc["key"])
        start = ROLE if row.prefix == "role" else ""

        def scored(question, start, options=options):
            before = [prompt_text(tokenizer, question) + start] * 4
            return np.array([plain(model, pair)[0] for pair in encode_pairs(tokenizer, before, options)])

        s = scored(task.doc_to_text(doc), start)
        gained = s - scored("", "")
        tokens = len(tokenizer.encode(options[right], add_special_tokens=False))
        assert [row.nats, row.log_odds, row.log_odds_pmi] == pytest.approx(
            [s[right] / tokens, *(v[right] - np.log(np.exp(np.delete(v, right)).sum()) for v in (s, gained))], abs=1e-3)
        best = [int(values.argmax()) for values in (s / list(map(len, options)), s, gained)]
        assert [row.right, row.right_sum, row.right_pmi] == [place == right for place in best]


def test_right_is_lm_eval_s_acc_norm_and_right_sum_its_acc(smoke):
    model, tokenizer = smoke
    tasks = load("truthful_qa_cloze", items=20)
    table = measure_options(model, tokenizer, tasks, [Arm("none")])
    _, metrics = by_lm_eval(ArmsLM(pretrained=model, tokenizer=tokenizer), tasks, apply_chat_template=True)
    found = metrics["selfprompt_truthful_qa_cloze"]
    assert (table.right.mean(), table.right_sum.mean()) == (found["acc_norm,none"], found["acc,none"])
    assert 0 < table.right.mean() < 1


def test_an_item_that_does_not_fit_behind_one_prefix_is_left_out_behind_all(smoke, refused, capsys):
    model, tokenizer = smoke
    tasks = load("piqa_cloze", "piqa_letters", items=3)
    long, *others = keys_of(tasks)
    room = model.config.max_position_embeddings
    arms = [Arm("none"), Arm("role", prefills={long: "word " * room})]
    table = measure_options(model, tokenizer, tasks, arms)
    for name in ("none", "role"):
        part = table[table.prefix == name]
        assert list(zip(part.task + "_" + part.form, part.item, strict=True)) == others
    assert "1 items left out" in (told := capsys.readouterr().out) and f"item {long[1]}" in told and f"{room:,}" in told
    with refused("6 items left out", "shorten the prefixes"):
        measure_options(model, tokenizer, tasks, [Arm("role", prefills=dict.fromkeys(keys_of(tasks), "word " * room))])


def test_a_positive_control_is_above_chance():
    model, tokenizer = models.load(models.STARTER)
    table = measure_options(model, tokenizer, load("arc_easy_cloze", items=24), [Arm("base")])
    assert table.right.mean() > 0.4 and table.log_odds_pmi.mean() > -1


# Faults


def test_an_option_without_tokens_is_refused_with_task_and_item(smoke, refused):
    model, tokenizer = smoke
    asked = [Instance(request_type="loglikelihood", doc={"id": 7}, arguments=("Why?", option), idx=place,
                      metadata=("selfprompt_mine_cloze", 0, 1)) for place, option in enumerate((" a", ""))]  # fmt: skip
    with refused("task mine_cloze", "item 7", "no tokens"):
        ArmsLM(pretrained=model, tokenizer=tokenizer).loglikelihood(asked)


@pytest.mark.parametrize(("options", "parts"), [([], ["row 2", "2 to 26"]), (["a", " "], ["row 2", "each must have a text"])])
def test_an_item_without_options_is_refused_with_file_and_row(tmp_path, jsonl, refused, options, parts):
    jsonl("rows.jsonl", {"q": "?", "o": ["a", "b"], "k": 0}, {"q": "?", "o": options, "k": 0})
    for base in ("_cloze.yaml", "_letters.yaml"):
        (tmp_path / base).write_text((TASKS_FOLDER / base).read_text())
    (tmp_path / "mine.yaml").write_text(
        "include: _cloze.yaml\ntask: mine\ndataset_kwargs: {path: rows.jsonl, columns: {question: q, options: o, key: k}}\n")
    assert check_task_folder(tmp_path) == ["mine"]
    with refused("mine.yaml", "rows.jsonl", *parts):
        load("mine", **{"evaluate.include_path": str(tmp_path)})


@pytest.mark.parametrize("field", ["form", "kind", "doc_to_choice"])
def test_a_yaml_without_a_field_is_refused(refused, field):
    config = load("piqa_cloze")["selfprompt_piqa_cloze"].config
    values = {"output_type": "multiple_choice"} | vars(config) | {"metadata": dict(config.metadata)}
    check_task(values)
    (values if field in values else values["metadata"]).pop(field)
    with refused("selfprompt_piqa_cloze", field, "include"):
        check_task(values)


def test_a_task_that_writes_replies_is_refused(smoke, refused):
    with refused("selfprompt_gsm8k", "_cloze.yaml"):
        measure_options(*smoke, load("gsm8k"), [Arm("none")])


def test_a_task_of_likelihoods_is_not_asked_for_replies(smoke, refused):
    with refused("selfprompt_piqa_cloze", "measure_options"):
        evaluate.ask_benchmarks(*smoke, profiles.load("smoke"), load("piqa_cloze"), [Arm("none")])
