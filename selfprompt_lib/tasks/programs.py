"""Reading a program (chapter 5)."""

import ast
import re
import textwrap

BLOCK = re.compile(r"```[ \t]*(\w*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)


def program(answer: str, prompt: str, entry_point: str, strict: bool) -> str | None:
    """The program of an answer that defines `entry_point`; a body alone is put under the prompt.

    Of several code blocks the last that defines the function counts. Whatever follows the last whole statement
    is cut off. Strictly, only a code block or a whole function is read.
    """
    blocks = [text for language, text in BLOCK.findall(answer) if language.lower() in ("", "python", "py", "python3")]
    candidates = [*reversed(blocks), *([] if blocks or (strict and not _names(answer, entry_point)) else [answer])]
    whole = [code for text in candidates if (code := _whole(text, entry_point))]
    bodies = [code for text in candidates if (code := _below(text, prompt))]
    return next(iter(whole + bodies), None)


def _names(text: str, entry_point: str) -> bool:
    return re.search(rf"(?m)^(?:async )?def {re.escape(entry_point)}\b|^{re.escape(entry_point)} *=", text) is not None


def _whole(text: str, entry_point: str) -> str | None:
    start = re.search(r"(?m)^(?:import |from \S+ import |@|def |async def |class |\w+ *= *)", text)
    code = _parsed(text[start.start():]) if start and _names(text, entry_point) else None
    return code if code and _names(code, entry_point) else None


def _below(text: str, prompt: str) -> str | None:
    lines = text.strip("\n").rstrip()
    if not re.search(r"\b(?:return|yield|pass|raise)\b", lines) or re.match(r"(?:async )?def |class ", lines):
        return None
    body = lines if lines.startswith((" ", "\t")) else textwrap.indent(lines, "    ")
    code = _parsed(prompt + body)
    return code if code and len(code) > len(prompt.rstrip()) else None


def _parsed(text: str) -> str | None:
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
