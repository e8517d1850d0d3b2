"""How a judge words its verdict: "Verdict: A", "[[A]]", "the better answer is A", "a draw".

A verdict is labelled ("Verdict", "Winner", "Final answer" …) or in double brackets. It is read only
if every word of it is known: what is hedged, denied or taken back is no verdict.
"""

import re
import unicodedata
from collections.abc import Iterator

# What is compared may be called by: "assistant".
NOUN = "(?:answer|assistant|response|reply|option|model|candidate|one)"
# What stands before a verdict: "**So, my final verdict:** ".
LABEL = re.compile(
    r"[\s#*_>\-\"'{`(\d.<|]{0,30}"
    r"(?:(?:so|thus|hence|therefore|overall|finally|in conclusion|here(?:'s| is)|i give)\W{1,5})?"
    r"(?:(?:the|my|our|this|final|overall|judge's)\W{1,5}){0,4}"
    rf"(?:verdict|judge?ment|ruling|decision|winner|final (?:answer|choice)|(?:better|best) {NOUN})"
    r"\b(?:\s*\([^()\n]{0,60}\)|\s+(?:for|on)\b[\w ]{0,40})?[\s*_\"']{0,9}"
    r"(?:[:=>|\u2192]|is\b|goes to\b|[-\u2013\u2014]+|\n|(?<=\s)(?=(?:[AB]|tie)\W*$))"
    r"[\s:*_\"']{0,9}", re.IGNORECASE | re.MULTILINE)
# A verdict that needs no label: "[[A]]", "\boxed{B}".
BRACKETS = re.compile(r"\[\[([^\[\]]{1,20})\]\]|\\boxed\s*\{([^{}]{1,20})\}")
# A statement ends with its line, its sentence, or before the next name of a JSON object: the
# comma of '"A", "why"'.
ENDS = re.compile(r"(?<=[.!;])\s+|\n+|,\s*(?=[\"'])|$")
# Marks that say nothing: "**", "<strong>".
MARKUP = re.compile(r"[*_`#|\"\u201c\u201d\[\]{}]|\\boxed|\\text|</?\w{2,}>")
# A verdict as a comparison: "Answer A > Answer B".
COMPARED = re.compile(rf"(?:{NOUN} )?([AB]) *(>+|<+|=+|~|\u2248) *(?:{NOUN} )?([AB])",
                      re.IGNORECASE)
# What may stand behind a verdict, but may not cast doubt on it: another clause, the comma of
# "A, it is clear".
CLAUSE = re.compile(r"[,;():.]|\s[-\u2013\u2014]")
# Or a reason: "because" of "A because it is clear".
REASON = re.compile(
    rf"{CLAUSE.pattern}|\b(?:because|since|as|due to|at|by|in terms of|while|whereas|which"
    rf"|for(?! (?:the )?(?:{NOUN} )?[AB]\b))\b", re.IGNORECASE)
# A reason that casts doubt: "but B is close".
DOUBT = re.compile(
    r"^\W*(?:if|unless|or)\b|\b(?:but|though|although|however|maybe|perhaps|probably|possibly"
    r"|i think|i guess|i suppose|i believe|not sure|unsure|unclear|uncertain|leaning|either|wait"
    r"|actually|hmm|otherwise|depends)\b|\b(?:or|could|might|may)\b.{0,30}\b(?:[AB]|tie|draw)\b|\?",
    re.IGNORECASE)
# Behind the last verdict, it takes it back: "Wait, B is clearer".
REVOKED = re.compile(r"\b(?:wait|actually|hmm|correction|on second thought|maybe|i change)\b"
                     r"|\b(?:could|might|may)\b.{0,30}\b(?:tie|draw)\b", re.IGNORECASE)
# The side that is not chosen: "than answer B".
BEATEN = re.compile(rf"\b(?:than|over|to|beats|outperforms)\s+(?:the )?(?:{NOUN} )?[AB]\b(?:'s)?",
                    re.IGNORECASE)
# A verdict for none of the two: "neither is better".
TIE = re.compile(r"\b(?:tie|tied|draw|equal|equally|same)\b"
                 r"|\b(?:neither|no)\b.*\b(?:better|winner|difference|preferred)\b")
# The words that a verdict may be made of: "the answer b is clearly better".
KNOWN = set(re.findall(r"\S+", """
    a b the it is it's its this that i i'd we would was clearly definitely slight slightly much far
    overall simply most prefer choose pick select go with give declare call goes to in for favor
    favour of preference winner wins win better best stronger superior preferred preferable more
    helpful useful accurate complete correct informative detailed thorough relevant clear clearer
    safe safer specific practical concise precise comprehensive factual and helps
    question verdict answer answers assistant assistants response responses reply replies option
    options model candidate one"""))
KNOWN_OF_TIES = KNOWN | set(re.findall(r"\S+", """
    an both two they are between these tie tied draw equal equally same good quality neither no
    difference them"""))


def read_verdicts(text: str) -> tuple[list[str | None], str]:
    """Each verdict that a text states, "A", "B" or "tie", and the rest of the text.

    None for a statement of which it cannot be said; the last is None where what follows takes it
    back.
    """
    text = "".join(letter for letter in unicodedata.normalize("NFKC", text)
                   if unicodedata.category(letter) != "Cf")
    stated = list(_statements(text))
    verdicts = [verdict for verdict, _, _ in stated]
    if stated:
        after = text[stated[-1][2] :]
        others = {choice(part) for part in ENDS.split(after)} - {None, verdicts[-1]}
        other = {"A": "B", "B": "A"}.get(verdicts[-1])
        turned = other and re.search(rf"\b(?i:but|it is|reflection)\b[^.!?\n]*\b{other}\b", after)
        if others or turned or REVOKED.search(after):
            verdicts[-1] = None
    for _, start, end in reversed(stated):
        text = text[:start] + text[end:]
    return verdicts, " ".join(text.split())


def _statements(text: str) -> Iterator[tuple[str | None, int, int]]:
    """Each statement's verdict, and the places where it begins and ends."""
    place = 0
    for start in [0, *(end.end() for end in ENDS.finditer(text))]:
        if start < place:
            continue
        label = LABEL.match(text, start)
        if label:
            place = ENDS.search(text, label.end()).start()
            yield choice(text[label.end() : place]), start, place
        else:
            for hit in BRACKETS.finditer(text, start, ENDS.search(text, start).start()):
                yield choice(hit[1] or hit[2]), *hit.span()


def choice(words: str) -> str | None:
    """The verdict that a phrase is, if it says nothing else but a reason for it."""
    words = MARKUP.sub(" ", words.replace("\u2018", "'").replace("\u2019", "'")).strip(" \t.!'<>")
    words = re.sub(r"^\((.*)\)$|\(([abAB])\)", r"\1\2", words).strip()
    reason = REASON.search(words)
    head, rest = (words[: reason.start()], words[reason.end() :]) if reason else (words, "")
    verdict = _plain_choice(head)
    others = set(map(_plain_choice, CLAUSE.split(rest))) - {None, verdict}
    return None if others or DOUBT.search(rest) else verdict


def _plain_choice(words: str) -> str | None:
    compared = COMPARED.fullmatch(words.strip())
    if compared:
        one, sign, other = compared.groups()
        better = {">": one, "<": other}.get(sign[0], "tie")
        return None if one.lower() == other.lower() else better.upper().replace("TIE", "tie")
    words = BEATEN.sub(" ", re.sub(r"\ba (?=(?:tie|draw)\b)", " ", words, flags=re.IGNORECASE))
    # A capital A is an answer; a small one may be an article.
    sides = set(re.findall(r"\b[AB]\b", words)) or set(re.findall(r"\b[ab]\b", words))
    said = set(re.findall(r"[a-z']+|[\w/&+|<>=~?]", re.sub(r"'s\b", " ", words.lower())))
    if TIE.search(words.lower()):
        return "tie" if said <= KNOWN_OF_TIES and len(sides) != 1 else None
    return sides.pop().upper() if len(sides) == 1 and said <= KNOWN else None
