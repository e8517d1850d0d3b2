"""Exercises of chapters 4 to 6: what their checks say of wrong answers, such as people give.

Each answer is wrong whatever the model replied: that differs between processors.
"""

import contextlib
import io

import nbformat
import pytest

from selfprompt_lib.errors import UserError
from selfprompt_lib.pipeline import CHAPTERS
from selfprompt_lib.workshop.exercises import exercise_notebook
from selfprompt_lib.workshop.versions import tags

WRONG = {  # the check's id → answers in place of the solution, and a part of what is said of them
    "check-4-1": {
        "self_prompt, baseline = 5000, 0": "count some of them",
        "self_prompt, baseline = len(questions), 0": "Not 4",
    },
    "check-4-2": {
        "mine = [('role', *text.split(GAP)[:2]) for text in raw]": "Reply 0: its answer is",
        "mine = [('missing', None, text) for text in raw]": "Reply 0 is 'role', not 'missing'",
        "mine = [(p[0], p[2]) if (p := text.partition(GAP)) else p for text in raw]": "give outcome, role, answer",
        "mine = [('broken' if not gap else 'role' if design.opening in head else 'missing',"
        " *((head, tail) if design.opening in head and gap else (text, '') if not gap else (None, text)))"
        " for text in raw for head, gap, tail in [text.partition(GAP)]]": "Reply 3 is 'missing', not 'role'",
    },
    "check-4-3": {
        "expert = 'a judge'; reply = ask(model, tokenizer, ['You are a judge. ' + question], max_new_tokens=8)[0]": "in prefills",
        "expert = 'a judge'; reply = ask(model, tokenizer, [question], max_new_tokens=8,"
        " prefills=[infer.forced_role(design, expert, question) + ' I'])[0]": "Put GAP behind it",
        "expert = 'a judge'; reply = ask(model, tokenizer, [question], max_new_tokens=8)": "Take the one reply out",
    },
    "check-4-4": {"changed = 5000": "Not 5000"},
    "check-4-4-2": {"follows = ['A', 'B']": "Not B: a change has no direction", "follows = ['D']": "A follows"},
    "check-5-1": {
        "means = evaluate.likelihood_contrasts(table).set_index(['contrast', 'task']).difference;"
        " tempting = '-' if means['self-prompt: own role − none', 'all'] > 0 else '+'; fair = '+'":
            "Look again: self-prompt: own role − none is",
    },
    "check-5-2": {
        "wins, losses, p = 99, 0, 1.0": "Not 99 wins",
        "wins = (pairs['self-prompt'] & ~pairs['baseline']).sum(); losses = (pairs['baseline'] & ~pairs['self-prompt']).sum();"
        " p = stats.mcnemar_p(pairs['baseline'], pairs['self-prompt']) / 2": "looks at one side",
    },
    "check-5-3": {
        "name = 'none'": "no task YAML",
        "files.write_rows(folder / 'a.jsonl', [{'q': q, 'o': ['y', 'n'], 'k': 0} for q in 'abc']);"
        " (folder / 'a.yaml').write_text('include: _cloze.yaml\\ntask: a\\ndataset_kwargs: {path: a.jsonl,"
        " columns: {question: q, options: o, key: k}}'); name = 'a'": "The right option is always A",
        "name = 'b'": "There is no task 'b', but a",
    },
    "check-5-4": {"smallest = 0.5": "cannot be larger", "smallest = 0.04": "made-up samples show it"},
    "check-5-4-2": {"follows = ['B', 'D']": "Not D: one in five", "follows = ['B']": "C follows"},
    "check-6-1": {
        "longest, tokens = 'title-only', 10": "Not title-only",
        "longest, tokens = 'from-now-on', 400": "Not 400",
        "longest, tokens = 'none', 0": "The designs are",
    },
    "check-6-2": {
        "turn, mine = '', Design('mine', '{expert}: {brings} {request}')": "begins with a field",
        "turn, mine = '', Design('mine', 'Today {who} speaks.')": "the fields ['who']",
        "turn, mine = '', Design('mine', 'Be wise.')": "does not use the fields ['brings', 'expert', 'request']",
        "turn, mine = '', DESIGNS['first-person']": "That one exists",
    },
    "check-6-2-2": {
        "mine = Design('mine', 'Now:\\n\\n{expert}.'); turn = mine.write(samples[0].role, samples[0].answer)":
            "A blank line within",
        "mine = Design('mine', samples[1].answer[:2] + '{expert}.'); turn = mine.write(samples[0].role, samples[0].answer)":
            "Take a rarer beginning",
        "turn = samples[0].answer": "is not the first sample's",
    },
    "check-6-3": {
        "extra, longer = unfair + 5000, 0": "pair the replies by the question's id",
        "wide = replies.pivot(index='id', columns='design', values='tokens')\n"
        "extra, longer = (wide[profile.design] - wide[other]).mean(), 99": "count pairs above zero",
    },
    "check-6-4": {"ratio = 5": "Not 5.00", "ratio = 1 / truth": "the other way round"},
    "check-6-4-2": {"follows = ['A', 'C']": "Not C: without none", "follows = ['A', 'B']": "D is right"},
}  # fmt: skip


@pytest.mark.parametrize("chapter", ["infer", "evaluate", "ablate"])
def test_wrong_answers_are_told_what_is_wrong(road, chapter, monkeypatch):
    monkeypatch.chdir(road)
    space, solution = {"display": print}, ""
    for cell in nbformat.read(exercise_notebook(CHAPTERS[chapter]), 4).cells:
        if "parameters" in tags(cell):
            space |= {"profile": "smoke", "seed": -1, "out": str(road), "settings": {}}
        elif "solution" in tags(cell):
            solution = cell.source
        elif cell.cell_type == "code":
            with contextlib.redirect_stdout(io.StringIO()):
                for answer, said in WRONG.get(cell.id, {}).items():
                    exec(answer, space)
                    with pytest.raises((AssertionError, UserError)) as caught:
                        exec(cell.source, space)
                    assert said in str(caught.value), (answer, caught.value)
                if "check" in tags(cell):
                    exec(solution, space)
                exec(cell.source, space)
