"""Reading the letter of a multiple-choice answer (chapter 5)."""

import re
import string
from collections.abc import Iterator

from . import quantities
from .claims import SEVERAL, STATED, Claim, claims, settled, tidy

SAID = re.compile(
    r"(?i)\b(?:say|choose|pick|select|go with|answer|use|think)(?: (?:it|that)(?:'s| is))?\s+"
    r"|\b(?:it|this|that|one)(?:'s| is| must be| would be| should be)\s+|\b(?:option|choice|probably|maybe|perhaps|likely)\s+"
    r"|\b(?:so|therefore|thus|hence),?\s+"
)
RIGHT = (r"(?:^|[.,;:!?\n(]\s*|\b(?i:option|choice|so|that|think|because)\s+\(?)"
         r"([{letters}])\)? is (?:the )?(?:correct|right|best|answer)\b")
DENIED = re.compile(r"(?:\bnot|n't|\bnever|\bneither|\bnor|\brather than|\binstead of)(?: be)?(?: in| at| on| to)?$")
UNSURE = re.compile(r"(?i)(?:either|neither|both|between)\b")
MARK = r"[(\[]?([A-Z])[.):\]]"
ECHO = re.compile(rf"(?m)^\s*(?:\w+:\s*)?{MARK}.*\n(?:^\s*{MARK}.*(?:\n|\Z))+")


def letter(text: str, options: list[str], strict: bool) -> str | None:
    """The letter that a tidy answer gives; strictly, only where it stands as a capital letter."""
    return _Sheet(options).letter(text, strict)


def plain(text: str) -> str:
    """Lower case without articles and punctuation, to compare an option with what a reply says."""
    text = re.sub(r"(?<=\d),(?=\d)", "", tidy(text).lower())
    text = re.sub(r"[^\w\s'.+\-=/%^<>√]|\.(?!\d)|-(?![\d.])", " ", text)
    return " ".join(re.sub(r"\b(?:a|an|the)\s+(?=[^\W\d])", "", text).split())


class _Sheet:
    """The options of an item, and how a reply may name them."""

    def __init__(self, options: list[str]):
        self.letters = string.ascii_uppercase[: len(options)]
        self.texts = list(zip(self.letters, map(plain, options), strict=True))
        self.reach = 100 + 2 * max(map(len, options))  # no option's text goes on for longer
        ends = rf"(?=\s*(?:$|[).,:;!?\]\n]|-\s|(?:because|since|as)\b|(?:or|and|/|&)\s*\(?[{self.letters}]\b))"
        self.capital = re.compile(rf"[(\[]?([{self.letters}]){ends}[).,:;!?\]]*\s*-?\s*")
        self.small = re.compile(rf"[(\[]?([{self.letters.lower()}])(?:[).:\]]+|(?<!a)$)\s*")
        self.more = re.compile(rf"[)\].]?\s*(?:,|or\b|and\b|/|&)\s*(?:(?:or|and)\s)?\(?([{self.letters}])\b(?![' ][a-z])")

    def letter(self, text: str, strict: bool) -> str | None:
        text = self.without_echo(text)

        def value(part: str) -> str | None:
            return self.named(part, strict)

        found = settled([*self.lines(text, strict), *claims(text, STATED, value)], strict)
        if found is None and not strict:
            right = re.finditer(RIGHT.replace("{letters}", self.letters), text)
            found = settled([*claims(text, SAID, value), *(Claim(hit[1]) for hit in right)], strict)
        return self.mentioned(plain(text)) or self.counted(text) if found is None and not strict else found

    def without_echo(self, text: str) -> str:
        """The answer without a list of options that it repeats."""
        listed = ECHO.search(text)
        several = listed and len(set(re.findall(rf"(?m)^\s*(?:\w+:\s*)?{MARK}", listed[0]))) > 1
        return (text[: listed.start()] + "\n" + text[listed.end():]).strip() if several else text

    def lines(self, text: str, strict: bool) -> Iterator[Claim]:
        """The first line where it begins with an answer, the last where it is one."""
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        for line in [*lines[:1], *lines[1:][-1:]]:
            hit = self.capital.match(line) or (None if strict else self.small.match(line) or re.fullmatch(r"(a)", line))
            if hit and (line == lines[0] or hit.end() == len(line) or self.begins(line[hit.end():])):
                marks = set(re.findall(rf"\b([{self.letters}])[.):]\s+\S", line))
                yield Claim(SEVERAL if len(marks | {hit[1].upper()}) > 1 else self.checked(hit, line))
            elif not hit and not strict and plain(line) in dict(self.texts).values():
                yield Claim(self.begins(line) or SEVERAL)

    def named(self, part: str, strict: bool) -> str | None:
        """The letter that a text begins with, by itself or as the text of its option."""
        part = re.sub(r"(?i)^(?:the )?(?:option|choice|letter)?\b\s*(?=\W?\w\b)", "", part.lstrip())
        hit = self.capital.match(part) or (None if strict else self.small.match(part))
        if hit:
            return self.checked(hit, part)
        text = None if strict else self.begins(part)
        return SEVERAL if text is None and UNSURE.match(part) else text

    def checked(self, hit: re.Match, part: str) -> str:
        """The letter of a match, unless another letter or another option's text follows."""
        found, rest = hit[1].upper(), part[hit.end():]
        more, text = self.more.match(part, hit.end(1)), self.begins(rest)
        return SEVERAL if (more and more[1] != found) or text not in (None, found) else found

    def begins(self, part: str) -> str | None:
        """The letter of the longest option that a text begins with; `SEVERAL` where another follows after "or"."""
        words = plain(part[: self.reach]) + " "
        fits = [(len(text), name) for name, text in self.texts if text and words.startswith(text + " ")]
        if not fits:
            return None
        longest = [name for length, name in fits if length == max(fits)[0]]
        rest = re.match(r" (?:or|and) (.+)", words[max(fits)[0]:])
        return SEVERAL if len(longest) > 1 or (rest and self.begins(rest[1])) else longest[0]

    def mentioned(self, words: str) -> str | None:
        """The letter of the only option whose text is said anywhere and not denied; short texts are chance."""
        spans = [(hit.start(), hit.end(), name) for name, text in self.texts if text
                 for hit in re.finditer(rf"(?<![^\s]){re.escape(text)}(?![^\s])", words)]
        outer = [s for s in spans if not any(o[0] <= s[0] and s[1] <= o[1] and o[1] - o[0] > s[1] - s[0] for o in spans)]
        said = {name for start, _, name in outer if not DENIED.search(words[:start].rstrip())}
        name = said.pop() if len(said) == 1 else None
        text = dict(self.texts).get(name, "")
        return name if len(text) > 3 and not re.fullmatch(r"[\d\s.%+\-/]*", text) else None

    def counted(self, text: str) -> str | None:
        """The letter of the number that a reply comes to, where all options are numbers."""
        values = [quantities.canonical(option) for _, option in self.texts]
        value = None if None in values else quantities.number(text, strict=False)
        return self.letters[values.index(value)] if values.count(value) == 1 else None
