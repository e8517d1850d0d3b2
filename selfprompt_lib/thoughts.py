"""What a model wrote, taken apart into thought and answer: the one rule for all that is read.

Annotator, judge, role reader and benchmark readers all ask here where the answer begins.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_NAME = (r"[\w:-]{0,9}(?:think|thought|reason|reflect|scratchpad|monologue|analysis)(?:ing|ion|s)?"
         r"(?:[_-]\w+)?")
_START = (
    rf"(?i:<\s*{_NAME}(?:\s[^<>\n/]*)?>|<\|(?:(?:start|begin)[_\u2581](?:of[_\u2581])?)?{_NAME}\|>"
    r"|<\|channel>thought|\[think(?:ing)?\]|\u25c1think\u25b7"  # Gemma's, Mistral's, Kimi's
    r"|\[(?=(?P<word>thoughts?|reasoning)\](?s:.*?)\[/(?P=word)\])\w+\])"  # no mere heading
    # gpt-oss's channels and Muse's recipients; where special tokens are hidden, words are left.
    r"|(?:<\|start\|>assistant)?(?:<\|channel\|>(?!final)|\s?to=self<\|message\|>)"
    r"|\Aanalysis(?=[A-Z])"
)
_END = (
    rf"(?i:<\s*/\s*{_NAME}\s*>|<{_NAME}\s*/>|<\|(?:/|end[_\u2581](?:of[_\u2581])?){_NAME}\|>"
    r"|<channel\|>|\[/(?:think(?:ing)?|thoughts?|reasoning)\]|\u25c1/think\u25b7)"
    r"|(?:<\|channel\|>final|\bto=user)[^\n]{0,40}?<\|message\|>|assistantfinal"
    r"|\.\.\.done thinking\."  # Ollama's, in a terminal
)
MARK = re.compile(rf"(?P<end>{_END})|(?P<start>{_START})")
# Special tokens that marks are made of: decoding must not hide them.
TOKEN = re.compile(rf"(?:{_END}|{_START}|<\|(?:start|channel|message)\|>|<\|channel>)\Z")
_TAG, _FENCE = re.compile(r"<(?!\|)|\["), re.compile(r"(?m)^[ \t>*\d.-]*```(?!.*`)")
_UNFINISHED = re.compile(r"\s*[<\[\u25c1]\|?\w{2,}\Z")  # "<thi" and no more
_LAST_TOKEN = re.compile(r"(?:\s*<\|(?:return|end|eom|eot|eot_id|im_end)\|>)+\s*\Z")
TEXT_FIELDS = ("text", "refusal", "thinking", "reasoning", "content", "summary", "value")


@dataclass(frozen=True)
class Said:
    """A text taken apart. `cut`: it ends within a thought, and so has no answer."""

    thought: str
    answer: str
    cut: bool = False


def split_thought(text: Any) -> Said:
    """Take a text, or a server's message in parts, apart (chapters 1, 4, 5 and a1).

    A text without a thought is its answer, to the letter. Several thoughts are taken out, wherever
    they stand. What stands before an end without a start is thought too: the chat template began
    it. A thought that is begun and never ended leaves no answer, whatever it drafts. Outside of a
    thought, a mark may be only spoken of, and is none then (`_is_spoken_of`).
    """
    if not isinstance(text, str):
        text = "".join(part for kind, part in message_parts(text) if kind == "answer")
    thoughts, answer, within, place = [], "", False, 0
    marks = list(MARK.finditer(text))
    last_end = max((mark.start() for mark in marks if mark["end"]), default=-1)
    for mark in marks:
        before = answer + text[place : mark.start()]
        if not within and _is_spoken_of(mark, before, mark.start() > last_end):
            continue
        part, is_first = text[place : mark.start()], place == 0
        place = mark.end()
        if within:
            thoughts.append(part)
        elif mark["end"]:
            thoughts.append(answer + part)
            answer = ""
        else:
            answer = part if is_first else _joined(answer, part)
        within = not mark["end"]
    rest = text[place:]
    if within or _UNFINISHED.match(text):
        return Said("\n".join([*thoughts, rest]).strip(), "", cut=True)
    if place:
        text = _LAST_TOKEN.sub("", _joined(answer, rest).lstrip())
    return Said("\n".join(thoughts).strip(), text)


def _is_spoken_of(mark: re.Match, before: str, never_ends: bool) -> bool:
    """Whether a mark is in backticks or a code fence, or a placeholder: "ban <user> <reason>"."""
    text = mark.string
    if text[mark.start() - 1 : mark.start()] == text[mark.end() : mark.end() + 1] == "`":
        return True
    *fences, code = _FENCE.split(before)
    if len(fences) % 2 and (mark["start"] or MARK.search(code)):
        return True  # an end without a start is that of a thought, which broke off its code
    within_line = before.rpartition("\n")[2].strip()
    return bool(mark["start"] and never_ends and within_line and _TAG.match(mark[0]))


def _joined(answer: str, part: str) -> str:
    """What stands on both sides of a thought; the line breaks around it are its own."""
    return answer + (part if answer and not answer[-1].isspace() else part.lstrip())


def message_parts(content: Any, kind: str = "answer") -> Iterator[tuple[str, str]]:
    """What a message is made of, a text or parts of parts: "answer", "thought" or "refusal".

    Raises:
        ValueError: an answer that is neither a text nor parts.
    """
    if isinstance(content, str):
        yield kind, content
    elif isinstance(content, list):
        for part in content:
            yield from message_parts(part, kind)
    elif isinstance(content, dict):
        type_ = str(content.get("type"))
        if re.search("think|thought|reason", type_) or content.get("thought") is True:
            kind = "thought"
        elif type_ == "refusal":
            kind = "refusal"
        text = next((content[field] for field in TEXT_FIELDS if content.get(field)), None)
        yield from message_parts(text, kind)
    elif content is not None and kind == "answer":
        raise ValueError("neither a text nor parts")
