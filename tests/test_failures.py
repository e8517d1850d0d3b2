"""Servers that fail: their words reach the user with the address and a mend, what is final stops the run, nothing
that got no reply counts as paid, and the same command goes on later."""

import html
import json

import pytest
from conftest import KEY, annotation, lines
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_annotator_batch import in_batches
from test_annotator_faults import outputs

from selfprompt_lib import profiles
from selfprompt_lib.__main__ import main
from selfprompt_lib.llm_client import failures, reply

WORDS = "Provider returned error: rate limited upstream"
GOOD = {"choices": [{"message": {"content": "Expert: a baker\nBrings: Years of bread.\nRequest: bake it"}}]}
DONE = {"prompt_tokens": 9, "completion_tokens": 9}


@pytest.fixture
def rows(jsonl):
    return lambda count=12: jsonl("questions.jsonl", *({"question": f"What is fact number {i}?"} for i in range(count)))


def annotate(served, data, out, capsys, **more):
    """Exit status, what was said, the failed rows, and the log of replies."""
    given = {"retries": 0, "concurrency": 3} | more
    status = main(annotation(served, data, out, **given))
    said = capsys.readouterr()
    return status, said.out + said.err, *outputs(out)[1:]


# The server's words, whatever their place

PLACES = {
    "error object": lambda text: {"error": {"message": text, "type": "invalid_request_error", "param": None, "code": None}},
    "error text": lambda text: {"error": text, "error_type": "validation"},
    "error in an error": lambda text: {"error": {"error": {"message": text}}},
    "detail text": lambda text: {"detail": text},
    "detail list": lambda text: {"detail": [{"type": "x", "loc": ["body", "top_k"], "msg": text, "input": "What is fact?"}]},
    "message": lambda text: {"object": "error", "message": text, "type": "BadRequestError", "code": 40001},
    "msg": lambda text: {"code": 1, "msg": text, "success": False},
    "errors list": lambda text: {"errors": [{"message": text}]},
    "behind a gateway": lambda text: {"error": {"message": "Provider returned error", "metadata": {"raw": json.dumps(
        {"error": {"message": text}})}}},
    "a list": lambda text: [{"error": {"message": text, "status": "INVALID_ARGUMENT"}}],
    "a name of its own": lambda text: {"fault": {"faultstring": text}},
    "in the choice": lambda text: {"choices": [{"finish_reason": "error", "error": {"message": text}, "message":
                                                {"content": ""}}]},
    "plain text": lambda text: text,
    "HTML": lambda text: f"<!doctype html><html><head><style>a {{}}</style><title>Oh</title></head><body><h1>"
                         f"{html.escape(text)}</h1></body></html>",
}  # fmt: skip
STATUSES = (200, 201, 400, 401, 402, 403, 404, 405, 409, 413, 418, 422, 429, 500, 502, 503, 529)


def one_line(text):
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


@given(
    status=st.sampled_from(STATUSES),
    place=st.sampled_from(sorted(PLACES)),
    text=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="{[<"), min_size=1, max_size=60).filter(one_line),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])  # a new server each time
def test_the_words_of_any_server_are_told_with_its_address_and_nothing_is_paid(
    loopback, tmp_path_factory, status, place, text
):
    body = PLACES[place](text)
    answer = {"text": body, "kind": "text/html"} if isinstance(body, str) else {"body": body}
    served, folder = loopback(refuse={"status": status, **answer}), tmp_path_factory.mktemp("failure")
    (folder / "q.jsonl").write_text(json.dumps({"question": "Why?"}) + "\n")
    arguments = annotation(served, folder / "q.jsonl", folder / "r.jsonl", retries=0)
    with pytest.MonkeyPatch.context() as patch:
        told = []
        patch.setattr("builtins.print", lambda *words, **_: told.append(" ".join(map(str, words))))
        assert main(arguments) in (1, 2)
    told = " ".join(told)
    assert one_line(text) in one_line(told)
    assert served.base_url in told or "content filter" in told
    assert served.paid() == 0 and not any(row["dollars"] for row in lines(folder / "r.replies.jsonl"))


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
NAMES = st.sampled_from(["error", "message", "choices", "content", "detail", "loc", "msg", "code", "usage", "finish_reason"])
BODIES = st.recursive(LEAVES, lambda part: st.lists(part, max_size=3) | st.dictionaries(NAMES, part, max_size=4), max_leaves=12)


@given(body=BODIES, status=st.sampled_from(STATUSES))
@settings(max_examples=300)
def test_any_body_is_a_reply_or_a_failure_that_is_told_on_one_line(body, status):
    text, clean = json.dumps(body), one_line
    if status < 300 and (status := reply.hidden_failure(text)) is None:
        assert reply.read_completion(text, "m").served_model
        return
    failure = failures.failure_in(failures.status_by_words(status, text), text, clean, "HTTP")
    assert failure.told.startswith("HTTP:") and failure.mend(profiles.Judge(), "http://host")
    assert failure.final + failure.passes < 2


ODD = (
    "", "[]", "null", "{}", "7", "[" * 10**5, "<html>", "data: {}", '{"id": "chatcmpl-1", "object": "chat.compl',
    *map(json.dumps, (
        {"choices": [{"message": {"content": [7]}}]}, {"choices": [{"message": "So."}]}, {"choices": "So."},
        {"choices": None}, {"choices": []}, {"choices": [None]}, {"choices": [{}]}, {"choices": {"message": "x"}},
        {"choices": [{"message": None}]}, {"choices": [{"message": {"content": 7}}]}, {"error": {"message": WORDS, "code": 429}},
        {"choices": [{"message": {"content": {"text": 7}}}], "usage": DONE}, {"choices": [], "usage": DONE},
        {"error": WORDS, "choices": [{"message": {"content": ""}}]}, {"code": 500, "msg": WORDS},
    )),
)  # fmt: skip
PAID = (GOOD, GOOD | {"error": None}, GOOD | {"error": {"message": WORDS}},
        {"choices": [{"message": {"content": None}, "finish_reason": "length"}]}, {"choices": [{"message": {}}]},
        {"choices": [{"message": {"content": [{"type": "text", "text": "So."}]}}]})  # fmt: skip


def test_a_success_without_a_message_is_a_failure_that_passes():
    for text in ODD:
        assert failures.Failure(reply.hidden_failure(text), "").passes, text
    for body in PAID:
        assert reply.hidden_failure(json.dumps(body)) is None, body


@pytest.mark.parametrize("text", ["", '{"choices": null}', json.dumps({"error": {"message": WORDS, "code": 429}})])
def test_a_failure_sent_as_a_success_is_repeated_by_the_client_and_asked_by_the_next_run(
    loopback, rows, tmp_path, capsys, text
):
    served, out, data = loopback(refuse={"status": 200, "text": text, "before": 5}), tmp_path / "r.jsonl", rows(8)
    status, told, failed, log = annotate(served, data, out, capsys, retries=1, price=[1, 1], concurrency=1)
    assert status == 1 and len(log) == 5 == served.paid() and [row["outcome"] for row in failed] == ["error"] * 3
    assert sum(served.counts()["asked"].values()) == 5 + 2 * 3
    assert all(row["reason"].startswith("HTTP 200 without a reply: ") for row in failed)
    served, out = loopback(refuse={"status": 200, "text": text}), tmp_path / "s.jsonl"
    status, told, *_ = annotate(served, data, out, capsys, retries=1)
    assert sum(served.counts()["asked"].values()) == 2 + 1  # the first row, and once the shortest
    assert status == 2 and served.base_url in told and (json.loads(text or "{}").get("error") is None or WORDS in told)


# What is final and what is not

FINAL = {
    "402": (402, {"error": {"message": "Insufficient credits. Add more."}}, "add credit"),
    "quota ended": (429, {"error": {"message": "You exceeded your current quota, please check your plan and billing details.",
                                    "type": "insufficient_quota", "code": "insufficient_quota"}}, "add credit"),
    "credit as 400": (400, {"type": "error", "error": {"type": "invalid_request_error", "message":
                            "Your credit balance is too low to access the API."}}, "add credit"),
    "402 as 200": (200, {"error": {"message": "Insufficient credits", "code": 402}}, "add credit"),
    "key": (401, {"detail": "Invalid API key"}, "check the key in $OPENAI_API_KEY"),
    "key as 400": (400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}],
                   "check the key in $OPENAI_API_KEY"),
    "account": (403, {"error": {"message": "Your account was flagged for inappropriate content"}}, "check the key"),
    "arrears": (400, {"error": {"code": "Arrearage", "message": "Access denied."}}, "add credit"),
    "no more of it": (429, {"error": "insufficient_quota: try again in 30 days"}, "add credit"),
    "rights": (403, {"message": "no access to this model"}, "check the key in $OPENAI_API_KEY"),
    "model": (404, {"error": "model 'x' not found, try pulling it first"}, "check annotate.model"),
}  # fmt: skip


@pytest.mark.parametrize("name", FINAL)
def test_a_final_refusal_stops_the_run_at_once_and_the_same_command_goes_on(loopback, rows, tmp_path, capsys, name):
    code, body, mend = FINAL[name]
    served, out, data = loopback(refuse={"status": code, "body": body}), tmp_path / "first.jsonl", rows()
    status, told, *_ = annotate(served, data, out, capsys, retries=3)
    assert status == 2 and mend in told and sum(served.counts()["asked"].values()) == 1
    refuse = {"status": code, "body": body, "before": 5, "until": 8}
    served, out = loopback(refuse=refuse, latency=0.05), tmp_path / "later.jsonl"
    status, told, failed, log = annotate(served, data, out, capsys, retries=3)
    assert status == 1 and mend in told and served.base_url in told and "run the same command to go on" in told
    assert served.paid() == len(log) == 5 and sum(served.counts()["asked"].values()) <= 5 + 3
    assert {row["outcome"] for row in failed} == {"error", "not asked"} and len(failed) == 7
    assert 0 in [annotate(served, data, out, capsys)[0] for _ in range(4)] and served.paid() == 12


PASSING = {
    "slow down": (429, {"error": {"message": "Rate limit reached. Please try again in 20s. Add a payment method to your "
                                             "account at https://host/account/billing"}}),
    "quota a minute": (429, {"error": {"message": "You exceeded your current quota, please check your plan and billing "
                                                  "details. Please retry in 23.5s."}}),
    "busy": (503, {"error": "busy"}), "overloaded": (529, {"type": "error", "error": {"message": "Overloaded"}}),
    "no filter": (503, {"error": {"message": "content filter unavailable"}}),
    "bad gateway": (502, "<html>upstream not found"), "as a success": (200, {"error": {"message": WORDS}}),
}  # fmt: skip


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_repeated(loopback, rows, tmp_path, capsys, name):
    code, body = PASSING[name]
    refuse = {"status": code, "before": 2, "about": "number 7", "text": body if isinstance(body, str) else json.dumps(body)}
    served, out = loopback(refuse=refuse), tmp_path / "r.jsonl"
    status, _, failed, log = annotate(served, rows(), out, capsys, retries=1)
    assert status == 1 and [row["id"] for row in failed] == ["row-7"] and len(log) == 11
    assert served.counts()["asked"]["What is fact number 7?"] == 2


OWN = {
    "policy": (400, {"error": {"message": "The response was filtered by our content management policy.", "code":
                               "content_filter"}}, "content filter"),
    "policy as 403": (403, {"error": {"message": "Moderation: your input was flagged. No credits were charged.", "code": 403}},
                      "content filter"),
    "policy as 200": (200, {"error": {"code": "content_filter", "message": "no"}}, "content filter"),
    "too long": (400, {"error": {"message": "This model's maximum context length is 2048 tokens. However, you requested 3101",
                                 "code": "context_length_exceeded"}}, "error"),
    "too long as 500": (500, {"error": "the request exceeds the available context size"}, "error"),
    "too large": (413, "Payload Too Large", "error"),
    "odd": (422, {"detail": "cannot encode the text"}, "error"),
}  # fmt: skip


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("number", [0, 7])
def test_a_rows_own_refusal_costs_that_row_alone(loopback, rows, tmp_path, capsys, name, number):
    code, body, outcome = OWN[name]
    refuse = {"status": code, "about": f"number {number}?", "text": body if isinstance(body, str) else json.dumps(body)}
    served, out = loopback(refuse=refuse), tmp_path / "r.jsonl"
    for _ in range(2):
        status, _, failed, log = annotate(served, rows(), out, capsys, retries=2, price=[1, 1])
        assert status == 1 and [(row["id"], row["outcome"]) for row in failed] == [(f"row-{number}", outcome)]
        assert failed[0]["reason"].startswith(f"HTTP {code}") and served.paid() == 11
    assert served.counts()["asked"][f"What is fact number {number}?"] == (1 if outcome != "error" else 2)


def test_rows_that_are_all_too_long_stop_the_run(loopback, rows, tmp_path, capsys):
    served = loopback(refuse={"status": 400, "body": {"error": "prompt is too long: 2101 tokens"}})
    status, told, *_ = annotate(served, rows(), tmp_path / "r.jsonl", capsys)
    assert status == 2 and "prompt is too long: 2101 tokens; set annotate.longest_question lower" in told
    assert sum(served.counts()["asked"].values()) == 2  # the first and the shortest


# Addresses and side checks


@pytest.mark.parametrize("ending", ["", "/", "/v1/chat/completions", "/api/chat"])
@pytest.mark.parametrize("answer", [
    (404, "404 page not found"), (405, {"detail": "Method Not Allowed"}), (200, "<!doctype html><title>App</title>"),
    (200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}),
])  # fmt: skip
def test_an_address_that_does_not_end_in_v1_is_named_with_the_right_one(answer, ending):
    status, body = answer
    text = body if isinstance(body, str) else json.dumps(body)
    status = failures.status_by_words(reply.hidden_failure(text) if status == 200 else status, text)
    mend = failures.Failure(status, text).mend(profiles.Judge(), f"http://host:1234{ending}")
    assert "judge.base_url to http://host:1234/v1," in mend and (text.startswith("<") or status in failures.FINAL)


@pytest.mark.parametrize("models", [401, 403, 404, 500, None, "<html>", "null"])
def test_what_a_server_says_of_its_models_decides_nothing(loopback, rows, tmp_path, capsys, monkeypatch, models):
    monkeypatch.setattr("selfprompt_lib.llm_client.endpoint.SIDE_CHECK", 0.2)
    served = loopback(models=models)
    status, *_, log = annotate(served, rows(3), tmp_path / "r.jsonl", capsys)
    assert status == 0 and len(log) == 3


def test_a_server_that_is_silent_is_told_of_with_the_settings_that_say_how_long(loopback, rows, tmp_path, capsys):
    served = loopback(faults=1, kinds=["time-out"])
    status, told, *_ = annotate(served, rows(3), tmp_path / "r.jsonl", capsys, timeout=0.3)
    assert status == 2 and f"{served.base_url} failed: APITimeoutError: ReadTimeout; check annotate.base_url" in told
    assert "annotate.timeout higher" in told


def test_a_server_that_is_gone_stops_the_run(loopback, rows, tmp_path, capsys):
    served, out, data = loopback(leaves=5), tmp_path / "r.jsonl", rows()
    status, told, failed, log = annotate(served, data, out, capsys, concurrency=1)
    assert status == 1 and f"stopped: served-model at {served.base_url}: APIConnectionError: " in told
    assert "check annotate.base_url and the server" in told and len(log) == 5 and len(failed) == 7
    assert [row["outcome"] for row in failed].count("error") <= 2  # one may find its connection closed, one finds none


@pytest.mark.parametrize("wait", ["36000", "Fri, 31 Dec 2100 23:59:59 GMT", "soon", "-1", "0"])
def test_a_server_that_asks_for_an_hour_is_not_called_on_meanwhile(loopback, rows, tmp_path, capsys, wait):
    refuse = {"status": 429, "body": {"error": "daily limit"}, "before": 5, "headers": {"Retry-After": wait}}
    served = loopback(refuse=refuse)
    status, told, *_ = annotate(served, rows(), tmp_path / "r.jsonl", capsys, concurrency=1)
    assert status == 1 and ("HTTP 429, to be asked again in" in told) == ("stopped: " in told) == (len(wait) > 4)
    assert sum(served.counts()["asked"].values()) == 5 + (1 if len(wait) > 4 else 7)


NO_SYSTEM = (
    (400, {"object": "error", "message": "System role not supported", "code": 400}),
    (500, {"error": {"message": "Jinja Exception: Conversation roles must alternate user/assistant/user/assistant/..."}}),
    (422, {"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "Input should be 'user' or 'assistant'"}]}),
    (400, {"error": {"message": "Unsupported value: 'messages[0].role' does not support 'system' with this model."}}),
    (400, {"error": {"message": "Developer instruction is not enabled for models/gemma-3-1b-it"}}),
)


@pytest.mark.parametrize("status, body", NO_SYSTEM)
@pytest.mark.parametrize("mode", ["live", "batch"])
def test_where_the_system_turn_is_refused_it_opens_the_first_question(loopback, rows, tmp_path, status, body, mode):
    served = loopback(refuse={"status": status, "body": body, "role": "system"})
    out, more = tmp_path / "r.jsonl", {"mode": mode, "poll_seconds": 0.05}
    assert main(annotation(served, rows(3), out, retries=2, **more)) == 0
    assert served.paid() == 3 and sum(served.counts()["asked"].values()) == (4 if mode == "live" else 0)
    assert main(annotation(served, rows(3), out, retries=2)) == 0 and served.paid() == 3
    if mode == "live":
        refused, *taken = (body["messages"] for body in served.bodies())
        assert {turns[0]["role"] for turns in taken} == {"user"} and refused[0]["role"] == "system"
        assert taken[0][0]["content"] == f"{refused[0]['content']}\n\n{refused[1]['content']}"


def test_no_key_is_told_whoever_says_it(loopback, rows, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for body in ({"error": f"bad key {KEY}"}, {"detail": [{"loc": [KEY], "msg": "x" * 290 + KEY}]}, f"<p>{KEY}"):
        text = body if isinstance(body, str) else json.dumps(body)
        served = loopback(refuse={"status": 400, "text": text})
        status, told, *_ = annotate(served, rows(3), tmp_path / "r.jsonl", capsys)
        assert status == 2 and "***" in told and KEY[:12] not in told


# Batches

LINES = {
    "other line ends in a text": ({"0": json.dumps({"custom_id": "KEY", "response": {"status_code": 200, "body": {"choices": [
        {"message": {"content": "Expert: a baker\nBrings: Years\u2028of\x85bread\r and flour.\nRequest: bake it"}}]}}},
        ensure_ascii=False)}, 0),
    "no JSON": ({"0": '{"custom_id": "KEY", "response": {"status_co'}, 1),
    "no UTF-8": ({"0": '{"custom_id": "KEY", "response": "\udcff"}'}, 1),
    "another's": ({"0": '{"custom_id": "request-1", "response": null}'}, 0),
    "nothing": ({"0": ""}, 0), "an array": ({"0": '["KEY"]'}, 1), "a deep one": ({"0": "[" * 10**5 + "KEY"}, 1),
    "an odd response": ({"0": '{"custom_id": "KEY", "response": "fine"}'}, 1),
    "twice": ({"1": json.dumps({"custom_id": "KEY", "response": {"status_code": 200, "body": GOOD}}).replace("\n", " ") + "\n"
               + json.dumps({"custom_id": "KEY", "response": {"status_code": 200, "body": GOOD}})}, 0),
    "refused for good": ({"0": '{"custom_id": "KEY", "response": {"status_code": 422, "body": {"detail": "no such thing"}}}'}, 1),
    "an error as a success": ({"0": '{"custom_id": "KEY", "response": {"status_code": 200, "body": {"error": "busy"}}}'}, 1),
    "a final refusal": ({"0": '{"custom_id": "KEY", "response": {"status_code": 429, "body": {"error": {"code": '
                              '"insufficient_quota"}}}}'}, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_an_odd_line_of_a_batch_costs_its_row_alone(loopback, rows, tmp_path, capsys, name):
    changed, lost = LINES[name]
    served, out, data = loopback(lines=changed, batch_seconds=0), tmp_path / "r.jsonl", rows(5)
    assert main(in_batches(served, data, out, retries=0, tries=1)) == bool(lost) or name in ("another's", "nothing")
    roles, failed, log = outputs(out)
    assert len(roles) >= 4 and len({row["key"] for row in log}) == len(log) and len(roles) + len(failed) == 5
    assert all(row["reason"] for row in failed) and served.counts()["batches"] == 1
    if lost:
        assert [row["id"] for row in failed] == ["row-0"] and failed[0]["outcome"] == "error"
    if name.startswith("other line ends"):
        assert lines(out)[0]["role"]["brings"] == "Years of bread and flour."


def test_a_batch_that_was_cancelled_is_collected_and_not_handed_in_again_unasked(loopback, rows, tmp_path, capsys):
    served, out, data = loopback(ends_as="cancelled", lines={"3": ""}), tmp_path / "r.jsonl", rows(5)
    assert main(in_batches(served, data, out)) == 1 and served.counts()["batches"] == 1
    assert len(outputs(out)[0]) == 4 and "batch-0 was cancelled at the server" in capsys.readouterr().err
