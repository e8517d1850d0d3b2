"""Reading a number (chapter 5)."""

import re
from fractions import Fraction

from .candidates import AMBIGUOUS, STATED, Candidate, answer_candidates, resolve

SMALL = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
         "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
         "nineteen")
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
WORDS = {word: i for i, word in enumerate(SMALL)}
WORDS |= {word: 10 * i for i, word in enumerate(TENS, 2)}
LONGEST = 40  # characters of a number
HALVES = {"\u00bd": "1/2", "\u00bc": "1/4", "\u00be": "3/4"}

# A number as replies write it; tried in this order, so that "2 1/2" is not read as 2.
DIGITS = r"""
    (?<![\w.]) (?:-\s?)?               # not behind a letter, digit or point; perhaps with a sign
    (?: \d{1,3} (?:,\d{3})+ (?!\d)     # 1,200
      | \d+ )?                         # 1200; or nothing before the point, as in .5
    (?: \.\d+ | (?<=\d) )              # what is behind the point
    (?: e[+-]?\d+\b )?                 # 1.5e3
"""
IN_WORDS = rf"\b (?: (?:{'|'.join(TENS)}) - )? (?:{'|'.join(WORDS)}) \b"  # twenty-five
NUMBER = re.compile(rf"""(?ix)
    (?<![\w.])
    (?: \d+[ ]\d+/\d+                  # 2 1/2
      | -?\d+/\d+ (?!/)                # 3/4, but no date
      | {DIGITS}
      | {IN_WORDS} )
""")
# What may stand between "the answer is" and the number.
UNIT = r"(?:Rs\.?|USD|EUR|[€£¥₹])"
LEAD = re.compile(
    r"(?i)(?:about|approximately|roughly|around|only|just|exactly|a total of|\w\s*="
    rf"|{UNIT}|[\s(\['=:])*"
)
# Behind a number: another one that is meant as well ("5 or 6", "5-6", "4:30").
MORE = re.compile(
    r"(?i)\s*(?:-|to|or|/)\s*[€£]?\d|(?:\s*\w+)?\s+(?:and|or)\s+[€£]?\d|:\d|,? (?:maybe|perhaps) \d"
)
SUM = re.compile(r"\s*(?:[-+*/^]|x\b)\s*[\d($€£][^=\n]*")  # behind a number: "+ 5", up to "="
AS_UNIT = re.compile(r"\s*[^\w\s+\-*/=]*(?:\s*[^\W\d][\w/²³]*){0,2}[^\w+\-*/=]*")  # "km per hour."
CUE = re.compile(
    r"(?i)\b(?:so|therefore|thus|hence|total|in all|altogether|leaves|makes|gives|get)\b"
)
OF_LIST = re.compile(r"(?m)^\s*\d{1,2}[.)]\s+(?=[^\W\d])")  # the number of a point in a list
IS = re.compile(r"(?i)\b(?:is|are|was|were|equals)\s+")
IS_LAST = re.compile(IS.pattern + r"[^\d\n]*[\d.,/]+\D*$")
# The end of a reply that was cut off.
HANGING = re.compile(
    r"(?i)(?:[-+*/=,]|\b(?:of|from|the|a|an|by|to|and|with|in|for|is|are|makes|per|plus|minus|then|"
    r"we|each|which|at|on))\s*$"
)
COURTESY = re.compile(r"(?i)(?:let me know|feel free|I hope|please)\b")
OF_SEVERAL = re.compile(r"\d:\d|=[^=]*\band\b[^=]*=|\bnot\b|n't")  # times, two sums, a denial


def canonical_number(text: str) -> str | None:
    """One number in the form in which numbers are compared; None where it is none (chapter 5).

    `1,200.50` becomes `1200.5`, `3/4` becomes `0.75`, `twelve` becomes `12`.
    """
    text = text.strip().lower().replace(",", "").replace("- ", "-")
    if re.fullmatch(r"[a-z]+(?:-[a-z]+)?", text):
        parts = [WORDS.get(part) for part in text.split("-")]
        return None if None in parts else str(sum(parts))
    if len(text) > LONGEST or re.search(r"e[+-]?\d{3}", text):
        return None  # a loop of digits, or a number too large to write out
    try:
        value = sum(Fraction(part) for part in text.split())
    except (ValueError, ZeroDivisionError):
        return None
    if not text:
        return None
    return str(value) if value.denominator == 1 else f"{float(value):.10g}"


def extract_number(text: str, strict: bool) -> str | None:
    """The number that a normalized answer gives (chapter 5).

    Strictly, only one that is stated or stands alone on the first or last line.
    """
    for sign, digits in HALVES.items():
        text = text.replace(sign, digits)
    if re.fullmatch(r"\d{1,3}(?:[ \u00a0\u202f]\d{3})+", text):
        return re.sub(r"\D", "", text)  # 1 200
    lines = _sentences(OF_LIST.sub("", text))
    outer = [*lines[:1], *lines[1:][-1:]]
    alone = [Candidate(got) for line in outer if (got := _alone(line)) is not None]
    found = resolve([*alone, *answer_candidates(text, STATED, _value)], strict)
    return _conclusion(lines) if found is None and not strict else found


def _value(part: str) -> str | None:
    """The number that a text begins with, after a currency or "about"."""
    part = part[LEAD.match(part).end():]
    hit = NUMBER.match(part)
    if not hit:
        unsure = re.match(r"(?i)(?:either|neither|both|between)\b", part)
        return AMBIGUOUS if unsure else None
    rest = part[hit.end():]
    if summed := SUM.match(rest):  # "8 + 5 = 13"
        result = rest[summed.end():]
        return _value(result[1:]) if result.startswith("=") else AMBIGUOUS
    return AMBIGUOUS if MORE.match(rest) else canonical_number(hit[0])


def _alone(line: str) -> str | None:
    """The number of a line that is a number, perhaps with a unit."""
    hit = NUMBER.match(line, LEAD.match(line).end())
    return _value(line) if hit and AS_UNIT.fullmatch(line[hit.end():]) else None


def _conclusion(lines: list[str]) -> str | None:
    """The number that the last sentence with one comes to.

    None where the reply was cut off, or where that sentence names several and marks none.
    """
    if not lines or _cut_off(lines[-1]):
        return None
    with_number = (line for line in reversed(lines) if _numbers(line) and not COURTESY.match(line))
    last = re.sub(r"\([^()]*\d[^()]*\)", "", next(with_number, ""))  # "(3 * 4 + 2)" only explains
    if OF_SEVERAL.search(last):
        return None
    # The number may be marked by standing alone in the sentence, behind its last "=", alone
    # before its first "=", or behind its last "so".
    behind_equals = last.rsplit("=", 1)[-1]
    before_equals = _alone(last.split("=", 1)[0]) or ""
    behind_cue = next((part for part in reversed(CUE.split(last)) if _numbers(part)), "")
    for part in (last, behind_equals, before_equals, behind_cue):
        numbers = set(_numbers(part))
        if len(numbers) == 1:
            return numbers.pop()
        told = {candidate.value for candidate in answer_candidates(part, IS, _value)}
        if len(told) == 1 and IS_LAST.search(part):  # "is 12", with nothing behind it
            return told.pop() or None
    return None


def _cut_off(line: str) -> bool:
    """Whether the last line of a reply stops in the middle of a sentence."""
    ended = re.search(r"[.!?)]\s*$", line)
    return bool(HANGING.search(line)) or not (_numbers(line) or ended)


def _numbers(text: str) -> list[str]:
    found = (canonical_number(hit[0]) for hit in NUMBER.finditer(text))
    return [number for number in found if number is not None]


def _sentences(text: str) -> list[str]:
    parts = re.split(r"(?<=[.!?])\s+|\n+", text)
    return [part.strip() for part in parts if part.strip()]
