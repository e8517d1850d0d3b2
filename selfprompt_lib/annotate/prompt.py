"""What is asked for a role, and how the reply is read: guideline, examples and the form."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ..llm_client.prompt import Prompt, read_guideline, user_turn
from ..profiles import Annotate
from ..rows import Name, Role, Sample, read_rows, validate_fields

ANNOTATION_FOLDER = Path(__file__).parent.parent / "resources" / "annotation"
FIELDS = ("expert", "brings", "request")
LINES_FORM = """\
Write exactly three lines and nothing else, in this form:
Expert: …
Brings: …
Request: …"""
FIELD = re.compile(r"(?m)^\W*(Expert|Brings|Request)[ \t*_]*:[*_]*[ \t]*(\S.*?)(?:\s|```)*$")
TURN_END = re.compile(r"(?<=\S)\s*(?:</s>|<eos>|<end_of_turn>|"
                      r"<\|(?:im_end|end|eo[tm](?:_id)?|return|end_?of_?text)\|>)")
NEXT_TURN = re.compile(r"(?i)\n[*_# \t]*(?:question|q|user|human|assistant)[*_ \t]*(?::|\n|\Z)")
JSON_FORM = """\
Answer with one JSON object and nothing else; its fields are expert, brings and request."""
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "role",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in FIELDS},
            "required": list(FIELDS),
            "additionalProperties": False,
        },
    },
}


class RoleReply(Role):
    """A role as an annotator may write it: of sensible length, and with no other fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    expert: str = Field(min_length=3, max_length=200)
    brings: str = Field(min_length=3, max_length=800)
    request: str = Field(min_length=3, max_length=800)


class Example(BaseModel):
    """A line of the examples file."""

    id: Name
    question: str = Field(min_length=1)
    role: RoleReply


@dataclass(frozen=True)
class RolePrompt(Prompt):
    """The prompt that asks for a role (chapter 1). `examples` are pairs of question and role."""

    kind, unit, label = "role", "samples", "annotating"
    retry_instruction = "Write the role once more, complete and in the form asked for."

    settings: Annotate
    examples: tuple[tuple[str, Role], ...]

    @classmethod
    def from_settings(cls, settings: Annotate) -> "RolePrompt":
        """Read guideline and examples: the package's files, or those that the profile names.

        Raises:
            UserError: a file that is missing or empty, or an example that is not one.
        """
        guideline = read_guideline(settings, ANNOTATION_FOLDER / "guideline.md")
        path = Path(settings.examples or ANNOTATION_FOLDER / "examples.jsonl")
        examples = tuple((row.question, row.role) for row in read_rows(path, Example))
        return cls(settings, guideline, examples)

    def messages(self, question: str) -> list[dict[str, str]]:
        """Guideline, in-context examples, question: the conversation that asks for one role."""
        turns = [{"role": "system", "content": f"{self.guideline}\n\n{self.form}"}]
        for example, role in self.examples:
            turns.append(user_turn(f"Question: {example}"))
            turns.append({"role": "assistant", "content": self.write(role)})
        return [*turns, user_turn(f"Question: {self.shorten(question)}")]

    @property
    def form(self) -> str:
        """What is said of the reply's form."""
        return JSON_FORM if self.settings.json_schema else LINES_FORM

    def write(self, role: Role) -> str:
        """A role in the form that the annotator is asked for."""
        if self.settings.json_schema:
            return json.dumps(role.model_dump(), ensure_ascii=False)
        return write_role(role)

    def read_answer(self, text: str) -> Role:
        return read_json_role(text) if self.settings.json_schema else read_role(text)

    def response_format(self) -> dict[str, Any] | None:
        """The JSON schema, where the profile says that the server takes one."""
        return SCHEMA if self.settings.json_schema else None

    def stops_within(self, text: str) -> str:
        """The request, if the answer ends in it; or a role that may be a draft: it does not begin
        the answer."""
        if self.settings.json_schema:
            return "" if _json_from(text, text.find("{")) else "role"
        more_follows = _own_turn(text) != text
        if not more_follows and re.match(r"\W*Request\b", text.strip().splitlines()[-1]):
            return "request"
        return "" if re.match(r"\W*(?:```\w*\s*)?\W*Expert\b", text) else "role"

    def estimate_tokens(self, samples: Sequence[Sample], count_tokens: Callable[[str], float],
                        rows: int) -> dict[str, int]:
        """Input and output tokens of annotating `rows` samples, from the lengths of `samples`."""
        fixed = sum(count_tokens(turn["content"]) for turn in self.messages(""))
        questions = [count_tokens(self.shorten(sample.question)) for sample in samples]
        replies = [count_tokens(self.write(sample.role)) for sample in samples if sample.role]
        written = sum(replies) / len(replies) if replies else 90
        return {"input_tokens": round(rows * (fixed + sum(questions) / len(questions))),
                "output_tokens": round(rows * written)}


def write_role(role: Role) -> str:
    """A role in the three-line form that the guideline asks for."""
    return f"Expert: {role.expert}\nBrings: {role.brings}\nRequest: {role.request}"


def read_role(text: str) -> Role:
    """Read the three-line form back; bold and bulleted names are read too. Of several roles the
    last counts, and nothing of the others; not one of a next turn that a base model invents.

    Raises:
        ValueError: which names the line that is missing, empty or too long.
    """
    text = _own_turn(text)
    found = FIELD.findall(text)
    names = [name for name, _ in found]
    if len(set(names)) < len(names):
        starts = [place for place, name in enumerate(names) if name == names[0]]
        found = found[starts[-1] :]
    for name, value in found if len(found) == len(FIELDS) else []:
        _, _, below = text[text.rindex(value) + len(value) :].partition("\n")
        next_line, _, _ = below.partition("\n")
        goes_on = next_line.strip("\r\t *_`-#") and not FIELD.match(next_line)
        if name == found[-1][0]:  # behind it may stand more, but not within a sentence
            goes_on = next_line.lstrip()[:1].islower()
        if goes_on:
            raise ValueError(f"{name.lower()}: goes on in a second line; write each in one line")
    return _role_from({name.lower(): _unmarked(value) for name, value in found})


def _own_turn(text: str) -> str:
    """A reply up to its end-of-turn token, or to the next turn where a base model writes on."""
    text = TURN_END.split(text)[0]
    for turn in NEXT_TURN.finditer(text):
        if len(FIELD.findall(text[: turn.start()])) >= len(FIELDS):
            return text[: turn.start()]
    return text


def _unmarked(value: str) -> str:
    """A value without the bold, italics or quotes that it stands in."""
    if value.count("**") % 2:  # it began before the name
        value = value.removesuffix("**").rstrip()
    wrapped = re.fullmatch(r'(\*\*|__|[*_"])(.+)\1', value)
    return _unmarked(wrapped[2]) if wrapped and wrapped[1] not in wrapped[2] else value


def read_json_role(text: str) -> Role:
    """Read the one JSON object of a text back; a fence and words around it are left out.

    Raises:
        ValueError: which names the field, or the place where it is no JSON; two that differ.
    """
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        starts = (found.start() for found in re.finditer(r"\{", text))
        objects = [found for start in starts if (found := _json_from(text, start))]
        if not objects:
            raise ValueError(f"no JSON: {error.msg} at character {error.pos}") from None
        fields = objects[0]
        if any(other != fields for other in objects):
            raise ValueError("no JSON: more than one object") from None
    except RecursionError:
        raise ValueError("no JSON: nested too deeply") from None
    return _role_from(fields)


def _json_from(text: str, start: int) -> dict[str, Any] | None:
    """The JSON object that begins at a place of a text; None where none does."""
    try:
        return json.JSONDecoder().raw_decode(text, max(start, 0))[0]
    except (ValueError, RecursionError):
        return None


def _role_from(fields: Any) -> Role:
    return Role(**validate_fields(RoleReply, fields).model_dump())
