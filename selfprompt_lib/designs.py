"""Prompt designs: how a role annotation is written before an answer, and read back.

A design is a file with a template and a reader, in `resources/designs` or the user's own. It writes
the role as the first paragraph of the assistant's turn, then a blank line, then the answer (one
writes it as the last paragraph, to see what order does). Reading leaves out thoughts and splits the
rest at that blank line. A role has no line breaks of its own (`Role` collapses them), so what was
written is always read back.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .errors import UserError, require
from .reading import user_path
from .rows import ROLE, RoleOrText, StrategyText, all_faults
from .thoughts import MARK, split_thought

GAP = "\n\n"
RESOURCES = Path(__file__).parent / "resources"
FILE_SUFFIXES = (".yaml", ".yml")
Reader = Literal["first-paragraph", "last-paragraph"]


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
    """One way to write a role: `template` has the fields of `Role`, `opening` is its start.

    `strategy` says what is written: roles, or what another prompting strategy puts before an
    answer, such as a plan (see `strategies`).
    """

    name: str
    template: str
    reader: Reader = "first-paragraph"
    strategy: str = ROLE

    @property
    def opening(self) -> str:
        """The fixed text that every role of this design begins with."""
        return self.template.split("{", 1)[0]

    @property
    def writes_role(self) -> bool:
        return bool(self.template)

    @property
    def writes_first(self) -> bool:
        """Whether the role stands before the answer, where it can change it."""
        return self.writes_role and self.reader == "first-paragraph"

    def role_text(self, role: RoleOrText) -> str:
        """The role annotation as this design writes it; empty for `none`.

        Raises:
            UserError: an annotation of another strategy.
        """
        require(role.strategy == self.strategy or not self.template,
                f"design {self.name} writes annotations of strategy {self.strategy}, and this one "
                f"is of strategy {role.strategy}: {role.text:.60}; give the annotation file of "
                "that strategy, or another design")
        return self.template.format(**role.model_dump())

    def write(self, role: RoleOrText, answer: str) -> str:
        """The assistant's turn: role, blank line, answer (chapter 3)."""
        parts = [self.role_text(role), answer] if self.writes_role else [answer]
        return GAP.join(parts if self.reader == "first-paragraph" else reversed(parts))

    def read(self, reply: str) -> ParsedReply:
        """Take a reply apart into role and answer (chapter 4). Never raises."""
        said = split_thought(reply)
        unread = ParsedReply(None, said.answer, "broken" if said.cut else "missing")
        if not self.writes_role:
            return unread
        if self.reader == "last-paragraph":
            answer, gap, role = said.answer.rpartition(GAP)
            found = gap and self._begins(role)
            return ParsedReply(role.rstrip(), answer, "role") if found else unread
        if not self._begins(said.answer):
            return unread
        role, gap, answer = said.answer.partition(GAP)
        return ParsedReply(role, answer, "role" if gap else "broken")

    def _begins(self, text: str) -> bool:
        return text.startswith(self.opening)


@cache
def neutral_text() -> str:
    """A paragraph about how an answer will be given, which fits any question."""
    return " ".join((RESOURCES / "evaluate" / "neutral.txt").read_text(encoding="utf-8").split())


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

    def role_text(self, role: RoleOrText) -> str:
        """The text up to the end of a word, with a stop: at most as many characters as the role.

        The whole text where the role is longer.
        """
        other = isinstance(role, StrategyText)
        text, length = neutral_text(), len(role.text if other else super().role_text(role))
        if len(text) <= length:
            return text
        return text[: text.rindex(" ", 0, length)].rstrip(" .,") + "."


class DesignFile(BaseModel):
    """A design's file; one with a guideline is a prompting strategy's (see `strategies`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    about: str = ""
    template: str
    reader: Reader
    guideline: Annotated[str, Field(min_length=20)] | None = None
    examples: tuple[dict[str, Any], ...] = ()

    @field_validator("template")
    @classmethod
    def _can_be_read(cls, template: str) -> str:
        template = template.strip()
        others = re.sub(r"{{|}}|{(?:expert|brings|request|text)}", "", template)
        if "{" in others or "}" in others:
            raise ValueError("its fields are {expert}, {brings} and {request} of a role, or {text} "
                             "of another strategy; write any other brace twice")
        text = template.format(expert="x", brings="x", request="x", text="x")
        if not template.split("{", 1)[0].strip() or text == template:
            raise ValueError("begin it with words of its own, by which it is known again in a "
                             "reply, and put a field behind them, such as {expert}")
        if MARK.search(text):
            raise ValueError("it holds a mark of a thought, such as <think> or <reason>, and "
                             "thoughts are left out where replies are read; use other words")
        if len(template.splitlines()) > 1:
            raise ValueError("it has a line break; write one paragraph, as the first blank line "
                             "ends the role")
        return template

    @model_validator(mode="after")
    def _writes_one_kind(self) -> "DesignFile":
        """A role has no text of its own, and a strategy's text none of the parts of a role."""
        fields = {field for _, field, _, _ in Formatter().parse(self.template) if field}
        if self.guideline and fields != {"text"}:
            raise ValueError("template: with a guideline it is a strategy's, whose one field is "
                             "{text}; leave the guideline out for a design of roles")
        if not self.guideline and "text" in fields:
            raise ValueError("template: {text} is what a strategy writes; add a guideline, or use "
                             "{expert}, {brings} and {request} of a role")
        return self


def read_design_file(path: Path) -> DesignFile:
    """A design's or a strategy's file.

    Raises:
        UserError: a missing file, or what is wrong with its fields.
    """
    require(path.is_file(), f"design {path}: no such file; copy one of resources/designs")
    try:
        return DesignFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise UserError(f"design {path}: {' | '.join(all_faults(error))}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # such as a day 2026-13-45
        raise UserError(f"design {path}: no YAML ({str(error).splitlines()[0]})") from None


def design_file(name: str) -> Path:
    """The file of a design or strategy: a path of the user's, or a name in the package."""
    if name.endswith(FILE_SUFFIXES):
        return user_path(name)
    folders = (RESOURCES / folder / f"{name}.yaml" for folder in ("designs", "strategies"))
    return next(filter(Path.is_file, folders), RESOURCES / "designs" / f"{name}.yaml")


def strategy_name(name: str) -> str:
    """A strategy's name, also where it is given by its file."""
    return Path(name).stem if name.endswith(FILE_SUFFIXES) else name


def _load(name: str) -> Design:
    path = design_file(name)
    file = read_design_file(path)
    return Design(path.stem, file.template, file.reader, path.stem if file.guideline else ROLE)


NAMES = ("from-now-on", "first-person", "third-person", "title-only", "expert-and-brings",
         "request-only", "system-style", "after-answer")
DESIGNS = {name: _load(name) for name in NAMES}
DESIGNS |= {"neutral": NeutralDesign("neutral", DESIGNS["from-now-on"].template),
            "none": Design("none", "")}
STRATEGIES = ("plan", "rephrase", "step-back", "knowledge")  # besides roles


def get_design(name: str) -> Design:
    """The design of that name, a strategy's own design, or one of the user's from its YAML file.

    Raises:
        UserError: for an unknown name, with the names that exist; a faulty file.
    """
    if name in DESIGNS:
        return DESIGNS[name]
    require(name in STRATEGIES or name.endswith(FILE_SUFFIXES),
            f"design: unknown design {name!r}; choose one of "
            f"{', '.join((*DESIGNS, *STRATEGIES))}, or give a .yaml file of your own")
    return _load(name)


def designs_of(strategy: str) -> dict[str, Design]:
    """The designs of the package that write annotations of a strategy, and those that write none
    (chapter 1)."""
    found = {name: get_design(name) for name in (*DESIGNS, *STRATEGIES)
             if name == strategy or (name in DESIGNS and strategy == ROLE)}
    return found | {name: DESIGNS[name] for name in ("neutral", "none")}
