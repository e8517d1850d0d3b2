"""What is asked and how the reply is read: guideline, examples, form, key and outcome."""

import functools
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import openai
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import UserError, require
from ..profiles import Annotate
from ..rows import Role, first_fault, read_rows

FOLDER = Path(__file__).parent.parent / "data" / "annotation"
Outcome = Literal["role", "malformed", "truncated", "empty", "refusal", "content filter", "error", "not asked"]
FINAL: tuple[Outcome, ...] = ("role", "refusal", "content filter")  # asking again would not change them
TEXT = "Write exactly three lines and nothing else, in this form:\nExpert: …\nBrings: …\nRequest: …"
JSON = "Answer with one JSON object and nothing else; its fields are expert, brings and request."


class RoleReply(Role):
    """A role as an annotator may write it: the fields of `Role`, of sensible length, and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    expert: str = Field(min_length=3, max_length=200)
    brings: str = Field(min_length=3, max_length=800)
    request: str = Field(min_length=3, max_length=800)


@dataclass(frozen=True)
class Form:
    """All that shapes a reply besides the question. Made by `Form.of` from the profile."""

    settings: Annotate
    guideline: str
    examples: tuple[tuple[str, Role], ...]

    @classmethod
    def of(cls, settings: Annotate) -> "Form":
        """Read guideline and examples: the package's files, or those that the profile names.

        Raises:
            UserError: a file that is missing or empty, or an example that is not one.
        """
        path = Path(settings.guideline) if settings.guideline else FOLDER / "guideline.md"
        require(path.is_file(), f"annotate.guideline: {path} is missing; give an existing text file, or null")
        try:
            guideline = path.read_text(encoding="utf-8-sig").strip()
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise UserError(f"annotate.guideline: {path}, line {line}: not UTF-8; save the file as UTF-8") from None
        require(guideline, f"annotate.guideline: {path} is empty; write what makes a good role")
        return cls(settings, guideline, _examples(Path(settings.examples) if settings.examples else FOLDER / "examples.jsonl"))

    @functools.cached_property
    def version(self) -> str:
        """Twelve digits of the digest of guideline and examples: it changes when a user edits them."""
        text = json.dumps([self.guideline, [(q, role.model_dump()) for q, role in self.examples]])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def shorten(self, question: str) -> str:
        """The question, its middle cut where it is longer than `annotate.longest_question` characters."""
        limit = self.settings.longest_question
        if len(question) <= limit:
            return question
        half = limit // 2
        return f"{question[:half]}\n[… {len(question) - 2 * half} characters cut …]\n{question[-half:]}"

    def messages(self, question: str) -> list[dict[str, str]]:
        """Guideline, in-context examples, question: the conversation that asks for one role."""
        system = f"{self.guideline}\n\n{JSON if self.settings.json_schema else TEXT}"
        turns = [{"role": "system", "content": system}]
        for asked, role in self.examples:
            turns += [_user(f"Question: {asked}"), {"role": "assistant", "content": self.write(role)}]
        return turns + [_user(f"Question: {self.shorten(question)}")]

    def write(self, role: Role) -> str:
        """A role in the form that the annotator is asked for."""
        return json.dumps(role.model_dump(), ensure_ascii=False) if self.settings.json_schema else write_role(role)

    def read(self, reply: str) -> Role:
        """The role of a reply. Raises ValueError with what is wrong with it."""
        return read_json_role(reply) if self.settings.json_schema else read_role(reply)

    def request(self, question: str, model: str, local: bool = False) -> dict[str, Any]:
        """The body of the chat completion. Only what the profile sets is sent."""
        # transformers serve knows only the older name; current hosted models only the newer.
        limit = "max_tokens" if local else "max_completion_tokens"
        body: dict[str, Any] = {"model": model, "messages": self.messages(question)}
        if "max_tokens" not in self.settings.parameters:
            body[limit] = self.settings.max_tokens
        if self.settings.json_schema:
            body["response_format"] = SCHEMA
        return body | self.settings.parameters

    def key(self, question: str, address: str, model: str) -> str:
        """SHA-256 of all that shapes the reply: address, model, guideline, examples, question, settings."""
        body = self.request(question, model)
        return hashlib.sha256(json.dumps([address, body], sort_keys=True, ensure_ascii=False).encode()).hexdigest()


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


def ask_again(body: dict[str, Any], reply: str, reason: str) -> dict[str, Any]:
    """The same request once more, with the reply that could not be used and why."""
    turns = body["messages"]
    if reply.strip():
        turns = turns + [{"role": "assistant", "content": reply}]
    last = _user(f"This could not be used ({reason}). Write the role once more, complete and in the form asked for.")
    if turns[-1]["role"] == "user":  # an empty reply: some chat templates refuse two user turns in a row
        last = _user(f"{turns[-1]['content']}\n\n(The last reply could not be used: {reason}.)")
        turns = turns[:-1]
    return body | {"messages": turns + [last]}


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


def outcome(form: Form, choice: Any) -> dict[str, Any]:
    """What became of one reply: its `outcome`, the `reason` of a bad one, and the `role` of a good one."""
    reply, why = choice.message.content or "", choice.finish_reason
    if why == "unreadable":
        return {"outcome": "malformed", "reason": "the server's answer was cut short or is no chat completion", "role": None}
    if why == "content_filter":
        return {"outcome": "content filter", "reason": "the server's filter stopped the reply", "role": None}
    if getattr(choice.message, "refusal", None):
        return {"outcome": "refusal", "reason": " ".join(choice.message.refusal.split())[:200], "role": None}
    if not reply.strip():
        reason = "the limit of tokens was used up before a word" if why == "length" else "nothing was written"
        return {"outcome": "empty", "reason": reason, "role": None}
    try:
        role = form.read(reply)
    except ValueError as error:
        return {"outcome": "truncated" if why == "length" else "malformed", "reason": str(error), "role": None}
    if why == "length" and re.match(r"\W*Request\b", reply.strip().splitlines()[-1]):  # cut within its last line
        return {"outcome": "truncated", "reason": "request: cut off by annotate.max_tokens", "role": None}
    return {"outcome": "role", "reason": "", "role": role.model_dump()}


def server_says(error: openai.OpenAIError) -> str:
    """The reason of a failed call: what the server said, else the kind of failure."""
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, dict) else None
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


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


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}
