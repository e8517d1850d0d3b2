"""Reading a number (chapter 5)."""

import re
from fractions import Fraction

from .claims import SEVERAL, STATED, Claim, claims, settled

SMALL = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
         "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
WORDS = {word: i for i, word in enumerate(SMALL)} | {word: 10 * i for i, word in enumerate(TENS, 2)}
LONGEST = 40  # characters of a number
HALVES = {"\u00bd": "1/2", "\u00bc": "1/4", "\u00be": "3/4"}
DIGITS = r"(?<![\w.])(?:-\s?)?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?:\.\d+|(?<=\d))(?:e[+-]?\d+\b)?"
IN_WORDS = rf"\b(?:(?:{'|'.join(TENS)})-)?(?:{'|'.join(WORDS)})\b"
NUMBER = re.compile(rf"(?i)(?<![\w.])(?:\d+ \d+/\d+|-?\d+/\d+(?!/)|{DIGITS}|{IN_WORDS})")
UNIT = r"(?:Rs\.?|USD|EUR|[€£¥₹])"
LEAD = re.compile(rf"(?i)(?:about|approximately|roughly|around|only|just|exactly|a total of|\w\s*=|{UNIT}|[\s(\['=:])*")
MORE = re.compile(r"(?i)\s*(?:-|to|or|/)\s*[€£]?\d|(?:\s*\w+)?\s+(?:and|or)\s+[€£]?\d|:\d|,? (?:maybe|perhaps) \d")
SUM = re.compile(r"\s*(?:[-+*/^]|x\b)\s*[\d($€£][^=\n]*")
CUE = re.compile(r"(?i)\b(?:so|therefore|thus|hence|total|in all|altogether|leaves|makes|gives|get)\b")
OF_LIST = re.compile(r"(?m)^\s*\d{1,2}[.)]\s+(?=[^\W\d])")
IS = re.compile(r"(?i)\b(?:is|are|was|were|equals)\s+")
IS_LAST = re.compile(IS.pattern + r"[^\d\n]*[\d.,/]+\D*$")
HANGING = re.compile(r"(?i)(?:[-+*/=,]|\b(?:of|from|the|a|an|by|to|and|with|in|for|is|are|makes|per|plus|minus|then|we|each|"
                     r"which|at|on))\s*$")
COURTESY = re.compile(r"(?i)(?:let me know|feel free|I hope|please)\b")


def canonical(text: str) -> str | None:
    """One number as it is compared: `1,200.50` as `1200.5`, `3/4` as `0.75`, `twelve` as `12`; None where it is none."""
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
    return None if not text else str(value) if value.denominator == 1 else f"{float(value):.10g}"


def number(text: str, strict: bool) -> str | None:
    """The number that a tidy answer gives; strictly, one that is stated or stands alone on its first or last line."""
    for sign, digits in HALVES.items():
        text = text.replace(sign, digits)
    if re.fullmatch(r"\d{1,3}(?:[ \u00a0\u202f]\d{3})+", text):
        return re.sub(r"\D", "", text)
    lines = _sentences(OF_LIST.sub("", text))
    alone = [Claim(got) for line in [*lines[:1], *lines[1:][-1:]] if (got := _alone(line)) is not None]
    found = settled([*alone, *claims(text, STATED, _value)], strict)
    return _concluded(lines) if found is None and not strict else found


def _value(part: str) -> str | None:
    """The number that a text begins with, after a currency or "about"."""
    part = part[LEAD.match(part).end():]
    hit = NUMBER.match(part)
    if not hit:
        return SEVERAL if re.match(r"(?i)(?:either|neither|both|between)\b", part) else None
    rest = part[hit.end():]
    if summed := SUM.match(rest):  # "8 + 5 = 13"
        result = rest[summed.end():]
        return _value(result[1:]) if result.startswith("=") else SEVERAL
    return SEVERAL if MORE.match(rest) else canonical(hit[0])


def _alone(line: str) -> str | None:
    """The number of a line that is a number, perhaps with a unit."""
    start = LEAD.match(line).end()
    hit = NUMBER.match(line, start)
    if not hit or not re.fullmatch(r"\s*[^\w\s+\-*/=]*(?:\s*[^\W\d][\w/²³]*){0,2}[^\w+\-*/=]*", line[hit.end():]):
        return None
    return _value(line)


def _concluded(lines: list[str]) -> str | None:
    """The number that the last sentence with one comes to; none where the reply was cut off, or it names several."""
    if not lines or HANGING.search(lines[-1]) or (not _found(lines[-1]) and not re.search(r"[.!?)]\s*$", lines[-1])):
        return None
    last = next((line for line in reversed(lines) if _found(line) and not COURTESY.match(line)), "")
    last = re.sub(r"\([^()]*\d[^()]*\)", "", last)
    if re.search(r"\d:\d|=[^=]*\band\b[^=]*=|\bnot\b|n't", last):
        return None
    for part in (last, last.rsplit("=", 1)[-1], _alone(last.split("=", 1)[0]) or "",
                 next((part for part in reversed(CUE.split(last)) if _found(part)), "")):
        found, is_said = set(_found(part)), {claim.value for claim in claims(part, IS, _value)}
        if len(found) == 1 or (len(is_said) == 1 and IS_LAST.search(part)):
            return (found if len(found) == 1 else is_said).pop() or None
    return None


def _found(text: str) -> list[str]:
    return [value for hit in NUMBER.finditer(text) if (value := canonical(hit[0])) is not None]


def _sentences(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n+", text) if part.strip()]
