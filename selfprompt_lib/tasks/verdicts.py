"""Reading yes or no (chapter 5)."""

import re

from .claims import SEVERAL, STATED, claims, settled

ENDED = r"(?=\s*(?:$|[^\w\s'-])|\s+(?:it|he|she|they|you|we|I|this|that|there|because|since|as|no)\b)"
BOTH = re.compile(r"(?i)\W*(?:yes\s*(?:and|or|/)\s*no|no\s*(?:and|or|/)\s*yes)\b")
WORD = re.compile(rf"(?i)[(\['\s]*(?P<not>not (?:a )?)?(?:(?P<yes>yes\b|(?:yeah|yep|yup|true|correct|right){ENDED})"
                  rf"|(?P<no>(?:no|nope|false|incorrect|wrong|unlikely|untrue){ENDED}))")
NOT = re.compile(r"(?i)(?:(?:probably|definitely|certainly|absolutely|surely|of course) )?not(?: really| at all)?"
                 r"(?=\s*(?:$|[.,!;\n]))|no way(?=\W*$)")
SURE = re.compile(r"(?i)(?:of course|absolutely|definitely|certainly|sure|indeed)[.!]*")
OPENING = re.compile(r"(?i)(?:^|(?<=[.!?\n])\s+)(?:(?:actually|wait|so|therefore|thus|hence|well|but|sorry|a|and|finally|overall|"
                     r"in (?:short|conclusion|summary))\b[,:]?\s+)*")
SAID = re.compile(r"(?i)(?<!not )(?<!n't )\b(?:say|think|answer|believe|probably|maybe|perhaps|likely)\s+"
                  r"|(?<!that )(?<!if )(?<!whether )\b(?:that|this|it|statement|claim)(?:'s| is)\s+")


def verdict(text: str, strict: bool) -> str | None:
    """`yes` or `no`, where a tidy answer says so; strictly, as its first word or its stated answer."""
    cues = [re.compile(r"^"), STATED] if strict else [OPENING, STATED, SAID]
    if not strict and SURE.fullmatch(text):
        return "yes"
    found = [claim for cue in cues for claim in claims(text, cue, _strictly if strict else _value)]
    return settled(found, strict)


def _value(part: str) -> str | None:
    if BOTH.match(part):
        return SEVERAL
    hit = WORD.match(part)
    if not hit:
        return "no" if NOT.match(part) else None
    return "yes" if bool(hit["yes"]) != bool(hit["not"]) else "no"


def _strictly(part: str) -> str | None:
    return _value(part) if BOTH.match(part) or re.match(r"(?i)\W*(?:yes|no)\b", part) else None
