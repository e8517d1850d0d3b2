"""The starter data: schema, balance, lengths, role grammar, duplicates, leaks, right answers.

Where a rule is broken the failing test lists the rows that break it.
"""

import doctest
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from selfprompt_lib.designs import DESIGNS
from selfprompt_lib.files import read_json_lines
from selfprompt_lib.rows import DOMAINS, STARTER_FOLDER, Question, Sample, read_rows

SAMPLES = read_rows(STARTER_FOLDER / "train.jsonl", Sample)
HELD_OUT = read_rows(STARTER_FOLDER / "heldout.jsonl", Question)
UNSEEN = read_rows(STARTER_FOLDER / "unseen.jsonl", Question)
MMLU = "cais/mmlu/all/test"
STRATEGYQA = "ChilleD/StrategyQA/default/test"
COMMONSENSE_QA = "tau/commonsense_qa/default/validation"
OPENBOOKQA = "allenai/openbookqa/main/test"
TRUTHFUL_QA = "truthfulqa/truthful_qa/multiple_choice/validation"
GSM8K = "openai/gsm8k/main/test"
AQUA = "deepmind/aqua_rat/raw/test"
HUMANEVAL = "openai/openai_humaneval/openai_humaneval/test"
ARC_EASY = "allenai/ai2_arc/ARC-Easy/test"
PIQA = "baber/piqa/plain_text/validation"
CONTROLS = (ARC_EASY, PIQA)  # so easy that a small model is above chance
LABELLED = {"text": [str], "label": [str]}
MARKED = {"choices": [str], "labels": [int]}
SHAPES = {  # the columns of the real data sets, in their hub layout
    MMLU: {"question": str, "subject": str, "choices": [str], "answer": int},
    STRATEGYQA: {
        "qid": str,
        "term": str,
        "description": str,
        "question": str,
        "answer": bool,
        "facts": str,
    },
    COMMONSENSE_QA: {
        "id": str,
        "question": str,
        "question_concept": str,
        "choices": LABELLED,
        "answerKey": str,
    },
    OPENBOOKQA: {"id": str, "question_stem": str, "choices": LABELLED, "answerKey": str},
    TRUTHFUL_QA: {"question": str, "mc1_targets": MARKED, "mc2_targets": MARKED},
    GSM8K: {"question": str, "answer": str},
    AQUA: {"question": str, "options": [str], "rationale": str, "correct": str},
    HUMANEVAL: {
        "task_id": str,
        "prompt": str,
        "canonical_solution": str,
        "test": str,
        "entry_point": str,
    },
    ARC_EASY: {"id": str, "question": str, "choices": LABELLED, "answerKey": str},
    PIQA: {"goal": str, "sol1": str, "sol2": str, "label": int},
}
ITEMS = {name: read_json_lines(STARTER_FOLDER / f"{name}.jsonl") for name in SHAPES}
REAL = Path(__file__).parents[2] / "shared" / "data"


def shape(value):
    """The types in a JSON value: {"a": ["x"]} becomes {"a": [str]}."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [
            kind
            for i, kind in enumerate(map(shape, value))
            if kind not in list(map(shape, value[:i]))
        ]
    return type(value)


def faults(check, items):
    """What `check` finds wrong, by the first words of the item's question."""
    found = {}
    for item in items:
        try:
            check(item)
        except Exception as error:
            found[question_of(item)[-60:]] = repr(error)
    return found


def word_count(text):
    return len(text.split())


def runs(text, n):
    """All runs of n words of a text, in lower case."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


# Training samples and held-out questions: schema, balance, lengths


def test_rows_have_exactly_the_documented_keys():
    keys = {tuple(row) for row in read_json_lines(STARTER_FOLDER / "train.jsonl")}
    assert keys == {("id", "domain", "source", "conversations", "role")}
    keys = {tuple(row["role"]) for row in read_json_lines(STARTER_FOLDER / "train.jsonl")}
    assert keys == {("expert", "brings", "request")}
    for name in ("heldout", "unseen"):
        keys = {tuple(row) for row in read_json_lines(STARTER_FOLDER / f"{name}.jsonl")}
        assert keys == {("id", "domain", "question", "reference")}


def test_every_domain_has_its_share_in_order():
    for rows, each in ((SAMPLES, 20), (HELD_OUT, 5), (UNSEEN, 5)):
        assert [row.domain for row in rows] == [domain for domain in DOMAINS for _ in range(each)]


def test_ids_name_domain_and_number():
    numbers = range(1, 21)
    assert [s.id for s in SAMPLES] == [
        f"{d.replace(' ', '-')}-{i:02}" for d in DOMAINS for i in numbers
    ]
    for rows, letter in ((HELD_OUT, "h"), (UNSEEN, "u")):
        assert [q.id for q in rows] == [
            f"{d.replace(' ', '-')}-{letter}{i}" for d in DOMAINS for i in numbers[:5]
        ]
    assert {s.source for s in SAMPLES} == {"starter"}


def test_twelve_samples_have_several_turns():
    turns = Counter(len(sample.conversations) for sample in SAMPLES)
    assert turns[2] == 188
    assert turns[4] + turns[6] == 12
    assert {sample.domain for sample in SAMPLES if len(sample.conversations) > 2} == set(DOMAINS)


def test_answers_have_the_promised_length():
    limits = {True: (60, 140), False: (40, 110)}
    wrong = []
    for sample in SAMPLES:
        low, high = limits[len(sample.conversations) == 2]
        wrong += [
            (sample.id, word_count(a))
            for a in sample.conversations[1::2]
            if not low <= word_count(a) <= high
        ]
    assert wrong == []


def test_references_have_the_promised_length():
    long_or_short = [
        (q.id, n) for q in HELD_OUT + UNSEEN if not 50 <= (n := word_count(q.reference)) <= 140
    ]
    assert long_or_short == []


def test_no_turn_is_empty_or_padded():
    assert [
        sample.id
        for sample in SAMPLES
        if any(turn != turn.strip() or not turn for turn in sample.conversations)
    ] == []
    assert [
        row.id
        for row in HELD_OUT + UNSEEN
        if row.question != row.question.strip() or row.reference != row.reference.strip()
    ] == []


def test_questions_come_in_many_forms():
    questions = [sample.question for sample in SAMPLES]
    assert len({question.split()[0].lower() for question in questions}) >= 50
    assert sum(word_count(question) <= 8 for question in questions) >= 15
    assert sum(word_count(question) >= 40 for question in questions) >= 30
    assert sum(question[0].islower() for question in questions) >= 20
    assert sum("\n" in question for question in questions) >= 25
    assert sum("?" not in question for question in questions) >= 50


def test_unseen_questions_are_of_the_same_make_as_the_held_out_ones():
    """Settings are chosen on the one set and measured on the other, so neither may be easier."""
    held_out, unseen = make(HELD_OUT), make(UNSEEN)
    assert [name for name in unseen if abs(unseen[name] - held_out[name]) > 7] == []
    for column in ("question", "reference"):
        old, new = (
            np.array([len(getattr(row, column)) for row in rows]) for rows in (HELD_OUT, UNSEEN)
        )
        assert 0.9 < new.mean() / old.mean() < 1.1
        assert new.min() >= 0.7 * old.min() and new.max() <= 1.1 * old.max()


def make(rows):
    """How many of the rows have a certain form."""
    return {
        "small letter": sum(row.question[0].islower() for row in rows),
        "no question mark": sum("?" not in row.question for row in rows),
        "several lines": sum("\n" in row.question for row in rows),
        "code": sum("```" in row.reference for row in rows),
        "list": sum(bool(re.search(r"^(- |1\. )", row.reference, re.MULTILINE)) for row in rows),
    }


# Roles


def test_role_fields_fit_every_design():
    for field, low, high, pattern in (
        ("expert", 3, 14, r"(a|an|the) .*[^.,;:!?]"),
        ("brings", 12, 32, r"[A-Z].*\."),
        ("request", 6, 22, r"[a-z].*[^.,;:!?]"),
    ):
        texts = {sample.id: getattr(sample.role, field) for sample in SAMPLES}
        assert {i: t for i, t in texts.items() if not re.fullmatch(pattern, t)} == {}
        assert {i: t for i, t in texts.items() if not low <= word_count(t) <= high} == {}
        assert {i: t for i, t in texts.items() if '"' in t or t != " ".join(t.split())} == {}


def test_role_texts_are_stored_as_one_paragraph():
    raw = [
        value
        for row in read_json_lines(STARTER_FOLDER / "train.jsonl")
        for value in row["role"].values()
    ]
    assert [value for value in raw if value != " ".join(value.split())] == []


def test_article_and_noun_agree():
    sounds_like_a_consonant = (
        r"an (?!hon|hou|heir|X-|MRI|NHS|SQL)[^aeiouAEIOU]|an (uni|one|euro|use|eu)"
    )
    sounds_like_a_vowel = r"a (?!uni|one|euro|use|eu|ukulele|UX|UK|US)[aeiouAEIOU]"
    assert [
        e
        for s in SAMPLES
        if re.match(f"{sounds_like_a_consonant}|{sounds_like_a_vowel}", e := s.role.expert)
    ] == []


def test_what_an_expert_brings_reads_after_you_and_after_i():
    pronoun = r"\b(I|I'm|me|my|mine|you|you're|your|yours|he|him|his|she|her|hers)\b"
    assert {
        s.id: s.role.brings for s in SAMPLES if re.search(pronoun, s.role.brings, re.IGNORECASE)
    } == {}
    openings = Counter(tuple(sample.role.brings.split()[:2]) for sample in SAMPLES)
    assert max(openings.values()) <= 5


def test_a_request_begins_with_a_verb_in_its_base_form():
    first = Counter(sample.role.request.split()[0] for sample in SAMPLES)
    assert [
        word
        for word in first
        if re.search(r"ing$|ed$|^(to|a|an|the|please|how|what|why|user)$", word)
    ] == []
    assert [
        word
        for word in first
        if word.endswith("s") and word not in ("assess", "discuss", "address", "guess")
    ] == []


def test_no_two_samples_share_an_expert():
    assert [
        text for text, n in Counter(sample.role.expert for sample in SAMPLES).items() if n > 1
    ] == []


def test_no_role_gives_its_answer_away():
    leaks = {
        s.id: (runs(s.role.text, 6) & runs(s.answer, 6)) - runs(s.question, 6) for s in SAMPLES
    }
    assert {i: leak for i, leak in leaks.items() if leak} == {}


def test_roles_are_read_back_and_no_answer_looks_like_one():
    openings = tuple(design.opening for design in DESIGNS.values() if design.writes_role)
    texts = [turn for sample in SAMPLES for turn in sample.conversations[1::2]] + [
        q.reference for q in HELD_OUT + UNSEEN
    ]
    assert [text for text in texts if text.startswith(openings)] == []
    for sample in SAMPLES:
        for design in DESIGNS.values():
            assert design.read(design.write(sample.role, sample.answer)).answer == sample.answer


# Duplicates and leaks


def question_of(row):
    return next(row[k] for k in ("question", "question_stem", "prompt", "goal") if k in row)


def right_answer(row):
    """The right answer of a benchmark item, in words."""
    if isinstance(row.get("choices"), list):
        return row["choices"][row["answer"]]
    if "choices" in row:
        return row["choices"]["text"][row["choices"]["label"].index(row["answerKey"])]
    if "mc1_targets" in row:
        return row["mc1_targets"]["choices"][0]
    if "goal" in row:
        return (row["sol1"], row["sol2"])[row["label"]]
    return next(
        row[key] for key in ("facts", "rationale", "canonical_solution", "answer") if key in row
    )


def everything():
    """(set, name, question, whole text) of each sample, open question and benchmark item."""
    rows = [("train", s.id, s.question, "\n".join(s.conversations)) for s in SAMPLES]
    for name, questions in (("held-out", HELD_OUT), ("unseen", UNSEEN)):
        rows += [(name, q.id, q.question, f"{q.question}\n{q.reference}") for q in questions]
    for name, items in ITEMS.items():
        for i, item in enumerate(items):
            question = question_of(item)
            rows.append(
                (name, f"{name.split('/')[1]} {i}", question, f"{question}\n{right_answer(item)}")
            )
    return rows


def jaccard(texts, n=5):
    """Shared runs of n words over all runs of n words, for every pair of texts."""
    counts = CountVectorizer(ngram_range=(n, n), token_pattern=r"\w+", binary=True).fit_transform(
        texts
    )
    shared = (counts @ counts.T).toarray().astype(float)
    size = shared.diagonal()
    return shared / np.maximum(size[:, None] + size - shared, 1)


def cosine(texts):
    """TF-IDF cosine similarity for every pair of texts."""
    vectors = TfidfVectorizer(stop_words="english", sublinear_tf=True).fit_transform(texts)
    return (vectors @ vectors.T).toarray()


def alike(rows, similarity, threshold, across):
    """The pairs of rows above the threshold; `across` leaves out pairs from the same set."""
    pairs = np.argwhere(np.triu(similarity, k=1) > threshold)
    return [
        (round(float(similarity[i, j]), 2), rows[i][1], rows[j][1])
        for i, j in pairs
        if not (across and rows[i][0] == rows[j][0])
    ]


# The cosine of questions, and of whole texts; the paraphrases below have 0.5 and more.
LEAK = {2: 0.43, 3: 0.3}


def leaks(rows):
    return [
        pair
        for column, limit in LEAK.items()
        for pair in alike(rows, cosine([r[column] for r in rows]), limit, True)
    ]


def test_nothing_occurs_twice():
    for column in (1, 2, 3):
        normal = Counter(" ".join(re.findall(r"\w+", row[column].lower())) for row in everything())
        assert [text for text, n in normal.items() if n > 1] == []


def test_nothing_occurs_twice_with_small_changes():
    rows = everything()
    for column in (2, 3):
        assert alike(rows, jaccard([row[column] for row in rows]), 0.2, across=False) == []


def test_no_new_text_shares_eight_words_with_another():
    """The unseen questions and the controls against all else, the probes of appendix A2 too."""
    new = ("unseen", *CONTROLS)
    rows = [(group, name, text) for group, name, _, text in everything()]
    for file in (STARTER_FOLDER.parent / "robust").glob("*.jsonl"):
        rows += [("probes", row["id"], row["question"]) for row in read_json_lines(file)]
    holders = defaultdict(set)
    for group, name, text in rows:
        for run in runs(text, 8):
            holders[run].add((group, name))
    shared = {run: names for run, names in holders.items() if len(names) > 1}
    assert [names for names in shared.values() if any(group in new for group, _ in names)] == []


def test_no_role_is_written_twice():
    assert (
        alike(list(enumerate(SAMPLES)), jaccard([s.role.text for s in SAMPLES]), 0.15, across=False)
        == []
    )


def test_training_says_nothing_of_the_test_sets():
    rows = [row for row in everything() if row[0] in ("train", "held-out", "unseen")]
    assert leaks(rows) == []
    benchmarks = {"held-out": "test", "unseen": "test"} | dict.fromkeys(ITEMS, "test")
    assert leaks([(benchmarks.get(row[0], row[0]), *row[1:]) for row in everything()]) == []


def test_the_test_sets_say_nothing_of_each_other():
    rows = [row for row in everything() if row[0] != "train"]
    assert alike(rows, cosine([row[2] for row in rows]), 0.5, across=True) == []
    assert alike(rows, cosine([row[3] for row in rows]), 0.48, across=True) == []


@pytest.mark.parametrize(
    ("question", "answer", "original"),
    [
        (
            "Who bears the name Frankenstein in Mary Shelley's novel?",
            "The maker of the creature.",
            "humanities-03",
        ),
        (
            "A two-digit number has the digit sum 11 and grows by 27 if its digits swap.",
            "b = 7, a = 4: 47",
            "mathematics-14",
        ),
        (
            "In Plato's cave story, what do the prisoners take for real?",
            "Shadows on the wall.",
            "humanities-02",
        ),
    ],
)
def test_a_planted_leak_would_be_found(question, answer, original):
    found = leaks([*everything(), ("planted", "planted", question, f"{question}\n{answer}")])
    assert (original, "planted") in {pair[1:] for pair in found}


def test_a_planted_duplicate_would_be_found():
    sample = SAMPLES[20]
    texts = [s.conversations[1] for s in SAMPLES] + [sample.answer.replace("the", "that", 2)]
    assert np.triu(jaccard(texts), k=1)[20, -1] > 0.5


# Benchmarks


def test_a_mini_benchmark_has_its_items_in_the_real_schema():
    for name, items in ITEMS.items():
        assert len(items) == (60 if name in CONTROLS else 25)
        assert [(name, i) for i, item in enumerate(items) if shape(item) != SHAPES[name]] == []


@pytest.mark.skipif(not REAL.is_dir(), reason="needs a mirror of the hub at ../shared/data")
def test_the_real_benchmarks_have_that_schema():
    for name in SHAPES:
        file = REAL / f"{name}.jsonl"
        if name in CONTROLS and not file.exists():
            continue  # an older mirror
        with file.open(encoding="utf-8") as lines:
            assert shape(json.loads(next(lines))) == SHAPES[name], name


@pytest.mark.parametrize(
    ("name", "field", "keys"),
    [
        (MMLU, "answer", range(4)),
        (STRATEGYQA, "answer", (True, False)),
        (COMMONSENSE_QA, "answerKey", "ABCDE"),
        (OPENBOOKQA, "answerKey", "ABCD"),
        (AQUA, "correct", "ABCDE"),
        (ARC_EASY, "answerKey", "ABCD"),
        (PIQA, "label", range(2)),
    ],
)
def test_answer_keys_are_balanced(name, field, keys):
    counts = Counter(item[field] for item in ITEMS[name])
    assert set(counts) == set(keys)
    even = len(ITEMS[name]) / len(keys)
    assert {key: n for key, n in counts.items() if abs(n - even) > 2} == {}


@pytest.mark.parametrize(
    ("name", "choices", "key"),
    [
        (MMLU, lambda item: item["choices"], lambda item: item["answer"]),
        (
            COMMONSENSE_QA,
            lambda item: item["choices"]["text"],
            lambda item: "ABCDE".index(item["answerKey"]),
        ),
        (
            OPENBOOKQA,
            lambda item: item["choices"]["text"],
            lambda item: "ABCD".index(item["answerKey"]),
        ),
        (TRUTHFUL_QA, lambda item: item["mc1_targets"]["choices"], lambda _: 0),
    ],
)
def test_the_longest_choice_is_no_good_guess(name, choices, key):
    longest = sum(max(choices(item), key=len) == choices(item)[key(item)] for item in ITEMS[name])
    assert longest <= 10
    assert [
        item
        for item in ITEMS[name]
        if len({choice.lower() for choice in choices(item)}) != len(choices(item))
    ] == []


@pytest.mark.parametrize(("name", "chance"), [(ARC_EASY, 1 / 4), (PIQA, 1 / 2)])
def test_length_says_nothing_of_the_right_choice_of_a_control(name, chance):
    """In cloze form a shorter text is likelier, so neither end may hold the right one too often."""
    longest, shortest, right, wrong = [], [], [], []
    for item in ITEMS[name]:
        texts = [item["sol1"], item["sol2"]] if name == PIQA else item["choices"]["text"]
        lengths = [len(text) for text in texts]
        assert len({text.lower() for text in texts}) == len(texts)
        own = len(right_answer(item))
        rest = list(lengths)
        rest.remove(own)
        longest.append(own > max(rest))
        shortest.append(own < min(rest))
        right.append(own)
        wrong += rest
    assert sum(longest) <= len(longest) * (chance + 0.05)
    assert sum(shortest) <= len(shortest) * (chance + 0.05)
    assert 0.95 < np.mean(right) / np.mean(wrong) < 1.05


def test_choices_are_labelled_in_order():
    for name, labels in ((COMMONSENSE_QA, "ABCDE"), (OPENBOOKQA, "ABCD"), (ARC_EASY, "ABCD")):
        assert {"".join(item["choices"]["label"]) for item in ITEMS[name]} == {labels}
        assert {len(item["choices"]["text"]) for item in ITEMS[name]} == {len(labels)}


def test_items_are_marked_as_starter_items():
    fields = {
        STRATEGYQA: ("qid", "sqa"),
        COMMONSENSE_QA: ("id", "csqa"),
        OPENBOOKQA: ("id", "obqa"),
        ARC_EASY: ("id", "arc"),
    }
    for name, (field, mark) in fields.items():
        assert len({item[field] for item in ITEMS[name]}) == len(ITEMS[name])
        assert {item[field].rpartition("-")[0] for item in ITEMS[name]} == {f"starter-{mark}"}


def test_mmlu_has_25_subjects_and_four_choices():
    assert len({item["subject"] for item in ITEMS[MMLU]}) == 25
    assert {len(item["choices"]) for item in ITEMS[MMLU]} == {4}
    assert [
        item["subject"]
        for item in ITEMS[MMLU]
        if not re.fullmatch(r"[a-z]+(_[a-z]+)*", item["subject"])
    ] == []


def test_strategyqa_explains_each_answer():
    assert len({item["term"] for item in ITEMS[STRATEGYQA]}) == 25
    assert [
        item["qid"]
        for item in ITEMS[STRATEGYQA]
        if word_count(item["facts"]) < 8 or item["question"][-1] != "?"
    ] == []


def test_truthfulqa_puts_right_answers_first():
    assert faults(right_answers_come_first, ITEMS[TRUTHFUL_QA]) == {}


def right_answers_come_first(item):
    one, many = item["mc1_targets"], item["mc2_targets"]
    assert one["labels"] == [1] + [0] * (len(one["choices"]) - 1)
    right = sum(many["labels"])
    assert many["labels"] == [1] * right + [0] * (len(many["choices"]) - right)
    assert many["choices"][0] == one["choices"][0]
    assert many["choices"][right:] == one["choices"][1:]
    assert len(set(many["choices"])) == len(many["choices"])
    assert right >= 2


def test_gsm8k_sums_are_right():
    assert faults(sums_are_right, ITEMS[GSM8K]) == {}


def sums_are_right(item):
    steps = re.findall(r"<<([\d+*/().-]+)=(-?[\d.]+)>>(-?[\d.]*\d)", item["answer"])
    assert 1 <= len(steps) == item["answer"].count("<<")
    for expression, value, written in steps:
        assert Fraction(str(eval(expression))) == Fraction(value) == Fraction(written)
    *_, last = item["answer"].split("\n")
    assert last == f"#### {steps[-1][1]}"
    assert item["answer"].count("####") == 1


def test_aqua_options_are_labelled_and_the_rationale_ends_at_the_right_one():
    assert faults(rationale_ends_at_the_right_option, ITEMS[AQUA]) == {}


def rationale_ends_at_the_right_option(item):
    assert [option[:2] for option in item["options"]] == ["A)", "B)", "C)", "D)", "E)"]
    values = [Fraction(re.search(r"[\d./]+", option[2:])[0]) for option in item["options"]]
    assert len(set(values)) == 5
    result = re.findall(r"\d+(?:[./]\d+)?", item["rationale"])[-1]
    assert values["ABCDE".index(item["correct"])] == Fraction(result)


def run_code(*parts):
    """The exit status and errors of a Python program in a process of its own."""
    command = [sys.executable, "-I", "-S", "-c", "\n".join(parts)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=20)
    return run.returncode, run.stderr


def test_humaneval_solutions_pass_and_an_empty_body_fails():
    assert faults(solution_passes_and_an_empty_body_fails, ITEMS[HUMANEVAL]) == {}


def solution_passes_and_an_empty_body_fails(item):
    check = [item["test"], f"check({item['entry_point']})"]
    assert run_code(item["prompt"] + item["canonical_solution"], *check) == (0, "")
    status, errors = run_code(item["prompt"] + "    pass", *check)
    assert status == 1
    assert "AssertionError" in errors or "TypeError" in errors


def test_humaneval_examples_hold():
    assert faults(examples_hold, ITEMS[HUMANEVAL]) == {}


def examples_hold(item):
    module = ModuleType(item["entry_point"])
    exec(item["prompt"] + item["canonical_solution"], module.__dict__)
    failed, attempted = doctest.testmod(module)
    assert failed == 0
    assert attempted >= 1


@pytest.mark.parametrize(
    ("check", "name", "field", "planted"),
    [
        (sums_are_right, GSM8K, "answer", "<<1+1=3>>3\n#### 3"),
        (rationale_ends_at_the_right_option, AQUA, "rationale", "So it is 123456."),
        (
            solution_passes_and_an_empty_body_fails,
            HUMANEVAL,
            "canonical_solution",
            "    return 7\n",
        ),
        (examples_hold, HUMANEVAL, "canonical_solution", "    return 'planted'\n"),
    ],
)
def test_a_planted_fault_is_listed(check, name, field, planted):
    items = [*ITEMS[name][:2], ITEMS[name][2] | {field: planted}]
    assert len(faults(check, items)) == 1


def test_humaneval_prompts_define_their_entry_point():
    for number, item in enumerate(ITEMS[HUMANEVAL]):
        assert item["task_id"] == f"Starter/{number}"
        assert f"def {item['entry_point']}(" in item["prompt"]
        assert re.search(r"^def check\(candidate\):$", item["test"], re.MULTILINE)
        assert item["test"].count("assert") >= 5
        assert item["prompt"].endswith('"""\n')
        assert item["canonical_solution"].startswith("    ")
