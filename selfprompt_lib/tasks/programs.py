"""Reading a program (chapter 5)."""

import ast
import re
import textwrap
from itertools import chain

BLOCK = re.compile(r"```[ \t]*(\w*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
PYTHON_NAMES = ("", "python", "py", "python3")
STATEMENT = re.compile(r"(?m)^(?:import |from \S+ import |@|def |async def |class |\w+ *= *)")


def extract_program(answer: str, prompt: str, entry_point: str, strict: bool) -> str | None:
    """The program of an answer that defines `entry_point`; a body alone is put under the prompt.

    Of several code blocks the last that defines the function counts. Whatever follows the last
    whole statement is cut off. Strictly, only a code block or a whole function is read. Used in
    chapter 5.
    """
    blocks = [text for language, text in BLOCK.findall(answer) if language.lower() in PYTHON_NAMES]
    texts = blocks[::-1]
    if not blocks and (not strict or _defines(answer, entry_point)):
        texts = [answer]
    whole = (_whole_program(text, entry_point) for text in texts)
    bodies = (_body_under_prompt(text, prompt) for text in texts)
    return next(filter(None, chain(whole, bodies)), None)


def _defines(text: str, entry_point: str) -> bool:
    name = re.escape(entry_point)
    return re.search(rf"(?m)^(?:async )?def {name}\b|^{name} *=", text) is not None


def _whole_program(text: str, entry_point: str) -> str | None:
    start = STATEMENT.search(text)
    code = _longest_code(text[start.start():]) if start and _defines(text, entry_point) else None
    return code if code and _defines(code, entry_point) else None


def _body_under_prompt(text: str, prompt: str) -> str | None:
    body = text.strip("\n").rstrip()
    ends = re.search(r"\b(?:return|yield|pass|raise)\b", body)
    if not ends or re.match(r"(?:async )?def |class ", body):
        return None
    if not body.startswith((" ", "\t")):
        body = textwrap.indent(body, "    ")
    code = _longest_code(prompt + body)
    return code if code and len(code) > len(prompt.rstrip()) else None


def _longest_code(text: str) -> str | None:
    """The longest beginning of a text, in lines, that is Python."""
    lines = text.rstrip().split("\n")
    for end in range(len(lines), 0, -1):
        code = "\n".join(lines[:end]).rstrip()
        try:
            ast.parse(code)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
        return code
    return None
