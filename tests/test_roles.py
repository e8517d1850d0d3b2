"""Chapter 2's measures on cases of known value, annotators side by side, and the review sheet."""

import csv
import io
import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest

from selfprompt_lib import roles
from selfprompt_lib.files import write_json
from selfprompt_lib.rows import STARTER_FOLDER, Conversation, Role, Sample, read_rows

SAMPLES = read_rows(STARTER_FOLDER / "train.jsonl", Sample)
BLUNDERS = {  # roles that the starter model (SmolLM2-135M) wrote for starter samples
    "social-science-06": (
        "a business chat,",
        "A good word for a business chat, but a bit too personal for a business chat.",
        "a business chat, but a bit too personal for a business chat.",
    ),
    "health-08": (
        "a speechwriter who drafts words for family celebrations",
        "A good ear for short, warm lines that are easy to say, "
        "but a message that needs to be taken seriously.",
        "write a two-line toast for the wedding of the user's sister, please don't be angry.",
    ),
    "language-10": (
        "a story of a brave warrior who fought against the odds of his enemies",
        "A brave warrior who fought against the odds of his enemies, "
        "a story of a brave warrior who fought against "
        "the odds of his enemies.",
        "write a scene of a story of a brave warrior who fought against",
    ),
}


@pytest.fixture(scope="module")
def model():
    return roles.load_embedder("starter")


def sample(
    number,
    expert="a cook",
    brings="Years at the stove.",
    request="boil an egg",
    turns=("Why?", "So."),
    **fields,
):
    role = Role(expert=expert, brings=brings, request=request)
    return Sample(id=f"s{number}", conversations=turns, role=role, **fields)


def experts(*names, answer="So."):
    """A table with these experts, one row each."""
    return roles.role_table(
        [sample(i, expert=name, turns=(f"Why {i}?", answer)) for i, name in enumerate(names)]
    )


def wilson(hits, n, z=1.959963984540054):
    """Wilson's interval, from the textbook's formula."""
    share, spread = hits / n, z * math.sqrt(hits / n * (1 - hits / n) / n + z * z / (4 * n * n))
    centre = share + z * z / (2 * n)
    return [(centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)]


# Tables


def test_a_table_has_a_row_for_each_sample_with_a_role():
    bare = Sample(id="bare", conversations=("q", "a"))
    frame = roles.role_table(
        [sample(0, "a cook", "Knows fire.", "boil an egg", ("How?", "So.", "And?", "Thus.")), bare]
    )
    assert frame.to_dict("records") == [
        {
            "id": "s0",
            "domain": "unknown",
            "source": "unknown",
            "question": "How?",
            "answer": "So.",
            "expert": "a cook",
            "brings": "Knows fire.",
            "request": "boil an egg",
            "role": "a cook. Knows fire. boil an egg",
            "words": 7,
        }
    ]


def test_an_empty_table_has_the_same_columns():
    assert (
        list(roles.role_table([])) == list(roles.role_table(SAMPLES))
        and len(roles.role_table([])) == 0
    )


def test_a_question_without_an_answer_is_in_the_table():
    asked = Conversation(
        id="a", conversations=("Why?",), role=Role(expert="a", brings="b", request="c")
    )
    assert roles.role_table([asked]).answer.tolist() == [""]


def test_rows_are_grouped_by_domain_where_one_is_known():
    assert roles.grouping_column(roles.role_table(SAMPLES)) == "domain"
    assert roles.grouping_column(roles.role_table([sample(0, source="wikihow")])) == "source"


def test_common_experts_are_counted_whatever_their_case():
    frame = experts("a cook", "A Cook", "a poet", "a nurse", "a poet", "a cook")
    assert roles.common_experts(frame, 2).to_dict() == {"a cook": 3, "a poet": 2}


def test_the_noun_of_an_expert_is_counted_without_what_follows():
    frame = experts(
        "a night nurse who runs a clinic", "a nurse", "an editor of maps", "Ada Lovelace"
    )
    assert roles.expert_nouns(frame).to_dict() == {"nurse": 2, "editor": 1}


# Relevance


def test_a_rank_counts_the_questions_that_are_liker():
    questions = np.eye(3)
    texts = np.array([[0.9, 0.1, 0], [0.9, 0.4, 0.2], [0.5, 0.6, 0.1]])
    assert roles.question_ranks(questions, texts).tolist() == [0, 1, 2]


def test_relevance_is_perfect_for_matching_vectors_and_chance_when_shuffled():
    vectors = np.eye(50)
    assert (roles.question_ranks(vectors, vectors) == 0).all()
    for seed in range(20):
        assert (roles.question_ranks(vectors, vectors, shuffled=True, seed=seed) > 0).all(), (
            "nobody keeps their own question"
        )


def test_shuffled_ranks_are_spread_evenly_and_depend_on_the_seed():
    vectors = np.random.default_rng(0).normal(size=(400, 30))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ranks = roles.question_ranks(vectors, vectors, shuffled=True, seed=1)
    assert np.percentile(ranks, [25, 50, 75]) == pytest.approx([100, 200, 300], abs=40)
    assert (ranks == roles.question_ranks(vectors, vectors, shuffled=True, seed=1)).all()
    assert (ranks != roles.question_ranks(vectors, vectors, shuffled=True, seed=2)).any()


def test_found_among_equals_every_draw_counted():
    """Rank r among 8: of all draws of 3 others from the 7, those without one of the r better."""
    ranks = np.arange(8)
    draws = list(itertools.combinations(range(7), 3))  # the better ones are 0 … r-1
    expected = [sum(min(draw) >= rank for draw in draws) / len(draws) for rank in ranks]
    assert roles.chance_found_among(ranks, 3) == pytest.approx(expected)


def test_found_among_takes_all_where_there_are_too_few():
    assert roles.chance_found_among(np.array([0, 1, 0]), 100).tolist() == [1, 0, 1]
    assert roles.chance_found_among(np.array([0]), 100).tolist() == [1], "alone, it finds itself"


def test_the_embedder_puts_roles_near_their_questions(model):
    frame = roles.role_table(SAMPLES[::20])
    questions, texts = roles.embed(model, frame.question), roles.embed(model, frame.role)
    assert np.linalg.norm(questions, axis=1) == pytest.approx(np.ones(10), abs=1e-5)
    assert (roles.question_ranks(questions, texts) == 0).mean() >= 0.9
    assert roles.summarize_roles(frame, questions, texts)["distinct experts"] == 10


def test_an_unknown_embedder_is_told(refused):
    with refused("roles.embedder: cannot load /nowhere/model", "use starter"):
        roles.load_embedder("/nowhere/model")


# Duplicates, and answers given away


def test_near_duplicates_are_found_most_alike_first():
    vectors = np.array([[1, 0], [0.96, 0.28], [0, 1], [1, 0]])
    assert [(i, j) for i, j, _ in roles.near_duplicates(vectors)] == [(0, 3), (0, 1), (1, 3)]
    assert [cosine for *_, cosine in roles.near_duplicates(vectors)] == pytest.approx(
        [1, 0.96, 0.96]
    )
    assert roles.near_duplicates(vectors, threshold=0.97) == [(0, 3, 1.0)]
    assert [(i, j) for i, j, _ in roles.near_duplicates(vectors, threshold=0.2)][-1] == (1, 2)


def test_the_closest_roles_are_shown_with_their_cosine():
    vectors = np.array([[1, 0], [0.96, 0.28], [0, 1]])
    table = roles.closest_roles(experts("a cook", "a baker", "a poet"), vectors, 1)
    assert table.to_dict("records") == [{"cosine": 0.96, "one": "a cook", "other": "a baker"}]


@pytest.mark.parametrize(
    ("request_", "question", "words"),
    [
        ("say that IT boils at a hundred, degrees", "When?", "it boils at a hundred degrees"),
        ("say that it boils at a hundred", "When?", None),
        (
            "say that it boils at a hundred degrees",
            "Does it boil (it boils at a hundred degrees)?",
            None,
        ),
        ("say that it boils at the hundred degrees", "When?", None),
    ],
    ids=["six words in other case", "five words", "in the question too", "six words, one differs"],
)
def test_an_answer_is_given_away_by_six_words_in_a_row(request_, question, words):
    rows = [
        sample(0),
        sample(1, request=request_, turns=(question, "Water: it boils at a hundred degrees.\n")),
    ]
    found = roles.answer_leaks(roles.role_table(rows))
    assert found.to_dict("records") == (
        [{"id": "s1", "expert": "a cook", "words_shared": words}] if words else []
    )


def test_the_run_of_words_can_be_chosen():
    frame = roles.role_table(
        [sample(0, request="boil it for ten", turns=("How?", "You boil it for long."))]
    )
    assert (
        len(roles.answer_leaks(frame, words=3)) == 1
        and len(roles.answer_leaks(frame, words=4)) == 0
    )


# Summary


def test_a_summary_of_twenty_roles_counted_by_hand():
    names = [
        "a cook",
        "A cook",
        "a cook",
        "a poet",
        "a poet",
        *(f"a clerk of ward {i}" for i in range(15)),
    ]
    frame, questions = experts(*names), np.eye(20)
    texts = questions.copy()
    texts[19] = texts[18]  # the last role is a copy, so it finds the question of the one before
    measures = roles.summarize_roles(frame, questions, texts)
    shuffled = (measures.pop("the same, shuffled"), measures.pop("words, median"))
    assert measures == pytest.approx(
        {
            "roles": 20,
            "distinct experts": 17,
            "ten most frequent experts": (3 + 2 + 8) / 20,
            "near-duplicates": 2 / 20,
            "finds its question among 100": 19 / 20,
            "finds its question among all": 19 / 20,
            "gives the answer away": 0,
        }
    )
    assert shuffled[0] <= 0.05 and shuffled[1] == frame.words.median() == 12


def test_a_summary_counts_answers_given_away_only_where_there_are_answers():
    told = sample(
        0,
        request="say that it boils at a hundred degrees",
        turns=("When?", "It boils at a hundred degrees."),
    )
    frame, vectors = roles.role_table([told, sample(1)]), np.eye(2)
    assert roles.summarize_roles(frame, vectors, vectors)["gives the answer away"] == 0.5
    assert (
        roles.summarize_roles(frame.assign(answer=""), vectors, vectors)["gives the answer away"]
        is None
    )


def test_a_summary_can_be_written_as_json():
    vectors = np.eye(3, dtype=np.float32)
    assert (
        json.loads(json.dumps(roles.summarize_roles(experts("a", "b", "c"), vectors, vectors)))[
            "roles"
        ]
        == 3
    )


def test_groups_have_their_share_with_wilsons_interval():
    frame = experts("a cook", "a cook", "a poet", "a nurse", "a clerk").assign(
        domain=["x", "y", "x", "x", "x"]
    )
    table = roles.fit_by_group(frame, np.array([0, 0, 0, 5, 0]), "domain").set_index("domain")
    assert table.loc["x", ["roles", "distinct experts", "share"]].tolist() == [4, 4, 0.75]
    assert table.loc["x", ["low", "high"]].tolist() == pytest.approx(wilson(3, 4))
    assert table.loc["y", ["low", "high"]].tolist() == pytest.approx(wilson(1, 1))
    assert list(table.index) == ["x", "y"]


# Clusters and the map


def two_kinds(model):
    cooks = ["a pastry cook who bakes bread", "a baker of rye bread", "a cook of soups and bread"]
    others = ["a violin teacher of scales", "a violin maker"]
    frame = roles.role_table(
        [sample(i, expert, "Long practice.", "help") for i, expert in enumerate(cooks + others)]
    )
    return frame, roles.embed(model, frame.role)


def test_clusters_part_bread_from_violins(model):
    frame, vectors = two_kinds(model)
    table = roles.role_clusters(frame, vectors, 2)
    assert table.roles.tolist() == [3, 2]
    assert "bread" in table.about[0] and "violin" in table.about[1]
    assert set(table["most typical"][0].split("; ")) == set(frame.expert[:3])


def test_the_most_typical_role_is_the_one_nearest_the_middle():
    angles = np.radians([0, 20, 45, 180])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    table = roles.role_clusters(experts("a first", "a middle", "a last", "a far"), vectors, 2)
    assert table["most typical"].tolist()[0].split("; ")[0] == "a middle"


def test_clusters_of_few_roles_or_of_roles_with_the_same_words():
    assert roles.role_clusters(experts("a cook", "a poet"), np.eye(2), 8).roles.tolist() == [1, 1]
    words = [
        "red blue green",
        "blue green red",
        "green red blue",
        "red green blue",
        "blue red green",
    ]
    table = roles.role_clusters(experts(*words), np.eye(5), 5)
    assert len(table) == 5 and set(table.about) == {""}, "no word sets one of them apart"


def test_the_map_has_a_place_for_each_role():
    for count in (0, 1, 2, 3, 12):
        vectors = np.random.default_rng(count).normal(size=(count, 8))
        assert roles.map_coordinates(vectors).shape == (count, 2)


def test_the_map_depends_on_the_seed_alone_and_keeps_neighbours_together():
    noise = np.random.default_rng(0).normal(size=(24, 12)) / 20
    vectors = noise + np.repeat(np.eye(12)[:2], 12, axis=0)
    places = roles.map_coordinates(vectors, seed=3)
    assert np.array_equal(places, roles.map_coordinates(vectors, seed=3)) and not np.array_equal(
        places, roles.map_coordinates(vectors, seed=4)
    )
    away = np.linalg.norm(places[:, None] - places[None], axis=2) + np.diag([np.inf] * 24)
    assert [int(nearest) // 12 for nearest in away.argmin(axis=1)] == [0] * 12 + [1] * 12


# The least fitting


def test_fit_and_rank_order_the_roles():
    questions = np.eye(3)
    texts = np.array([[1, 0, 0], [0.8, 0.6, 0], [0.8, 0, 0.6]])
    table = roles.least_fitting(experts("a", "b", "c"), questions, texts)
    assert dict(zip(table.expert, zip(table.fit, table["rank"], strict=True), strict=True)) == {
        "a": (1, 0),
        "b": (0.6, 1),
        "c": (0.6, 1),
    }
    assert table.expert.tolist() == ["b", "c", "a"]
    assert roles.least_fitting(experts("a", "b", "c"), questions, texts, 1).expert.tolist() == ["b"]


@pytest.mark.parametrize(
    ("texts", "order"),
    [
        ([[0.9, 0, 0], [0, 0.6, 0], [0, 0, 0.7]], "bca"),  # all find their question: by fit
        ([[0.5, 0, 0], [0.6, 0.5, 0.7], [0.6, 0, 0.5]], "bca"),  # all fit alike: by rank
    ],
)
def test_the_lower_fit_and_the_lower_rank_come_first(texts, order):
    table = roles.least_fitting(experts("a", "b", "c"), np.eye(3), np.array(texts))
    assert "".join(table.expert) == order


def test_a_planted_blunder_comes_first(model):
    rows = SAMPLES[:60:2]
    rows[7] = rows[7].model_copy(update={"role": rows[21].role})
    frame = roles.role_table(rows)
    questions, texts = roles.embed(model, frame.question), roles.embed(model, frame.role)
    first = roles.least_fitting(frame, questions, texts).iloc[0]
    assert (first.question, first.expert) == (rows[7].question, rows[21].role.expert)
    assert first["rank"] > 0


def test_the_blunders_of_a_small_model_are_among_the_ten_least_fitting(model):
    wrong = {
        i: Role(expert=expert, brings=brings, request=request)
        for i, (expert, brings, request) in BLUNDERS.items()
    }
    frame = roles.role_table(
        [s.model_copy(update={"role": wrong.get(s.id, s.role)}) for s in SAMPLES]
    )
    least = roles.least_fitting(
        frame, roles.embed(model, frame.question), roles.embed(model, frame.role)
    )
    assert len(least) == 10 and {role.expert for role in wrong.values()} <= set(least.expert)


# Annotators side by side


def live_row(s, role):
    """A row of `live.jsonl`, as chapter 1 writes it."""
    return {
        "id": s.id,
        "domain": s.domain,
        "question": s.question,
        "outcome": "role",
        "role": role and role.model_dump(),
    }


def test_live_roles_get_the_references_answers():
    rows = [
        live_row(SAMPLES[0], SAMPLES[1].role),
        live_row(SAMPLES[1], None),
        live_row(SAMPLES[2], SAMPLES[0].role),
    ]
    live = roles.live_role_table(rows, roles.role_table(SAMPLES[:2]))
    assert live.id.tolist() == [SAMPLES[0].id, SAMPLES[2].id] and live.answer.tolist() == [
        SAMPLES[0].answer,
        "",
    ]
    assert live.expert.tolist() == [SAMPLES[1].role.expert, SAMPLES[0].role.expert]
    assert roles.live_role_table(rows).answer.tolist() == ["", ""]


def test_no_live_role_is_an_empty_table():
    assert (
        len(roles.live_role_table([live_row(SAMPLES[0], None)], roles.role_table(SAMPLES[:2]))) == 0
    )


def test_role_files_are_matched_by_question(jsonl):
    other = SAMPLES[5].role.model_dump()
    path = jsonl(
        "theirs.jsonl",
        {"id": "x", "question": SAMPLES[3].question, "role": other},
        {"id": "y", "conversations": ["Nobody asked this.", "So."], "role": other},
        {"id": "z", "conversations": [SAMPLES[4].question, "So."]},
        {"id": "again", "question": SAMPLES[3].question, "role": SAMPLES[6].role.model_dump()},
        {"id": "last", "question": SAMPLES[1].question, "role": other},
    )
    frames = roles.read_role_files([str(path)], roles.role_table(SAMPLES))
    assert list(frames) == ["theirs"]
    assert frames["theirs"].id.tolist() == [SAMPLES[3].id, SAMPLES[1].id]
    assert set(frames["theirs"].expert) == {SAMPLES[5].role.expert}
    assert roles.read_role_files([], roles.role_table(SAMPLES)) == {}


def test_bad_role_files_are_told(jsonl, refused):
    good = {"question": SAMPLES[0].question, "role": SAMPLES[0].role.model_dump()}
    frame = roles.role_table(SAMPLES)
    with refused("nosuch.jsonl: no such file"):
        roles.read_role_files(["nosuch.jsonl"], frame)
    with refused("bad.jsonl, line 2: role.brings: Field required"):
        roles.read_role_files(
            [jsonl("bad.jsonl", good, good | {"role": {"expert": "a", "request": "b"}})], frame
        )
    with refused(
        "foreign.jsonl has no role for any question of this run", "annotate the same data"
    ):
        roles.read_role_files([jsonl("foreign.jsonl", good | {"question": "Another?"})], frame)
    with refused("bare.jsonl has no role"):
        roles.read_role_files([jsonl("bare.jsonl", {"question": SAMPLES[0].question})], frame)


def test_two_role_files_of_one_name_are_refused(jsonl, refused):
    good = {"question": SAMPLES[0].question, "role": SAMPLES[0].role.model_dump()}
    one, other, live = jsonl("a/x.jsonl", good), jsonl("b/x.jsonl", good), jsonl("live.jsonl", good)
    with refused(f"{other}: other roles are named x too; rename it"):
        roles.read_role_files([one, other], roles.role_table(SAMPLES))
    with refused(f"{live}: other roles are named live too"):
        roles.read_role_files([live], roles.role_table(SAMPLES))


def test_only_samples_that_all_have_are_compared():
    frame = roles.role_table(SAMPLES[:5])
    sets = {
        "a": frame,
        "b": frame.iloc[[4, 2, 1]],
        "none": frame.iloc[:0],
        "c": frame.iloc[[1, 3, 4]],
    }
    same = roles.same_samples(sets)
    assert list(same) == ["a", "b", "c"]
    assert {tuple(part.id) for part in same.values()} == {(SAMPLES[1].id, SAMPLES[4].id)}
    assert [list(part.index) for part in same.values()] == [[0, 1]] * 3


def test_nothing_in_common_is_nothing_to_compare(model):
    frame = roles.role_table(SAMPLES[:4])
    for sets in ({}, {"a": frame.iloc[:0]}, {"a": frame.iloc[:2], "b": frame.iloc[2:]}):
        assert (
            roles.same_samples(sets)
            == roles.compare_role_sets(model, sets)
            == roles.question_likeness(model, sets)
            == {}
        )


def test_side_by_side_measures_each_set_on_the_same_samples(model):
    frame = roles.role_table(SAMPLES[:8])
    swapped = frame.assign(role=frame.role.tolist()[1:] + frame.role.tolist()[:1])
    table = roles.compare_role_sets(
        model, {"good": frame, "swapped": swapped.iloc[:6], "none": frame.iloc[:0]}
    )
    assert list(table) == ["good", "swapped"] and {
        measures["roles"] for measures in table.values()
    } == {6}
    assert (
        table["good"]["finds its question among all"] == 1
        and table["swapped"]["finds its question among all"] == 0
    )


def test_identical_annotators_agree_wholly(model):
    frame = roles.role_table(SAMPLES[:30])
    found = roles.annotator_agreement(model, frame, frame.sample(frac=1, random_state=0))
    assert found["samples"] == 30
    assert [found[name] for name in ("roles", "experts", "finds the other's")] == pytest.approx(
        [1, 1, 1], abs=1e-5
    )
    assert found["experts, shuffled"] < 0.5


def test_annotators_with_each_others_roles_do_not_agree(model):
    frame = roles.role_table(SAMPLES[:200:10])
    fields = ["expert", "brings", "request", "role"]
    other = frame.assign(**{name: np.roll(frame[name], 1) for name in fields})
    found = roles.annotator_agreement(model, frame, other)
    assert found["finds the other's"] == 0
    assert found["experts"] < 0.5 and found["roles"] < 0.5


def test_sets_are_compared_with_the_reference_where_they_share_samples(model):
    frame = roles.role_table(SAMPLES[:4])
    sets = {"reference": frame, "same": frame, "one row": frame[:1], "empty": frame[:0]}
    agreed = roles.agreement_with_reference(model, sets)
    assert list(agreed) == ["same"] and agreed["same"]["samples"] == 4


def test_agreement_needs_two_common_samples(model, refused):
    frame = roles.role_table(SAMPLES[:3])
    for one, other in (
        (frame, frame.iloc[:1]),
        (frame, frame.iloc[:0]),
        (frame.iloc[:1], frame.iloc[1:]),
    ):
        with refused("at least two samples in common"):
            roles.annotator_agreement(model, one, other)


def test_likeness_is_higher_with_ones_own_question(model):
    frame = roles.role_table(SAMPLES[:25])
    found = roles.question_likeness(model, {"a": frame, "b": frame.iloc[:20]}, seed=1)
    questions, texts = roles.embed(model, frame.question[:20]), roles.embed(model, frame.role[:20])
    by_id = dict(zip(frame.id[:20], (questions * texts).sum(axis=1), strict=True))
    own, shuffled = found["a"]
    assert sorted(own) == pytest.approx(sorted(by_id.values()), abs=1e-4) and len(shuffled) == 20
    assert own.mean() > shuffled.mean() + 0.3
    assert np.array_equal(
        shuffled, roles.question_likeness(model, {"a": frame, "b": frame.iloc[:20]}, seed=1)["a"][1]
    )


# The review sheet


HEAD = ["id", *roles.CRITERIA, "notes"]
PASS = ["y"] * len(roles.CRITERIA)


def write(path, *rows, separator=",", encoding="utf-8", ending="\n", head=HEAD):
    """A sheet as CSV."""
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator=ending).writerows([head, *rows])
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def fill_in(path, verdicts):
    """Write verdicts ({id: a word for each criterion}) into a sheet as a spreadsheet would."""
    sheet = pd.read_csv(path, dtype=str, keep_default_na=False)
    for criterion, words in zip(
        roles.CRITERIA, zip(*(verdicts(i) for i in sheet.id), strict=True), strict=True
    ):
        sheet[criterion] = words
    sheet.to_csv(path, index=False)


def test_a_review_sheet_is_a_random_sample_in_two_forms(tmp_path):
    frame = roles.role_table(SAMPLES)
    sheet = roles.review_sheet(frame, tmp_path / "new" / "review", 7, seed=1)
    table = pd.read_csv(tmp_path / "new" / "review.csv", keep_default_na=False)
    assert list(table) == [
        "id",
        "question",
        "expert",
        "brings",
        "request",
        *roles.CRITERIA,
        "notes",
    ]
    assert table.id.tolist() == sheet.id.tolist() and table.id.nunique() == 7
    assert table.merge(frame, on=["id", "question", "expert", "brings", "request"]).shape[0] == 7
    assert set(table[[*roles.CRITERIA, "notes"]].to_numpy().ravel()) == {""}
    assert (tmp_path / "new" / "review.csv").read_bytes().startswith(b"\xef\xbb\xbf"), (
        "spreadsheets want the mark"
    )
    page = (tmp_path / "new" / "review.html").read_text()
    assert page.count("<article") == 7 and all(f"data-id='{i}'" in page for i in sheet.id)


def test_the_seed_chooses_the_sample_and_a_small_table_is_taken_whole(tmp_path):
    frame = roles.role_table(SAMPLES)
    ids = [roles.review_sheet(frame, tmp_path / "a", 9, seed).id.tolist() for seed in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]
    assert sorted(roles.review_sheet(frame.head(3), tmp_path / "b", 9).id) == sorted(frame.id[:3])


def test_a_filled_in_sheet_is_read_back(tmp_path):
    sheet = roles.review_sheet(roles.role_table(SAMPLES), tmp_path / "review", 12)
    bad = sheet.id[3]
    fill_in(tmp_path / "review.csv", lambda i: ["y", "n", "y", "y", "n"] if i == bad else PASS)
    read = roles.read_sheet(tmp_path / "review.csv")
    assert read.id.tolist() == sheet.id.tolist() and read[~read.passes].id.tolist() == [bad]
    assert read.set_index("id").loc[bad, [*roles.CRITERIA]].tolist() == [
        True,
        False,
        True,
        True,
        False,
    ]


FORMS = ["as filled in", "reordered", "saved by the page", "semicolons", "latin-1", "no table", "one note"]


@pytest.mark.parametrize("form", FORMS)
def test_what_readers_wrote_is_never_lost(tmp_path, form, capsys):
    frame, path = roles.role_table(SAMPLES), tmp_path / "review.csv"
    sheet = roles.review_sheet(frame, tmp_path / "review", 5)
    work = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    work[list(roles.CRITERIA)], work["notes"] = "y", "café"
    if form == "reordered":
        work = work[::-1].assign(more="x")
    if form == "saved by the page":
        work = work[["id", *roles.CRITERIA, "notes"]]
    if form == "one note":
        work[list(roles.CRITERIA)], work["notes"] = "", ["", "", "hm", "", ""]
    separator, encoding = (";" if form == "semicolons" else ","), ("latin-1" if form == "latin-1" else "utf-8")
    path.write_bytes(b"PK\3\4" if form == "no table" else work.to_csv(index=False, sep=separator).encode(encoding))
    before = path.read_bytes()
    for rows, seed in ((5, 0), (5, 0), (4, 0), (5, 1), (5, 1)):
        again = roles.review_sheet(frame, tmp_path / "review", rows, seed)
        same = (rows, seed) == (5, 0) and form not in ("latin-1", "no table")
        assert path.read_bytes() == before and set(sheet) == set(again)
        assert ("kept as it was filled in" in capsys.readouterr().out) == same
        assert again.notes.any() == same and (not same or again.id.tolist() == sheet.id.tolist())
    assert len(list(tmp_path.glob("*.csv"))) == 2, "a blank sheet gives way"


def test_an_empty_sheet_is_not_taken_for_a_filled_in_one(tmp_path, refused):
    sheet = roles.review_sheet(roles.role_table(SAMPLES), tmp_path / "review", 5)
    with refused("review.csv, line ", f"({sheet.id[0]}), column relevant: '' is no verdict"):
        roles.read_sheet(tmp_path / "review.csv")


def test_verdicts_may_be_written_in_several_ways(tmp_path):
    words = dict.fromkeys(("y", "Y", " yes ", "YES", "1", "TRUE", "true"), True)
    words |= dict.fromkeys(("n", "N", "no ", "No", "0", "FALSE"), False)
    for word, means in words.items():
        read = roles.read_sheet(write(tmp_path / "s.csv", ["a", word, *PASS[1:], ""]))
        assert (word, read.relevant[0], read.passes[0]) == (word, means, means)
        assert read.specific[0]


def test_sheets_are_read_as_spreadsheets_save_them(tmp_path):
    note = 'too "wide", not café; no\nreason given\tthere'
    empty = [""] * len(HEAD)
    lines = ["a", *PASS, note], ["b", "n", *PASS[1:], ""], empty, [], empty
    for kind in itertools.product((",", ";", "\t"), ("utf-8", "utf-8-sig"), ("\n", "\r\n")):
        forms = dict(zip(("separator", "encoding", "ending"), kind, strict=True))
        read = roles.read_sheet(write(tmp_path / "s.csv", *lines, **forms))
        assert (kind, *read.id, *read.passes, *read.notes) == (
            kind,
            "a",
            "b",
            True,
            False,
            note,
            "",
        )


def test_a_sheet_with_every_cell_in_quotes_more_columns_and_no_notes(tmp_path):
    head = ";".join(f'"{name}"' for name in ("id", "question", *roles.CRITERIA))
    (tmp_path / "s.csv").write_text(head + '\n"a";"Why, oh why, so,\nand so?"' + ';"y"' * 5)
    read = roles.read_sheet(tmp_path / "s.csv")
    assert list(read) == ["id", *roles.CRITERIA, "notes", "passes"]
    assert (read.id[0], read.notes[0], bool(read.passes[0])) == ("a", "", True)


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        (
            ["b", "y", "y", "maybe", "y", "y", ""],
            (", line 4 (b), column register: 'maybe' is no verdict", "write y or n"),
        ),
        (
            ["b", "y", "y", "y", "y", "", "late"],
            (", line 4 (b), column english: '' is no verdict",),
        ),
        (["b", "y", "y"], (", line 4 (b), column register: '' is no verdict",)),
        (
            ["b", *PASS, "too wide", " too vague"],
            (", line 4: has 8 columns, the first line has 7", "double quotes"),
        ),
        (["a", *PASS, ""], (": a row occurs twice: a",)),
    ],
)
def test_a_bad_row_is_named_with_file_line_and_column(tmp_path, refused, row, parts):
    path = write(tmp_path / "s.csv", ["a", *PASS, "two\nlines"], row)
    with refused(str(path) + parts[0], *parts[1:]):
        roles.read_sheet(path)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", (": no column id, relevant",)),
        (b"hello\nworld\n", (": no column id, relevant", "keep the sheet's first line")),
        (
            ",".join(["id", "relevant", "english"]).encode() + b"\na,y,y\n",
            (": no column specific, register, hides",),
        ),
        (
            ",".join([*HEAD, "english"]).encode() + b"\na,y,y,y,y,y,,y\n",
            (": no column english, or more than one",),
        ),
        (",".join(HEAD).encode() + b"\n", (": the sheet has no rows",)),
        (
            ",".join(HEAD).encode() + b"\na,y,y,y,y,y,caf\xe9\n",
            (": cannot be read as a table", "save it as CSV in UTF-8"),
        ),
        (b"PK\x03\x04\x14\x00\xff\xfe", (": cannot be read as a table", "save it as CSV in UTF-8")),
        (
            ",".join(HEAD).encode() + b'\na,y,y,y,y,y,"never closed\nb,y,y,y,y,y,\n',
            (": cannot be read as a table",),
        ),
    ],
    ids=[
        "empty",
        "no table",
        "no criteria",
        "a column twice",
        "no rows",
        "latin-1",
        "a workbook",
        "an open quote",
    ],
)
def test_a_file_that_is_no_sheet_is_told(tmp_path, refused, content, parts):
    path = tmp_path / "s.csv"
    path.write_bytes(content)
    with refused(str(path) + parts[0], *parts[1:]):
        roles.read_sheet(path)


@pytest.mark.parametrize("name", ["nosuch.csv", "."])
def test_a_missing_sheet_is_told(tmp_path, refused, name):
    with refused(f"{tmp_path / name}: no such review sheet"):
        roles.read_sheet(tmp_path / name)


def sheet_of(**columns):
    """What `read_sheet` gives, with every verdict True but those of `columns`."""
    count = len(next(iter(columns.values())))
    frame = pd.DataFrame(
        {"id": [f"r{i}" for i in range(count)]} | {name: [True] * count for name in roles.CRITERIA}
    )
    frame = frame.assign(**columns, notes="")
    return frame.assign(passes=frame[list(roles.CRITERIA)].all(axis=1))


def test_verdicts_have_shares_with_wilsons_interval():
    table = roles.verdicts(
        sheet_of(relevant=[True] * 8 + [False] * 2, english=[False] + [True] * 9)
    ).set_index("criterion")
    assert list(table.index) == [*roles.CRITERIA, "all"] and set(table.n) == {10}
    expected = dict.fromkeys(roles.CRITERIA, 1) | {"relevant": 0.8, "english": 0.9, "all": 0.7}
    assert table.share.to_dict() == pytest.approx(expected)
    for name, hits in (("relevant", 8), ("english", 9), ("all", 7), ("hides", 10)):
        assert table.loc[name, ["low", "high"]].tolist() == pytest.approx(wilson(hits, 10))


def test_kappa_is_what_the_textbook_says():
    """50 rows: 20 twice yes, 15 twice no, 5 and 10 otherwise: agreement 0.7, by chance 0.5."""
    one = sheet_of(relevant=[True] * 25 + [False] * 25)
    other = sheet_of(relevant=[True] * 20 + [False] * 5 + [True] * 10 + [False] * 15)
    table = roles.between_raters(one, other.sample(frac=1, random_state=0)).set_index("criterion")
    assert table.loc["relevant"].tolist() == pytest.approx([0.7, 0.4, 50])
    assert table.loc["passes"].tolist() == pytest.approx([0.7, 0.4, 50])


KAPPAS = [
    ([True, True, True], [True, True, True], 1, None),
    ([False, False, False], [False, False, False], 1, None),
    ([True, True, True, True], [True, True, False, True], 0.75, 0),
    ([False, False], [True, False], 0.5, 0),
    ([True, True], [False, False], 0, 0),
    ([True, False], [True, False], 1, 1),
    ([True, False], [False, True], 0, -1),
]


def test_kappa_at_its_ends():
    for one, other, same, kappa in KAPPAS:
        table = roles.between_raters(sheet_of(hides=one), sheet_of(hides=other))
        found = table.set_index("criterion").loc["hides"]
        assert found["same verdict"] == same
        assert found.kappa is None if kappa is None else found.kappa == pytest.approx(kappa)


def test_an_undefined_kappa_is_null_in_the_artefact(tmp_path):
    one, other = sheet_of(hides=[True, False, True]), sheet_of(hides=[True, False, False])
    write_json(tmp_path / "stage.json", roles.between_raters(one, other).to_dict("records"))
    assert "NaN" not in (tmp_path / "stage.json").read_text()
    kappas = {
        row["criterion"]: row["kappa"] for row in json.loads((tmp_path / "stage.json").read_text())
    }
    assert kappas["relevant"] is None and kappas["hides"] == pytest.approx(0.4)


def test_readings_are_set_side_by_side_and_reported():
    one, other = sheet_of(hides=[True, False, True]), sheet_of(hides=[True] * 3)
    passed = roles.rows_that_pass({"first": [one, other]})
    assert passed.reading.tolist() == ["first, rater 1", "first, rater 2"]
    assert passed.share.tolist() == pytest.approx([2 / 3, 1])
    agreed = roles.rater_agreement({"first": [one, other]})
    assert agreed.loc["hides", ("first", "same verdict")] == pytest.approx(2 / 3)
    record = roles.rater_metrics([one, other])
    assert len(record["reviews"]) == 2 and record["between_readers"][0]["n"] == 3
    assert roles.rater_metrics([one])["between_readers"] is None
    assert roles.rater_metrics([])["reviews"] == []


def test_the_report_has_the_chapters_figures():
    measured = {
        "roles": 4,
        "distinct experts": 3,
        "finds its question among all": 0.5,
        "finds its question among 100": 0.9,
        "the same, shuffled": 0.01,
    }
    metrics = {
        "reference": measured,
        "compared": {"reference": measured, "live": measured},
        "fits": "3 of 4",
        "chance": "0 of 4",
        "lima_role": {"rows": 1030, "matched": 1029, "measures": measured},
    }
    told = roles.roles_report(metrics, 2, [sheet_of(hides=[True])])
    assert "Of 4 reference roles, **3** name" in told and "**3 of 4** find" in told
    assert "small model wrote live, 2 do among themselves, of the reference roles for the same samples 2." in told
    assert "1,030 roles; of the 1,029 that were matched" in told and "90% find" in told and "shuffled: 1%" in told
    assert "live, none do" in roles.roles_report(metrics | {"compared": {}}, 0, [])


def test_readers_are_compared_on_common_rows_only(refused):
    one, other = sheet_of(hides=[True, False, True, False]), sheet_of(hides=[True, True])
    assert set(roles.between_raters(one, other).n) == {2}
    with refused("no row in common", "give both raters the same sheet"):
        roles.between_raters(one, other.assign(id=["x", "y"]))


# The sheet in a browser


@pytest.fixture
def page(browser, tmp_path):
    """An opened sheet of three roles: mark-up, SQL that holds the page's own names, a plain one."""
    markup = "Is <b>5 < 6</b> && \"x\" ' y?\n\n<script>document.title = 'taken over'</script>"
    sql = "SELECT COUNT(*) FROM CARDS JOIN NAMES;"
    rows = [
        sample("'\"<&", turns=(markup, "So.")),
        sample("sql", turns=(sql, "So.")),
        sample("plain", expert="a <i>cook</i>"),
    ]
    sheet = roles.review_sheet(roles.role_table(rows), tmp_path / "review", 3)
    page, troubles = browser.new_page(viewport={"width": 390, "height": 800}), []
    page.on(
        "console",
        lambda message: troubles.append(message.text) if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto((tmp_path / "review.html").as_uri())
    page.sheet = sheet
    yield page
    page.close()
    assert troubles == []


def judge(page, number, *words):
    for name, word in zip(roles.CRITERIA, words, strict=False):
        page.locator("article").nth(number).locator("tr", has_text=name).get_by_text(
            word, exact=True
        ).click()


def save(page, path):
    with page.expect_download() as download:
        page.get_by_role("button", name="Save").click()
    assert download.value.suggested_filename == "review.csv"
    download.value.save_as(path)
    return path


def test_the_page_shows_every_role_as_it_is(page):
    assert page.title() == "Review sheet"
    assert page.locator("article .q").all_inner_texts() == page.sheet.question.tolist()
    for text, row in zip(
        page.locator("article").all_inner_texts(), page.sheet.itertuples(), strict=True
    ):
        assert all(
            part in text for part in (row.expert, row.brings, row.request, *roles.CRITERIA.values())
        )
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 1


def test_the_counter_moves_when_all_criteria_of_a_row_are_judged(page):
    counter = page.locator("#count")
    assert counter.inner_text() == "0 of 3"
    judge(page, 0, *PASS[:-1])
    assert counter.inner_text() == "0 of 3"
    judge(page, 0, *PASS)
    assert counter.inner_text() == "1 of 3"
    judge(page, 2, *"ynyny")
    assert counter.inner_text() == "2 of 3"
    judge(page, 2, *"nnnnn")
    assert counter.inner_text() == "2 of 3", "a verdict can be changed"


def test_a_sheet_filled_in_by_clicks_is_saved_and_read_back(page, tmp_path):
    judge(page, 0, *PASS)
    judge(page, 1, *"ynyyy")
    judge(page, 2, *"yyyyn")
    page.locator(".notes").nth(1).fill('fits "any" question, everywhere; n')
    read = roles.read_sheet(save(page, tmp_path / "saved.csv"))
    assert read.id.tolist() == page.sheet.id.tolist()
    assert read.passes.tolist() == [True, False, False]
    assert (read.specific.tolist(), read.english.tolist()) == (
        [True, False, True],
        [True, True, False],
    )
    assert read.notes.tolist() == ["", 'fits "any" question, everywhere; n', ""]


def test_a_sheet_saved_half_done_names_what_is_missing(page, tmp_path, refused):
    judge(page, 0, *PASS)
    judge(page, 1, "y", "y")
    judge(page, 2, *PASS)
    with refused(f"saved.csv, line 3 ({page.sheet.id[1]}), column register: '' is no verdict"):
        roles.read_sheet(save(page, tmp_path / "saved.csv"))
