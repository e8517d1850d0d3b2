"""Reading the letter of a multiple-choice answer (chapter 5)."""

import re
import string
from collections.abc import Iterator
from functools import partial

from .candidates import AMBIGUOUS, STATED, Candidate, answer_candidates, normalize, resolve
from .numbers import extract_number, number_alone

# Words that an answer may follow, where none is stated: "go with ".
SAID = re.compile(
    r"(?i)\b(?:say|choose|pick|select|go (?:with|to|for)|answer|use|think|guess"
    r"|(?:I'm|I am) (?:choosing|picking|selecting|going (?:with|for)))"
    r"(?: (?:it|that)(?:'s| is))?\s+"
    r"|\b(?:it|this|that|which|one|statement|claim)"
    r"(?:'s| is| has to be| must be| would be| should be)\s+"
    r"|\b(?:option|choice)\s+(?!\d)|\b(?:so|therefore|thus|hence),?\s+"
    r"|\b(?:probably|maybe|perhaps|likely|definitely|certainly|clearly)\s+"
    r"|\b(?:leaves|leaving)(?: us with)?(?: only)?\s+(?=\(?[A-Z]\)?[.!]?\s*$)"
    r"|(?<!\b[A-Z] )(?<!\b[A-Z])(?:[➜→⇒➡]|[-=]>)\s*(?=\(?[A-Z]\)?[.!]?\s*$)"
    r"|(?:^|(?<=[.!?\n])\s)(?-i:Only)\s+(?=[^.,;:!?\n]*[.!]?\s*$)"  # the last sentence
)
# What follows an option denies it: " is wrong".
DENIED_BEHIND = re.compile(
    r" (?:is|are|can|could|does|do|would|will) (?:not|never)\b|(?:is|are|does|would|ca)n't"
    r"| cannot\b| (?:is|are|was|seems?) (?:wrong|incorrect|false|out)\b"
)
# A sentence that supposes or asks: "If it were a lake, it would be fresh."
UNREAL = re.compile(
    r"(?i)^(?:if|suppose|assume|consider|whether|is|are|was|does|do|could|would|which|why)\b|\?\s*$"
)
# What stands before an option denies it: "rather than".
DENIED = re.compile(
    r"(?:\bnot|n't|\bnever|\bneither|\bnor|\brather than|\binstead of|\bunlike|\bexcept"
    r"|\brul(?:e|ed|ing) out|\bexclud(?:e|ed|ing)|\beliminat(?:e|ed|ing))"
    r"(?: be)?(?: in| at| on| to)?$"
)
# More than one answer follows: "either A or B".
UNSURE = re.compile(r"(?i)(?:either|neither|both|between)\b")
# A letter as options are listed: "(B)", "B.".
MARK = r"[(\[]?([A-Z])[.):\]]"
# The beginning of such a line: "Options: A) ".
LINE_OF_OPTION = rf"^\s*(?:\w+:\s*)?{MARK}"
# The options that a reply repeats: "A. ants\nB. bats\n"; an answer may stand above: "B\n\nA. ants".
ECHO = re.compile(rf"(?m){LINE_OF_OPTION}.*\n(?!\n+\s*[(\[]?A[.):\]])(?:^\s*{MARK}.*(?:\n|\Z))+")
# A line that asks, denies, or begins with a pronoun or with people called A and B: "A and B meet".
NO_CHOICE = re.compile(
    r"[A-Z][^.!]*\?\s*\S|I,|[A-Z],? (?:who|whose|and [A-Z] [a-z])"
    r"|[^.,;]*\b(?:is|are) (?:wrong|incorrect|out|not)\b"
)
# An article, and no letter: "A " of "A car".
ARTICLE = re.compile(r"(?:\b(?:an?|the|An|The)|(?:^|(?<=[.!?:\n] ))A)\s+(?=[^\W\d])")
# Options that speak of the others: "of the above".
OF_ALL = re.compile(r"(?i)\bof (?:the )?(?:above|these|those|them|others|options|choices)\b")
# What ends an option's text: ", because".
REASON = re.compile(r",?\s+(?:because|since|as)\b")
# Options whose text is in many replies by chance: "none of these".
COMMON = re.compile(
    r"(?:none|all)(?: of these)?|both|neither|never|always|sometimes|true|false|yes|no")
# The same of numbers: "3.5".
DIGITS_ONLY = re.compile(r"[\d\s.%+\-/]*")


def comparable(text: str) -> str:
    """Lower case without articles and punctuation, to compare an option with what a reply says."""
    text = re.sub(r"(?<=\d),(?=\d)", "", normalize(text))
    text = OF_ALL.sub("of these", ARTICLE.sub("", text))
    text = re.sub(r"[^\w\s'.+\-=/%^<>√]|\.(?!\d)|(?<!\w)-(?![\d.])|-(?!\w)", " ", text)
    return " ".join(text.lower().split())


class Options:
    """The options of an item, and how a reply may name them."""

    def __init__(self, options: list[str]):
        self.letters = string.ascii_uppercase[: len(options)]
        self.texts = dict(zip(self.letters, map(comparable, options), strict=True))
        self.values = [number_alone(normalize(option)) or None for option in options]
        self.numeric = self.values.count(None) < 2  # one may be "none of these"
        self.things = {name for name, option in zip(self.letters, options, strict=True)
                       if ARTICLE.match(option)}  # "an owl" is not said by chance
        self.reach = 100 + 2 * max(map(len, options))  # no option's text goes on for longer
        one = f"[{self.letters}]"
        # A letter is an answer only if what follows ends it: the end of the line, a mark, a dash,
        # a reason, or another letter. So the article of "A car" is none.
        end = (
            r"(?=\t|\s*(?:=>|/\s|$|[).,:;!?\]\n]|\(|-\s|(?:because|since|as)\b"
            r"|(?:it is|is (?:the |my )?(?:(?:most )?likely|best|correct|right|answer|only|one))\b"
            rf"|(?:or|and|/|&)\s*(?:(?:maybe|perhaps|possibly)\s)?\(?{one}\b))"
        )
        # "(B)", "B.", "B - ": with all marks that belong to it.
        self.capital = re.compile(rf"[(\[]?({one}){end}[).,:;!?\]]*\s*-?\s*")
        # "b)", "(b)", or a lone "b"; a lone "a" may be an article.
        self.small = re.compile(rf"[(\[]?([{self.letters.lower()}])(?:[).:\]]+"
                                rf"|(?<!a)(?:$|(?=\s+(?:because|since|as)\b)))\s*")
        # Behind a letter: ", C", "or C", "/C"; but not "and C's" or "and A car".
        self.more = re.compile(
            rf"[)\].]?\s*(?:,|;|\(?or\b|and\b|/|&)\s*(?:(?:or|and)\s)?"
            rf"(?:(?:maybe|perhaps|possibly)\s)?\(?({one})\b"
            r"(?:(?<![AI])|(?![' ](?!(?:is|are|was|were|can)\b)[a-z]))"
        )
        # "C is correct", at the start of a clause or behind a word that introduces an option.
        self.right = re.compile(
            r"(?:^|[.,;:!?\n(]\s*"
            r"|\b(?i:option|choice|so|that|think|because|but|and|reflection)\s+\(?)"
            rf"({one})\)? (?:is|seems) (?:the )?(?:correct|right|best|answer)\b"
            rf"|(?<=[.,;:!?] )\(?(?!I)({one})\)?\.?\s*$"
            rf"|(?<=\b(?i:only) )\(?({one})\)? (?:is|are|can|fits|works|holds|remains)\b"
        )

    def read(self, text: str, strict: bool) -> str | None:
        """The letter that a normalized answer gives (chapter 5).

        Strictly, only where it stands as a capital letter.
        """
        text = self._without_echo(text)
        value = partial(self._named, strict=strict)
        stated = answer_candidates(text, STATED, value)
        found = resolve([*self._on_outer_lines(text, strict), *stated], strict)
        if found is not None or strict:
            return found
        said = answer_candidates(text, SAID, value)
        right = (Candidate(hit[1] or hit[2] or hit[3]) for hit in self.right.finditer(text))
        found = resolve([*said, *right], strict)
        if found is not None:
            return found
        sentences = re.split(r"(?<=[.!?])\s+|\n+", text)
        real = " ".join(sentence for sentence in sentences if not UNREAL.search(sentence.strip()))
        return self._mentioned(comparable(real)) or self._number(text)

    def _without_echo(self, text: str) -> str:
        """The answer without a list of options that it repeats."""
        listed = ECHO.search(text)
        if not listed or len(set(re.findall(rf"(?m){LINE_OF_OPTION}", listed[0]))) < 2:
            return text
        return (text[: listed.start()] + "\n" + text[listed.end():]).strip()

    def _on_outer_lines(self, text: str, strict: bool) -> Iterator[Candidate]:
        """The first line where it begins with an answer, the last where it is one."""
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        for line in [*lines[:1], *lines[1:][-1:]]:
            hit = self.capital.match(line)
            if not hit and not strict:
                hit = self.small.match(line) or re.fullmatch(r"(a)", line)
            if hit and not NO_CHOICE.match(line, hit.start(1)):
                whole = hit.end() == len(line) or self._beginning(line[hit.end():])
                if line == lines[0] or whole:
                    marked = set(re.findall(rf"\b([{self.letters}])[.):]\s+\S", line))
                    several = len(marked | {hit[1].upper()}) > 1
                    yield Candidate(AMBIGUOUS if several else self._checked(hit, line))
            elif not strict and comparable(REASON.split(line)[0]) in self.texts.values():
                yield Candidate(self._beginning(line) or AMBIGUOUS)

    def _named(self, part: str, strict: bool) -> str | None:
        """The letter that a text begins with, by itself or as the text of its option."""
        introduction = (r"(?i)^(?:the |l[ae] |l'|die |der |a (?=op))?(?:option|choice|letter"
                        r"|opci[oó]n|op[cç][aã]o|opzione|let(?:ra|tre|tera)|buchstabe)?\b\s*"
                        r"(?=\W?\w\b)")
        part = re.sub(introduction, "", part.lstrip())
        hit = self.capital.match(part) or (None if strict else self.small.match(part))
        if hit:
            return self._checked(hit, part)
        found = None if strict else self._beginning(part)
        return AMBIGUOUS if found is None and UNSURE.match(part) else found

    def _checked(self, hit: re.Match, part: str) -> str:
        """The letter of a match, unless another letter or another option's text follows."""
        found = hit[1].upper()
        more = self.more.match(part, hit.end(1))
        text = self._beginning(part[hit.end():])
        other = (more and more[1] != found) or text not in (None, found)
        return AMBIGUOUS if other else found

    def _beginning(self, part: str) -> str | None:
        """The letter of the longest option that a text begins with.

        `AMBIGUOUS` where two options have that text, or where another follows after "or".
        """
        words = comparable(part[: self.reach]) + " "
        fits = [(len(text), name) for name, text in self.texts.items()
                if text and words.startswith(text + " ")
                and (not re.fullmatch("[a-z]", text)  # of an option "I" no "I cannot say"
                     or re.match(rf"(?i)\W*{text}\s*(?:[.,;:!?)]|$)", part))]
        longest = max(fits)[0] if fits else 0
        if not fits or DENIED_BEHIND.match(words, longest):
            return None
        names = [name for length, name in fits if length == longest]
        rest = re.match(r" (?:or|and) (.+)", words[longest:])
        return AMBIGUOUS if len(names) > 1 or (rest and self._beginning(rest[1])) else names[0]

    def _mentioned(self, words: str) -> str | None:
        """The letter of the only option whose text is said anywhere and not denied.

        A text of three characters or of digits alone may be there by chance, and does not count.
        """
        spans = []  # (start, end, letter)
        for (name, text), number in zip(self.texts.items(), self.values, strict=True):
            if text and not (self.numeric and number):  # "15 to 20 km" does not say "20 km"
                spans += [(*hit.span(), name)
                          for hit in re.finditer(rf"(?<!\S){re.escape(text)}(?!\S)", words)]

        def inside_another(start: int, end: int) -> bool:  # "lake" of "salt lake"
            return any(left <= start and end <= right and right - left > end - start
                       for left, right, _ in spans)

        said = {name for start, end, name in spans
                if not inside_another(start, end) and not DENIED.search(words[:start].rstrip())
                and not DENIED_BEHIND.match(words, end)}
        name = said.pop() if len(said) == 1 else None
        text = self.texts.get(name, "")
        if len(text) > 3 - (name in self.things) and not DIGITS_ONLY.fullmatch(text):
            return None if COMMON.fullmatch(text) else name
        told = re.search(rf" (?:is|are|was|=) {re.escape(text)}$", words)
        return name if told and not re.search(r"\bnot\b|n't", words) else None

    def _number(self, text: str) -> str | None:
        """The letter of the number that a reply comes to, where all options but one are."""
        value = extract_number(text, strict=False) if self.numeric else None
        found = value is not None and self.values.count(value) == 1
        return self.letters[self.values.index(value)] if found else None
