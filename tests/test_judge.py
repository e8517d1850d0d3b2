"""The judge: request, reply, both orders, what is kept; win rates; the sheet for people."""

import asyncio
import contextlib
import json
import time

import numpy as np
import pandas as pd
import pytest
from conftest import lines
from hypothesis import given
from hypothesis import strategies as st

from selfprompt_lib import annotate, profiles
from selfprompt_lib.evaluate import win_rates
from selfprompt_lib.evaluate.blind_sheet import agreement, blind_sheet, read_blind_sheet
from selfprompt_lib.evaluate.judge import JudgePrompt, Pair, Shown, judge_pairs
from selfprompt_lib.thoughts import split_thought

FORM = JudgePrompt.from_settings(profiles.Judge())
PAIRS = [
    Pair(
        f"q{i}",
        "history" if i % 2 else "health",
        f"What is fact number {i}?",
        "a" * (50 + i),
        "b" * (80 - i),
    )
    for i in range(8)
]


def profile(served, **settings):
    given = {
        "base_url": served.base_url,
        "model": "served-judge",
        "retries": 0,
        "tries": 2,
    } | settings
    return profiles.load("smoke", {f"judge.{name}": value for name, value in given.items()})


def ask(served, folder, pairs=PAIRS, **settings):
    """Have the pairs judged through the server; one row a pair."""

    async def run():
        chosen = profile(served, **settings)
        endpoint = await annotate.connect(chosen, chosen.judge)
        try:
            return await judge_pairs(endpoint, chosen, pairs, folder)
        finally:
            await endpoint.client.close()

    return asyncio.run(run())


# The reply


@pytest.mark.parametrize(
    "ending, verdict",
    [
        ("Verdict: A", "A"),
        ("verdict: b", "B"),
        ("**Verdict:** tie.", "tie"),
        ("Verdict: [[B]]", "B"),
        ("Verdict: Answer A", "A"),
        ("Verdict: a tie", "tie"),
        ("- Verdict: **A**\n", "A"),
        ("Verdict: A\nVerdict: A", "A"),
    ],
)
def test_a_verdict_is_read_with_its_reason(ending, verdict):
    found = FORM.read(f"The other one\nbreaks off.\n{ending}")
    assert (found.verdict, found.reason) == (verdict, "The other one breaks off.")


@pytest.mark.parametrize(
    "reply, why",
    [
        ("Both have their merits.", "no line"),
        ("Verdict: A and B are alike", "no line"),
        ("Verdict:", "no line"),
        ("A", "no line"),
        ("Verdict: A, Verdict: B or Verdict: tie", "no line"),
        ("Verdict: A\nVerdict: B", "more than one verdict: A, B"),
        ("The verdict: A is better, I think", "no line"),
    ],
)
def test_a_reply_without_one_verdict_is_not_guessed_at(reply, why):
    with pytest.raises(ValueError, match=why):
        FORM.read(reply)


VERDICTS = {
    "A": [
        "Verdict: A > B", "VERDICT: a", "Verdict: (A)", "### Verdict\nA", "[[A]]", "Verdict：A", "Verdict: Assistant A",
        "Verdict: Answer A", "Verdict: A is better.", "Final verdict: A", "**Verdict: A**", "**Verdict:** A", "Verdict: [[A]]",
        "B is too short.\nVerdict: A", "**Final Verdict: [[A]]**", "Verdict - A", "Verdict = A", "Verdict is A",
        "The verdict is: A", "My verdict: A.", "Verdict: 'A'", "Verdict: <A>", "Verdict: \\boxed{A}", "Verdict: A (better)",
        "Verdict: A wins", "Winner: A", "Winner: Assistant A", "Judgment: A", "Decision: A",
        "Verdict: Response A is more helpful.", "Verdict: A >> B", "Verdict: B < A", "[[A>B]]", "Verdict: I prefer A",
        "Verdict: I choose A", "Verdict: Answer A is better than Answer B.", "Verdict: The better answer is A",
        "Verdict: A is the better answer", "Verdict: A is a better answer.", "verdict\n\n**A**", "# Final verdict\n\nAnswer A",
        "Verdict:\nA", "Verdict: ‘A’", "Verdict: A!", "Verdict: Ａ", "Verdict: option (a)", "Verdict: A better than B",
        "Verdict: A, because B is too short.", "Verdict: A because it is more complete", "Verdict: A - it is clearer",
        "Verdict: A. B is too short.", "B is short. Verdict: A", "{\"reason\": \"B is short\", \"verdict\": \"A\"}",
        "{\"verdict\": \"A\", \"reason\": \"B is short\"}", "```json\n{\"verdict\": \"A\"}\n```",
        "Verdict: Answer A's response", "- Verdict: **A**", "1. Verdict: A", "> Verdict: A", "Final Verdict - **Answer A**",
        "Verdict: A\n\nReason: Answer A could help more, but both are fine.", "<verdict>A</verdict>", "**Verdict**: A",
        "__Verdict:__ A", "*Verdict: A*", "Verdict: \"A\"", "Verdict: `A`", "VERDICT: ANSWER A", "Verdict: Model A",
        "Verdict: slightly prefer A", "Verdict: A is clearly better", "So the verdict is A.", "Overall verdict: A",
        "Verdict: A is the winner", "The better answer is A.", "Verdict: A is preferred over B", "Verdict: A — more complete",
        "Verdict: A (more complete and correct)", "Verdict:A", "verdict：**A**", "Verdict: The answer A is better",
        "Verdict: A's", "Verdict: Assistant A's answer is better.", "Verdict: A is better at explaining",
        "Verdict: A, because it also lists what to do if it fails", "Verdict: A by a small margin",
        "Verdict: slight preference for A", "Verdict: I'd go with A", "Verdict: Answer A (the first) is better",
        "Verdict: A, because B could harm", "Verdict: A, because it names no wrong or harmful step",
        "Verdict: A\nBecause B is short.", "Verdict: A\u200b", "Verdict: A, while B is short", "Verdict: A for its accuracy",
        "Verdict: A. Answer A is more complete.", "I compared both. Overall, the better answer is A.", "**Winner: Answer A**",
        "Verdict : A", "Verdict:  **A** ✅", "Here is my verdict: A", "I give the verdict: A", "Verdict (A, B or tie): A",
        "Verdict for this pair: A", "VERDICT A", "| Verdict | A |", "Verdict → A",
        "## Verdict\nAnswer A is more complete and accurate.", "My final verdict is that A is better.",
        "B rambles.\n\nVerdict A",
    ],
    "tie": [
        "Verdict: It is a tie.", "Verdict: tie.", "Verdict: TIE!", "Verdict: draw", "Verdict: Equal",
        "Verdict: Both are equally good", "Verdict: it's a tie between A and B", "Verdict: A = B", "Verdict: A tie", "[[tie]]",
        "Verdict: Neither is better", "Verdict: They are tied.", "Verdict: Tie (both are good)",
        "Verdict: Both answers are equally helpful.", "**Verdict:** It's a draw.", "Verdict: no difference",
        "Verdict: this is a tie", "Verdict: The two answers are equal.", "Verdict: A and B are tied",
        "Verdict: tie - both are equally complete", "Verdict: tie and both good", "Verdict tie", "Verdict (A, B or tie): tie",
    ],
    "none": [
        "Verdict: A or B", "Verdict: A?", "Verdict: A (but B is close)", "Verdict: A/B", "Verdict: A & B", "Verdict: A, B",
        "Verdict: A if brevity matters, otherwise B", "Verdict: not A", "Verdict: neither A nor B", "Verdict: unclear",
        "Verdict: probably A", "Verdict: A, I think", "Verdict: maybe A", "Verdict: A\nFinal verdict: B",
        "Verdict: A\nVerdict: A or B", "Verdict: A\nWait, actually B is better.", "Verdict: A is not better",
        "Verdict: A is worse", "Verdict: leaning A", "Verdict: A or tie", "Verdict: tie or A", "Verdict: both",
        "Verdict: Both have merits", "Verdict: A and B are alike", "Verdict: A. Or maybe B.", "Verdict: not a tie",
        "Output [[A]] if A is better and [[B]] if B is better", "Verdict: either", "[[A]] or [[B]]",
        "Verdict: A is less helpful", "Verdict: C", "I cannot decide", "A", "Verdict: A, Verdict: B or Verdict: tie",
        "Verdict: A equal", "The verdict: A is better, I think", "Verdict: I don't prefer A", "Verdict: a close call",
        "Verdict: A > B > A", "Verdict: A is better but B is better too", "A verdict is hard", "Verdict: A. B is better.",
        "Verdict: A. However, it could be a tie.", "Verdict: A, might be B", "Verdict: A, or B",
        "Verdict: A, if brevity matters", "Verdict: tie, but A is slightly better", "Verdict: A (or a tie)", "Verdict: A and B",
        "Verdict: neither", "Verdict: A = A", "Verdict: none", "Verdict: B\nA is better.", "Verdict (A, B or tie):",
        "Verdict A or B", "Verdict: A and tie", "A verdict for A is hard",
    ],
}  # fmt: skip


@pytest.mark.parametrize("right", VERDICTS)
def test_a_verdict_is_read_in_any_words_and_what_is_hedged_or_contradicted_is_none(right):
    """Case 17, and more wordings of its kind."""
    def read(reply):
        try:
            return FORM.read(reply).verdict
        except ValueError:
            return "none"

    wrong = {reply: read(reply) for reply in VERDICTS[right] if read(reply) != right}
    assert wrong == {}
    if right == "A":  # as of the other answer
        other = str.maketrans("ABab", "BAba")
        short = [reply for reply in VERDICTS["A"] if reply.startswith("Verdict: A") and len(reply) < 14]
        assert [read(reply[:9] + reply[9:].translate(other)) for reply in short] == ["B"] * len(short)


@given(st.text(), st.sampled_from(["", "**", "`", "[[", "("]), st.sampled_from(["A", "B", "tie"]))
def test_whatever_a_judge_reasons_first_its_verdict_is_read_or_refused(reason, mark, verdict):
    closing = {"[[": "]]", "(": ")"}.get(mark, mark)
    reply = f"{reason}\nFinal verdict: {mark}{verdict}{closing}"
    try:
        assert FORM.read(reply).verdict == verdict
    except ValueError as error:
        assert "more than one" in str(error) or split_thought(reply).answer != reply


@pytest.mark.parametrize("word", ["Verdict: A ", "Verdict: A. ", "Verdict: A\n", "A, ", ". ", "[[", "# ", "Verdict (", "<think>"])
def test_a_judge_that_loops_ten_times_as_long_takes_no_hundred_times_as_long(word):
    def seconds(times):
        began = time.process_time()
        with contextlib.suppress(ValueError):
            assert FORM.read(word * times).verdict == "A"
        return time.process_time() - began

    short = max(seconds(300), 0.01)  # shorter is noise
    assert seconds(3000) < 100 * short


# The request


def test_question_and_answers_stand_in_the_request_after_one_example_of_each_verdict():
    turns = FORM.messages(Shown("Why?", "Because.", "So."))
    assert [turn["role"] for turn in turns] == ["system", *["user", "assistant"] * 3, "user"]
    assert {
        FORM.read(turn["content"]).verdict for turn in turns if turn["role"] == "assistant"
    } == {"A", "B", "tie"}
    assert "Why?" in turns[-1]["content"] and turns[-1]["content"].index("Because.") < turns[-1][
        "content"
    ].index("So.")


def test_the_key_changes_with_question_answers_order_guideline_and_judge(tmp_path):
    def key(question="Why?", a="x", b="y", address="here", model="m", **settings):
        return JudgePrompt.from_settings(profiles.Judge(**settings)).key(
            Shown(question, a, b), address, model
        )

    guideline = tmp_path / "guideline.md"
    guideline.write_text("Say which is better.")
    others = [
        key(question="How?"),
        key(a="z"),
        key(b="z"),
        key(a="y", b="x"),
        key(address="there"),
        key(model="n"),
        key(guideline=str(guideline)),
        key(parameters={"temperature": 0}),
    ]
    assert len({key(), *others}) == 1 + len(others)
    assert {key(bar=0.9), key(pairs=3), key(tries=9), key(budget=1)} == {key()}


def test_verdicts_that_were_paid_for_before_are_found_again():
    known = "76b308e3f75fc1310651b74afe3578db42a34a15b63146a108e4d6aa85da7289"
    asked = Shown("Why?", "So.", "Thus.")
    assert FORM.version == "5eb6492de20a"
    assert FORM.key(asked, "https://api.openai.com/v1", "gpt-5-mini") == known


def test_each_long_text_is_cut_by_itself():
    form = JudgePrompt.from_settings(profiles.Judge(longest_question=200))
    shown = Shown("q" * 300, "a" * 400, "short")
    written = form.messages(shown)[-1]["content"]
    assert (
        "100 characters cut" in written and "200 characters cut" in written and "short" in written
    )
    assert form.cut_characters(shown) > 200 and form.cut_characters(Shown("q", "a", "b")) == 0


# Both orders


@pytest.mark.parametrize(
    "kind, verdict, first, second, consistent",
    [
        ("longer", "other", "other", "other", True),
        ("first", "tie", "one", "other", False),
        ("second", "tie", "other", "one", False),
    ],
)
def test_both_orders_are_asked_and_where_they_differ_it_is_a_tie(
    loopback, tmp_path, kind, verdict, first, second, consistent
):
    served = loopback(judge=kind)
    [row] = ask(served, tmp_path, PAIRS[:1])
    told = {
        "id": "q0",
        "domain": "health",
        "verdict": verdict,
        "first": first,
        "second": second,
        "consistent": consistent,
        "reasons": ["It seems so to me."] * 2,
        "outcome": "judged",
        "lengths": [50, 80],
    }
    assert row | told == row and served.paid() == 2
    a, b = (body["messages"][-1]["content"] for body in served.bodies())
    assert a.index("a" * 50) < a.index("b" * 80) and b.index("b" * 80) < b.index("a" * 50)


def test_every_reply_is_in_the_log_with_its_provenance(loopback, tmp_path, capsys):
    rows = ask(loopback(judge="longer"), tmp_path, price=[1, 1])
    said = " ".join(capsys.readouterr().out.split())
    log = lines(tmp_path / "replies.jsonl")
    assert len(log) == 2 * len(rows) == 2 * len(PAIRS) and {row["outcome"] for row in log} == {
        "verdict"
    }
    assert {row["guideline"] for row in log} == {FORM.version} and {
        row["requested_model"] for row in log
    } == {"served-judge"}
    assert "16 comparisons, 1 done before, 15 requests; about" in said and "about $" in said


def test_a_second_run_asks_only_what_is_missing(loopback, tmp_path):
    served = loopback(judge="longer")
    first = ask(served, tmp_path, PAIRS[:3])
    assert ask(served, tmp_path, PAIRS)[:3] == first and served.paid() == 2 * len(PAIRS)
    log = tmp_path / "replies.jsonl"
    kept = log.read_text().splitlines(keepends=True)
    log.write_text("".join(kept[:7]) + kept[7][:40])  # killed within a write
    assert ask(served, tmp_path, PAIRS)[:3] == first and served.paid() == 2 * len(PAIRS) + 9
    assert max(served.counts()["asked"].values()) == 2


@pytest.mark.parametrize("more", [{}, {"mode": "batch", "poll_seconds": 0.05}])
def test_prose_is_asked_again_with_the_reason_and_then_counted(loopback, tmp_path, more):
    verdict, prose = {"content": "Right.\nVerdict: A"}, {"content": "I like both."}
    [row] = ask(loopback(replies=[prose, verdict]), tmp_path / "mended", PAIRS[:1], **more)
    attempts = [reply["attempt"] for reply in lines(tmp_path / "mended" / "replies.jsonl")]
    assert row["outcome"] == "judged" and sorted(attempts) == [1, 1, 2, 2]
    served = loopback(replies=[prose, prose])
    with pytest.raises(profiles.UserError, match="no line that says Verdict"):
        ask(served, tmp_path / "prose", PAIRS[:1], **more)
    assert served.paid() == 4


def test_a_judge_of_prose_only_is_refused_with_the_mend(loopback, tmp_path, refused):
    with refused(
        "judge: none of served-judge's replies on 8 pairs holds a verdict",
        "judge.model",
        "judge.max_tokens",
    ):
        ask(loopback(judge="prose"), tmp_path)


def test_a_pair_with_one_unread_order_has_no_verdict(loopback, tmp_path):
    rows = ask(loopback(judge="longer", faults=0.4, kinds=["refusal"], seed=1), tmp_path)
    unread = [row for row in rows if row["verdict"] is None]
    assert 0 < len(unread) < len(rows)
    told = {(row["outcome"], row["reason"], row["consistent"]) for row in unread}
    assert told == {("refusal", "I can't help with that.", None)}
    table = win_rates.win_rates(rows).set_index("pairs")
    assert table.unread["all"] == len(unread) and table.loc[
        "all", ["wins", "ties", "losses"]
    ].sum() == len(rows) - len(unread)


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"base_url": "http://127.0.0.1:9/v1"}, "judge.base_url: no answer from"),
        ({"base_url": "https://api.openai.com/v1"}, "set judge.base_url to null"),
        ({"budget": 1}, "judge.budget: the price of served-judge is unknown; set judge.price"),
        ({"guideline": "/no/such/file"}, "judge.guideline: /no/such/file is missing"),
    ],
)
def test_faults_are_told_by_the_judge_s_own_fields(
    loopback, tmp_path, refused, monkeypatch, settings, told
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    served = loopback(judge="longer")
    with refused(told):
        ask(served, tmp_path, **settings)
    assert not served.counts()["asked"]


def test_a_model_that_the_server_lacks_stops_at_the_first_call(loopback, tmp_path, refused):
    with refused("judge: the first call to served-judge", "check judge.model and judge.base_url"):
        ask(
            loopback(refuse={"status": 404, "body": {"error": {"message": "no such model"}}}),
            tmp_path,
        )


def test_credit_that_ends_in_the_middle_stops_the_judge_and_the_next_run_goes_on(loopback, tmp_path, refused):
    refuse = {"status": 402, "body": {"error": "no credits left"}, "before": 3, "until": 5}
    served = loopback(judge="longer", refuse=refuse)
    with refused(f"judge: stopped: served-judge at {served.base_url}: HTTP 402: no credits left; add credit", "run again"):
        ask(served, tmp_path, concurrency=1)
    with refused("judge: the first call to served-judge", "HTTP 402: no credits left; add credit"):
        ask(served, tmp_path)
    assert all(row["verdict"] for row in ask(served, tmp_path)) and served.paid() == 2 * len(PAIRS)


def test_two_pairs_with_one_id_are_refused_and_no_pairs_are_no_rows(loopback, tmp_path, refused):
    with refused("2 pairs have the id 'q1'"):
        ask(loopback(), tmp_path, [*PAIRS, PAIRS[1]])
    assert ask(loopback(), tmp_path, []) == []


def test_a_spent_budget_leaves_pairs_without_a_verdict(loopback, tmp_path, capsys):
    rows = ask(loopback(judge="longer"), tmp_path, price=[1, 1], budget=0.008, concurrency=1)
    assert 0 < sum(row["verdict"] is not None for row in rows) < len(rows)
    assert (
        rows[-1]["outcome"] == "not asked"
        and "(judge.budget)" in capsys.readouterr().out.splitlines()[-1]
    )


# Win rates


def judged(wins, ties, losses):
    return [{"verdict": said} for said in ["one"] * wins + ["tie"] * ties + ["other"] * losses]


@pytest.mark.parametrize(
    "counts, value",
    [
        ((10, 0, 0), 1),
        ((0, 0, 10), 0),
        ((0, 10, 0), 0.5),
        ((3, 4, 3), 0.5),
        ((6, 2, 2), 0.7),
    ],
)
def test_ties_count_half_and_every_interval_has_a_width(counts, value):
    found = win_rates.win_rate(judged(*counts))
    assert (
        found.value == pytest.approx(value) and found.low <= value <= found.high and found.n == 10
    )
    assert 0.1 < found.high - found.low < 0.6 and found.low >= 0 and found.high <= 1


@pytest.mark.parametrize("n", [10, 50, 250])
@pytest.mark.parametrize("shares", [(0.4, 0.2, 0.4), (0.1, 0.8, 0.1), (0.7, 0.2, 0.1)])
def test_the_interval_of_the_win_rate_covers_what_it_promises(n, shares):
    truth = shares[0] + shares[1] / 2
    draws = np.random.default_rng(n).multinomial(n, shares, size=200)
    found = [win_rates.mean_score(*map(int, draw)) for draw in draws]
    assert np.mean([each.low <= truth <= each.high for each in found]) > 0.91


def test_no_verdicts_are_no_rate():
    assert np.isnan(win_rates.win_rate([{"verdict": None}]).value) and win_rates.win_rate([]).n == 0


def world(count, quality, length, lead, seed=0):
    """Verdicts on `count` pairs: log odds `quality` plus `length` a standard deviation of length."""
    dice = np.random.default_rng(seed)
    longer = np.round(dice.normal(lead, 300, count))
    chance = 1 / (1 + np.exp(-(quality + length * np.tanh(longer / longer.std()))))
    orders = dice.random((2, count)) < chance
    said = np.where(orders[0] == orders[1], np.where(orders[0], "one", "other"), "tie")
    return [
        {"verdict": str(word), "lengths": [1000 + int(more), 1000], "domain": "health"}
        for word, more in zip(said, longer, strict=True)
    ]


def test_where_length_makes_the_preference_the_adjusted_rate_is_even():
    rows = world(400, quality=0, length=2.5, lead=300)
    raw, (adjusted, note) = win_rates.win_rate(rows), win_rates.at_equal_length(rows)
    assert raw.low > 0.65 and adjusted.low < 0.5 < adjusted.high and note == ""
    assert adjusted.value == pytest.approx(0.5, abs=0.06)


def test_where_quality_makes_it_the_adjusted_rate_stays():
    rows = world(400, quality=1, length=0, lead=300)
    raw, (adjusted, _) = win_rates.win_rate(rows), win_rates.at_equal_length(rows)
    assert adjusted.low > 0.5 and adjusted.value == pytest.approx(raw.value, abs=0.06)


def test_where_good_answers_are_short_the_adjusted_rate_is_higher():
    rows = world(400, quality=1, length=2, lead=-300)
    assert win_rates.at_equal_length(rows)[0].low > win_rates.win_rate(rows).value


def test_the_adjusted_interval_covers_what_it_promises():
    found = [win_rates.at_equal_length(world(50, 0, 2, 200, seed))[0] for seed in range(200)]
    assert np.mean([each.low <= 0.5 <= each.high for each in found if each]) > 0.9


@pytest.mark.parametrize(
    "lengths, said, why",
    [
        (range(-10, 20), ["one"] * 30, "all pairs end alike"),
        (range(-15, 15), ["other"] * 15 + ["one"] * 15, "length parts the wins from the losses"),
        ([7] * 30, ["one", "other", "tie"] * 10, "differ in length by the same"),
        (range(9), ["one", "other", "tie"] * 3, "9 verdicts are too few"),
    ],
)
def test_where_no_regression_can_be_fitted_it_says_why(lengths, said, why):
    rows = [
        {"verdict": word, "lengths": [100 + more, 100], "domain": "d"}
        for word, more in zip(said, lengths, strict=True)
    ]
    estimate, note = win_rates.at_equal_length(rows)
    assert estimate is None and why in note
    table = win_rates.win_rates(rows).set_index("pairs")
    assert (
        np.isnan(table["win rate"]["all, at equal length"])
        and why in table.note["all, at equal length"]
    )


def test_extrapolation_is_told():
    rows = [row | {"lengths": [2000 + row["lengths"][0], 1000]} for row in world(60, 0.5, 1, 0)]
    assert "extrapolated" in win_rates.at_equal_length(rows)[1]


def test_the_table_has_all_pairs_then_equal_length_then_the_domains():
    rows = [
        row | {"domain": name} for name in ("health", "history") for row in world(30, 0.5, 1, 0)
    ]
    table = win_rates.win_rates(rows)
    assert table.pairs.tolist() == ["all", "all, at equal length", "health", "history"]
    assert table.wins[0] == table.wins[2] + table.wins[3] and (table.low <= table["win rate"]).all()


# The sheet for people


def fill_in(path, words):
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.assign(better=[words(row) for row in frame.itertuples()]).to_csv(path, index=False)


def longest(row):
    """What a reader says who likes length: columns 3 and 4 are the two answers."""
    return "1" if len(row[3]) > len(row[4]) else "2"


@pytest.fixture
def blank(tmp_path):
    blind_sheet(PAIRS, tmp_path / "pairs", 6, seed=3)
    return tmp_path / "pairs.csv", tmp_path / "pairs.key.json"


def test_a_blind_sheet_hides_whose_answers_they_are(blank):
    path, key = blank
    frame, first = pd.read_csv(path), json.loads(key.read_text())
    assert (
        list(frame) == ["id", "question", "answer 1", "answer 2", "better", "notes"]
        and len(frame) == 6
    )
    assert set(first.values()) == {"one", "other"} and set(first) == set(frame.id)
    assert frame.id.tolist() != sorted(frame.id)
    assert [text[0] == "a" for text in frame["answer 1"]] == [
        first[name] == "one" for name in frame.id
    ]
    text = path.read_text() + path.with_suffix(".html").read_text()
    assert "other" not in text and "key.json" not in text


def test_a_filled_in_sheet_is_read_back_with_the_places_undone(blank):
    path, key = blank
    fill_in(path, longest)
    read = read_blind_sheet(path, key)
    assert set(read.verdict) == {"other"} and list(read) == ["id", "verdict", "notes"]


@pytest.mark.parametrize("word", ["", "A", "3", "both"])
def test_a_row_without_a_verdict_names_line_and_column(blank, refused, word):
    path, key = blank
    fill_in(path, lambda row: word if row.Index == 2 else "tie")
    with refused(
        "pairs.csv, line 4 (", "column better", f"{word.lower()!r} is no verdict; write 1, 2 or tie"
    ):
        read_blind_sheet(path, key)


@pytest.mark.parametrize(
    "content, told",
    [
        ("id,question\nq1,x\n", "no column better"),
        ("id,better\nq99,1\n", "line 2, column id: 'q99' is not in"),
        ("id,better\nq1,1\nq1,2\n", "a row occurs twice: q1"),
        ("id,better\n", "has no rows"),
        ("id,better\nq1,1,2,3\n", "line 2: has 4"),
    ],
)
def test_a_damaged_sheet_is_told(tmp_path, refused, content, told):
    (tmp_path / "s.csv").write_text(content)
    (tmp_path / "key.json").write_text('{"q1": "one"}')
    with refused(str(tmp_path / "s.csv"), told):
        read_blind_sheet(tmp_path / "s.csv", tmp_path / "key.json")


@pytest.mark.parametrize("content", ["[]", "{", '{"q1": "first"}', '{"q1": [1]}'])
def test_a_key_that_is_none_is_told(blank, refused, content):
    path, key = blank
    key.write_text(content)
    with refused(str(key), "no key of a sheet"):
        read_blind_sheet(path, key)


def test_a_sheet_that_was_filled_in_stays_and_others_are_written_beside_it(blank, capsys):
    path, key = blank
    before = path.read_bytes(), key.read_bytes()
    again = lambda seed: blind_sheet(PAIRS, path.with_suffix(""), 6, seed=seed)  # noqa: E731
    again(3)
    assert (path.read_bytes(), key.read_bytes()) == before  # a blank one is written anew
    fill_in(path, longest)
    before = path.read_bytes(), key.read_bytes()
    assert set(again(3).better) == {"1", "2"} and "pairs.csv: kept as it was filled in" in capsys.readouterr().out
    beside = again(4)
    assert "the new sheet is" in capsys.readouterr().out and set(beside.better) == {""}
    fill_in(path.with_name("pairs-2.csv"), longest)
    assert again(4).better.tolist() == pd.read_csv(path.with_name("pairs-2.csv"), dtype=str).better.tolist()
    assert set(read_blind_sheet(path.with_name("pairs-2.csv"), path.with_name("pairs-2.key.json")).verdict) == {"other"}
    path.unlink()  # its key still serves copies that readers have
    again(5)
    assert sorted(p.name for p in path.parent.glob("*.csv")) == ["pairs-2.csv", "pairs-3.csv"]
    assert key.read_bytes() == before[1]


def test_the_page_is_filled_in_by_clicks_and_read_back(browser, tmp_path):
    pairs = [
        Pair(
            "x<'\"",
            "d",
            "CARDS & <b>NAMES</b>?",
            "<script>document.title = 'taken'</script>",
            "plain",
        )
    ]
    blind_sheet(pairs, tmp_path / "pairs", 1)
    page = browser.new_page()
    page.goto((tmp_path / "pairs.html").as_uri())
    assert (
        page.title() == "Which answer is better?"
        and page.locator(".q").first.inner_text() == pairs[0].question
    )
    page.get_by_text("tie", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save").click()
    download.value.save_as(tmp_path / "back.csv")
    page.close()
    assert read_blind_sheet(
        tmp_path / "back.csv", tmp_path / "pairs.key.json"
    ).verdict.tolist() == ["tie"]


def said(*words):
    return pd.DataFrame({"id": [f"q{i}" for i in range(len(words))], "verdict": words})


def test_agreement_of_two_readers_and_of_reader_and_judge():
    one = said("one", "one", "other", "tie", "one", "other")
    assert (
        agreement(one, one)["kappa"] == pytest.approx(1) and agreement(one, one)["same"].value == 1
    )
    found = agreement(one, said("one", "other", "other", "tie", None))
    assert (found["pairs"], found["same"].value) == (4, 0.75) and found["kappa"] == pytest.approx(
        (0.75 - 0.3125) / (1 - 0.3125)
    )
    assert agreement(one, said(*["one"] * 6))["kappa"] is None


def test_sheets_without_a_pair_in_common_are_refused(refused):
    with refused("no pair in common"):
        agreement(said("one"), pd.DataFrame({"id": ["other"], "verdict": ["one"]}))
