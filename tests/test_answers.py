"""What the readers of answers must hold for every number, option and program, however it is written."""

import re
import unicodedata
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfprompt_lib.tasks import NO_ANSWER
from selfprompt_lib.tasks.extraction import extract_answer
from selfprompt_lib.tasks.numerals import SMALL, TENS, canonical_number

INTEGERS = st.integers(0, 999) | st.integers(0, 10**9 - 1)
SCALES = {" million": 10**6, " billion": 10**9, "k": 1000, " thousand": 1000, " bn": 10**9, " dozen": 12,
          " crore": 10**7, " hundred": 100, "M": 10**6, " lakh": 10**5}  # fmt: skip
FRACTIONS = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
STATED = ["{}", "The answer is {}.", "Answer: {}", "**{}**", "\\boxed{{{}}}", "#### {}", "The answer is about {} kg.",
          "The final answer is {}, because 2 + 2 = 4.", "I add 8 and 5. The answer is {} apples."]  # fmt: skip
TOLD = ["So she has {} apples.", "x = {}", "3 + 4 = {}", "In total, they paid {} in 3 weeks.", "- {} people came",
        "It is {}, or so I think.", "He gave {} to her (2 each).", "Each of the 7 has {}."]  # fmt: skip
BETWEEN = [" to ", "-", "–", " or ", ", ", " and ", ":", " : ", " ± ", " ft ", " hours ", " hours and ", " m by ", " out of ",
           "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}", " dollars, ", " in ", " x ", " × ", " * ", " of ", "√", "^"]  # fmt: skip
OPTIONS = [["a bank", "a library", "a lake", "a mine"], ["12", "15", "18", "24", "None of these"],
           ["25%", "40%", "45%", "60%"], ["oxygen", "carbon", "Both A and B", "Neither A nor B"],
           ["I only", "II only", "I and II only", "I, II and III"], ["C", "N", "O", "H"],
           ["True", "False", "Unknown"],
           ["none", "one", "two", "all"], ["x = 2", "x = -2", "x = 4", "None of the above"], ["+", "-", "*", "?"],
           ["Rs. 500", "Rs. 1,500", "Rs. 2,000", "Cannot be determined"], ["a", "b", "ab", "a or b"],
           ["red", "blue", "green", "white", "black", "grey", "pink", "brown", "I", "you"], ["-1", "0", "1", "i"],
           ["man", "woman", "both", "nobody"], ["3/4", "1/4", "1/2", "Not determinable"]]  # fmt: skip
SILENT = ["", "I cannot answer that.", "I am not sure.", "I, for one, cannot tell.", "A good question!", "A hard one.", "Hmm.",
          "As an AI, I have no opinion.", "Sorry, but I can't help with that.", "Let me think about this.", "So I cannot say.",
          "I think that the answer is", "The answer is", "Answer:", "There is not enough context.",
          "What a question.", "...", "---",
          "n/a", "No option fits.", "Any of the options may be right.", "The answer is not listed.",
          "There are 4 options.",
          "First, we look at each of them.", "Step 1: read the question.", "Is it A?", "A? B? C?", "It isn't B.", "Rule out A.",
          "I would not choose A.", "Don't pick B.", "Some people say A.", "I don't think the answer is B.",
          "A lot of people ask this.",
          "B vitamins are good.", "See section B for details.", "Grade A work.", "Plan A failed.",
          "Let me consider option A first.",
          "If A were right, I would say so.", "Assume B is true.", "A is out.", "Why would A be correct?", "\\boxed{}", "#### ",
          "<answer></answer>", "The answer is (X).", "The answer is 7.", '{"answer": null}', "So a decision is hard.",
          "It is I who asks.", "You and I know that a choice is hard.", "It is a matter of taste.", "I pass.", "答案是。",
          "None of the given texts helps.", "Nothing here is certain.", "A or B, I cannot decide.",
          "Neither is right."]  # fmt: skip


def in_words(number):
    """A number below 10 ** 9 in English words."""
    if number < 20:
        return SMALL[number]
    if number < 100:
        return TENS[number // 10 - 2] + (f"-{SMALL[number % 10]}" if number % 10 else "")
    name, size = next((name, size) for name, size in (("million", 10**6), ("thousand", 1000), ("hundred", 100)) if number >= size)
    rest = number % size
    joined = " and " if name == "hundred" else " "
    return f"{in_words(number // size)} {name}" + (joined + in_words(rest) if rest else "")


def grouped(number, mark):
    return f"{number:,}".replace(",", mark)


def indian(number):
    head, last = divmod(number, 1000)
    pairs = re.sub(r"(?<=\d)(?=(?:\d\d)+$)", ",", str(head))
    return f"{pairs},{last:03}" if head else str(number)


@st.composite
def written(draw):
    """A number as somebody writes it, and its value."""
    whole, sign = draw(INTEGERS), draw(st.sampled_from(["", "", "-", "−", "minus "]))
    style = draw(st.integers(0, 9))
    value = Fraction(whole)
    if style == 0:
        text = draw(st.sampled_from([str, in_words, indian, lambda n: in_words(n).replace("-", " ")]))(whole)
    elif style == 1:
        text = grouped(whole, draw(st.sampled_from(",'’_ \N{NO-BREAK SPACE}\N{THIN SPACE}\N{NARROW NO-BREAK SPACE}")))
    elif style == 2:  # a single point or comma before three digits may mean either
        whole = value = whole + 10**6
        text = grouped(whole, ".") + ",5"
        value += Fraction(1, 2)
    elif style == 3:
        zero = draw(st.sampled_from("0٠۰०০๐０"))
        text = "".join(chr(ord(zero) + int(digit)) for digit in str(whole))
    elif style == 4:
        cents = draw(st.integers(1, 99))
        text = f"{whole}{draw(st.sampled_from('.,'))}{cents:02}"
        value += Fraction(cents, 100)
    elif style == 5:
        part = draw(st.sampled_from(FRACTIONS))
        plain = unicodedata.normalize("NFKC", part).replace("\u2044", "/")
        text = draw(st.sampled_from([f"{whole}{part}", f"{whole} {plain}",
                                     "${}\\frac{{{}}}{{{}}}$".format(whole, *plain.split("/")),
                                     f"{whole} and {plain}", f"{whole}-{plain}"]))  # fmt: skip
        value += Fraction(plain)
    elif style == 6:
        whole = value = whole % 99 + 1
        name = draw(st.sampled_from(list(SCALES)))
        text, value = f"{whole}{name}", Fraction(whole * SCALES[name])
    elif style == 7:
        power, digit = draw(st.integers(-6, 9)), draw(st.integers(1, 99))
        raised = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        times = draw(st.sampled_from([f"×10{raised}", f" x 10^{power}", f"*10**{power}", rf" \times 10^{{{power}}}",
                                      f"e{power}"]))  # fmt: skip
        text, value = f"{digit / 10}{times}", Fraction(digit, 10) * Fraction(10) ** power
    elif style == 8:
        name, part = draw(st.sampled_from([("a half", 1 / 2), ("a quarter", 1 / 4), ("three quarters", 3 / 4)]))
        text, value = f"{in_words(whole % 100)} and {name}", whole % 100 + Fraction(part)
    else:
        text, value = f"{whole / 4:,.2f}", Fraction(Decimal(f"{whole / 4:.2f}"))
    return sign + text, -value if sign else value


def readings(kind, reply, **doc):
    return tuple(extract_answer(kind, how, reply, doc) for how in ("strict", "tolerant"))


@settings(max_examples=300)
@given(number=written(), form=st.sampled_from(STATED))
def test_a_number_in_any_way_of_writing_is_read_whole_where_it_is_stated(number, form):
    text, value = number
    strict, tolerant = readings("number", form.format(text))
    assert tolerant == canonical_number(str(value)) and strict in (tolerant, NO_ANSWER)


@settings(max_examples=300)
@given(number=written(), form=st.sampled_from(TOLD))
def test_a_number_in_any_way_of_writing_is_read_whole_or_not_at_all(number, form):
    text, value = number
    assert set(readings("number", form.format(text))) <= {canonical_number(str(value)), NO_ANSWER}


@settings(max_examples=300)
@given(numbers=st.lists(written(), min_size=2, max_size=2, unique_by=lambda one: one[1]), between=st.sampled_from(BETWEEN),
       form=st.sampled_from(["{}", "The answer is {}.", "\\boxed{{{}}}", "So it is {}."]))  # fmt: skip
def test_of_two_numbers_none_is_read(numbers, between, form):
    reply = form.format(numbers[0][0] + between + numbers[1][0])
    assert readings("number", reply) == (NO_ANSWER, NO_ANSWER)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "|".join(options)[:24])
def test_a_reply_that_names_no_option_is_read_as_none(options):
    named = {reply: found for reply in SILENT if (found := readings("choice", reply, options=options)) != (NO_ANSWER, NO_ANSWER)}
    assert named == {}
