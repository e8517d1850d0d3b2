"""The cells of chapters 5 and 6 on made-up measurements: every table is shown, every figure drawn, whatever the arms and tasks.

What costs time (models, training, asking) is made up; all else is the chapter's own.
"""

import ast
import re
from functools import cache

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfprompt_lib import ablate, evaluate, models, pipeline, profiles, roles, sources
from selfprompt_lib.ablate_measure import PLAN, PROMPT, is_worded_role
from selfprompt_lib.designs import get_design
from selfprompt_lib.evaluate import open_ended
from selfprompt_lib.evaluate.likelihood_measure import COLUMNS
from selfprompt_lib.evaluate.prefixes import likelihood_plan
from selfprompt_lib.evaluate.results import BASE, UNTUNED
from selfprompt_lib.files import write_json, write_rows
from selfprompt_lib.pipeline import CHAPTERS, Stage, inputs
from selfprompt_lib.profiles import ARMS, TASKS
from selfprompt_lib.roles import fit

LOAD = models.load
PAIR = ["baseline", "self-prompt"]
RIGHT = {
    "by chance": lambda arm, draw: bool(draw < 0.5), "all right": lambda *_: True, "all wrong": lambda *_: False,
    "all better": lambda arm, _: arm == "self-prompt",
}  # fmt: skip


def made_up(plan, tasks, kind, n):
    """A table of items: `n` a task, answered as `kind` says."""
    draw = np.random.default_rng(0)
    rows = [
        {"seed": seed, "arm": arm, "task": task, "item": str(i), "stratum": "anatomy" if task == "mmlu" else "",
         "question": "q", "reply": "r", "role": "From now on, you are x." if arm == "self-prompt" and i % 2 else None,
         "key": "A", "strict": "[none]", "tolerant": "A", "second": "A", "correct_strict": False,
         "correct_tolerant": (right := RIGHT[kind](arm, draw.random())), "correct_second": right, "correct": right}
        for _, seed, arms in plan for arm in arms for task in tasks for i in range(n)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def made_up_likelihoods(profile, questions, choices):
    """What `measure_seeds` gives: a table of likelihoods, and what was written for every item."""
    draw, models, full = np.random.default_rng(0), profiles.trained_designs(profile), profile.evaluate.contrasts == "full"
    asked = [(name, row.id, "text") for name, some in questions.items() for row in some]
    options = [(short([name])[0], str(i), form) for form, tasks in choices.items() for name, task in tasks.items()
               for i in range(len(list(task.eval_docs)))]
    texts, seeds = likelihood_plan(full), range(profile.seed, profile.seed + profile.sft.seeds)
    beside = likelihood_plan(full, options=True)
    rows = []
    for seed in (UNTUNED, *seeds):
        for of_options, plan in ((False, texts), (True, beside)):
            for model, prefix in plan:
                if (model == BASE) == (seed == UNTUNED) and model in (BASE, *models):
                    rows += [dict(model=model, seed=seed, prefix=prefix, task=task, form=form, item=item, stratum="", options=4,
                                  **dict.fromkeys(["right", "right_sum", "right_pmi"], bool(draw.random() < 0.9)),
                                  **dict(zip(["nats", "log_odds", "log_odds_pmi"], draw.normal(-3, 1, 3), strict=True)))
                             for task, item, form in (options if of_options else asked)
                             if full or form != "letters" or model == BASE]
    likelihoods = pd.DataFrame(rows, columns=COLUMNS)
    likelihoods.loc[likelihoods.form == "text", ["log_odds", "log_odds_pmi"]] = np.nan
    written = [{"task": task, "item": item, "stratum": "", "question": f"{task} {item}?", "role": "You are x.", "seed": seed}
               for seed in seeds for task, item, _ in asked + options]
    return {"likelihoods": likelihoods,
            "roles": pd.DataFrame(written, columns=["task", "item", "stratum", "question", "role", "seed"])}


def made_up_designs(profile, records, samples, questions, tasks, *_):
    """What `measure_designs` gives, made up in the same way."""
    draw, likelihoods, written, replies = np.random.default_rng(1), [], [], []
    seeds = range(profile.seed, profile.seed + profile.ablate.seeds)
    places = [(name, seed, prefix) for name in records for seed in seeds
              for _, prefix in (PLAN if get_design(name).writes_first else PLAN[:1])]
    places += [(BASE, UNTUNED, "none")] + [(model, seed, PROMPT + name) for name in records if is_worded_role(name)
                                           for model, seed in ((BASE, UNTUNED), ("none", profile.seed))
                                           if model in (BASE, *records)]
    asked = [("open questions", row.id, "text") for row in questions]
    options = [(short([name])[0].removesuffix("_cloze"), str(i), "cloze") for name, task in tasks.items()
               for i in range(len(list(task.eval_docs)))]
    for model, seed, prefix in places:
        likelihoods += [{"model": model, "seed": seed, "prefix": prefix, "task": task, "form": form, "item": item, "options": 4,
                         "right": bool(draw.random() < 0.9), "nats": draw.normal(-3, 1), "log_odds": draw.normal()}
                        for task, item, form in asked + (options if not prefix.startswith(PROMPT) else [])]
    for name in records:
        text = "You are x." if get_design(name).writes_first else None
        written += [{"task": task, "item": item, "question": f"{item}?", "role": text, "tokens": 4, "design": name, "seed": seed}
                    for task, item, _ in asked + options for seed in seeds]
        replies += [reply(row, "x") | {"design": name, "seed": profile.seed} for row in questions]
    columns = {"likelihoods": COLUMNS, "roles": ["task", "item", "question", "role", "tokens", "design", "seed"],
               "replies": ["design", "question", "reply"]}
    tables = {"likelihoods": likelihoods, "roles": written, "replies": replies}
    return {kind: pd.DataFrame(rows, columns=None if rows else columns[kind]).reindex(
        columns=COLUMNS if kind == "likelihoods" else None) for kind, rows in tables.items()}


def made_up_trainings(profile, *_):
    record = {"steps": 1, "seconds": 1.0, "losses": [1.0], "samples": 3, "tokens": 9}
    return {name: [record] * profile.ablate.seeds for name in profile.ablate.designs}


@cache
def tiny_model():
    """What stands in for every model; chapter 5 reads the logits of one by hand."""
    return LOAD("smoke", "float32")


def short(tasks):
    return [name.removeprefix(evaluate.PREFIX) for name in tasks]


def reply(question, role):
    return {"id": question.id, "domain": question.domain, "question": question.question, "reply": "a b", "answer": "a b",
            "outcome": "role" if role else "missing", "role": role, "role_tokens": 3, "answer_tokens": 2}  # fmt: skip


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """`chapter("ablate", profile, "all right", 2)`: run its cells; returns what they showed."""

    def run(name, profile, kind, n):
        questions = sources.held_out_questions(profile)
        for read in ("annotate", "infer", "sft", "evaluate"):
            write_json(tmp_path / read / "stage.json", {"inputs": {"artefacts": {}}})
        write_rows(tmp_path / "annotate" / "train.jsonl", sources.training_samples(profile)[:3])
        for arm in PAIR:
            write_json(tmp_path / "sft" / arm / "config.json", {})
            rows = [reply(question, "you are x" if arm == "self-prompt" else None) for question in questions]
            write_rows(tmp_path / "infer" / f"{arm}.jsonl", rows)
        plan = list(evaluate.measurement_plan(profile))
        items = evaluate.check_items(made_up(plan, short(evaluate.load_tasks(profile)), kind, n))
        evaluate.save_items(items, tmp_path / "evaluate" / "items.parquet")

        for place, function, stand_in in (
            (evaluate, "measure_arms", lambda *_: items), (models, "load", lambda *_: tiny_model()),
            (ablate, "train_designs", made_up_trainings), (ablate, "measure_designs", made_up_designs),
            (roles, "load_embedder", lambda _: None),
            (open_ended, "embed", lambda _, texts: np.ones((len(texts), 1))),
            (fit, "embed", lambda _, texts: np.ones((len(texts), 1))),
            (evaluate, "measure_seeds", lambda profile, source, experts, *asked: made_up_likelihoods(profile, *asked[:2])),
        ):  # fmt: skip
            monkeypatch.setattr(place, function, stand_in)
        stage = Stage(CHAPTERS[name], profile, tmp_path, inputs.current_inputs(CHAPTERS[name], profile, tmp_path, {}))
        monkeypatch.setattr(pipeline, "start_chapter", lambda *_: stage)
        return run_cells(CHAPTERS[name].notebook)

    return run


def run_cells(notebook):
    """Run code cells, show the value of each cell's last line and draw all figures; returns what was shown."""
    shown = []
    space = {"display": lambda *parts: shown.extend(map(as_text, parts))}
    for number, cell in enumerate(nbformat.read(notebook, 4).cells):
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            tree, where = ast.parse(cell.source), f"{notebook.name}, cell {number}"
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, where, "exec"), space)
            if last:
                shown.append(as_text(eval(compile(ast.Expression(last.value), where, "eval"), space)))
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")
    return "\n".join(filter(None, shown))


def as_text(value):
    html = value._repr_html_() if hasattr(value, "_repr_html_") else None
    return html or getattr(value, "data", "")


@pytest.mark.parametrize(("changed", "kind", "n"), [
    ({"evaluate.tasks": ["gsm8k", "mmlu"], "evaluate.arms": PAIR}, "by chance", 3),
    ({"evaluate.tasks": ["strategyqa"], "evaluate.arms": [*PAIR, "no role"], "sft.seeds": 2, "ablate.designs": ["none"],
      "evaluate.choices": [], "data.questions": "bare.jsonl"}, "all right", 1),
    ({"evaluate.tasks": ["openbookqa"], "evaluate.arms": ["base", *PAIR], "design": "first-person",
      "ablate.tasks": ["mmlu", "openbookqa"], "ablate.designs": ["title-only"], "sft.neutral": False,
      "evaluate.contrasts": "full", "evaluate.choices": ["piqa", "mmlu"]}, "all better", 2),
    ({"evaluate.tasks": ["aqua_rat"], "evaluate.arms": PAIR, "ablate.tasks": [],
      "ablate.designs": ["none", "after-answer", "neutral", "plan", "from-now-on", "title-only"],
      "ablate.seeds": 3, "sft.seeds": 3}, "all wrong", 1),
])  # fmt: skip
def test_every_table_and_figure_holds_for_few_arms_tasks_items_and_designs(
    chapter, tmp_path, monkeypatch, capsys, changed, kind, n
):
    write_rows(tmp_path / "bare.jsonl", [{"id": str(i), "question": f"What is {i}?"} for i in range(4)])
    monkeypatch.chdir(tmp_path)
    profile = profiles.load("smoke", changed)
    said = chapter("evaluate", profile, kind, n)
    by_hand, package = re.search(r"by hand (\S+), the package (\S+) nats", capsys.readouterr().out).groups()
    assert abs(float(by_hand) - float(package)) <= 1e-3 and float(package) < 0
    assert f"Over {n * len(profile.evaluate.tasks)} item" in said
    referenced, choices = "data.questions" not in changed, profile.evaluate.choices
    assert ("**Open questions** (2)" in said) == referenced and ("form**: how likely" in said) == bool(choices)
    said = chapter("ablate", profile, kind, n)
    assert "nan" not in said.rpartition("With equal budget")[2]
    compared = referenced and "none" in profile.ablate.designs and len(profile.ablate.designs) > 1
    assert ("finds the reference answers likelier" in said) == compared
    assert ("seeds of one design" in said) == (profile.ablate.seeds > 1)


@settings(max_examples=6)
@given(
    arms=st.sets(st.sampled_from(ARMS), max_size=2).map(lambda more: [name for name in ARMS if name in more | set(PAIR)]),
    tasks=st.lists(st.sampled_from(TASKS[:-1]), min_size=1, max_size=2, unique=True),
    seeds=st.sampled_from([1, 1, 2]), kind=st.sampled_from(list(RIGHT)), n=st.integers(1, 4),
)  # fmt: skip
def test_every_number_and_sentence_holds_for_any_arms_tasks_seeds_and_items(arms, tasks, seeds, kind, n):
    profile = profiles.load("smoke", {"evaluate.arms": arms, "evaluate.tasks": tasks, "sft.seeds": seeds})
    items = evaluate.check_items(made_up(evaluate.measurement_plan(profile), tasks, kind, n))
    difference = evaluate.differences(items, *PAIR[::-1])
    assert difference[["low", "high", "p", "p_holm", "smallest"]].notna().all(axis=None)
    assert (difference.low <= difference.difference + 1e-9).all() and (difference.difference <= difference.high + 1e-9).all()
    assert ((difference.high - difference.low) > 1e-6).all(), "items that are all alike leave an interval"
    roles, needed = evaluate.role_contrasts(items), difference.assign(items_needed=None, seeds_needed=None)
    for table in (difference, roles, evaluate.arm_contrasts(items)):
        assert table.empty or evaluate.difference_table(table).to_html()
    if "mmlu" in tasks:
        evaluate.subject_differences(items)
    chance = dict.fromkeys([*tasks, "all"], 0.25)
    said = evaluate.report_text(difference, roles, needed) + evaluate.vs_chance(items, chance)
    assert "nan" not in said and len(evaluate.accuracy(items)) == len(evaluate.readings(items)) / 3 * len(tasks)


@pytest.mark.parametrize("rate", [0.1, 1 / 3, 0.25])
def test_items_that_are_all_alike_have_an_interval_despite_rounding(rate):
    from selfprompt_lib.two_way import two_way_interval

    alike = two_way_interval(np.full((7, 3), rate) + np.array([0, 1, 2]) * 1e-17)
    assert alike.high - alike.low > 0.1
