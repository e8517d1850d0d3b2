"""Numbers as people write them: each is read whole, or not at all (chapter 5).

A numeral is the longest stretch of digits, number words, scales and fractions. It is understood as
one; where that fails its value is None. So "3 million" is never 3, nor "2 1/2" 2.
"""

import math
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from .candidates import plain_characters

SMALL = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
         "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
         "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
WORDS = {word: i for i, word in enumerate(SMALL)}
WORDS |= {word: 10 * i for i, word in enumerate(TENS, 2)}
SCALES = {"hundred": 100, "thousand": 10**3, "lakh": 10**5, "million": 10**6, "crore": 10**7,
          "billion": 10**9, "trillion": 10**12, "dozen": 12}
SHORT = {"k": 10**3, "m": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9, "tn": 10**12}
PARTS = {"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6,
         "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10, "hundredth": 100, "thousandth": 1000}
LONGEST = 40  # characters of a numeral; a longer one is a loop of digits

LETTER = "A-Za-z_\u00c0-\u052f"
WORD, DIGIT, SCALE, PART = map("|".join, (WORDS, SMALL[:10], SCALES, PARTS))
END = rf"(?![{LETTER}\d])"
# Digits with all that may stand between them; `_digits` says what it means.
RUN = r"(?:\d+(?:[.,'_]\d+|(?<!\d{4})\ \d{3}(?!\d))*|\.\d+)"
ATOM = re.compile(rf"""(?ix)
    (?P<power> (?:(?P<times>{RUN})\s?[x*]\s?)? 10\s?(?:\^|\*\*)\s?\(?(?P<ten>[+-]?\d+)\)? )
  | (?P<ratio> \d+(?:/\d+)+ )
  | (?: (?P<count>an?|{'|'.join(SMALL)})[ -] )? (?P<part>{PART})(?P<many>s)?{END}
  | (?P<digits> {RUN}(?:e[+-]?\d+)? ) (?: (?P<short>k|mn|bn|tn|(?-i:[MB])){END} )?
  | (?P<word>{WORD}){END} (?:\s+point(?P<decimals>(?:\ (?:{DIGIT}){END})+))?
  | (?P<article>an?[ -])? (?: (?P<scale>{SCALE})s? | (?P<scale2>(?-i:k)|mn|bn|tn) ){END}
""")
JOIN = re.compile(rf"(?i)(?P<plus>\s+and\s+|-and-)|(?P<comma>,\s+)(?=(?:{WORD}) hundred)"
                  rf"|(?P<of>\s+of\s+a\s+)(?=(?:{SCALE})\b)|\s+|-|(?=[a-z])")
START = re.compile(rf"""(?ix)
    (?<![{LETTER}\d.,]) (?<!\d') (?<![{LETTER}][-^])
    (?P<sign> [-+](?=\S) | (?:^|(?<=[=(:]\ ))[-+]\s | (?:minus|negative)\s+ )?
    (?= \.?\d | (?:an?[ -])?(?:{SCALE}){END} | an?[ -](?:{PART}){END} | (?:{WORD}|half){END} )
""")
MONTH = r"(?:Jan|Feb|Mar|Apr|May|June?|July?|Aug|Sept?|Oct|Nov|Dec)[a-z]*\.?"
# In front of a numeral that is only a part: of a root, a power, a bound, a date, a time.
BEFORE = re.compile(rf"(?:[√∛^<>±]|/\s*\(?|\b[b-z]\s*[-+*/]"
                    rf"|\b(?:than|between|few|several|twice|thrice|double|triple|{MONTH}"
                    r"|(?i:half|quarter) (?:past|to))"
                    r"|\b(?:(?:sqrt|log|ln|sin|cos|tan)\s?\(?|[CP]\s?\())\s*\Z")
# A pair or an absolute value, and no decimal comma or sign: "5,6)" of "(5,6)", "-5|" of "|-5|".
PAIR = re.compile(r"[-+]?(?![1-9]\d{0,2},\d{3}\b)\d+,\d+[)\]\\]|-[\d.,]+\|")
# Behind one: it is a part, or no plain number. These are words and marks, and no rule, as a unit
# ("kg", "apples") may be any word: what is missing here is read as one.
BEHIND = re.compile(rf"""(?x)
    # a factorial, a variable, a root, a power, a product, LaTeX
    !(?=\s*[=+*/.,)]|\s+[a-z]) | (?:[abeinqrxyz]|[abxyz]{{2}}){END} | \s?[√∛π±^] | \s?\\[a-z] | \(\d
  | \s+(?:less|fewer|more)\s+than\s+(?:\d|(?i:{WORD}){END})
  | \s(?:squared|cubed|to\ the\ (?:power|\d)|(?:over|choose|mod|upon|vs\.?)\ \d)
    # more digits: of a ratio, a time, an index, a sum, a range, a repeating decimal, another base
  | \s?[:/]\s?\d | [_\d] | [.,]\d | \+(?!\s*[\d(]) | \s*%?\s*[-~]\s*(?:\d|(?i:{WORD}){END})
  | \.?\\overline | \.\(\d | \s(?:repeating|odd{END}) | [xbhCP][\dA-F] | m\d\d
  | -(?:in|to)-(?:\d|(?i:{WORD}){END}) | \s(?i:past){END}
    # an ordinal, a date, "two-something", "tenish"
  | \s(?i:twelf|\w+teen|\w+tie)ths?{END} | (?:st|nd|rd|th)?(?:\s+of)?\s+{MONTH}{END}
  | -(?:first|second|odd|something|ish)\b | ish\b
    # a fraction or scale that does not go with it, and scales that are not known here
  | [\s-]+(?:{PART}|{SCALE})s?{END} | \s[KMB]{END} | \s?(?:MM|T|Cr|cr|[Rr]\ ?\d){END}
  | \s+(?i:mil\w*(?:on|ard|oe)\w*|mio|mrd|mln|mill?e?|tausend){END}
  | \s(?i:quadr\w+|quint\w+|grand|score|gross|tens|halves|bil|trn|thou\w*|tsd|ribu|juta|mila){END}
  | \s?[十百千万萬亿億兆만억천] | \s(?:тыс|млн|млрд|милли|लाख|ह[ज़जा]|करोड़)
""")


class Numeral(NamedTuple):
    """A numeral's place in a text; its value as `canonical_number` writes it, or None."""

    start: int
    end: int
    value: str | None


def canonical_number(text: str) -> str | None:
    """One number in the form in which numbers are compared; None where it is none (chapter 5).

    `1,200.50` becomes `1200.5`, `3/4` becomes `0.75`, `two dozen` becomes `24`.
    """
    text = plain_characters(text).replace("$", " ").strip()
    if re.fullmatch(rf"[+-]?\d{{1,{LONGEST}}}\.\d{{1,{LONGEST}}}", text):
        return _written(Fraction(text))  # of a program: "12.500" is no twelve thousand
    whole = numeral_at(text)
    return whole.value if whole and whole.end == len(text) else None


def numerals(text: str) -> Iterator[Numeral]:
    """All numerals of a text with plain characters (chapter 5)."""
    end = 0
    for start in START.finditer(text):
        if start.start() >= end:
            yield (found := _read(text, start))
            end = found.end


def numeral_at(text: str) -> Numeral | None:
    """The numeral that a text with plain characters begins with (chapter 5)."""
    start = START.match(text)
    return _read(text, start) if start else None


def _read(text: str, start: re.Match) -> Numeral:
    total, end = _Sum(), start.end()
    join, atom = None, ATOM.match(text, end)
    while atom and total.takes(atom, join):
        end = atom.end()
        join = JOIN.match(text, end)
        atom = join and ATOM.match(text, join.end())
    before = text[max(0, start.start() - 16): start.start()]
    part = end == start.end() or BEFORE.search(before) or BEHIND.match(text, end)
    part = part or PAIR.match(text, start.start())
    part = part or (text[start.start()] in "aAhH" and re.search(r"\band\s+\Z", before))
    value = total.value
    minus = (start["sign"] or "+")[0] in "-mMnN"
    whole = None if part or value is None else _written(-value if minus else value)
    return Numeral(start.start(), max(end, start.end() + 1), whole)


class _Sum:
    """What the atoms of a numeral come to, one after the other.

    "Two hundred and five thousand" has four atoms, and after each of them the sum holds:

        atom            value  group  room  scale
        two                 2      2     0    inf
        hundred           200    200   100    inf
        and five          205    205     0    inf
        thousand      205,000      0  1000   1000

    Behind it a smaller number may follow ("and six"), and no scale of a thousand or more.
    """

    def __init__(self) -> None:
        self.value: Fraction | None = Fraction(0)
        self.group = Fraction(0)  # what the next scale multiplies
        self.room: float = math.inf  # the next atom must be smaller: 10 behind "twenty"
        self.scale: float = math.inf  # the next scale must be smaller

    def takes(self, atom: re.Match, join: re.Match | None) -> bool:
        """Add an atom, unless it does not go on with the numeral or that has no value."""
        if self.value is None:
            return False
        if scale := atom["scale"] or atom["scale2"]:
            return self._multiply((SCALES | SHORT)[scale.lower()], join, atom["article"])
        value = _atom_value(atom)
        if join and not self._goes_on(atom, join, value):
            return False
        self.room = 10 if atom["word"] and value and value >= 20 and value % 10 == 0 else 0
        self._add(value)
        return True

    def _goes_on(self, atom: re.Match, join: re.Match, value: Fraction | None) -> bool:
        """Whether an atom belongs to the numeral before it: "five" of "hundred and five"."""
        if atom["ratio"] or atom["part"]:  # 2 1/2, two and a half
            return bool((join["plus"] or atom["ratio"]) and value and value < 1
                        and self.group.denominator == 1 and self.scale == math.inf)
        # "And five", or digits, go behind a hundred; ", two hundred" goes behind a thousand.
        least = 100 if join["plus"] or atom["digits"] else 1000 if join["comma"] else 0
        joined = join[0].isspace() or not atom["digits"]
        return bool(joined and join[0] and self.room >= least and value and value < self.room)

    def _add(self, value: Fraction | None) -> None:
        """Add an atom that is no scale; one whose digits make no sense leaves no value."""
        self.group += value or 0
        self.value = None if value is None else self.value + value

    def _multiply(self, scale: int, join: re.Match | None, article: str | None) -> bool:
        """Multiply the group by a scale, if it can be: "thousand" of "two hundred thousand"."""
        if not join:  # a hundred
            self._add(Fraction(1))
        elif join["plus"] or join["comma"] or ((article or join["of"]) and self.group >= 1):
            return False
        if not 0 < self.group < (100 if scale == 100 else math.inf) or scale >= self.scale:
            return False
        self.value += self.group * (scale - 1)
        if scale == 100:
            self.group *= 100
        else:
            self.group, self.scale = Fraction(0), scale
        self.room = 0 if scale == 12 else scale
        return True


def _atom_value(atom: re.Match) -> Fraction | None:
    """The value of an atom that is no scale; None where its digits make no sense."""
    if atom["power"]:
        times = _digits(atom["times"] or "1")
        return _shifted(times, int(atom["ten"]))
    if atom["ratio"]:
        top, *bottom = map(int, atom["ratio"].split("/"))
        return Fraction(top, bottom[0]) if len(bottom) == 1 and bottom[0] else None
    if atom["part"]:
        count = WORDS.get((atom["count"] or "a").lower(), 1)
        value = Fraction(count, PARTS[atom["part"].lower()])
        plural = atom["many"] or (count > 1 and "-" in atom[0])  # three-quarter miles
        return value if value < 1 and (count > 1) == bool(plural) else None
    if atom["word"]:
        decimals = "".join(str(WORDS[word]) for word in (atom["decimals"] or "").lower().split())
        return Fraction(f"{WORDS[atom['word'].lower()]}.{decimals or 0}")
    run, _, exponent = atom["digits"].lower().partition("e")
    value = _shifted(_digits(run), int(exponent or 0))
    return value and value * SHORT.get((atom["short"] or "").lower(), 1)


def _shifted(value: Fraction | None, ten: int) -> Fraction | None:
    return None if value is None or abs(ten) > LONGEST else value * Fraction(10) ** ten


def _digits(run: str) -> Fraction | None:
    """The value of a run of digits, by how it is grouped; None where that is no way to write one.

    A point alone is a decimal point, as the questions are English; a comma alone is one where it
    cannot group thousands. "12.500" may be either, so it is none.
    """
    grouped = re.fullmatch(r"([1-9]\d{0,2})(?P<mark>[,.' _])(\d{3})((?:(?P=mark)\d{3})*)"
                           r"(?:(?!(?P=mark))[.,](\d+))?", run)
    indian = re.fullmatch(r"([1-9]\d?(?:,\d\d)+,\d{3})(?:\.(\d+))?", run)
    if len(run) > LONGEST or re.fullmatch(r"[1-9]\d{0,2}\.\d\d0", run):
        return None
    if re.fullmatch(r"\d*(?:\.\d+)?", run):
        return Fraction(run)
    if grouped or indian:
        *whole, decimals = (grouped or indian).groups()
        return Fraction(f"{re.sub(r'[^0-9]', '', ''.join(filter(None, whole)))}.{decimals or 0}")
    return Fraction(run.replace(",", ".")) if re.fullmatch(r"\d+,\d+", run) else None


def _written(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value)
    text = f"{float(value):.10g}"
    if "e+" not in text:
        return text
    whole, cents = divmod(round(abs(value) * 100), 100)  # ten digits are too few for this one
    return ("-" if value < 0 else "") + f"{whole}.{cents:02}".rstrip("0").rstrip(".")
