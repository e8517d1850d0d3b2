"""Fields that vary the training data at equal size: which rows they take, and what becomes of them."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfprompt_lib import annotate, profiles, sft, sources, variety
from selfprompt_lib.designs import DESIGNS, get_design
from selfprompt_lib.errors import UserError
from selfprompt_lib.files import write_rows
from selfprompt_lib.rows import STARTER_FOLDER, Role, Sample, read_rows
from selfprompt_lib.strategies import with_texts

STARTER = read_rows(STARTER_FOLDER / "train.jsonl", Sample)
SHARES = st.sampled_from([0.05, 0.1, 0.25, 0.3, 0.5, 0.75, 0.9])


def settings(**fields):
    return profiles.load("smoke", {f"data.{name}": value for name, value in fields.items()})


def training(seed=None, **fields):
    """The training set of the starter data, as chapter 1 makes it."""
    chosen = {f"data.{name}": value for name, value in fields.items()}
    profile = profiles.load("smoke", chosen, seed)
    samples = sources.training_samples(profile)
    sources.check_roles(profile, samples)
    return annotate.training_set(profile, samples, [])


def sample(number, domain="unknown", **fields):
    role = Role(expert=f"expert {number}", brings="They know.", request=f"answer {number}")
    return Sample(**{"id": f"s{number}", "domain": domain, "conversations": (f"Why {number}?", f"Because {number}."),
                     "role": role} | fields)


@st.composite
def samples(draw, least=4):
    """Rows of some domains, in any order."""
    domains = draw(st.lists(st.sampled_from("abc"), min_size=least, max_size=40))
    return [sample(number, domain) for number, domain in enumerate(domains)]


def took(before, after):
    """The places that a change took."""
    return {place for place, (old, new) in enumerate(zip(before, after, strict=True)) if old != new}


CHANGES = {
    "duplicates": variety.add_duplicates,
    "shuffled_roles": lambda rows, share: variety.shuffle_roles(rows, share, 0),
    "without_role": variety.drop_roles,
}


@pytest.mark.parametrize("field", CHANGES)
@given(rows=samples(), shares=st.tuples(SHARES, SHARES).map(sorted))
def test_a_share_takes_that_many_evenly_and_a_larger_one_takes_them_too(field, rows, shares):
    changed = [(share, took(rows, CHANGES[field](rows, share))) for share in shares
               if round(share * len(rows)) >= 2]
    for share, places in changed:
        assert len(places) == round(share * len(rows))
        per_domain, sizes = Counter(rows[place].domain for place in places), Counter(row.domain for row in rows)
        for domain, size in sizes.items():
            assert abs(per_domain[domain] - size * len(places) / len(rows)) <= 1.01
    for (_, small), (_, large) in pairwise(changed):
        assert small <= large


@given(rows=samples(), share=SHARES)
def test_copies_have_new_ids_and_questions_and_the_rest_of_an_original_that_stays(rows, share):
    if not round(share * len(rows)):
        return
    found = variety.add_duplicates(rows, share)
    assert len({row.id for row in found}) == len({row.question for row in found}) == len(rows)
    staying = {row.question: row for row in found if row in rows}
    for row in set(found) - set(staying.values()):
        original = next(own for own in staying.values() if row.id.startswith(f"{own.id}-copy-"))
        assert original.question in row.question and original.answer == row.answer and original.role == row.role


def test_copies_are_of_the_domain_that_they_stand_in_and_do_not_take_an_id_that_is_there():
    found = training(duplicates=0.5, train_rows=None)
    assert [row.domain for row in found] == [row.domain for row in STARTER]
    rows = [sample(0, id="a"), sample(1, id="a-copy-1"), sample(2, id="b"), sample(3, id="b-copy-1")]
    assert len({row.id for row in variety.add_duplicates(rows, 0.5)}) == 4


@given(rows=samples(), seed=st.integers(0, 9), copies=st.booleans())
def test_no_shuffled_role_is_its_own_and_none_is_lost(rows, seed, copies):
    rows = variety.add_duplicates(rows, 0.5) if copies else rows
    if 2 * max(Counter(row.role for row in rows).values()) > len(rows):
        with pytest.raises(UserError, match="have one role"):
            variety.shuffle_roles(rows, 1, seed)
        return
    found = variety.shuffle_roles(rows, 1, seed)
    assert all(old.role != new.role for old, new in zip(rows, found, strict=True))
    assert Counter(row.role for row in rows) == Counter(row.role for row in found)
    of = {row.id: row.role for row in rows}
    assert all(of.get(row.role_of) == row.role or copies for row in found)
    blank = {"role": None, "role_of": None}
    assert [row.model_copy(update=blank) for row in rows] == [row.model_copy(update=blank) for row in found]


def test_who_gets_whose_role_depends_on_the_seed_and_who_gets_another_does_not():
    before = training(train_rows=40)
    one, other = (training(seed=seed, train_rows=40, shuffled_roles=0.3) for seed in (0, 1))
    assert one != other
    assert took(before, one) == took(before, other)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_fewer_domains_at_equal_size(count):
    found = training(domains=count, train_rows=20)
    assert len(found) == 20
    per_domain = Counter(row.domain for row in found)
    assert len(per_domain) == count
    assert max(per_domain.values()) - min(per_domain.values()) <= 1


def test_more_domains_are_those_of_fewer_and_more():
    chosen = [{row.domain for row in sources.training_samples(settings(domains=n, train_rows=20))} for n in range(1, 11)]
    assert all(small < large for small, large in pairwise(chosen))


def test_thinned_experts_are_those_of_samples_and_nothing_else_changes():
    before, found = training(train_rows=60), training(train_rows=60, experts=4)
    experts = {row.role.expert for row in found}
    assert len(experts) == 4 and experts <= {row.role.expert for row in before}
    for old, new in zip(before, found, strict=True):
        assert old.model_copy(update={"role": new.role}) == new
        assert (old.role.brings, old.role.request) == (new.role.brings, new.role.request)
    by_kind = Counter((old.domain, new.role.expert) for old, new in zip(before, found, strict=True))
    assert max(by_kind.values()) > 60 / 10 / 4 * 2  # a domain's samples share an expert more than chance has it


@pytest.mark.parametrize("name", DESIGNS)
def test_a_role_free_sample_is_a_bare_answer_in_every_design(name):
    bare = sft.to_messages(STARTER[0], get_design("none"))
    free = STARTER[0].model_copy(update={"role_free": True})
    assert sft.to_messages(free, get_design(name)) == bare
    if name != "none":
        assert sft.to_messages(STARTER[0], get_design(name)) != bare


def test_copies_and_shuffled_roles_take_along_the_text_of_another_strategy():
    rows = variety.shuffle_roles(variety.add_duplicates(STARTER, 0.25), 0.5, 0)
    texts = with_texts(rows, get_design("plan"), "plan")
    own = {row.id: row.role for row in with_texts(STARTER, get_design("plan"), "plan")}
    assert len(texts) == len(rows)
    assert all(new.role == own[old.role_of or old.id] for old, new in zip(rows, texts, strict=True))
    assert sum(new.role != own.get(new.id) for new in texts) > 100


def test_role_free_is_written_where_it_is_so_and_read_back(tmp_path):
    rows = variety.drop_roles(STARTER[:10], 0.3)
    path = write_rows(tmp_path / "train.jsonl", rows)
    assert read_rows(path, Sample) == rows
    written = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert sum("role_free" in row for row in written) == 3
    assert not rows[0].role_free  # chapters show the first sample


def test_the_audit_takes_bare_answers_for_what_they_are_and_a_training_is_named_by_what_it_learns():
    from selfprompt_lib import models

    profile, design, none = settings(), get_design("from-now-on"), get_design("none")
    sets = [STARTER[:8], variety.drop_roles(STARTER[:8], 0.25), variety.drop_roles(STARTER[:8], 0.5),
            variety.shuffle_roles(STARTER[:8], 0.5, 0), variety.add_duplicates(STARTER[:8], 0.25)]
    assert len({sft.run_name(profile, some, design) for some in sets}) == len(sets)
    assert len({sft.run_name(profile, some, none) for some in sets[:4]}) == 1  # roles are nothing to it
    assert sft.run_name(profile, sets[4], none) != sft.run_name(profile, sets[0], none)
    found = sft.audit(profile, sets[1], design, *models.load(profile.model))
    assert found.good.all()


def test_the_record_counts_what_was_done():
    profile = settings(train_rows=20, domains=2, duplicates=0.2, shuffled_roles=0.5, without_role=0.25)
    rows = sources.training_samples(profile)
    found = annotate.training_set(profile, rows, [])
    assert variety.summarize(profile, rows, found) == {
        "domains": 2, "experts": 16, "copies": 4, "shuffled_roles": 10, "role_free": 5}


def test_live_roles_are_varied_too():
    profile = profiles.load("smoke", {"annotate.train_on": "live", "data.without_role": 0.5, "data.shuffled_roles": 1})
    rows = sources.training_samples(profile)
    sources.check_roles(profile, rows)
    asked = annotate.samples_to_annotate(profile, rows)
    role = STARTER[0].role.model_dump()
    replies = [{"id": row.id, "role": role | {"request": f"answer {row.id}"}} for row in asked]
    found = annotate.training_set(profile, rows, replies)
    assert sum(row.role_free for row in found) == 5
    assert all(row.role.request != f"answer {row.id}" for row in found)


def test_the_same_rows_whatever_the_hash_seed():
    program = ("from selfprompt_lib import profiles, rows, variety\n"
               "p = profiles.load('smoke', {'data.domains': 3, 'data.train_rows': 20, 'data.duplicates': .3,"
               " 'data.shuffled_roles': .5, 'data.without_role': .25})\n"
               "found = variety.only_domains(p, rows.read_rows(rows.STARTER_FOLDER / 'train.jsonl', rows.Sample))\n"
               "print(*variety.vary(p, found[::3]), sep='\\n')")
    printed = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                              env=os.environ | {"PYTHONHASHSEED": seed}).stdout for seed in ("1", "2")]
    assert printed[0] == printed[1] and printed[0].count("\n") == 20


@pytest.mark.parametrize("fields, parts", [
    ({"duplicates": 1}, ["data.duplicates", "less than 1"]),
    ({"without_role": 1}, ["data.without_role", "less than 1"]),
    ({"shuffled_roles": 1.1}, ["data.shuffled_roles", "less than or equal to 1"]),
    ({"shuffled_roles": -0.1}, ["data.shuffled_roles", "greater than or equal to 0"]),
    ({"experts": 0}, ["data.experts", "greater than or equal to 1"]),
    ({"domains": 0}, ["data.domains", "greater than or equal to 1"]),
    ({"domains": 3, "train_rows": None}, ["data.domains", "data.train_rows is null", "set data.train_rows"]),
    ({"experts": 11}, ["data.experts", "11", "data.train_rows, 10"]),
    ({"domains": 11}, ["data.domains: 11", "starter have 10: humanities, language", "set it lower"]),
    ({"domains": 1, "train_rows": 50}, ["data.domains: 1 of starter has 20 samples", "set data.train_rows to 20"]),
    ({"without_role": 0.01}, ["data.without_role: 0.01 of 10 samples is 0", "set it higher"]),
    ({"shuffled_roles": 0.1}, ["data.shuffled_roles: 0.1 of 10 samples is 1, and the least is 2"]),
    ({"experts": 201, "train_rows": None}, ["data.experts: 201", "200 different experts", "200 or lower"]),
    ({"duplicates": 0.9, "shuffled_roles": 1}, ["data.shuffled_roles", "have one role", "data.duplicates lower"]),
])
def test_what_cannot_be_had_is_refused_before_a_run_begins(fields, parts, refused):
    with refused(*parts):
        sources.check_inputs(settings(**fields))


def test_a_plan_names_no_expert(refused):
    with refused("data.experts: 2", "plan writes no experts", "annotate.strategy to role"):
        profiles.load("smoke", {"data.experts": 2, "annotate.strategy": "plan", "design": "plan"})


def test_a_file_without_domains_or_roles_is_refused(jsonl, refused):
    rows = [{"id": n, "conversations": ["q", "a"], "role": STARTER[n].role.model_dump() if n < 3 else None} for n in range(6)]
    path = str(jsonl("mine.jsonl", *rows))
    with refused("data.domains: 1", "they name none", "give each row its domain"):
        sources.check_inputs(settings(train=path, domains=1, train_rows=2))
    with refused("data.domains: 1", "has 3 samples to train on"):
        path = str(jsonl("one.jsonl", *(row | {"domain": "one"} for row in rows)))
        sources.check_inputs(settings(train=path, domains=1, train_rows=4))
    with refused("data.train", "no roles"):
        path = str(jsonl("bare.jsonl", *(row | {"role": None} for row in rows)))
        sources.check_inputs(settings(train=path, experts=2))


def test_fewer_samples_than_asked_are_told_before_the_run(capsys):
    rows = sources.training_samples(settings())
    sources.check_roles(settings(train_rows=len(rows)), rows)
    assert capsys.readouterr().out == ""
    sources.check_roles(settings(train_rows=5000), rows)
    assert capsys.readouterr().out == (
        f"data.train_rows: 5,000 asked; with these settings there are {len(rows)}, and all are taken\n")
