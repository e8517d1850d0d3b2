"""What is asked for a role, and how the reply is read: guideline, examples and form."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..llm_client.prompt import Prompt, read_guideline, user_turn
from ..profiles import Annotate
from ..rows import Role, Sample, first_fault, read_rows

ANNOTATION_FOLDER = Path(__file__).parent.parent / "resources" / "annotation"
TEXT = "Write exactly three lines and nothing else, in this form:\nExpert: …\nBrings: …\nRequest: …"
JSON = "Answer with one JSON object and nothing else; its fields are expert, brings and request."


class RoleReply(Role):
    """A role as an annotator may write it: the fields of `Role`, of sensible length, and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    expert: str = Field(min_length=3, max_length=200)
    brings: str = Field(min_length=3, max_length=800)
    request: str = Field(min_length=3, max_length=800)


@dataclass(frozen=True)
class RolePrompt(Prompt):
    """What is asked for a role. Made by `RolePrompt.from_settings` from the profile."""

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
        examples = Path(settings.examples) if settings.examples else ANNOTATION_FOLDER / "examples.jsonl"
        return cls(settings, read_guideline(settings, ANNOTATION_FOLDER / "guideline.md"), _examples(examples))

    def messages(self, question: str) -> list[dict[str, str]]:
        """Guideline, in-context examples, question: the conversation that asks for one role."""
        system = f"{self.guideline}\n\n{JSON if self.settings.json_schema else TEXT}"
        turns = [{"role": "system", "content": system}]
        for asked, role in self.examples:
            turns += [user_turn(f"Question: {asked}"), {"role": "assistant", "content": self.write(role)}]
        return turns + [user_turn(f"Question: {self.shorten(question)}")]

    def write(self, role: Role) -> str:
        """A role in the form that the annotator is asked for."""
        return json.dumps(role.model_dump(), ensure_ascii=False) if self.settings.json_schema else write_role(role)

    def read(self, reply: str) -> Role:
        """The role of a reply. Raises ValueError with what is wrong with it."""
        return read_json_role(reply) if self.settings.json_schema else read_role(reply)

    def more(self) -> dict[str, Any]:
        """The JSON schema, where the server takes one."""
        return {"response_format": SCHEMA} if self.settings.json_schema else {}

    def stops_within(self, reply: str) -> bool:
        """Whether the reply ends within its last line, the request."""
        return bool(re.match(r"\W*Request\b", reply.strip().splitlines()[-1]))

    def estimate_tokens(self, samples: Sequence[Sample], count_tokens: Callable[[str], float], rows: int) -> dict[str, int]:
        """Input and output tokens of annotating `rows` samples, from the lengths of these samples (chapter 1)."""
        fixed = sum(count_tokens(turn["content"]) for turn in self.messages(""))
        question = sum(count_tokens(self.shorten(sample.question)) for sample in samples) / len(samples)
        replies = [count_tokens(write_role(sample.role)) for sample in samples if sample.role] or [90]
        return {"input_tokens": round(rows * (fixed + question)),
                "output_tokens": round(rows * sum(replies) / len(replies))}


SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "role",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in ("expert", "brings", "request")},
            "required": ["expert", "brings", "request"],
            "additionalProperties": False,
        },
    },
}


def write_role(role: Role) -> str:
    """A role in the three-line form that the guideline asks for."""
    return f"Expert: {role.expert}\nBrings: {role.brings}\nRequest: {role.request}"


def read_role(reply: str) -> Role:
    """Read the three-line form back.

    Raises:
        ValueError: which names the line that is missing, empty or too long.
    """
    lines = dict(re.findall(r"^\W*(Expert|Brings|Request)[ \t*_]*:[*_]*[ \t]*(\S.*?)\s*$", reply, flags=re.MULTILINE))
    return _role({name.lower(): text for name, text in lines.items()})


def read_json_role(reply: str) -> Role:
    """Read a JSON object back. Raises ValueError with the field, or the place where it is no JSON."""
    try:
        fields = json.loads(reply)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ValueError("no JSON: nested too deeply") from None
    return _role(fields)


def _role(fields: Any) -> Role:
    try:
        return Role(**RoleReply.model_validate(fields).model_dump())
    except ValidationError as error:
        raise ValueError(first_fault(error)) from None


class Example(BaseModel):
    """A line of the examples file."""

    id: str
    question: str = Field(min_length=1)
    role: RoleReply


def _examples(path: Path) -> tuple[tuple[str, Role], ...]:
    return tuple((row.question, Role(**row.role.model_dump())) for row in read_rows(path, Example))
