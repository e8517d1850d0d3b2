"""Robustness: probes, asking them, what is found in replies, the summary, the gallery."""

import json
import re
from collections import Counter
from pathlib import Path

import domains_left_out as left_out
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from statsmodels.stats.proportion import proportion_confint

from selfprompt_lib import models, profiles
from selfprompt_lib.designs import DESIGNS, GAP, get_design
from selfprompt_lib.evaluate import gallery, robustness
from selfprompt_lib.generate import count_tokens
from selfprompt_lib.roles import metrics as measure
from selfprompt_lib.rows import STARTER_FOLDER, Question, Sample, read_rows

PROBES = robustness.load_probes()
DESIGN = get_design("from-now-on")
ROLE = "From now on, you are {}. You know it by heart. Your task is to help."


@pytest.fixture(scope="module")
def embedder():
    return measure.load_embedder("starter")


# The probes


def test_there_are_enough_probes_of_every_kind():
    kinds = Counter(probe.kind for probe in PROBES)
    assert list(kinds) == [*robustness.UNUSUAL, *robustness.HOSTILE] and min(kinds.values()) >= 8
    assert sum(probe.key is not None for probe in PROBES) >= 40
    assert {probe.reader for probe in PROBES} == {None, "choice", "yes_no", "number"}


def test_files_and_ids_name_their_kind():
    for file in robustness.PROBES_FOLDER.glob("*.jsonl"):
        names = [
            (probe.kind.replace(" ", "-"), probe.id.rpartition("-")[0])
            for probe in robustness.load_probes(path=file)
        ]
        assert set(names) == {(file.stem, file.stem)}


def test_no_two_probes_are_alike():
    texts = [
        probe.question
        for probe in PROBES
        if len(probe.question.split()) > 3 and probe.kind != "very long"
    ]
    alike = TfidfVectorizer().fit_transform(texts)
    alike = np.triu((alike @ alike.T).toarray(), 1)
    assert [(texts[i], texts[j]) for i, j in np.argwhere(alike > 0.8)] == []
    questions = [probe.question for probe in PROBES]
    assert len(set(questions)) == len(questions)


def test_probes_are_not_the_data_s_own_questions():
    starter = read_rows(STARTER_FOLDER / "train.jsonl", Sample)
    for name in ("heldout", "unseen"):
        starter += read_rows(STARTER_FOLDER / f"{name}.jsonl", Question)
    known = {row.question for row in starter}
    assert known.isdisjoint(probe.question for probe in PROBES)


def test_eight_languages_with_three_questions_each():
    languages = Counter(probe.note for probe in PROBES if probe.kind == "other language")
    assert len(languages) == 8 and set(languages.values()) == {3}
    scripts = {
        "Russian": "а-я",
        "Arabic": "ء-ي",
        "Hindi": "ऀ-ॿ",
        "Chinese": "一-鿿",
        "Japanese": "぀-ヿ",
    }
    for probe in PROBES:
        if probe.note in scripts:
            assert (
                len(re.findall(f"[{scripts[probe.note]}]", probe.question.lower()))
                > len(probe.question) / 4
            ), probe.id


def test_lengths_are_what_the_kinds_say():
    _, tokenizer = models.shape("smoke")
    kinds = ("very long", "very short")
    long, short = (
        count_tokens(tokenizer, [p.question for p in PROBES if p.kind == kind]) for kind in kinds
    )
    assert min(long) >= 600 and max(long) <= 1000 and max(short) <= 8


def test_empty_probes_are_empty_and_wordless_ones_have_no_words():
    assert not any(
        probe.question.strip(" \n\t\u00a0\u200b\u3000") for probe in PROBES if probe.kind == "empty"
    )
    wordless = [probe.question for probe in PROBES if probe.kind == "no words"]
    assert all(text.strip() for text in wordless) and not any(
        c.isalnum() for text in wordless for c in text
    )


def test_what_is_planted_stands_in_the_question():
    for probe in PROBES:
        assert probe.planted is None or probe.planted in probe.question, probe.id
    assert all(
        probe.planted and probe.shows == "answer" for probe in PROBES if probe.kind == "injected"
    )
    assert all(
        probe.planted and probe.shows == "role" for probe in PROBES if probe.kind == "false role"
    )


def test_role_like_text_is_read_as_a_role_by_the_designs():
    outcomes = Counter(
        design.name
        for p in PROBES
        for design in DESIGNS.values()
        if p.kind == "role-like text" and design.read(p.question).outcome == "role"
    )
    assert outcomes["from-now-on"] >= 3 and outcomes["first-person"] and outcomes["title-only"]


def compute(probe):
    """The key of a probe that is a plain product, sum or quotient, by arithmetic."""
    found = re.search(r"(\d+) (×|x|\+|-) (\d+)", probe.question)
    a, sign, b = int(found[1]), found[2], int(found[3])
    return {"×": a * b, "x": a * b, "+": a + b, "-": a - b}[sign]


@pytest.mark.parametrize(
    "name", ["very-short-08", "very-short-09", "false-role-02", "injected-07", "role-like-text-02"]
)
def test_keys_of_sums_are_right(name):
    probe = next(p for p in PROBES if p.id == name)
    assert int(probe.key) == compute(probe)


@pytest.mark.parametrize("name", ["code-01", "code-02"])
def test_keys_of_programs_are_what_they_print(name, capsys):
    probe = next(p for p in PROBES if p.id == name)
    exec(re.search(r"```python\n(.*?)```", probe.question, flags=re.DOTALL)[1])
    assert capsys.readouterr().out.strip() == probe.key


@pytest.mark.parametrize(
    ("wrong", "parts"),
    [
        ({"question": None}, ["line 1", "question"]),
        ({"key": "7"}, ["line 1", "key and reader"]),
        ({"reader": "number"}, ["key and reader"]),
        ({"reader": "choice", "key": "C", "options": ["x", "y"]}, ["key 'C'", "A, B"]),
        ({"reader": "yes_no", "key": "maybe"}, ["maybe", "yes, no"]),
        ({"planted": "HACKED"}, ["shows and planted"]),
        ({"answer": "7"}, ["answer"]),
    ],
)
def test_a_bad_probe_is_named(jsonl, refused, wrong, parts):
    with refused("own.jsonl", *parts):
        robustness.load_probes(
            path=jsonl("own.jsonl", {"id": "a", "kind": "mine", "question": "Why?"} | wrong)
        )


def test_own_probes_are_taken_and_their_ids_are_unique(jsonl, tmp_path, refused):
    jsonl("folder/a.jsonl", {"id": "a", "kind": "mine", "question": ""})
    assert robustness.load_probes(path=tmp_path / "folder")[0].kind == "mine"
    jsonl("folder/b.jsonl", {"id": "a", "kind": "mine", "question": "?"})
    with refused("'a'", "twice"):
        robustness.load_probes(path=tmp_path / "folder")
    with refused("no probes"):
        robustness.load_probes(path=jsonl("other/c.txt", "x").parent)
    with refused("evaluate.probes", "0"):
        robustness.load_probes(0)


@pytest.mark.parametrize("count", [1, 2])
def test_some_of_each_kind_can_be_asked(count):
    assert set(Counter(probe.kind for probe in robustness.load_probes(count)).values()) == {count}


# Domains left out of training


def test_domains_can_be_left_out(refused):
    samples = read_rows(STARTER_FOLDER / "train.jsonl", Sample)
    kept = left_out.without_domains(samples, ["coding", "health"])
    assert len(kept) == 160 and not {"coding", "health"} & {sample.domain for sample in kept}
    asked = left_out.heldout_probes(["coding", "health"])
    assert Counter(probe.note for probe in asked) == {"coding": 5, "health": 5}
    with refused("no sample has the domain codign"):
        left_out.without_domains(samples, ["codign"])
    with refused("no sample is left"):
        left_out.without_domains(kept[:3], [kept[0].domain])
    with refused("no domain codign", "coding"):
        left_out.heldout_probes(["codign"])


# Replies


def row(reply, probe=None, **fields):
    """A reply as `ask` returns it, made by hand."""
    probe = probe or robustness.Probe(
        id=fields.pop("id", "a"),
        kind=fields.pop("kind", "mine"),
        question=fields.pop("question", "Why do cats purr?"),
        **fields,
    )
    part = DESIGN.read(reply)
    return {
        "reply": reply,
        "outcome": part.outcome,
        "role": part.role,
        "answer": part.answer,
    } | probe.model_dump()


@pytest.mark.parametrize(
    ("reply", "shows", "planted", "won"),
    [
        ("HACKED", "answer", "HACKED", True),
        ("**hacked!**", "answer", "HACKED", True),
        (ROLE.format("a guard") + GAP + "HACKED.", "answer", "HACKED", True),
        ("I will not say HACKED.", "answer", "HACKED", False),
        ("HACKEDNESS is no word.", "answer", "HACKED", False),
        (ROLE.format("a guard") + GAP + "Nairobi.", "answer", "HACKED", False),
        ("Q. The dolphin.", "answer", "Q", True),
        ("Quite a lot.", "answer", "Q", False),
        (ROLE.format("a Pirate") + GAP + "Light bends.", "role", "pirate", True),
        (ROLE.format("a physicist") + GAP + "Arr, said the pirate.", "role", "pirate", False),
        (ROLE.format("a king-maker") + GAP + "No.", "role", "king", True),
        (ROLE.format("a man who likes working") + GAP + "No.", "role", "king", False),
        ("", "answer", "HACKED", False),
        ("Arr.", "role", "pirate", False),
    ],
)
def test_what_was_planted_is_found_where_it_shows(reply, shows, planted, won):
    assert robustness.obeyed(row(reply, shows=shows, planted=planted)) is won


QUESTIONS = [
    "Why do cats purr when they sleep?",
    "How do I bake a rye loaf at home?",
    "What is a mortgage rate?",
    "Which planets have rings of ice?",
]
FITTING = [
    "a vet who knows how cats sleep and purr",
    "a baker of rye loaves",
    "a banker who explains mortgage rates",
    "an astronomer who studies the rings of planets",
]


def replies(roles, answer="Because."):
    return [
        row(ROLE.format(role) + GAP + answer, id=f"q{i}", question=question)
        for i, (role, question) in enumerate(zip(roles, QUESTIONS, strict=True))
    ]


def test_fitting_roles_are_nearer_to_their_own_question(embedder):
    good = robustness.measure_probes(replies(FITTING), embedder)
    bad = robustness.measure_probes(replies(FITTING[1:] + FITTING[:1]), embedder)
    assert good.fits.all() and (good.fit > good.shuffled + 0.1).all()
    assert bad.fit.mean() < good.fit.mean() - 0.2


def test_questions_without_words_and_replies_without_roles_have_no_fit(embedder):
    rows = [
        *replies(FITTING),
        row(ROLE.format("a poet") + GAP + "Hm.", id="e", question=" \n"),
        row("No role.", id="n"),
    ]
    found = robustness.measure_probes(rows, embedder)
    assert found.fits.notna().to_list() == [True] * 4 + [False] * 2 and found.fit.notna().sum() == 4
    assert found.role_written.to_list() == [True] * 5 + [False]
    assert robustness.measure_probes(rows[:1], embedder).fits.isna().all(), (
        "one role has no other question to be shuffled to"
    )


@pytest.mark.parametrize(
    ("reply", "fields", "read", "correct"),
    [
        (
            ROLE.format("a clerk") + GAP + "It is 144.",
            {"reader": "number", "key": "144"},
            "144",
            True,
        ),
        ("It is 140.", {"reader": "number", "key": "144"}, "140", False),
        (
            "The answer is B.",
            {"reader": "choice", "key": "B", "options": ["Trout", "Dolphin"]},
            "B",
            True,
        ),
        ("No, it is not.", {"reader": "yes_no", "key": "yes"}, "no", False),
        ("Hm.", {"reader": "yes_no", "key": "yes"}, "[none]", False),
        (
            ROLE.format("a clerk who has 144 pens"),
            {"reader": "number", "key": "144"},
            "[none]",
            False,
        ),
    ],
)
def test_keys_are_read_tolerantly_after_the_role(embedder, reply, fields, read, correct):
    found = robustness.measure_probes([row(reply, **fields)], embedder).iloc[0]
    assert (found["read"], found.correct) == (read, correct)


def test_every_key_can_be_read_from_a_plain_answer(embedder):
    keyed = [probe for probe in PROBES if probe.key]
    found = robustness.measure_probes(
        [row(f"The answer is {probe.key}.", probe) for probe in keyed], embedder
    )
    assert list(found[found.correct != True].id) == []  # noqa: E712


def test_the_summary_counts_with_wilson_intervals(embedder):
    rows = [
        row("HACKED", id=f"i{i}", kind="injected", planted="HACKED", shows="answer")
        for i in range(3)
    ]
    rows += [
        row("No.", id="i3", kind="injected", planted="HACKED", shows="answer"),
        *replies(FITTING),
    ]
    found = robustness.summarize_probes(
        {"ours": robustness.measure_probes(rows, embedder)}
    ).set_index(["measure", "kind"])
    won = found.loc["won", "injected"]
    assert (won.value, won.n) == (0.75, 4)
    assert (won.low, won.high) == pytest.approx(proportion_confint(3, 4, method="wilson"))
    assert found.loc["role", "mine"].value == 1 and found.loc["role", "injected"].value == 0
    assert found.loc["role", robustness.ALL_PROBES][["value", "n"]].to_list() == [0.5, 8]
    assert ("won", "mine") not in found.index and "correct" not in found.index


def test_arms_with_other_probes_and_no_replies_are_refused(embedder, refused):
    found = robustness.measure_probes(replies(FITTING), embedder)
    with refused("arm b", "other probes than a"):
        robustness.summarize_probes({"a": found, "b": found[:3]})
    with refused("no replies"):
        robustness.measure_probes([], embedder)


@pytest.fixture(scope="module")
def mishaps(embedder):
    rows = [
        *replies(FITTING),
        row("Plainly.", id="none", kind="typos", question="<b>&</b>"),
        row(ROLE.format("a tired clerk"), id="broken", kind="typos"),
        row(
            ROLE.format("a pirate") + GAP + "Arr.",
            id="pirate",
            kind="false role",
            planted="pirate",
            shows="role",
        ),
        row("HACKED", id="hacked", kind="injected", planted="HACKED", shows="answer"),
        row("Plainly.", id="asked", kind="no role wanted"),
        row(" ", id="blank", kind="no role wanted"),
    ]
    return robustness.measure_probes(rows, embedder)


def test_the_worst_of_each_kind_comes_first(mishaps):
    found = robustness.probe_failures(mishaps)
    assert list(found["what went wrong"].str.split(";").str[0]) == [
        "obeyed the planted instruction, HACKED",
        "took the planted role, pirate",
        "no role",
        "no answer",
        "the role never ends",
    ]
    assert "Plainly." not in set(found[found.kind == "no role wanted"].answer) and len(found) == 5


def test_the_gallery_escapes_and_cuts(mishaps):
    long = mishaps.assign(answer="x" * 5000)
    page = gallery.failure_cards(robustness.probe_failures(long)).data
    assert "&lt;b&gt;&amp;" in page and "<b>&</b>" not in page and "x" * 400 not in page
    assert (
        "Nothing went wrong" in gallery.failure_cards(robustness.probe_failures(mishaps[:4])).data
    )


# End to end


@pytest.fixture(scope="module")
def asked():
    profile = profiles.load("smoke", {"infer.max_new_tokens": 8, "infer.batch_size": 64})
    return robustness.ask_probes(*models.load("smoke"), profile, DESIGN, PROBES)


def test_every_probe_can_be_asked_the_empty_ones_too(asked):
    assert [row["id"] for row in asked] == [probe.id for probe in PROBES]
    assert all(isinstance(row["reply"], str) for row in asked)


def test_asked_probes_go_all_the_way_to_figures(asked, embedder):
    frame = robustness.measure_probes(asked, embedder)
    assert frame.correct.notna().sum() == sum(probe.key is not None for probe in PROBES)
    summary = robustness.summarize_probes({"baseline": frame, "self-prompt": frame})
    assert set(summary.measure) == {"role", "won", "correct"}
    assert gallery.probe_rates(summary, "won").get_xlim()[0] < 0
    assert not robustness.probe_failures(frame)["what went wrong"].str.contains("nan|None").any()
    plt.close("all")


def test_figures_show_every_kind_and_arm():
    kinds, arms = (*robustness.HOSTILE, robustness.ALL_PROBES), ("baseline", "self-prompt")
    rows = [("fits", kind, arm, 0.5, 0.2, 0.8, 9) for kind in kinds for arm in arms]
    axes = gallery.probe_rates(
        pd.DataFrame(rows, columns=["measure", "kind", "arm", "value", "low", "high", "n"]), "fits"
    )
    assert [label.get_text() for label in axes.get_yticklabels()] == list(kinds)
    assert len(axes.containers) == 2
    plt.close("all")


@pytest.mark.parametrize("kind", ["empty", "very long"])
def test_one_kind_alone_can_be_asked(kind):
    profile, some = (
        profiles.load("smoke", {"infer.max_new_tokens": 8}),
        [probe for probe in PROBES if probe.kind == kind][:2],
    )
    rows = robustness.ask_probes(*models.load("smoke"), profile, DESIGN, some)
    assert [row["id"] for row in rows] == [probe.id for probe in some]
    assert robustness.ask_probes(*models.load("smoke"), profile, DESIGN, []) == []


# Domains left out of training


def habits(trained, left):
    """Replies to four questions, first of seed 0, then of seed 1; `1` where a role was written."""
    rows = [
        {
            "id": f"q{i % 4}",
            "domain": "coding",
            "seed": i // 4,
            "trained": kind,
            "role_written": hit == "1",
            "fits": True if hit == "1" else None,
            "rows": 2,
        }
        for kind, hits in ((True, trained), (False, left))
        for i, hit in enumerate(hits)
    ]
    return pd.DataFrame(rows)


def test_the_change_pairs_questions_and_seeds():
    found = left_out.change(habits("11111101", "11001001"), "role_written")
    assert (found.value, found.n, found.seeds) == (-3 / 8, 4, 2) and found.low < -3 / 8 < found.high
    fits = left_out.change(habits("11111111", "10011001"), "fits")
    assert fits.n == 2 and fits.value == 0


def test_measures_that_no_question_has_for_all_models_are_dashes():
    page = left_out.fragment(habits("1100", "0011"), profiles.load("cpu"))
    for part in (
        "| roles written | 50% | 50% | +0 [",
        "| 100% | 100% | – | – | 0 |",
        "| coding | 50% | 50% | 4 |",
    ):
        assert part in page


def test_each_half_of_the_domains_is_left_out_once(tmp_path, monkeypatch, capsys, refused):
    monkeypatch.chdir(tmp_path)
    command = [
        "--profile",
        "smoke",
        "--set",
        "data.train_rows=2",
        "--set",
        "infer.max_new_tokens=8",
        "--out",
    ]
    left_out.main([*command, "left-out.md"])
    kept = json.loads(Path("left-out.json").read_text())
    replies = pd.DataFrame(kept["replies"])
    assert len(replies) == 100 and kept["profile"]["name"] == "smoke"
    assert replies.groupby("id").trained.agg(set).map(len).eq(2).all()
    assert (replies.groupby(["domain", "trained"]).size() == 5).all()
    assert (
        Path("left-out.md").read_text().startswith(left_out.MARK)
        and "smoke" in capsys.readouterr().out
    )
    Path("mine.md").write_text("mine")
    with refused("--out mine.md", "was not written by this command"):
        left_out.main([*command, "mine.md"])
    assert Path("mine.md").read_text() == "mine"
