"""Annotation: what is asked, how a reply is read, what it costs, which samples are trained on."""

import ast
import asyncio
import dataclasses
import json
import re
import subprocess

import nbformat
import openai
import pytest
from conftest import KEY, annotation, lines
from hypothesis import given
from hypothesis import strategies as st

from selfprompt_lib import annotate, plots, profiles, sources
from selfprompt_lib.__main__ import main
from selfprompt_lib.annotate.prompt import ANNOTATION_FOLDER, SCHEMA
from selfprompt_lib.llm_client.endpoint import hosted
from selfprompt_lib.llm_client.reply import Reply, read_completion
from selfprompt_lib.pipeline import CHAPTERS
from selfprompt_lib.rows import STARTER_FOLDER, Conversation, Role, Sample, read_rows

SAMPLES = read_rows(STARTER_FOLDER / "train.jsonl", Sample)
PROMPTS = {
    schema: annotate.RolePrompt.from_settings(profiles.Annotate(json_schema=schema))
    for schema in (False, True)
}
GOOD = "Expert: a baker\nBrings: Years of bread.\nRequest: bake it"


def text(longest):
    return (
        st.text(min_size=3, max_size=longest)
        .map(lambda words: " ".join(words.split()))
        .filter(lambda words: len(words) >= 3 and not re.fullmatch(r'.*\*\*|([*_"]).*\1', words))
    )


def profile(served, **settings):
    given = {
        "base_url": served.base_url,
        "model": "served-model",
        "retries": 1,
        "max_tokens": 110,
    } | settings
    return profiles.load("smoke", {f"annotate.{name}": value for name, value in given.items()})


def ask(served, folder, samples=SAMPLES[:3], **settings):
    """Annotate through the server; one row a sample."""

    async def run():
        endpoint = await annotate.connect(profile(served, **settings))
        try:
            return await annotate.annotate(endpoint, profile(served, **settings), samples, folder)
        finally:
            await endpoint.client.close()

    return asyncio.run(run())


# The form


@given(role=st.builds(Role, expert=text(200), brings=text(800), request=text(800)))
def test_any_role_is_read_back_as_written(role):
    for prompt in PROMPTS.values():
        assert prompt.read(prompt.write(role)) == role


def test_bold_and_bulleted_lines_are_read_too():
    role = Role(expert="a baker", brings="Years of bread.", request="bake it")
    reply = "Here:\n- **Expert**: a baker\n- **Brings**: Years of bread.\n- **Request:** bake it\n"
    assert annotate.read_role(reply) == role


@pytest.mark.parametrize("reply", [
    GOOD + "\n\nQuestion: What is a weir?\nExpert: a weir keeper\nBrings: Ten years.\nRequest: explain weirs",
    GOOD + "\nuser\nMore.\nExpert: a weir keeper\nBrings: Ten years.\nRequest: expl",
    "Question: Bread?\n" + GOOD, GOOD + "<|im_end|>", GOOD + "\n</s><s>\nExpert: a weir keeper",
    GOOD.replace("a baker", "**a baker**"), GOOD.replace("a baker", '_"a baker"_'), GOOD.replace("bake it", "*bake it*"),
    f"**{GOOD}**", "**" + GOOD.replace("\n", "**\n**") + "**", GOOD + "\nI hope it helps.",
])  # fmt: skip
def test_a_role_is_read_without_marks_around_it_and_without_a_next_turn(reply):
    """As a base model or a template without an end of turn writes on."""
    assert annotate.write_role(annotate.read_role(reply)) == GOOD


def test_a_role_is_whole_where_a_next_turn_is_cut_off():
    for more in ("\nQuestion: Why?\nExpert: a weir keeper\nBrings: x\nRequest: expl", "<|im_end|>\n<|im_start|>user\nWh"):
        assert PROMPTS[False].stops_within(GOOD + more) == ""
    assert PROMPTS[False].stops_within(GOOD) == "request"


def test_marks_within_a_value_are_its_own():
    value = '"Bread" and **rye**, as in "Crust"'
    assert annotate.read_role(GOOD.replace("bake it", value)).request == value


MALFORMED = [
    (False, GOOD.replace("bake it", "bake\nit slowly"), "request: goes on in a second line"),
    (False, "Expert: a baker\nBrings: Years of bread.", "request: Field required"),
    (False, "a baker", "expert: "), (False, "", "expert: "),
    (False, "Expert: a baker\nBrings:\nRequest: help", "brings: "),
    (False, GOOD.replace("a baker", "a" * 201), "expert: .*at most 200"),
    (False, GOOD.replace("bake it", "ok"), "request: .*at least 3"),
    (True, '{"expert": "a baker", "brings": "Years of bread."}', "request: Field required"),
    (True, '{"expert": ["a baker"], "brings": "Years.", "request": "bake"}', "expert: .*string"),
    (True, '{"expert": "a baker", "brings": "Years.", "request": "bake", "answer": "x"}',
     "answer: Extra inputs"),
    (True, '{"expert": "a baker", "br', "no JSON: .* at character"),
    (True, "[" * 10**5, "no JSON: nested"),
    (True, "[]", "dictionary"),
]  # fmt: skip


def test_a_malformed_reply_names_the_field():
    for json_schema, reply, field in MALFORMED:
        with pytest.raises(ValueError, match=field):
            PROMPTS[json_schema].read(reply)


def edited(tmp_path):
    """Copies of the package's guideline and examples, and the settings that name them."""
    for name in ("guideline.md", "examples.jsonl"):
        (tmp_path / name).write_bytes((ANNOTATION_FOLDER / name).read_bytes())
    return {
        "guideline": str(tmp_path / "guideline.md"),
        "examples": str(tmp_path / "examples.jsonl"),
    }


@pytest.mark.parametrize(
    "name, old, new", [("guideline.md", "role", "part"), ("examples.jsonl", "cakes", "pies")]
)
def test_an_edited_file_changes_version_and_key(tmp_path, name, old, new):
    files, before = edited(tmp_path), PROMPTS[False]
    assert annotate.RolePrompt.from_settings(profiles.Annotate(**files)).version == before.version
    content = (tmp_path / name).read_text()
    assert old in content
    (tmp_path / name).write_text(content.replace(old, new, 1))
    after = annotate.RolePrompt.from_settings(profiles.Annotate(**files))
    assert after.version != before.version and len(after.version) == 12
    assert after.key("Why?", "here", "m") != before.key("Why?", "here", "m")


def test_the_key_changes_with_all_that_shapes_the_reply_and_with_nothing_else():
    def key(question="Why?", address="here", model="m", **settings):
        return annotate.RolePrompt.from_settings(profiles.Annotate(**settings)).key(
            question, address, model
        )

    others = [
        key(question="How?"),
        key(address="there"),
        key(model="n"),
        key(json_schema=True),
        key(max_tokens=99),
        key(parameters={"temperature": 0.2}),
        key(parameters={"temperature": 0.3}),
    ]
    assert len({key(), *others}) == 1 + len(others)
    same = {
        "tries": 9,
        "retries": 0,
        "concurrency": 9,
        "timeout": 1,
        "budget": 1,
        "price": (1, 2),
        "mode": "batch",
        "requests_per_minute": 9,
    }
    assert {key(**{name: value}) for name, value in same.items()} == {key()}
    assert key(question="x" * 500, longest_question=400) != key(question="x" * 500)


def test_replies_that_were_paid_for_before_are_found_again():
    """The keys and the version as they have always been: another value would ask, and pay, anew."""
    plain, schema = PROMPTS[False], PROMPTS[True]
    url, model = "https://api.openai.com/v1", "gpt-5-mini"
    known = "844d9edbc2555951b3f8cd5cbd6840a818a85284277bcd96a54cf6cedfc6e2ae"
    assert plain.version == schema.version == "92e0e67c6c84"
    assert plain.key("Why is the sky blue?", url, model) == known
    known = "5242897121b31432bce1265061a1e8cb957a757dbf617f63668b22745f9cbdc4"
    assert schema.key("Why is the sky blue?", url, model) == known
    settings = profiles.Annotate(
        longest_question=200, max_tokens=99, parameters={"temperature": 0.2}
    )
    cut = annotate.RolePrompt.from_settings(settings).key("é" * 500, "local", "m")
    assert cut == "3d8dcca42cee5ba0fa6463f9353a41e3c66549cd5d2eaeab23b9f0aa444b1984"


# The price


def test_prices_known_unknown_own_cached_and_local(loopback):
    price = annotate.Price("gpt-5-mini", "https://api.openai.com/v1")
    assert (
        0
        < price.dollars(10**6, 0, cached=10**6)
        < price.dollars(10**6, 0)
        < price.dollars(0, 10**6)
    )
    assert annotate.Price("no-such-model").dollars(9, 9) is None
    assert annotate.Price("no-such-model", own=(2, 6)).dollars(10**6, 500_000) == 5
    settings = profile(loopback(), budget=1).annotate
    local = dataclasses.replace(hosted(settings, "m"), process=subprocess.Popen(["true"]))
    local.process.wait()
    assert annotate.Price.from_settings(settings, local).dollars(10**6, 10**6) == 0


def test_the_price_of_lima():
    usage = PROMPTS[False].estimate_tokens(
        SAMPLES, lambda words: len(words) / 4, annotate.LIMA_ROWS
    )
    assert usage["input_tokens"] > 1030 * 100 and usage["output_tokens"] > 1030 * 30
    assert 0.05 < annotate.Price("gpt-5-mini").dollars(**usage) < 20


def test_the_cost_is_stated_before_the_rest_is_asked(loopback, tmp_path, capsys):
    rows = ask(loopback(), tmp_path, SAMPLES[:9], price=[100, 1000])
    said = " ".join(capsys.readouterr().out.split())
    assert "9 samples, 1 done before, 8 requests; about" in said
    sent, dollars = (
        float(said.split(mark)[1].split()[0].replace(",", "").rstrip(";"))
        for mark in ("; about ", "; about $")
    )
    rest = rows[1:]
    assert sent == pytest.approx(sum(row["prompt_tokens"] for row in rest), rel=0.1)
    assert dollars == pytest.approx(sum(row["dollars"] for row in rest), rel=0.1)


# Which samples


def test_live_roles_replace_the_reference_only_where_asked():
    role = {"expert": "a", "brings": "b", "request": "c"}
    rows = [{"id": s.id, "role": role if i else None} for i, s in enumerate(SAMPLES[:5])]
    reference = annotate.training_set(profiles.load("smoke"), SAMPLES, rows)
    live = annotate.training_set(
        profiles.load("smoke", {"annotate.train_on": "live"}), SAMPLES, rows
    )
    assert len(reference) == 10 and len({s.domain for s in reference}) == 10
    assert [s.id for s in live] == [s.id for s in SAMPLES[1:5]] and {
        s.role.expert for s in live
    } == {"a"}


def test_too_few_live_roles_stop_the_run(refused):
    with refused("only 0 of 2 roles", "stronger annotator"):
        annotate.training_set(
            profiles.load("smoke", {"annotate.train_on": "live"}),
            SAMPLES,
            [{"id": "x", "role": None}] * 2,
        )


def test_a_few_samples_or_all_that_are_trained_on_are_annotated():
    few = annotate.samples_to_annotate(profiles.load("smoke", {"annotate.samples": 20}), SAMPLES)
    live = {"annotate.train_on": "live", "data.train_rows": 30, "annotate.samples": 20}
    assert few == sources.take_evenly_spaced(SAMPLES, 20) and len({s.domain for s in few}) == 10
    assert len(annotate.samples_to_annotate(profiles.load("smoke", live), SAMPLES)) == 30


def test_any_instruction_set_is_annotated(loopback, tmp_path, jsonl):
    data = jsonl(
        "mixed.jsonl",
        {"instruction": "Translate.", "input": "Hallo", "output": "Hello"},
        {"question": "Why?"},
        {"conversations": ["One?", "1", "Two?"]},
        {"messages": [{"role": "user", "content": "How?"}]},
        {"prompt": "When?", "completion": "Now."},
        {"id": "again", "question": "Why?"},
    )
    served, out = loopback(), tmp_path / "roles.jsonl"
    assert main(annotation(served, data, out)) == 0
    rows = read_rows(out, Conversation)
    assert [row.id for row in rows] == ["row-0", "row-1", "row-2", "row-3", "row-4", "again"]
    assert [row.conversations for row in rows][:4] == [
        ("Translate.\n\nHallo", "Hello"),
        ("Why?",),
        ("One?", "1"),
        ("How?",),
    ]
    assert [row.role.request for row in rows] == [
        "answer " + " ".join(row.question.split()) for row in rows
    ]
    assert max(served.counts()["asked"].values()) == 1  # the question that occurs twice


# The request


@pytest.mark.parametrize("settings, more", [
    ({}, {"max_completion_tokens": 110}),
    ({"json_schema": True}, {"max_completion_tokens": 110, "response_format": SCHEMA}),
    ({"parameters": {"temperature": 0.2, "top_k": 5}},
     {"max_completion_tokens": 110, "temperature": 0.2, "top_k": 5}),
    ({"parameters": {"max_tokens": 50}}, {"max_tokens": 50}),
])  # fmt: skip
def test_what_the_profile_sets_is_sent_and_nothing_else(loopback, tmp_path, settings, more):
    served = loopback()
    [row] = ask(served, tmp_path, SAMPLES[:1], **settings)
    [body] = served.bodies()
    form = annotate.RolePrompt.from_settings(profile(served, **settings).annotate)
    assert body == {"model": "served-model", "messages": form.messages(SAMPLES[0].question)} | more
    assert row["outcome"] == "role"


def test_rows_have_their_provenance_in_the_samples_order(loopback, tmp_path):
    served = loopback()
    rows = ask(served, tmp_path, SAMPLES[:5], price=[1, 1], concurrency=5)
    assert [row["id"] for row in rows] == [s.id for s in SAMPLES[:5]] and len(
        {row["request_id"] for row in rows}
    ) == 5
    told = {
        "outcome": "role",
        "requested_model": "served-model",
        "served_model": "served-model-2026",
        "finish_reason": "stop",
        "attempt": 1,
        "retries": 0,
        "tokens": 40,
    }
    assert rows[0] | told == rows[0]
    assert rows[0]["guideline"] == PROMPTS[False].version and rows[0]["request_id"].startswith(
        "req-"
    )
    assert all(row["dollars"] == pytest.approx((row["prompt_tokens"] + 40) / 1e6) for row in rows)
    assert [row["key"] for row in lines(tmp_path / "replies.jsonl")].count(rows[0]["key"]) == 1


@pytest.mark.parametrize(("refuse", "said"), [
    (None, "Expert: an adviser on"),
    ({"status": 400, "role": "system", "body": {"error": "system role not supported"}}, "no reply: HTTP 400: system role"),
    ({"status": 401, "body": {"error": f"Incorrect API key {KEY}"}}, "no reply: HTTP 401: Incorrect API key ***"),
])  # fmt: skip
def test_the_call_that_chapter_1_shows_sends_what_the_package_sends(loopback, monkeypatch, capsys, refuse, said):
    """Its two cells, against a hosted server; a failure is told without the key and stops nothing."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    served, cells = loopback(refuse=refuse), nbformat.read(CHAPTERS["annotate"].notebook, 4).cells
    shown = [cell.source for cell in cells if "endpoint.request(" in cell.source or ".create(" in cell.source]
    settings = profile(served, parameters={"top_k": 5})
    space = {"annotate": annotate, "openai": openai, "plots": plots, "profile": settings,
             "prompt": annotate.RolePrompt.from_settings(settings.annotate), "sample": SAMPLES[0]}  # fmt: skip

    async def run():
        for source in shown:
            await eval(compile(source, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), space)
        await space["endpoint"].client.close()

    asyncio.run(run())
    printed = capsys.readouterr().out
    assert len(shown) == 2 and said in printed and KEY not in printed
    body = served.bodies()[-1]
    assert body == space["prompt"].request(SAMPLES[0].question, "served-model") and body["top_k"] == 5


def test_what_is_cut_of_a_long_question_is_recorded(loopback, tmp_path, capsys):
    served = loopback()
    question = "a" * 200 + "b" * 500 + "c" * 200
    [row] = ask(
        served, tmp_path, [Conversation(id="long", conversations=(question,))], longest_question=400
    )
    sent = served.bodies()[0]["messages"][-1]["content"]
    assert (
        sent == f"Question: {'a' * 200}\n[… 500 characters cut …]\n{'c' * 200}"
        and row["question"] == question
    )
    assert row["cut_characters"] == len(question) - len(sent.removeprefix("Question: "))
    assert "questions are longer" in " ".join(capsys.readouterr().out.split())


# Outcomes

UNREADABLE = (
    "", "[]", "null", "{}", "[" * 10**5, '{"error": "busy"}', '{"choices": []}',
    '{"choices": [null]}', '{"choices": [{"message": null}]}',
    '{"choices": [{"message": {"content": [1]}}]}',
)  # fmt: skip
CUT = {"finish_reason": "length"}
OUTCOMES = {
    "refusal": ({"replies": [{"refusal": "I can't."}]}, "refusal", "I can't.", 1),
    "filter on the reply": (
        {"replies": [{"finish_reason": "content_filter"}]},
        "content filter",
        "filter",
        1,
    ),
    "filter on the request": ({"faults": 1, "kinds": ["filter"]}, "content filter", "filter", 1),
    "cut in its middle": (
        {"replies": [CUT | {"content": "Expert: a baker\nBrings: Years"}]},
        "truncated",
        "request: ",
        2,
    ),
    "cut in its last line": (
        {"replies": [CUT | {"content": GOOD}]},
        "truncated",
        "request: cut off",
        2,
    ),
    "cut after its end": ({"replies": [CUT | {"content": GOOD + "\nI hope"}]}, "role", "", 1),
    "empty": ({"replies": [{"content": " \n"}]}, "empty", "nothing was written", 2),
    "spent on thoughts": ({"replies": [CUT]}, "empty", "before a word", 2),
    "malformed": (
        {"replies": [{"content": "I like bread."}]},
        "malformed",
        "expert: Field required",
        2,
    ),
    "half a character": ({"replies": [{"content": GOOD + "\ud83d"}]}, "malformed", "request: ", 2),
    "filter in its own words": (
        {"refuse": {"status": 400, "body": {"error": {"message": "flagged", "code": "content_policy_violation"}}}},
        "content filter",
        "HTTP 400: flagged",
        1,
    ),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_outcomes_have_names_and_reasons(loopback, tmp_path, name):
    behaviour, outcome, reason, attempts = OUTCOMES[name]
    served = loopback(**behaviour)
    rows = ask(served, tmp_path, SAMPLES[:2], tries=2)
    assert {(row["outcome"], row["attempt"]) for row in rows} == {
        (outcome, attempts)
    } and reason in rows[0]["reason"]
    assert [row["role"] is not None for row in rows] == [outcome == "role"] * 2
    assert (
        sum(served.counts()["asked"].values())
        == len(lines(tmp_path / "replies.jsonl"))
        == 2 * attempts
    )
    if outcome != "role":
        assert annotate.failures(rows)[0] == {
            name: rows[0][name] for name in ("id", "outcome", "reason", "attempt")
        }
        assert annotate.well_formed(rows).value == 0


def test_what_is_no_chat_completion_is_unreadable():
    for raw in UNREADABLE:
        assert read_completion(raw, "served-model") == Reply("served-model", "unreadable")


def test_a_reply_counts_whatever_is_odd_beside_it(loopback, tmp_path):
    odd = [
        {},
        {"usage": None},
        {"usage": {"prompt_tokens": None}},
        {"id": 7, "model": None, "usage": []},
    ]
    for number, more in enumerate(odd):
        served = loopback(raw=json.dumps({"choices": [{"message": {"content": GOOD}}]} | more))
        [row] = ask(served, tmp_path / str(number), SAMPLES[:1], price=[1, 1], budget=1)
        assert (
            row["outcome"] == "role"
            and row["served_model"] == "served-model"
            and row["dollars"] > 0
        )


@pytest.mark.parametrize("reply, turns", [
    ("I like bread.", [("assistant", "I like bread."), ("user", "expert: Field required")]),
    ("", [("user", "nothing was written")]),
])  # fmt: skip
def test_a_failed_reply_is_asked_again_with_the_reason(loopback, tmp_path, reply, turns):
    served = loopback(replies=[{"content": reply}, None])
    [row] = ask(served, tmp_path, SAMPLES[:1], tries=3)
    assert (row["outcome"], row["attempt"]) == ("role", 2) and [
        r["attempt"] for r in lines(tmp_path / "replies.jsonl")
    ] == [1, 2]
    first, again = (body["messages"] for body in served.bodies())
    told = again[-len(turns) :]
    assert [turn["role"] for turn in told] == [who for who, _ in turns]
    assert all(words in turn["content"] for turn, (_, words) in zip(told, turns, strict=True))
    assert again[: -len(turns)] == first[: len(again) - len(turns)]
    assert [turn["role"] for turn in again[1:]] == ["user", "assistant"] * (len(again) // 2 - 1) + [
        "user"
    ]


# Servers that refuse


@pytest.mark.parametrize("status, message, told", [
    (404, "no such model",
     "HTTP 404: no such model; it lists served-model-large; check annotate.model"),
    (401, "who are you?", "HTTP 401: who are you?; check the key in $OPENAI_API_KEY"),
    (400, "top_k is not known", "HTTP 400: top_k is not known; check annotate.model, annotate.parameters"),
])  # fmt: skip
def test_a_refused_first_call_stops_before_the_rest(
    loopback, tmp_path, refused, status, message, told
):
    served = loopback(
        refuse={"status": status, "body": {"error": {"message": message}}},
        models=["served-model-large", "gpt-9"],
    )
    with refused(f"the first call to served-model at {served.base_url} failed: {told}"):
        ask(served, tmp_path)
    assert sum(served.counts()["asked"].values()) == (2 if status == 400 else 1)  # the first and the shortest


def test_a_refused_or_unusable_key_and_a_silent_server_stop_before_the_first_call(
    loopback, tmp_path, refused, monkeypatch
):
    served = loopback(key="sk-right")
    for key, told in {
        "sk-wrong": "HTTP 401: Incorrect API key provided: ***; check the key in $OPENAI_API_KEY",
        "sk-ключ": "a character that no key has",
    }.items():
        monkeypatch.setenv("OPENAI_API_KEY", key)
        with refused(told):
            ask(served, tmp_path)
    assert not served.counts()["asked"]
    monkeypatch.setenv("OPENAI_API_KEY", " sk-right\n")  # as it is pasted
    assert ask(served, tmp_path)[0]["outcome"] == "role"
    with refused("no answer from http://127.0.0.1:9/v1 (APIConnectionError: ", "check the address"):
        ask(served, tmp_path, base_url="http://127.0.0.1:9/v1")


def test_the_one_row_that_always_fails_does_not_keep_the_others_from_being_used(loopback, tmp_path, refused):
    hard = SAMPLES[1].question
    served = loopback(refuse={"status": 500, "body": {"error": {"message": "overflow"}}, "about": hard})
    for _ in range(2):  # the second run finds this row alone without a reply
        rows = ask(served, tmp_path, retries=0)
        assert [row["outcome"] for row in rows] == ["role", "error", "role"]
    with refused("the first call to served-model", "HTTP 500: overflow"):
        ask(served, tmp_path / "new", SAMPLES[1:2], retries=0)  # nothing was ever had of this server


def test_a_server_on_this_machine_is_asked_past_a_proxy(loopback, tmp_path, monkeypatch):
    served = loopback()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    for name, limits in (("free", {}), ("limited", {"requests_per_minute": 600})):
        assert ask(served, tmp_path / name, **limits)[0]["outcome"] == "role"


def test_a_server_that_lists_no_models_is_used_all_the_same(loopback, tmp_path, refused):
    assert ask(loopback(models="<html>not found</html>"), tmp_path)[0]["outcome"] == "role"
    for models in ("<html>not found</html>", "null", '{"data": [{}]}'):
        served = loopback(
            models=models, refuse={"status": 404, "body": {"error": {"message": "no such model"}}}
        )
        with refused("HTTP 404: no such model; check"):
            ask(served, tmp_path / "other")


def test_only_a_server_on_this_machine_needs_no_key(loopback, tmp_path, refused, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert ask(loopback(), tmp_path)[0]["outcome"] == "role"
    with refused("no key in the environment variable OPENAI_API_KEY"):
        ask(loopback(), tmp_path, base_url="https://api.openai.com/v1")


def test_an_address_with_credentials_is_refused(refused):
    for url in (
        "http://me:secret@host/v1",
        "https://host/v1?api_key=s",
        "https://host/v1?a=1&key=x",
        "https://host/v1?token=s",
        "https://host/v1?API_KEY=s",
        "https://host/v1?api-version=1&sig=s",
        "host/v1",
    ):
        with refused("annotate.base_url", "no credentials", "api_key_env"):
            profiles.load("smoke", {"annotate.base_url": url})
    profiles.load("smoke", {"annotate.base_url": "https://host/v1?api-version=2025-04-01-preview"})
