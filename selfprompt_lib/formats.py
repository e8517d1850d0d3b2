"""Instruction sets as people have them, as turns that alternate between user and assistant.

Names of columns and speakers are those of LIMA, OpenAI and TRL (`messages`, `prompt`, `completion`,
`chosen`), ShareGPT (`from`, `value`), Alpaca, Dolly and OpenOrca. TRL's own converters are not
called: `trl.data_utils` takes seconds to load, and renames the keys of ShareGPT, not its speakers.
A system turn is put before the first question.
"""

from collections.abc import Sequence

CONVERSATIONS = ("conversations", "messages", "conversation", "contents")
SYSTEM = ("system", "system_prompt", "systemInstruction")
ASKED = ("prompt", "instruction", "question", "query")
CONTEXT = ("input", "context")
ANSWERED = ("completion", "output", "response", "answer", "reference", "chosen", "preferred_output")
CONTENT = ("content", "value", "parts")
SPEAKERS = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant",
            "chatgpt": "assistant", "model": "assistant", "bot": "assistant",
            "system": "system", "developer": "system"}
EMPTY = "is empty; write it, or take the row out"
TOOLS = "tool calls are not read; take out the rows that have them"
MEDIA = "only text is read; take out the rows that have images, sound or films"
REFUSED = {
    "tools": TOOLS, "functions": TOOLS, "tool_calls": TOOLS, "function_call": TOOLS,
    "image": MEDIA, "images": MEDIA, "audio": MEDIA, "audios": MEDIA, "videos": MEDIA,
    "history": "earlier turns in a column of their own are not read; put them into conversations",
}
MESSAGE_KEYS = {"role", "from", *CONTENT, *REFUSED}
HINTS = {"text": "a text that is not parted into turns is not read", "content": "one message a row "
         "is not read; put those of a conversation into one row, as messages"}


def filled(value: object) -> bool:
    """Whether a cell holds anything: no null, no NaN, no white space alone, no empty list."""
    if isinstance(value, str):
        return bool(value.strip())
    is_nan = value != value
    return value is not None and not is_nan and value not in ([], {})


def read_turns(row: dict, answered: bool = False) -> tuple[list, set[str]]:
    """The turns of a row, and the columns that they come from; `answered`: it needs an answer.

    Raises:
        ValueError: no known columns, two that say the same, a format that cannot be read, or turns
            that do not alternate between user and assistant.
    """
    for name in REFUSED:
        if filled(row.get(name)):
            raise ValueError(f"{name}: {REFUSED[name]}")
    if row.get("label") is False:
        raise ValueError("label is false: an answer that was judged bad (TRL's unpaired "
                         "preference); take the row out")
    whole = next((name for name in CONVERSATIONS if filled(row.get(name))), None)
    if whole:
        used, messages = [whole], _messages(row[whole], whole, 0)
        if _speaker(messages[-1]) == "user" and filled(row.get("chosen")):  # ShareGPT's preferences
            used, messages = [whole, "chosen"], messages + _messages(row["chosen"], "chosen", 1)
    else:
        used, messages = _question_and_answer(row, answered)
    system, said = _one_of(row, SYSTEM), ""
    if system:
        is_message = isinstance(row[system], dict) and set(CONTENT) & set(row[system])  # Gemini's
        said = _text(_content(row[system]) if is_message else row[system], system)
    return _alternating(messages, " and ".join(used), said), {*used, system}


def unknown_keys(row: dict) -> set[str]:
    """Keys of a row's messages that are not read, such as OpenAI's `weight`."""
    messages = (m for value in row.values() if isinstance(value, list) for m in value)
    return {key for message in messages if isinstance(message, dict) and _speaker(message)
            for key, value in message.items() if filled(value)} - MESSAGE_KEYS


def _one_of(row: dict, names: Sequence[str]) -> str | None:
    """The one column of these that is filled in."""
    there = [name for name in names if filled(row.get(name))]
    if len(there) > 1:
        raise ValueError(f"{' and '.join(there)} are both filled in; keep one of them")
    return there[0] if there else None


def _question_and_answer(row: dict, needed: bool) -> tuple[list[str], list[dict]]:
    asked, context, answer = _one_of(row, ASKED), _one_of(row, CONTEXT), _one_of(row, ANSWERED)
    if asked is None and context == "input":
        asked, context = context, None
    if asked is None and answer == "chosen":
        if isinstance(row[answer], str):
            raise ValueError("chosen: a preference pair whose prompt stands inside the text "
                             "(Anthropic's form); part it into prompt and chosen")
    elif asked is None:
        hint = next((f"; {HINTS[name]}" for name in HINTS if name in row), "")
        raise _missing(row, (*CONVERSATIONS, *ASKED, "input"),
                       "conversations, messages, prompt, instruction or question", hint)
    if needed and answer is None:
        raise _missing(row, ANSWERED, "completion, output, response or answer")
    messages = _messages(row[asked], asked, 0) if asked else []
    if context:
        question = _text(_content(messages[-1]), asked)
        if not question.strip():
            raise ValueError(f"{asked} {EMPTY}")
        text = f"{question}\n\n{_text(row[context], context)}"
        messages[-1] = {"role": _speaker(messages[-1]), "content": text}
    if answer:
        reply = _messages(row[answer], answer, 1)
        if answer == "chosen" and _speaker(reply[0]) in ("user", "system"):
            return [answer], reply  # TRL's preference pairs may hold the prompt in chosen, too
        messages = messages + reply
    return list(filter(None, (asked, context, answer))), messages


def _missing(row: dict, wanted: Sequence[str], told: str, hint: str = "") -> ValueError:
    """Why none of the wanted columns is filled in: one is there and empty, or there is none."""
    empty = next((name for name in wanted if name in row), None)
    if empty:
        return ValueError(f"{empty} {EMPTY}")
    there = ", ".join(map(str, [*row][:9])) + (" …" if len(row) > 9 else "")
    return ValueError(f"no {told}; name the column so (there are {there or 'none'}){hint}")


def _messages(value: object, column: str, first: int) -> list[dict]:
    """A cell as messages; plain texts are turns, the `first` the user's (0) or assistant's (1)."""
    if isinstance(value, dict) and "messages" in value:  # OpenAI's preferences
        value = value["messages"]
    elif isinstance(value, dict) and value and all(isinstance(v, list) for v in value.values()):
        rows = zip(*value.values(), strict=False)  # as older versions of datasets store messages
        value = [dict(zip(value, items, strict=True)) for items in rows]
    whole = column in CONVERSATIONS
    is_one_turn = isinstance(value, str) or (isinstance(value, dict) and _speaker(value))
    if is_one_turn and not whole:
        value = [value]
    if not isinstance(value, list) or not value:
        wanted = "" if whole else "text or "
        raise ValueError(f"{column}: expected {wanted}a list of turns, not {_kind(value)}")
    messages = []
    for number, turn in enumerate(value, 1):
        if not isinstance(turn, dict | str):
            raise ValueError(f"{column}: turn {number}: expected text, not {_kind(turn)}")
        who = ("assistant", "user")[(number + first) % 2]
        messages.append(turn if isinstance(turn, dict) else {"role": who, "content": turn})
    return messages


def _speaker(message: dict) -> str | None:
    """Who speaks, in our words where we have one; None where a message does not say it."""
    said = message.get("role", message.get("from"))
    if said in (None, "None"):
        return None
    return SPEAKERS.get(str(said).lower(), str(said))


def _content(message: dict) -> object:
    return next((message[key] for key in CONTENT if message.get(key) is not None), None)


def _alternating(messages: list[dict], columns: str, said: str) -> list[str]:
    """The turns of messages; what the row's own system column `said` is put before them, too."""
    system, turns = [said], []
    for number, message in enumerate(messages, 1):
        who = _speaker(message)
        expected = "assistant" if len(turns) % 2 else "user"
        if who in ("tool", "function", "observation", "function_call") or any(
                filled(message.get(name)) for name in ("tool_calls", "function_call")):
            raise ValueError(f"{columns}: turn {number}: {TOOLS}")
        text = _text(_content(message), f"{columns}: turn {number}")
        if who == "system" and not turns:
            system.append(text)
        elif who == expected:
            turns.append(text)
        else:
            raise ValueError(f"{columns}: turn {number} is {who!r}, expected {expected!r}")
        if not text.strip() and who != "system":
            raise ValueError(f"{columns}: turn {number} {EMPTY}")
    if not turns:
        raise ValueError(f"{columns}: no turn is a user's")
    turns[0] = "\n\n".join([*filter(str.strip, system), turns[0]])
    return turns


def _text(content: object, where: str) -> str:
    """What a message says; OpenAI's content parts, or plain texts, are joined."""
    if isinstance(content, list) and content:
        kinds = [_kind_of_part(part) for part in content]
        if others := [kind for kind in kinds if kind not in ("text", "input_text", "output_text")]:
            raise ValueError(f"{where}: a part of type {others[0]!r}: {MEDIA}")
        texts = (part if isinstance(part, str) else part.get("text") for part in content)
        return "\n".join(_text(text, where) for text in texts)
    if content is None:
        return ""
    if not isinstance(content, str):
        raise ValueError(f"{where}: expected text, not {_kind(content)}")
    return content


def _kind_of_part(part: object) -> str:
    """Its `type`; Gemini's parts have none, but a key that says it, such as text or inlineData."""
    if not isinstance(part, dict):
        return _kind(part)
    return part.get("type", "text" if part.get("text") is not None else ", ".join(part))


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number",
             float: "a number", type(None): "null"}
    return names.get(type(value), type(value).__name__)
