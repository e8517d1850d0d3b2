"""Asking: the same replies as one question at a time, whatever the batch (chapters 4 to 6)."""

import contextlib
import dataclasses
import io

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from scipy.stats import chisquare
from single import gaps, resolution, single
from transformers import (
    AutoModelForCausalLM,
    MistralConfig,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from selfprompt_lib import continuous, decoding, evaluate, generate, infer, models, profiles, sft, sources
from selfprompt_lib.designs import GAP, get_design
from selfprompt_lib.rows import STARTER_FOLDER, Sample, read_rows
from selfprompt_lib.sampling import Sampling, nucleus

QUESTIONS = [
    row.question
    for row in sources.held_out_questions(profiles.load("cpu", {"data.question_rows": 8}))
]
QUESTIONS.append("Say yes. " * 60)


def lively_smoke(dtype):
    """The smoke model with larger weights and a head of its own; as it is, it repeats its last token for ever."""
    model, tokenizer = models.load("smoke", dtype)
    torch.manual_seed(0)
    for weight in (*model.model.layers.parameters(), model.lm_head.weight):
        if weight.dim() > 1:
            weight.data = torch.randn_like(weight) * 0.3
    model.model.embed_tokens.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    return model, tokenizer


@pytest.fixture(scope="module")
def smoke():
    """In float32: only there a token is the same whatever is computed beside it."""
    return lively_smoke("float32")


def asked(prompts, max_new_tokens, suffixes=(), forbidden_first=(), begun=()):
    """A request for each prompt; `max_new_tokens` is for all of them, or for each."""
    count = len(prompts)
    limits = [max_new_tokens] * count if isinstance(max_new_tokens, int) else max_new_tokens
    fields = limits, suffixes or [()] * count, forbidden_first or [()] * count, begun or [0] * count
    return [decoding.Request(*each) for each in zip(prompts, *fields, strict=True)]


def both_replies(model, prompts, max_new_tokens, suffixes=(), forbidden_first=(), begun=(), **settings):
    return generate.generate_ids(model, asked(prompts, max_new_tokens, suffixes, forbidden_first, begun), **settings)


def first_replies(model, prompts, **settings):
    return both_replies(model, prompts, **settings)[0]


def encoded(tokenizer, questions):
    return tokenizer(
        [generate.prompt_text(tokenizer, question) for question in questions],
        add_special_tokens=False,
    )["input_ids"]


def one_by_one(model, tokenizer, questions=QUESTIONS, starts=None, **settings):
    starts = starts or [""] * len(questions)
    prompts = [
        generate.prompt_text(tokenizer, question) + start
        for question, start in zip(questions, starts, strict=True)
    ]
    new = [single(model, tokenizer, prompt, **settings) for prompt in prompts]
    return [
        start + tokenizer.decode(ids, skip_special_tokens=True)
        for start, ids in zip(starts, new, strict=True)
    ]


@pytest.mark.parametrize(("dtype", "most"), [("float32", 0.01), ("bfloat16", 0.05)])
def test_the_real_models_replies_differ_from_single_decoding_in_ties_only(dtype, most):
    """bfloat16 has a tie in some fifty tokens, and plain `generate` on a padded batch has as many."""
    model, tokenizer = models.load(models.STARTER, dtype)
    prompts = encoded(tokenizer, ["What is 2 + 2? Say the number only.", *QUESTIONS[:7]])
    replies = first_replies(model, prompts, max_new_tokens=24, batch_size=5)
    distances = [gaps(model, prompt, reply) for prompt, reply in zip(prompts, replies, strict=True)]
    tokens = [distance for reply in distances for distance in reply]
    assert max(tokens) < resolution(model), distances
    assert sum(distance > 0 for distance in tokens) <= most * len(tokens)
    ends = {model.generation_config.eos_token_id}
    assert all(len(reply) == 24 or reply[-1] in ends for reply in replies)
    assert len({len(reply) for reply in replies}) > 1, "some reply ended early"


def test_replies_are_those_of_single_decoding_in_any_batch(smoke):
    alone = one_by_one(*smoke, max_new_tokens=16)
    for batch_size in (1, 3, 64):
        assert generate.ask(*smoke, QUESTIONS, max_new_tokens=16, batch_size=batch_size) == alone


def test_a_model_s_own_repetition_penalty_is_kept():
    model, tokenizer = models.load("smoke", "float32")  # it writes its last token again and again
    few = QUESTIONS[:5]
    plain = generate.ask(model, tokenizer, few, max_new_tokens=12)
    model.generation_config.repetition_penalty = 50.0
    ours = generate.ask(model, tokenizer, few, max_new_tokens=12, batch_size=3)
    assert ours == one_by_one(model, tokenizer, few, max_new_tokens=12) and ours != plain


SAMPLING = Sampling(temperature=0.7, top_p=0.9, repetition_penalty=1.2, seed=3)


@pytest.fixture(scope="module")
def wide():
    """The smoke model with probabilities as a tuned model has them: a nucleus of some tokens. Where
    it has thousands, float32's last digit decides too often which one a number falls on."""
    model, tokenizer = lively_smoke("float32")
    model.lm_head.weight.data *= 2
    return model, tokenizer


def processed(logits, replies, sampling):
    """The probabilities of the next token as transformers' `generate` makes them, one row at a time."""
    rows = []
    for row, reply in zip(logits, replies, strict=True):
        ids, scores = torch.tensor([reply], dtype=torch.long), row[None]
        for step in (RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty),
                     TemperatureLogitsWarper(sampling.temperature), TopPLogitsWarper(sampling.top_p)):
            scores = step(ids, scores)
        rows.append(scores.softmax(-1))
    return torch.cat(rows)


@pytest.mark.parametrize("scale", [0.01, 1.0, 4.0])  # a nucleus of nearly all tokens, of many, of few
def test_probabilities_are_those_of_transformers_processors(scale):
    torch.manual_seed(0)
    logits = torch.randn(4, 3000) * scale
    logits[0, :5] = 30.0  # and some that stand in the reply
    replies = [[0, 7, 7], [], [1], [2999, 3, 5, 8, 13]]
    expected = processed(logits, replies, SAMPLING)
    found, tokens = nucleus(SAMPLING.process(logits.clone(), replies), SAMPLING.top_p)
    ours = torch.zeros_like(logits).scatter(1, tokens, found)
    assert ((ours > 0) == (expected > 0)).all()
    assert torch.allclose(ours / ours.sum(-1, keepdim=True), expected, rtol=1e-3, atol=1e-7)


def test_tokens_are_drawn_as_often_as_their_probability_says():
    logits = torch.tensor([[2.0, 1.5, 1.0, 0.0, -1.0, -3.0]])
    expected = processed(logits, [[1, 4]], SAMPLING)[0]
    count = 4000
    numbers = [SAMPLING.random_numbers(request, 1)[0] for request in range(count)]
    drawn = SAMPLING.draw(logits.expand(count, -1), [[1, 4]] * count, numbers)
    seen = torch.bincount(drawn, minlength=6)
    assert (seen[expected == 0] == 0).all() and (expected == 0).any()
    some = expected > 0
    assert chisquare(seen[some], count * expected[some].double() / expected[some].double().sum()).pvalue > 0.01


def test_a_drawn_reply_depends_on_seed_and_place_not_on_the_batch(wide):
    def ask(sampling, size, questions=QUESTIONS):
        return generate.ask(*wide, questions, max_new_tokens=16, batch_size=size, sampling=sampling)

    first = ask(SAMPLING, 1)
    assert ask(SAMPLING, 3) == ask(SAMPLING, 64) == first
    assert ask(SAMPLING, 64, QUESTIONS[:4]) == first[:4]
    other = ask(dataclasses.replace(SAMPLING, seed=4), 64)
    assert not set(other) & set(first)
    twice = ask(SAMPLING, 64, QUESTIONS[:1] * 3)
    assert len(set(twice)) == 3, "each place in a call has its own random numbers"


def test_a_cold_draw_is_greedy(wide):
    plain = generate.ask(*wide, QUESTIONS, max_new_tokens=8)
    for cold in (Sampling(1e-4, 0.9, 1), Sampling(1, 1e-6, 1)):
        assert generate.ask(*wide, QUESTIONS, max_new_tokens=8, sampling=cold) == plain


def test_the_penalty_sees_the_reply_and_a_forced_role_not_the_question(wide):
    model, tokenizer = wide
    cold = Sampling(temperature=1e-4, top_p=1, repetition_penalty=1e6)  # never a token twice
    prompts = encoded(tokenizer, QUESTIONS)
    replies = first_replies(model, prompts, max_new_tokens=60, batch_size=4, sampling=cold)
    assert all(len(set(reply)) == len(reply) for reply in replies)
    first = first_replies(model, prompts, max_new_tokens=1, batch_size=4)
    assert [reply[:1] for reply in replies] == first
    begun = [prompt + token for prompt, token in zip(prompts, first, strict=True)]
    for forced in (0, 1):  # the token is part of the prompt, or of the reply
        again = first_replies(model, begun, max_new_tokens=1, batch_size=4, sampling=cold, begun=[forced] * len(begun))
        if forced:
            assert again == [reply[1:2] for reply in replies]
        else:
            assert again == first_replies(model, begun, max_new_tokens=1, batch_size=4)


def test_forced_roles_and_free_replies_may_stand_in_one_call(wide):
    roles = ["", "You know breads. "] * 4 + [""]
    both = generate.ask(*wide, QUESTIONS, max_new_tokens=8, prefills=roles, sampling=SAMPLING)
    free = generate.ask(*wide, QUESTIONS, max_new_tokens=8, sampling=SAMPLING)
    assert both[::2] == free[::2] and all(reply.startswith("You know breads. ") for reply in both[1::2])


def test_a_second_reply_is_drawn_too(wide):
    model, tokenizer = wide
    prompts = encoded(tokenizer, QUESTIONS[:4])
    settings = {"max_new_tokens": 6, "suffixes": [[5, 6]] * 4, "suffix_max_new_tokens": 5, "sampling": SAMPLING}
    first, second = both_replies(model, prompts, batch_size=4, **settings)
    assert (first, second) == both_replies(model, prompts, batch_size=1, **settings)
    assert all(map(len, second)) and len(set(map(tuple, second))) == 4


def test_a_profile_draws_what_is_read_and_0_is_greedy(wide):
    design = get_design("from-now-on")
    profile = profiles.load("smoke")
    questions = sources.held_out_questions(profile)

    def replies(settings, **more):
        rows = infer.ask_questions(*wide, profiles.load("smoke", settings), design, questions, **more)
        return [row["reply"] for row in rows]

    texts = [question.question for question in questions]
    plain = generate.ask(*wide, texts, max_new_tokens=profile.infer.max_new_tokens)
    assert replies({"infer.temperature": 0}) == plain
    lima = Sampling(0.7, 0.9, 1.2, profile.seed)
    drawn = generate.ask(*wide, texts, max_new_tokens=profile.infer.max_new_tokens, sampling=lima)
    assert replies({}) == drawn != plain
    assert not set(replies({"infer.repetition_penalty": 1, "infer.top_p": 1})) & set(drawn)
    assert not set(replies({"seed": 1})) & set(drawn)


def test_no_run_is_written_twice():
    parrot, few = models.load("smoke", "float32"), QUESTIONS[:5]
    ours = generate.ask(*parrot, few, max_new_tokens=16, batch_size=4, no_repeat_ngram_size=3)
    assert ours == one_by_one(*parrot, few, max_new_tokens=16, no_repeat_ngram_size=3)
    assert ours != generate.ask(*parrot, few, max_new_tokens=16)


def test_replies_that_end_early_leave_and_the_order_stays(smoke, monkeypatch):
    model, tokenizer = smoke
    ids = [
        single(model, tokenizer, generate.prompt_text(tokenizer, question), max_new_tokens=20)
        for question in QUESTIONS
    ]
    ends = [reply[2 * i + 1] for i, reply in enumerate(ids)]
    monkeypatch.setattr(model.generation_config, "eos_token_id", ends)
    alone = [
        single(model, tokenizer, generate.prompt_text(tokenizer, question), max_new_tokens=20)
        for question in QUESTIONS
    ]
    assert len({len(reply) for reply in alone}) > 2
    prompts = tokenizer([generate.prompt_text(tokenizer, question) for question in QUESTIONS])[
        "input_ids"
    ]
    for rows in (4, 64):
        assert first_replies(model, prompts, max_new_tokens=20, batch_size=rows) == alone


def test_prompts_that_begin_differently_share_nothing(smoke):
    model, tokenizer = smoke
    prompts = ["One", "Another beginning, and a longer one", "Three words here"]
    ids = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    alone = [single(model, tokenizer, prompt, max_new_tokens=12) for prompt in prompts]
    assert first_replies(model, ids, max_new_tokens=12, batch_size=8) == alone


def test_a_second_reply_goes_on_behind_the_first(smoke, monkeypatch):
    model, tokenizer = smoke
    prompts = encoded(tokenizer, QUESTIONS)
    free = first_replies(model, prompts, max_new_tokens=12, batch_size=64)
    ends = [free[0][3], free[4][8]]
    monkeypatch.setattr(model.generation_config, "eos_token_id", ends)
    then = tokenizer([" So:", "\n\nTherefore, the answer is", ""] * 3, add_special_tokens=False)[
        "input_ids"
    ]
    for rows in (1, 4, 64):
        first, second = both_replies(
            model,
            prompts,
            max_new_tokens=12,
            batch_size=rows,
            suffixes=then,
            suffix_max_new_tokens=5,
        )
        assert first == first_replies(model, prompts, max_new_tokens=12, batch_size=64)
        for prompt, reply, text, more in zip(prompts, first, then, second, strict=True):
            said = [token for token in reply if token not in ends]
            again = (
                first_replies(model, [prompt + said + text], max_new_tokens=5, batch_size=1)[0]
                if text
                else []
            )
            assert more == again
    assert len({len(reply) for reply in first}) > 1 and len({len(reply) for reply in second}) > 1


def test_each_reply_has_its_own_room(smoke):
    model, tokenizer = smoke
    prompts, rooms = encoded(tokenizer, QUESTIONS), [3, 9, 1, 5, 7, 2, 8, 4, 6]
    free = first_replies(model, prompts, max_new_tokens=9, batch_size=4)
    cut = first_replies(model, prompts, max_new_tokens=rooms, batch_size=4)
    assert cut == [reply[:room] for reply, room in zip(free, rooms, strict=True)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_prompts_that_begin_alike_are_read_once(dtype, monkeypatch):
    model, tokenizer = lively_smoke(dtype)
    begun = [
        "",
        "From now on, you are a baker. ",
        "You are nobody. ",
        "From now on, you are a poet. ",
    ]
    texts = [
        generate.prompt_text(tokenizer, question) + start
        for start in begun
        for question in QUESTIONS[:4] + QUESTIONS[-1:]
    ]
    prompts = tokenizer(texts, add_special_tokens=False)["input_ids"]
    read, forward = [], model.forward

    def counted(input_ids, **more):
        read.append(input_ids.numel())
        return forward(input_ids=input_ids, **more)

    with monkeypatch.context() as patched:
        patched.setattr(model, "forward", counted)
        replies = first_replies(model, prompts, max_new_tokens=8, batch_size=64)
    assert sum(read) < 0.6 * sum(map(len, prompts)), (
        "each question is read about once, not four times"
    )
    for prompt, reply in zip(prompts, replies, strict=True):
        assert max(gaps(model, prompt, reply)) < resolution(model), (prompt, reply)
    if dtype == "float32":
        assert replies == [
            first_replies(model, [prompt], max_new_tokens=8, batch_size=1)[0] for prompt in prompts
        ]


def test_a_reply_begins_with_its_start(smoke):
    starts = [f"From now on, you are number {'one ' * i}" for i in range(len(QUESTIONS))]
    ours = generate.ask(*smoke, QUESTIONS, max_new_tokens=8, prefills=starts)
    assert ours == one_by_one(*smoke, starts=starts, max_new_tokens=8)
    assert all(reply.startswith(start) for reply, start in zip(ours, starts, strict=True))


@pytest.mark.parametrize("written, asked", [
    ([None, None, None], []), (["From now on, A.", None, None], []), (["A", "A", ""], []), (["A", "B", None], [0, 1]),
])  # fmt: skip
def test_questions_are_asked_again_with_their_own_role_and_another_s(smoke, written, asked):
    profile = profiles.load("smoke", {"infer.max_new_tokens": 8})
    questions = sources.held_out_questions(profile)[:3]
    rows = [{"role": role, "question": question.question, "answer": "x", "role_tokens": 0, "answer_tokens": 1,
             "outcome": "role"} for role, question in zip(written, questions, strict=True)]  # fmt: skip
    design = get_design("from-now-on")
    own, swapped = infer.swap_roles(*smoke, profile, design, questions, rows, 3)
    for rows_again, roles in ((own, written), (swapped, infer.roles_of_others(written))):
        assert [row["id"] for row in rows_again] == [questions[place].id for place in asked]
        assert all(row["reply"].startswith(roles[place] + GAP) for row, place in zip(rows_again, asked, strict=True))
    if asked:  # with the same random numbers, so that nothing but the role makes a difference
        again = infer.swap_roles(*smoke, profile, design, questions, [rows[1], rows[0], rows[2]], 3)[1]
        assert again == own
    assert list(infer.swap_table(own, swapped)) == ["question", "with its own role", "with another's"]
    found = infer.summarize_replies(rows, rows, own, swapped, design)["unchanged_by_swap"]
    assert found.n == len(asked) if asked else found is None


def test_a_forced_role_is_read_as_it_stands_in_training():
    tokenizer = models.load(models.SMOKE)[1]
    sample = read_rows(STARTER_FOLDER / "train.jsonl", Sample)[0]
    design = get_design("from-now-on")
    asked, answer = sft.to_messages(sample, design)[:2]
    trained = tokenizer.encode(
        generate.prompt_text(tokenizer, asked["content"]) + answer["content"],
        add_special_tokens=False,
    )
    start = generate.prompt_text(tokenizer, asked["content"]) + design.role_text(sample.role) + GAP
    ours = generate.encode_prefill(tokenizer, start)
    assert trained[: len(ours)] == ours and tokenizer.decode(ours) == start
    assert trained[: len(ours)] != tokenizer.encode(start, add_special_tokens=False), (
        "alone it is another token"
    )


def test_no_reply_begins_with_what_is_forbidden(smoke):
    model, tokenizer = smoke
    free = generate.ask(model, tokenizer, QUESTIONS, max_new_tokens=6)
    first = tokenizer.encode(free[0], add_special_tokens=False)[0]
    kept = generate.ask(
        model, tokenizer, QUESTIONS, max_new_tokens=6, forbid_first=[tokenizer.decode([first])]
    )
    assert kept == one_by_one(model, tokenizer, max_new_tokens=6, begin_suppress_tokens=[first])
    assert kept[0] != free[0]


def test_none_and_one_question(smoke):
    assert generate.ask(*smoke, [], max_new_tokens=4) == []
    assert generate.ask(*smoke, QUESTIONS[:1], max_new_tokens=9) == one_by_one(
        *smoke, QUESTIONS[:1], max_new_tokens=9
    )


def test_a_question_longer_than_the_context_is_named(smoke, refused):
    with refused(
        "question 2 ('a lot", "do not fit the model's context of 8,192", "infer.max_new_tokens"
    ):
        generate.ask(*smoke, ["short", "a lot of words " * 3000], max_new_tokens=8)


def test_the_progress_bar_counts_questions_and_tokens(smoke):
    shown = io.StringIO()
    with contextlib.redirect_stderr(shown):
        generate.ask(*smoke, QUESTIONS, max_new_tokens=8, label="asking of it")
    assert (
        "asking of it" in shown.getvalue()
        and "9/9" in shown.getvalue()
        and "tokens/s" in shown.getvalue()
    )


def requests(**settings):
    """Two tasks' items as lm-eval hands them over, with settings of their own."""
    return [
        Instance("generate_until", {"id": i, "question": text}, (f"{text}\nAnswer:", {"do_sample": False} | settings | more), 0,
                 (task, i, 1))
        for task, more in (("short", {"max_gen_toks": 6}), ("long", {"max_gen_toks": 20})) for i, text in enumerate(QUESTIONS[:5])
    ]  # fmt: skip


def test_lm_evals_replies_are_those_of_its_own_model(smoke):
    model, tokenizer = smoke
    arguments = {"pretrained": model, "tokenizer": tokenizer, "batch_size": 1}
    plain = HFLM(**arguments).generate_until(requests(until=[]), disable_tqdm=True)
    stops = sorted({reply[len(reply) // 2 :][:4] for reply in plain if len(reply) > 40})[:3]
    assert stops
    for until in ([], stops):
        expected = HFLM(**arguments).generate_until(requests(until=until), disable_tqdm=True)
        ours = evaluate.ArmsLM(**arguments | {"batch_size": 6}).generate_until(
            requests(until=until), disable_tqdm=True
        )
        assert ours == expected
    assert expected != plain


def test_continuous_batching_writes_the_same(smoke):
    model, tokenizer = smoke
    ids = tokenizer([generate.prompt_text(tokenizer, question) for question in QUESTIONS[:5]])[
        "input_ids"
    ]
    ours = continuous.generate_continuously(model, ids, 10, num_blocks=16, max_batch_tokens=256)
    assert ours == first_replies(model, ids, max_new_tokens=10, batch_size=8)
    assert torch.equal(torch.tensor(ours[0]), torch.tensor(single(model, tokenizer, generate.prompt_text(tokenizer, QUESTIONS[0]),
                                                                  max_new_tokens=10)))  # fmt: skip


@pytest.mark.parametrize("settings", [
    {"no_repeat_ngram_size": 2}, {"forbidden_first": True}, {"suffixes": True}, {"max_new_tokens": [1, 9, 2, 12, 12]},
    {"no_repeat_ngram_size": 2, "forbidden_first": True, "suffixes": True},
])  # fmt: skip
def test_continuous_batching_obeys_all_that_is_asked_for(settings):
    model, tokenizer = models.load("smoke", "float32")  # it writes its last token again and again
    prompts = encoded(tokenizer, QUESTIONS[:5])
    plain = first_replies(model, prompts, max_new_tokens=12, batch_size=8)
    settings = {"max_new_tokens": 12, "suffix_max_new_tokens": 4} | settings
    if "forbidden_first" in settings:  # of some prompts only
        settings["forbidden_first"] = [reply[:1] if row % 2 else [] for row, reply in enumerate(plain)]
    if "suffixes" in settings:
        settings["suffixes"] = [prompts[0][:3] if row else [] for row in range(5)]
    first, second = both_replies(model, prompts, batch_size=8, **settings)
    assert (first, second) != (plain, [[]] * 5)

    fields = {name: settings[name] for name in ("max_new_tokens", "suffixes", "forbidden_first") if name in settings}
    requests = asked(prompts, **fields)
    processors = generate._processors(model, settings.get("no_repeat_ngram_size", 0))
    continuous.write_continuously(model, requests, processors, 8, 4, None, num_blocks=16, max_batch_tokens=256)
    assert [request.reply for request in requests] == first
    assert [request.second.reply if request.second else [] for request in requests] == second


def test_a_reply_ends_with_its_first_stop(smoke):
    model, tokenizer = smoke
    texts = [generate.prompt_text(tokenizer, f"Why is {number} odd?") for number in range(12)]
    prompts = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    longer = first_replies(model, prompts, max_new_tokens=24, batch_size=12)
    stops = {reply[5] for reply in longer if len(reply) > 6}
    cut = first_replies(model, prompts, max_new_tokens=24, batch_size=12, stops=stops)
    ends = [next((place for place, token in enumerate(reply) if token in stops), len(reply) - 1)
            for reply in longer]
    assert cut == [reply[: end + 1] for reply, end in zip(longer, ends, strict=True)]
    assert any(len(short) < len(reply) for short, reply in zip(cut, longer, strict=True))


def test_every_token_with_a_line_break_is_known(smoke):
    found = generate.line_break_tokens(smoke[1])
    assert set(smoke[1].encode("a\nb\n\nc", add_special_tokens=False)) & found
    assert all("\n" in smoke[1].decode([token]) for token in found)
    assert smoke[1].encode("word", add_special_tokens=False)[0] not in found


def test_tokens_of_role_and_answer_are_numbers():
    rows = [{"role": "You are x", "answer": "costs $5 and $6", "role_tokens": 3, "answer_tokens": 7}]
    assert infer.tokens_by_part(rows).to_dict("records") == [
        {"part": "role", "tokens": 3}, {"part": "answer", "tokens": 7}]


@pytest.mark.parametrize("window", [8, 1000])
def test_a_window_that_slides_is_as_long_as_in_a_run_of_one(window):
    """Prompts of unlike lengths with a common head: blanks between texts that are written together take no room in it."""
    torch.manual_seed(1)
    config = MistralConfig(sliding_window=window, hidden_size=32, intermediate_size=32, num_hidden_layers=2,
                           num_attention_heads=2, num_key_value_heads=1, head_dim=16, vocab_size=50,
                           pad_token_id=0, eos_token_id=1)  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.data = torch.randn_like(weight)
    prompts = [[5, 6, *range(7, 17)], [5, 6, *range(8, 24)], [5, 6, *range(20, 34)]]
    alone = [model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=12, pad_token_id=0)[0, len(ids) :].tolist()
             for ids in prompts]  # fmt: skip
    assert first_replies(model, prompts, max_new_tokens=12, batch_size=3) == alone
    assert len({tuple(reply) for reply in alone}) == 3
