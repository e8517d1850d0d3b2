"""The page *Try it*: a run's kept replies to each held-out question, as data for the page."""

from pathlib import Path
from typing import Any

from selfprompt_lib.reading import read_json_lines

MODELS = "base", "baseline", "self-prompt"  # files of chapter 4: three models, free to begin as
GIVEN = "own-role", "swapped", "forced"  # they like; and the self-prompt model behind given roles
SHOWN = "role", "answer", "outcome", "role_tokens", "answer_tokens"


def kept_replies(root: Path) -> dict[str, Any]:
    """All that the page shows of a run.

    Returns:
        `questions`: id, domain and question; `replies` by file, without those that the run did not
        ask; `role_of`: the id of the question whose role stands in the swapped reply, or None.
        `whole`: how many questions have all six replies.
    """
    arms = {name: _rows(root / "infer" / f"{name}.jsonl") for name in (*MODELS, *GIVEN)}
    asked = arms["self-prompt"].values()
    writers = {row["role"]: row["id"] for row in asked if row["outcome"] == "role"}
    questions = [
        {"id": row["id"], "domain": row["domain"], "question": row["question"],
         "replies": {name: {field: rows[row["id"]][field] for field in SHOWN}
                     for name, rows in arms.items() if row["id"] in rows},
         "role_of": writers.get(arms["swapped"].get(row["id"], {}).get("role"))}
        for row in asked]
    whole = sum(len(question["replies"]) == len(arms) for question in questions)
    return {"questions": questions, "whole": whole}


def _rows(path: Path) -> dict[str, dict[str, Any]]:
    """The rows of a file by their id; none where it is empty, or an older run has none."""
    there = path.is_file() and path.stat().st_size
    return {row["id"]: row for row in read_json_lines(path)} if there else {}
