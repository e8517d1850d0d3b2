"""Reading yes or no (chapter 5)."""

import re

from .candidates import AMBIGUOUS, STATED, Candidate, answer_candidates, resolve

# A word of agreement ends, or goes on with a reason: "right", "right because", not "right hand".
ENDED = (r"(?=\s*(?:$|[^\w\s'-]|\n|-\s)"
         r"|\s+(?:it|he|she|they|you|we|I|this|that|there|because|since|as|no)\b)")
BOTH = re.compile(
    r"(?i)\W*(?:yes\W*(?:and|or|/|but)\s*no|no\W*(?:and|or|/|but)\s*yes"
    r"|(?:yes|no),? (?:if|when|unless|provided|depending)\b[^.!?\n]*\b(?:yes|no)"
    r"(?= (?:if|when|unless|otherwise|provided)\b|\W*(?:[.;]|$)))\b")
WORD = re.compile(
    r"(?i)[(\['\s]*(?P<not>(?:not|isn't|cannot be|can't be) (?:a )?)?"
    rf"(?:(?P<yes>yes\b|(?:yeah|yep|yup|true|correct|right(?!,)){ENDED})"
    rf"|(?P<no>(?:no|nope|nah|false|incorrect|wrong|unlikely|untrue){ENDED}))"
    # No answer yet: "No, wait", "Sure, I can".
    r"(?!\W*(?:wait|hold on|hang on)\b)"
    r"(?!\W*I (?:can|could|will|would|don't|do not|am (?:not|happy|glad))\b)"
)
NOT = re.compile(
    r"(?i)(?:(?:probably|definitely|certainly|absolutely|surely|of course) )?"
    r"not(?: really| at all| likely)?"
    r"(?=\s*(?:$|[.,!;\n]))|no way(?=\W*$)|not a chance(?=[.!])"
)
SURE = re.compile(r"(?i)(?:of course|absolutely|definitely|certainly|sure|indeed)[.!]*")
# The same with a reason: "Absolutely! A camel can", "Of course it could!"; no "Absolutely! Let me".
SURE_AS = re.compile(
    r"(?i)(?:(?:absolutely|definitely)[.!]\s+(?!(?:I|I'\w+|let|let's|here|to|we|happy|not)\b)"
    r"(?![^.!?]*(?:\b(?:not|no|never|cannot)\b|n't))(?=\w)"
    r"|(?:of course|absolutely|definitely|certainly),? (?:it|he|she|they|that|this|there) "
    r"(?:is|was|are|were|does|do|did|can|could|has|have|had|will|would)[.!])")
OPENING = re.compile(
    r"(?i)(?:^|(?<=[.!?\n])\s+)"
    r"(?:(?:actually|wait|so|therefore|thus|hence|well|but|sorry|a|and|finally|overall|"
    r"in (?:short|conclusion|summary))\b[,:]?\s+)*"
)
SAID = re.compile(
    r"(?i)\banswer (?:changes|switches|flips) (?:from (?:yes|no) )?to\s+"
    r"|\b(?:say|think|answer|believe|probably|maybe|perhaps|likely)\s+"
    r"|,\s+(?:(?:so|thus|hence|therefore),?\s+)?(?=(?:yes|no)\W*(?:$|\n))"
    r"|\bso,?\s+(?=(?:yes|no),)"
    r"|(?<!that )\b(?:that|this|it|statement|claim)(?:'s| is|(?= (?:isn't|can't be|cannot be)))\s+"
)


def extract_yes_no(text: str, strict: bool) -> str | None:
    """`yes` or `no`, where a normalized answer says so (chapter 5).

    Strictly, only as its first word or as its stated answer.
    """
    if not strict and SURE.fullmatch(text):
        return "yes"
    cues = [re.compile(r"^"), STATED] if strict else [OPENING, STATED, SAID]
    value = _strict_value if strict else _value
    found = [one for cue in cues for one in answer_candidates(text, cue, value)]
    if not strict and SURE_AS.match(text):
        found.append(Candidate("yes"))
    return resolve(sorted(found, key=lambda one: one.at), strict)


def _value(part: str) -> str | None:
    if BOTH.match(part):
        return AMBIGUOUS
    hit = WORD.match(part)
    if not hit:
        return "no" if NOT.match(part) else None
    return "yes" if bool(hit["yes"]) != bool(hit["not"]) else "no"


def _strict_value(part: str) -> str | None:
    return _value(part) if BOTH.match(part) or re.match(r"(?i)\W*(?:yes|no)\b", part) else None
