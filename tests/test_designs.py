"""Prompt designs: what was written is read back; other replies have a defined outcome."""

import itertools

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from selfprompt_lib import profiles
from selfprompt_lib.designs import DESIGNS, Design, ParsedReply, get_design, neutral_text
from selfprompt_lib.lima_role import read_role_entries
from selfprompt_lib.rows import STARTER_FOLDER, Role, Sample, read_rows
from selfprompt_lib.tasks.extraction import strip_role

WITH_ROLES = [design for design in DESIGNS.values() if design.writes_first]
LINE_BREAKS = "\n\r\t\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029"
NASTY = ["", "\n", "\n\n", " ", "{expert}", "{", "}", "%s", "\\n\\n"]
NASTY += ["\u200b", "\ufeff", "e\u0301", "👩‍🏫", "א‏ب", "\0"]

anything = st.text() | st.text(alphabet=LINE_BREAKS + " a.") | st.sampled_from(NASTY)
filled = anything.filter(lambda text: text.split() != [])
roles = st.builds(Role, expert=filled, brings=filled, request=filled)
some_design = st.sampled_from(WITH_ROLES)
openings = st.sampled_from([design.opening for design in WITH_ROLES])
# Plain answers, answers that begin with blank lines, and answers that themselves begin like a role.
answers = st.one_of(
    anything,
    st.builds(str.__add__, st.text(alphabet=LINE_BREAKS, max_size=4), anything),
    st.builds(str.__add__, openings, anything),
    st.builds(
        lambda design, role, answer: design.write(role, answer), some_design, roles, anything
    ),
)
NURSE = Role(expert="a night nurse", brings="Long shifts teach calm.", request="explain fever")


def test_the_designs_of_the_book():
    assert list(DESIGNS) == [
        "from-now-on", "first-person", "third-person", "title-only", "expert-and-brings",
        "request-only", "system-style", "after-answer", "neutral", "none"]
    assert [name for name in DESIGNS if DESIGNS[name] not in WITH_ROLES] == ["after-answer", "none"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "from-now-on",
            "From now on, you are a night nurse. Long shifts teach calm. "
            "Your task is to explain fever.\n\nRest.",
        ),
        (
            "first-person",
            "I answer as a night nurse. Long shifts teach calm. "
            "My task is to explain fever.\n\nRest.",
        ),
        ("title-only", "Role: a night nurse.\n\nRest."),
        ("none", "Rest."),
    ],
)
def test_how_each_design_writes(name, text):
    assert get_design(name).write(NURSE, "Rest.") == text


@given(some_design, roles, answers)
@example(WITH_ROLES[0], NURSE, WITH_ROLES[0].write(NURSE, "\n\nRest."))
@example(WITH_ROLES[1], Role(expert="{brings}", brings="{", request="}"), "")
@example(
    WITH_ROLES[2],
    Role(expert="a\u2028\n\nb\x85\n\nc", brings="d", request="e"),
    "\n\n\u2029\r\n\r\n",
)
def test_what_was_written_is_read_back(design, role, answer):
    assert design.read(design.write(role, answer)) == ParsedReply(
        design.role_text(role), answer, "role"
    )


@given(some_design, roles, answers)
def test_a_role_of_one_design_is_no_role_of_another(design, role, answer):
    reply = design.write(role, answer)
    for other in WITH_ROLES:
        if other.opening != design.opening:
            assert other.read(reply) == ParsedReply(None, reply, "missing")


@given(roles, answers)
def test_none_writes_and_reads_only_the_answer(role, answer):
    none = get_design("none")
    assert none.role_text(role) == ""
    assert none.write(role, answer) == answer
    assert none.read(answer) == ParsedReply(None, answer, "missing")


@given(some_design, answers)
@example(WITH_ROLES[2], " Role: a nurse.\n\nRest.")
@example(WITH_ROLES[2], "role: a nurse.\n\nRest.")
@example(WITH_ROLES[2], "Role:")
def test_a_reply_that_does_not_begin_like_a_role_is_missing(design, reply):
    assume(not reply.startswith(design.opening))
    assert design.read(reply) == ParsedReply(None, reply, "missing")


@given(some_design, anything)
@example(WITH_ROLES[0], "")
@example(WITH_ROLES[0], "a nurse.\nThen one line break only")
def test_a_role_that_never_ends_is_broken(design, rest):
    assume("\n\n" not in rest)
    reply = design.opening + rest
    assert design.read(reply) == ParsedReply(reply, "", "broken")


@given(some_design, st.text(st.characters(exclude_categories=[])) | answers)
def test_reading_never_raises_and_loses_nothing(design, reply):
    read = design.read(reply)
    parts = {
        "role": (read.role, "\n\n", read.answer),
        "missing": (read.answer,),
        "broken": (read.role,),
    }
    assert "".join(parts[read.outcome]) == reply


@given(filled)
@example("  a \r\n\n night\u2028\u2029nurse\x85 ")
def test_a_role_is_one_paragraph(text):
    role = Role(expert=text, brings=text, request=text)
    assert role.expert == role.brings == role.request == " ".join(text.split())
    assert len(f"x{role.text}x".splitlines()) == 1


def test_a_role_needs_text_in_every_field():
    for field, empty in itertools.product(NURSE.model_dump(), ("", " \n\u2028\x85 ", None, 7)):
        with pytest.raises(ValidationError, match=field):
            Role(**(NURSE.model_dump() | {field: empty}))


def test_the_opening_is_the_fixed_start():
    assert [design.opening for design in WITH_ROLES] == [
        "From now on, you are ", "I answer as ", "An expert, ", "Role: ", "From now on, you are ",
        "Your task is to ", "<role>You are ", "What follows is "]
    assert Design("shout", "HEAR: {expert}!").opening == "HEAR: "


def test_an_unknown_design_is_refused_with_those_that_exist(refused):
    with refused("unknown design 'from-then-on'", "from-now-on, first-person", "neutral, none, plan", "a .yaml file of your own"):
        get_design("from-then-on")


@given(roles)
def test_the_neutral_paragraph_is_as_long_as_the_role_and_says_nothing_of_it(role):
    text, length = get_design("neutral").role_text(role), len(get_design("from-now-on").role_text(role))
    assert len(text) <= length or length > len(neutral_text()) and text == neutral_text()
    assert text.startswith(get_design("neutral").opening) and text.endswith(".") and not text.endswith("..")
    kept = text.removesuffix(".")
    assert neutral_text().startswith(kept) and not neutral_text()[len(kept)].isalnum(), "it ends with a whole word"
    assert text == get_design("neutral").role_text(Role(expert="x" * (length - 43), brings="y", request="z"))


def test_neutral_paragraphs_match_the_lengths_of_the_roles_that_models_are_trained_on():
    """The text is long enough for each of them."""
    starter = [sample.role for sample in read_rows(STARTER_FOLDER / "train.jsonl", Sample)]
    for role in [*starter, *read_role_entries()]:
        length = len(get_design("from-now-on").role_text(role))
        assert length - 20 < len(get_design("neutral").role_text(role)) <= length


def test_the_neutral_text_addresses_nobody():
    words = neutral_text().lower().split()
    assert 120 <= len(words) <= 200 and not {"you", "your", "i", "expert", "role"} & set(words)


def test_a_design_behind_the_answer_is_read_back():
    last, first = get_design("after-answer"), get_design("from-now-on")
    turn = last.write(NURSE, "Rest.\n\nDrink.")
    assert turn == "Rest.\n\nDrink.\n\n" + first.role_text(NURSE)
    assert last.read(turn) == ParsedReply(first.role_text(NURSE), "Rest.\n\nDrink.", "role")
    assert last.read("Rest.\n\nDrink.") == ParsedReply(None, "Rest.\n\nDrink.", "missing")
    assert not last.writes_first


def test_a_design_of_ones_own_is_one_file(tmp_path):
    path = tmp_path / "as-a-friend.yaml"
    path.write_text('template: "As a friend who is {expert}: {brings}"\nreader: first-paragraph\n')
    mine = get_design(str(path))
    assert mine.write(NURSE, "Rest.") == "As a friend who is a night nurse: Long shifts teach calm.\n\nRest."
    assert mine.read(mine.write(NURSE, "Rest.")).answer == "Rest." and mine.name == "as-a-friend"
    profile = profiles.load("smoke", {"design": str(path), "ablate.designs": ["none", str(path)]})
    assert profile.design == str(path)


@pytest.mark.parametrize("template", ["|\n  As {{a}} {expert}.\n", '"  As {{a}} {expert}. "'])
def test_space_around_a_template_is_no_part_of_it(tmp_path, template):
    path = tmp_path / "mine.yaml"
    path.write_text(f"template: {template}\nreader: first-paragraph\n")
    mine = get_design(str(path))
    assert mine.read(mine.write(NURSE, "Rest.")) == ParsedReply("As {a} a night nurse.", "Rest.", "role")
    assert strip_role(mine.write(NURSE, "Rest."), str(path)) == "Rest."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('template: "As {expert}."', "reader: Field required"),
        ('template: "As {expert}."\nreader: regex', "reader: Input should be 'first-paragraph'"),
        ('template: "{expert}."\nreader: first-paragraph', "begin it with words of its own"),
        ('template: "As an expert."\nreader: first-paragraph', "begin it with words of its own"),
        ('template: "As {name}."\nreader: first-paragraph', "its fields are {expert}"),
        ('template: "As {expert"\nreader: first-paragraph', "its fields are {expert}"),
        ('template: "As\\n{expert}"\nreader: first-paragraph', "line break"),
        ('template: "As {expert.name}."\nreader: first-paragraph', "its fields are {expert}"),
        ('template: "As {expert[0]}."\nreader: first-paragraph', "its fields are {expert}"),
        ('template: "As {expert!r}."\nreader: first-paragraph', "its fields are {expert}"),
        ('template: "As {expert:>9}."\nreader: first-paragraph', "its fields are {expert}"),
        ('template: "As {}."\nreader: first-paragraph', "its fields are {expert}"),
        ('template: "As {expert} for <reason>"\nreader: first-paragraph', "mark of a thought"),
        ("template: 2026-13-45\nreader: first-paragraph", "no YAML (month must be in 1..12)"),
        ("template: [", "no YAML"),
        ("- a\n- b", "valid dictionary"),
    ],
)
def test_a_faulty_design_file_is_refused_by_its_name(tmp_path, refused, text, said):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with refused(str(path), said):
        get_design(str(path))
    with refused(str(tmp_path / "no.yaml"), "no such file"):
        get_design(str(tmp_path / "no.yaml"))
