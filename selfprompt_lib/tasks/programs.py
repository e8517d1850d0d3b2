"""Reading a program, and what it is run with (chapter 5)."""

import ast
import builtins
import re
import textwrap
from itertools import chain

# A block ends with a fence that begins or ends a line: one within a line may stand in a text.
BLOCK = re.compile(r"```[ \t]*(\w*)[^\n]*\n(.*?)(?:^[ \t]*```|```[ \t]*$|\Z)",
                   re.DOTALL | re.MULTILINE)
RETURNS = re.compile(r"\b(?:return|yield|pass|raise)\b")
ASSIGNMENT = ast.Assign | ast.AnnAssign | ast.AugAssign
PYTHON_NAMES = ("", "python", "py", "python3")
STATEMENT = re.compile(r"(?m)^(?:import |from \S+ import |@|def |async def |class |\w+ *= *)")


def extract_program(answer: str, prompt: str, entry_point: str, strict: bool) -> str | None:
    """The program of an answer that defines `entry_point`; a body alone is put under the prompt.

    Of several code blocks the last that defines the function counts, below what it needs of the
    others. Whatever follows the last whole statement is cut off. Strictly, only a code block or
    a whole function is read. Used in chapter 5.
    """
    blocks = [_out_of_a_list(text, entry_point) for language, text in BLOCK.findall(answer)
              if language.lower() in PYTHON_NAMES]
    texts = blocks[::-1]
    if not blocks and (not strict or _defines(answer, entry_point)):
        texts = [answer]
    whole = (_below_its_helpers(code, texts[place + 1:] + texts[:place])
             for place, text in enumerate(texts)
             if (code := _whole_program(text, entry_point)))
    bodies = (_body_under_prompt(text, prompt) for text in texts)
    return next(filter(None, chain(whole, bodies)), None)


def in_context(program: str, prompt: str, entry_point: str) -> str:
    """A program below what stands above its function in the prompt: imports, helpers (chapter 5).

    Left out is what runs below the function, such as examples, a main block or tests of its own:
    the item's tests decide. A table that functions look into is kept, though it is filled there.
    """
    start = re.search(rf"(?m)^(?:@.*\n)*(?:async )?def {re.escape(entry_point)}\b", prompt)
    above = (_longest_code(prompt[: start.start()]) if start else None) or ""
    body = ast.parse(program).body
    read, set_there = _names([node for node in body if _bound(node)])
    looked_into = read - set_there  # by functions, and not their own
    tables = read & _names([node for node in body if isinstance(node, ASSIGNMENT)])[1]

    def fills_a_table(node: ast.stmt) -> bool:
        if isinstance(node, ast.Assign | ast.AnnAssign) and looked_into & _names([node])[1]:
            return True
        example = entry_point in _names([node])[0]
        fills = isinstance(node, ASSIGNMENT | ast.For | ast.While | ast.Expr) and not example
        return fills and bool(tables & _changed(node))

    lines, defined = program.split("\n"), False
    for node in body:
        bound = _bound(node)
        defined = defined or entry_point in bound
        if defined and not bound and not fills_a_table(node):
            lines[node.lineno - 1: node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    future = re.compile(r"(?m)^from __future__ import .*\n?")  # must come first
    code = "\n".join(lines).strip()
    below = future.sub("", code).removeprefix(above).lstrip("\n")
    return "".join(future.findall(code)) + (f"{above}\n\n\n" if above else "") + below


def _names(nodes: list[ast.stmt]) -> tuple[set[str], set[str]]:
    """The names that statements read, and those that they set."""
    names = [part for node in nodes for part in ast.walk(node) if isinstance(part, ast.Name)]
    return ({name.id for name in names if isinstance(name.ctx, ast.Load)},
            {name.id for name in names if isinstance(name.ctx, ast.Store)})


def _changed(node: ast.stmt) -> set[str]:
    """What a statement changes in place: "M" of `M[1] = 2`, `M += [2]`, `M.append(2)`."""
    parts = list(ast.walk(node))
    changed = [part.target for part in parts if isinstance(part, ast.AugAssign)]
    changed += [part.value for part in parts
                if isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Store)]
    changed += [part.value.func for part in parts
                if isinstance(part, ast.Expr) and isinstance(part.value, ast.Call)
                and isinstance(part.value.func, ast.Attribute)]
    return {name.id for part in changed for name in ast.walk(part) if isinstance(name, ast.Name)}


def _bound(node: ast.stmt) -> list[str]:
    """The names that a statement defines without running anything."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    calls = any(isinstance(part, ast.Call) for part in ast.walk(node))
    if isinstance(node, ast.Assign) and (not calls or isinstance(node.value, ast.Lambda)):
        return [name.id for target in node.targets for name in ast.walk(target)
                if isinstance(name, ast.Name)]
    names = node.names if isinstance(node, ast.Import | ast.ImportFrom) else []
    return [(name.asname or name.name).split(".")[0] for name in names]


def _defines(text: str, entry_point: str) -> bool:
    name = re.escape(entry_point)
    return re.search(rf"(?m)^(?:async )?def {name}\b|^{name} *=", text) is not None


def _out_of_a_list(block: str, entry_point: str) -> str:
    """A block within a list item, which is indented as a whole; a body alone keeps its indent."""
    dedented = textwrap.dedent(block)
    return dedented if _defines(dedented, entry_point) else block


def _whole_program(text: str, entry_point: str) -> str | None:
    start = STATEMENT.search(text)
    if not start or not _defines(text, entry_point):
        return None
    code = _longest_code(text[start.start():]) or ""
    rest = text[start.start() + len(code):].lstrip("\n")
    cut_off = rest[:1].isspace() and rest.strip()  # in the middle of its last function
    return code if _defines(code, entry_point) and not cut_off else None


def _below_its_helpers(code: str, others: list[str]) -> str:
    """A program with those definitions of other blocks that it lacks, the earlier ones first.

    Not what Python has by itself: `list = [3, 1]` of an example would take the place of `list`.
    """
    for block in others:
        tree = ast.parse(code)
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        own = {name for node in tree.body for name in _bound(node)}
        helpers = _longest_code(block) or ""
        parts = [ast.get_source_segment(helpers, node) for node in ast.parse(helpers).body
                 if (used - own - vars(builtins).keys()).intersection(_bound(node))]
        code = "\n\n".join([*parts, code])
    return code


def _body_under_prompt(text: str, prompt: str) -> str | None:
    """A body, whose first line may have lost its indent, as models' replies are stripped."""
    body = text.strip("\n").rstrip()
    if not body[:1].isspace():
        lost = f"{prompt}    {body}"
        if _longest_code(lost) == lost and not re.search(r"\n\S", body):
            return lost if RETURNS.search(body) else None
        if re.match(r"(?:async )?def |class ", body):
            return None
        body = textwrap.indent(body, "    ")
    code = _longest_code(prompt + body) or ""
    return code if RETURNS.search(code[len(prompt):]) else None


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
