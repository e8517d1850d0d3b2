"""Reading a number (chapter 5)."""

import re

from .candidates import AMBIGUOUS, STATED, Candidate, answer_candidates, resolve
from .numerals import numeral_at, numerals

# What may stand between "the answer is" and the number: "about x = ".
LEAD = re.compile(
    r"(?i)(?:about|approximately|roughly|around|almost|nearly|only|just|exactly|a total of"
    r"|[^\W\d]\w*\s*=|(?:Rs\.?|USD|EUR|GBP|CHF|INR|US)(?![a-z])|[\s(\['=:~])*"
)
# More than one number, or a bound, follows: "between 3 and 5".
UNSURE = re.compile(r"(?i)(?:either|neither|both|between|from|more|less|fewer|over|under)\b|[<>±]")
# Behind a number: it is part of a sum, " * " of "3 * 4".
OPERATOR = re.compile(
    r"(?i) *(?:[-+*/^]|x\b|%? *of\b(?: the)?|plus|minus|times|divided by)[ (]*(?=\S)")
# What a sum comes to follows: "makes".
RESULT = re.compile(r"(?i)=|\b(?:is|equals|makes|gives)\b|\bi\.e\.")
# A unit that another number may follow: "hours" of "2 hours 5 minutes".
MEASURE = (r"(?:['\"°%]|(?:h|hrs?|hours?|mins?|minutes?|s|secs?|seconds?|days?|weeks?|months?"
           r"|years?|ft|feet|foot|yards?|in|inch(?:es)?|miles?|[kcm]?m|k?g|lbs?|pounds?|oz|ounces?"
           r"|dollars?|euros?|degrees?)\b\.?)")
# Another number is meant as well: " or " of "3 or 4", " cats and " of "3 cats and 4 dogs".
MORE = (
    re.compile(rf"(?i) *{MEASURE}? *(?:,? ?(?:or )?(?:maybe|perhaps|possibly)\b|\(or\b|\+/-"
               r"|[,;|&/:±-]|(?:to|or|and|by|in|out of|remainder|vs\.?|through)(?!\w))? *"),
    re.compile(r"(?i)(?: *\w+)? +(?:and|or|to|=) *(?:[^\W\d]\w* *= *)?"),
    re.compile(r"[,;] *[^\W\d]\w* *= *"),  # ", y = " of "x = 2, y = 3"
    # " boys, " of "5 boys, 6 girls.", and not of "5 apples, 3 of them red"
    re.compile(r"(?i) +\w+[,;] (?=\S+ (?!each|apiece|more|left)[a-z]+ *(?:[.,;!\n]|and\b|$))"),
)
# All that stands behind a number, as a unit: " km/h.", " red apples".
AS_UNIT = re.compile(r"\s*[^\w\s+\-*/=]*(?:\s*[^\W\d][\w/^]*){0,2}[^\w+\-*/=]*")
OF_ONE = r"(?!.*\b(?:each|per|apiece)\b)"  # "6 left in each" is no result
# What people come to: "takes home".
GAINED = rf"(?:comes? to(?=\s+\W*\d)|takes? home|will last(?: \w+)?(?=\s+\d)){OF_ONE}"
# A result follows, in a sentence of several numbers: "so".
CUE = re.compile(
    r"(?i)\b(?:so|therefore|thus|hence|total|in all|altogether|leaves|makes?|gives|get|obtain"
    rf"|(?:which|that) is|{GAINED}|zahl(?:t|en) (?:er|sie|man)"
    rf"|(?:has|have|had)(?= [^.,;]* left\b(?! over)){OF_ONE})\b"
)
# The same where it is sure that something was worked out: "gives".
WORKED_OUT = re.compile(rf"(?i)=|\b(?:so|therefore|thus|hence|makes|gives|get|obtain|{GAINED})\b")
# The number of a point in a list: "1. " of "1. Add both".
OF_LIST = re.compile(r"(?im)^\s*(?:\d{1,2}[.)]\s+(?=[^\W\d])|step \d+[.:])")
# A number is told: "is ".
IS = re.compile(r"(?i)\b(?:is|are|was|were|equals)\s+")
# The end of a reply that was cut off: "Then we add".
HANGING = re.compile(
    r"(?i)(?:[-+*/=,:]|\b(?:of|from|the|a|an|by|to|and|with|in|for|is|are|makes|per|plus|minus"
    r"|then|we|each|which|at|on|add|subtract|have|get|take|find|need))\s*$"
)
# The end of one that was not: "."
ENDED = re.compile(r"[.!?)]\s*$")
# A date, and no result: "in 1999".
YEAR = re.compile(r"(?i)\b(?:in|by|since|until|of) (?:19|20)\d\d\b"
                  r"(?= *(?:[,.]|$|(?:the|there|it|he|she|they)\b))")
BRACKETS = re.compile(r"\([^()]*\d[^()]*\)")  # "(3 * 4 + 2)" only explains
# What comes behind the result: "(Check: 4 * 3 = 12)".
CHECK = re.compile(r"(?i)\((?:double[- ])?(?:check|proof|verif\w*)\b[^()]*\)")
# What is said and does not touch the result. The number it is not: ", not 12.".
OLD_NUMBER = re.compile(r"(?i), (?:and )?not \$?\d[\d,.]*\W*$")
# Why it is rounded: "You can't buy half a bus, " before "so 3".
ROUNDED = re.compile(
    r"(?i)^\w+ can(?:no|')t \w+ (?:half|part|a fraction|\d*\.\d+)\b[^,;]*[,;] (?=so\b)")
# What speaks to the reader: "Let me know".
COURTESY = re.compile(r"(?i)(?:let me know|feel free|I hope|please)\b")
# Two sums, a denial, a question, or not enough to go by: "It cannot be known".
OF_SEVERAL = re.compile(
    r"(?i)=[^=]*\band +[^\W\d]\w* *=|^[a-z] *= *[^\s=]+[,;] *[a-z] *= *\S+$"
    r"|\bnot\b|n't|cannot|unable|unknown|unclear|impossible|depend"
    r"|\bno (?:data|information|idea|answer|way)\b|\?\s*$")
# A sentence that only tells what is asked or to be done: "We need to add them".
PLAN = re.compile(r"(?i)\b(?:asks?|needs? to|have to|multiply|divide|subtract|add|suppose|assume"
                  r"|let|options?|choices?)\b|^next,")
# A clause that comes before the main one: "After 3 days, ".
INTRODUCED = re.compile(
    r"(?i)(?:if|when|since|as|because|with|after|by|for|at|from|\w+ing)\b.*, (?!.*more)")
# A reply that does not decide: "I am not sure which".
UNDECIDED = re.compile(r"(?i)\b(?:can(?:no|')t|could not|couldn't|unable to|hard to|not sure|unsure"
                       r"|don't know)\b.*\b(?:tell|say|decide|know|which|whether)\b")
# "one" is a number in "has one apple", and not in "no one", "one of" or "one way".
ONE = re.compile(r"(?i)\b(?:has|have|had|is|was|are|leaves?|gets?|only|exactly|needs?|=)\s+\Z")


def extract_number(text: str, strict: bool) -> str | None:
    """The number that a normalized answer gives (chapter 5).

    Strictly, only one that is stated or stands alone on the first or last line.
    """
    whole = not HANGING.search(text)
    text = CHECK.sub("", text)
    lines = _sentences(OF_LIST.sub("", text))
    asked = len(lines) > 1 and lines[0].endswith("?")  # "Six dozen? No: ..."
    outer = [*lines[asked:1], *lines[1:][-1:]]
    alone = [Candidate(got) for line in outer if (got := number_alone(line)) is not None]
    found = resolve([*alone, *answer_candidates(text, STATED, _value)], strict)
    return _conclusion(lines) if found is None and whole and not strict else found


def number_alone(line: str) -> str | None:
    """The number of a line that is a number, perhaps with a unit (chapter 5)."""
    part = line[LEAD.match(line).end():]
    hit = numeral_at(part)
    return _value(part) if hit and AS_UNIT.fullmatch(part[hit.end:]) else None


def _value(part: str) -> str | None:
    """The number that a text begins with, after a currency or "about"."""
    part = part[LEAD.match(part).end():]
    hit = numeral_at(part)
    if not hit:
        return AMBIGUOUS if UNSURE.match(part) else None
    rest = part[hit.end:]
    operator = OPERATOR.match(rest)
    if operator and numeral_at(rest[operator.end():]):  # "8 + 5 = 13"
        result = RESULT.search(rest.split("\n")[0])
        return (result and _value(rest[result.end():])) or AMBIGUOUS
    if re.match(r"!? *=", rest) and (result := _value(rest.split("=", 1)[1])):  # "10/4 = 2.5"
        return result
    more = any(numeral_at(rest[other.end():]) for one in MORE if (other := one.match(rest)))
    return AMBIGUOUS if more or hit.value is None else hit.value


def _conclusion(lines: list[str]) -> str | None:
    """The number that the last sentence with one comes to.

    None where the reply was cut off or does not decide, or where that sentence names several and
    marks none.
    """
    if not lines or UNDECIDED.search(lines[-1]):
        return None
    if not (_numbers(lines[-1]) or ENDED.search(lines[-1])):  # cut off within its last sentence
        return None
    with_number = (line for line in reversed(lines) if _numbers(line) and not COURTESY.match(line))
    last = next(with_number, "")
    for aside in (OLD_NUMBER, ROUNDED, YEAR, BRACKETS):
        without = aside.sub("", last)
        last = without if _numbers(without) else last
    if OF_SEVERAL.search(last) or (PLAN.search(last) and not WORKED_OUT.search(last)):
        return None
    for part in _marked_parts(last):
        numbers = set(_numbers(part))
        if len(numbers) == 1:
            return numbers.pop()
        told = {candidate.value for candidate in answer_candidates(part, IS, _value)}
        if len(told) == 1 and len(_numbers(IS.split(part)[-1])) == 1:  # "is 12", and no more
            return told.pop()
    return None


def _marked_parts(sentence: str) -> list[str]:
    """The sentence, and its parts that may name what it comes to, the surest first."""
    behind_equals = sentence.rsplit("=", 1)[-1]
    before_equals = number_alone(sentence.split("=", 1)[0]) or ""
    behind_cue = next((part for part in reversed(CUE.split(sentence)) if _numbers(part)), "")
    behind_verb = ""
    if not re.search(r"\b(?:each|per|apiece)\b", behind_cue):
        behind_verb = re.split(r"(?i)\b(?:takes?|needs?)\s+(?=\d)", behind_cue)[-1]
    main_clause = sentence.rsplit(", ", 1)[1] if INTRODUCED.match(sentence) else ""
    behind_colon = (re.findall(r"[^\W\d]: +(.*)", sentence) or [""])[-1]
    return [sentence, behind_equals, before_equals, behind_cue, behind_verb, main_clause,
            behind_colon]


def _numbers(text: str) -> list[str]:
    """All numbers of a text, `AMBIGUOUS` for each that is not read whole; no "one" for somebody."""
    return [
        found.value or AMBIGUOUS for found in numerals(text)
        if text[found.start: found.end].lower() != "one"
        or ONE.search(text[: found.start]) and not re.match(r" (?:of|way)\b", text[found.end:])
    ]


def _sentences(text: str) -> list[str]:
    parts = re.split(r"(?<=[.?])\s+|(?<=!)\s+(?![=+*/^a-z])|\n+", text)
    return [part.strip() for part in parts if part.strip()]
