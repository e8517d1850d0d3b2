"""How many replies each way of reading an answer reads as a person does, by kind of item.

    PYTHONPATH=. python tests/bench/readers.py [CASES] [--out book/measured/readers.md]

The replies are those of `tests/gold/replies.jsonl`; CASES is a folder with `numbers.tsv` and
`letters.jsonl` of more. The rivals are lm-eval's filters, with the patterns of its own tasks, and
math-verify where it is installed (`pip install math-verify` in an environment of its own). All get
the reply without its role, and numbers are compared in the same form, so that only reading counts.
"""

import argparse
import json
import re
from pathlib import Path

import pandas as pd
from fragment import report
from lm_eval.filters.extraction import MultiChoiceRegexFilter, RegexFilter

from selfprompt_lib.tasks import NO_ANSWER
from selfprompt_lib.tasks.extraction import extract_answer, strip_role
from selfprompt_lib.tasks.numerals import canonical_number

GOLD = Path(__file__).parents[1] / "gold" / "replies.jsonl"
STATED = r"(?:(?<=The answer is )|(?<=the answer is )|(?<=answer is )|(?<=The answer: )).*(?=.)"
FILTERS = {  # kind -> name -> filter, as lm-eval's tasks have them
    "number": {
        "gsm8k strict": RegexFilter(r"#### (\-?[0-9\.\,]+)"),
        "gsm8k_cot strict": RegexFilter(r"The answer is (\-?[0-9\.\,]+)."),
        "gsm8k flexible": RegexFilter(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", -1),
    },
    "choice": {
        "mmlu_flan_cot strict": RegexFilter(STATED),
        "mmlu_pro": RegexFilter(r"answer is \(?([ABCDEFGHIJ])\)?"),
        "multi_choice_regex": MultiChoiceRegexFilter(
            r"(\([A-Z]\))", -1, ignore_case=True, ignore_punctuation=True
        ),
    },
    "yes_no": {
        "bbh strict": RegexFilter(STATED),
        "bbh flexible": RegexFilter(r"\b(Yes|No|yes|no)\b", -1),
    },
}


def gold():
    for line in GOLD.read_text("utf-8").splitlines():
        row = json.loads(line)
        if row["kind"] in FILTERS:
            yield row | {"source": "gold"}


def cases(folder):
    for line in (folder / "numbers.tsv").read_text("utf-8").splitlines():
        reply, right = line.split("\t")
        right = right if right == NO_ANSWER else canonical_number(right)
        yield {"kind": "number", "reply": reply, "gold": right, "source": "cases"}
    for line in (folder / "letters.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        yield row | {"kind": "choice", "gold": row["right"], "source": "cases"}


def in_one_form(kind, found):
    """What a rival found, in the form of our readers; generously."""
    found = found.strip()
    if kind == "number":
        return canonical_number(found.strip("$.,")) or NO_ANSWER
    if kind == "choice":
        letter = re.match(r"\(?([A-Z])\b", found)
        return letter[1] if letter else NO_ANSWER
    word = found.lower().rstrip(".")
    return word if word in ("yes", "no") else NO_ANSWER


def math_verify_reads(row, answer):
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, StringExtractionConfig, parse

    letters = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(row.get("options", ""))])
    targets = {
        "number": [ExprExtractionConfig(), LatexExtractionConfig()],
        "choice": [StringExtractionConfig(strings=letters)],
        "yes_no": [StringExtractionConfig(strings=("yes", "no"))],
    }[row["kind"]]
    found = parse(answer, targets)
    if not found:
        return NO_ANSWER
    if row["kind"] != "number":
        return in_one_form(row["kind"], str(found[-1]).upper() if letters else str(found[-1]))
    try:
        return canonical_number(f"{float(found[0]):.10g}") or NO_ANSWER
    except (TypeError, ValueError, OverflowError):  # a symbol, a set, an equation
        return in_one_form("number", str(found[-1]))


def readings(kind, rows):
    """Every reader's name, and what it reads in these replies of one kind."""
    answers = [strip_role(row["reply"]) for row in rows]
    for reader in ("strict", "tolerant"):
        yield f"ours, {reader}", [extract_answer(kind, reader, row["reply"], row) for row in rows]
    docs = [{"choices": row.get("options")} for row in rows]
    for name, rule in FILTERS[kind].items():
        found = rule.apply([[answer] for answer in answers], docs)
        yield f"lm-eval, {name}", [in_one_form(kind, first) for first, *_ in found]
    if MATH_VERIFY:
        yield "math-verify", [math_verify_reads(*pair) for pair in zip(rows, answers, strict=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", type=Path, nargs="?", help="a folder with more replies")
    parser.add_argument("--out", type=Path, help="also write the table as a fragment of the book")
    given = parser.parse_args()
    rows = [*gold(), *(cases(given.cases) if given.cases else [])]
    table = []
    for kind, source in dict.fromkeys((row["kind"], row["source"]) for row in rows):
        some = [row for row in rows if (row["kind"], row["source"]) == (kind, source)]
        right = pd.Series([row["gold"] for row in some])
        for reader, found in readings(kind, some):
            read = pd.Series(found)
            wrong = (read != right) & (read != NO_ANSWER)  # not what the reply says
            table.append({"answers": f"{kind}, {source} ({len(some):,})", "reader": reader,
                          "as a person reads": f"{(read == right).mean():.1%}",
                          "otherwise": f"{wrong.mean():.1%}"})
    report("Replies read by each reader; the rest it does not read at all", table, given.out)


if __name__ == "__main__":
    try:
        import math_verify  # noqa: F401

        MATH_VERIFY = True
    except ImportError:
        MATH_VERIFY = False
    main()
