"""Prompt designs: how a role annotation is written in front of an answer, and read back.

A design writes the role as the first paragraph of the assistant's turn, then a blank line, then
the answer. Reading leaves out thoughts and splits the rest at the first blank line. A role has no
line breaks of its own (`Role` collapses them), so what was written is always read back.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from .errors import require
from .rows import Role
from .thoughts import split_thought

GAP = "\n\n"
NEUTRAL_FILE = Path(__file__).parent / "resources" / "evaluate" / "neutral.txt"


@dataclass(frozen=True)
class ParsedReply:
    """A reply taken apart, its thoughts left out.

    `outcome` is `role` where a role was read, `missing` where the reply does not begin like
    one, and `broken` where it begins like one that never ends, or is cut off within a thought
    (then `answer` is empty).
    """

    role: str | None
    answer: str
    outcome: Literal["role", "missing", "broken"]


@dataclass(frozen=True)
class Design:
    """One way to write a role: `template` has the fields of `Role`, `opening` is its start."""

    name: str
    template: str

    @property
    def opening(self) -> str:
        """The fixed text that every role of this design begins with."""
        return self.template.split("{", 1)[0]

    @property
    def writes_role(self) -> bool:
        return bool(self.template)

    def role_text(self, role: Role) -> str:
        """The role annotation as this design writes it; empty for `none`."""
        return self.template.format(**role.model_dump())

    def write(self, role: Role, answer: str) -> str:
        """The assistant's turn: role, blank line, answer (chapter 3)."""
        return self.role_text(role) + GAP + answer if self.writes_role else answer

    def read(self, reply: str) -> ParsedReply:
        """Take a reply apart into role and answer (chapter 4). Never raises."""
        said = split_thought(reply)
        if not self.writes_role or not said.answer.startswith(self.opening):
            return ParsedReply(None, said.answer, "broken" if said.cut else "missing")
        role, gap, answer = said.answer.partition(GAP)
        return ParsedReply(role, answer, "role" if gap else "broken")


@cache
def neutral_text() -> str:
    """A paragraph about how an answer will be given, which fits any question."""
    return " ".join(NEUTRAL_FILE.read_text(encoding="utf-8").split())


@dataclass(frozen=True)
class NeutralDesign(Design):
    """A paragraph that is no role, as long as one (chapters 3, 5 and 6).

    It tells whether roles help, or only that a paragraph stands first. All answers get the same
    text, cut to the length of the sample's role as `template` writes it. Where the names say role,
    as in `read`, they mean this paragraph.
    """

    @property
    def opening(self) -> str:
        """The first three words, with which every cut of the text begins."""
        return " ".join(neutral_text().split()[:3]) + " "

    def role_text(self, role: Role) -> str:
        """The text up to the end of a word, with a stop: at most as many characters as the role.

        The whole text where the role is longer.
        """
        text, length = neutral_text(), len(super().role_text(role))
        if len(text) <= length:
            return text
        return text[: text.rindex(" ", 0, length)].rstrip(" .,") + "."


FROM_NOW_ON = "From now on, you are {expert}. {brings} Your task is to {request}."
DESIGNS = {
    design.name: design
    for design in (
        Design("from-now-on", FROM_NOW_ON),
        Design("first-person", "I answer as {expert}. {brings} My task is to {request}."),
        Design("title-only", "Role: {expert}."),
        NeutralDesign("neutral", FROM_NOW_ON),
        Design("none", ""),
    )
}


def get_design(name: str) -> Design:
    """The design of that name.

    Raises:
        UserError: for an unknown name, with the names that exist.
    """
    require(name in DESIGNS, f"design: unknown design {name!r}; choose one of {', '.join(DESIGNS)}")
    return DESIGNS[name]
