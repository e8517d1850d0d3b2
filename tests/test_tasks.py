"""Benchmarks as lm-eval's tasks: their data, their YAML, bad input, and our tasks under plain `lm_eval`."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
from lm_eval.utils import apply_template

from selfprompt_lib import evaluate, models, profiles
from selfprompt_lib.rows import STARTER_FOLDER
from selfprompt_lib.sandbox import sandbox_problem
from selfprompt_lib.tasks import NO_ANSWER, TASKS_FOLDER, loading, utils
from selfprompt_lib.tasks.checks import check_task, check_task_folder
from selfprompt_lib.tasks.extraction import KINDS, extract_answer

needs_sandbox = pytest.mark.skipif(bool(sandbox_problem()), reason=sandbox_problem())
GROUP = "selfprompt_no_code" if sandbox_problem() else "selfprompt"
TASKS = ("mmlu", "strategyqa", "commonsense_qa", "openbookqa", "truthful_qa", "gsm8k", "aqua_rat")
TASKS += () if sandbox_problem() else ("humaneval",)
MIRROR = Path(__file__).parents[2] / "shared" / "data"
PAGE = Path(__file__).parents[1] / "book" / "benchmarks.md"
HUMERUS = {
    "question": "Which bone?",
    "choices": ["humerus", "femur"],
    "answer": 0,
    "subject": "anatomy",
}
NUMBERS = {"question": "How many?", "choices": [1, 2, 3, 4]}


def tasks(folder=TASKS_FOLDER, names=(GROUP,), **metadata):
    manager = TaskManager(
        include_path=str(folder),
        include_defaults=False,
        metadata={"data": str(STARTER_FOLDER)} | metadata,
    )
    return manager.load(list(names))["tasks"]


@pytest.fixture
def mine(tmp_path):
    """`mine(rows, columns={…})`: a folder of one's own with the task `mine` over these rows; its YAML, loaded."""
    for base in TASKS_FOLDER.glob("_*.yaml"):
        shutil.copy(base, tmp_path)

    def write(*rows, base="_choice.yaml", **changed):
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        kwargs = {
            "path": "rows.jsonl",
            "columns": {"question": "question", "options": "choices", "key": "answer"},
        } | changed
        config = {
            "include": base,
            "task": "mine",
            "dataset_kwargs": {k: v for k, v in kwargs.items() if v is not None},
        }
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
        return tmp_path

    return write


@pytest.mark.parametrize("data", ["starter", "mirror"])
def test_the_same_tasks_read_the_starter_data_and_the_real_sets(data):
    if data == "mirror" and not MIRROR.is_dir():
        pytest.skip("no mirror of the real data sets beside this checkout")
    found = tasks(data=str(STARTER_FOLDER if data == "starter" else MIRROR), items=200)
    assert set(found) == {f"selfprompt_{name}" for name in TASKS}
    for name, task in found.items():
        check_task(task.config)
        docs = list(task.test_docs())
        assert len({doc["id"] for doc in docs}) == len(docs)
        assert all(isinstance(doc["id"], str) and isinstance(doc["stratum"], str) for doc in docs)
        assert all(
            task.doc_to_text(doc).strip() and task.doc_to_target(doc) == doc["key"] for doc in docs
        )
        assert (len({doc["stratum"] for doc in docs}) > 1) == (name == "selfprompt_mmlu")


@pytest.mark.parametrize("name", TASKS)
def test_the_key_itself_is_read_as_the_key(name):
    task = tasks(names=[f"selfprompt_{name}"])[f"selfprompt_{name}"]
    for doc in task.test_docs():
        reply = (
            f"```python\n{doc['prompt']}{doc['key']}```"
            if doc["kind"] == "code"
            else f"The answer is {doc['key']}."
        )
        for how in ("strict", "tolerant"):
            found = extract_answer(doc["kind"], how, reply, doc)
            assert (doc["key"].strip() in found) if doc["kind"] == "code" else (found == doc["key"])


@pytest.mark.parametrize("name, end", [("mmlu", "among A through D, the answer is"),
                                       ("aqua_rat", "among A through E, the answer is"),
                                       ("gsm8k", "the answer (arabic numerals) is"), ("strategyqa", "the answer (Yes or No) is"),
                                       pytest.param("humaneval", "", marks=needs_sandbox)])  # fmt: skip
def test_every_task_has_its_trigger(name, end):
    task = tasks(names=[f"selfprompt_{name}"])[f"selfprompt_{name}"]
    assert apply_template(task.config.metadata["trigger"], task.test_docs()[0]) == (
        f"\n\nTherefore, {end}" if end else ""
    )


def test_truthful_qa_is_shuffled_the_same_way_each_time():
    first, again = (
        list(tasks(names=["selfprompt_truthful_qa"])["selfprompt_truthful_qa"].test_docs())
        for _ in range(2)
    )
    assert first == again
    assert len({doc["key"] for doc in first}) > 2, "the right choice stands in several places"
    for doc in first:
        assert doc["options"]["ABCDEFGHIJKLM".index(doc["key"])] == doc["mc1_targets"]["choices"][0]
        assert sorted(doc["options"]) == sorted(map(str.strip, doc["mc1_targets"]["choices"]))


def test_a_subset_has_every_stratum_in_proportion_and_depends_on_the_seed_alone():
    docs = [
        {"id": str(i), "stratum": f"subject-{i % 10 if i < 900 else i % 2}"} for i in range(1000)
    ]
    picked = loading.stratified_subset(docs, 100, seed=1)
    shares = Counter(doc["stratum"] for doc in picked)
    assert shares == {f"subject-{i}": 14 if i < 2 else 9 for i in range(10)}
    assert (
        picked
        == loading.stratified_subset(docs, 100, seed=1)
        != loading.stratified_subset(docs, 100, seed=2)
    )
    assert picked == sorted(picked, key=lambda doc: int(doc["id"])), "in the order of the data"
    assert len({doc["stratum"] for doc in loading.stratified_subset(docs, 5, seed=1)}) == 5, (
        "a small one spreads too"
    )
    assert (
        loading.stratified_subset(docs, None, 1) == loading.stratified_subset(docs, 5000, 1) == docs
    )


def test_lm_eval_asks_the_same_subset_each_time():
    asked = [
        tasks(names=["selfprompt_mmlu"], items=7, seed=seed)["selfprompt_mmlu"].test_docs()
        for seed in (3, 3, 4)
    ]
    ids = [docs["id"] for docs in asked]
    assert ids[0] == ids[1] != ids[2]
    assert len(set(ids[0])) == 7


@pytest.mark.parametrize("base, rows, columns, keys", [
    ("_choice.yaml", [HUMERUS, HUMERUS | {"answer": 1}], {}, ["A", "B"]),
    ("_choice.yaml", [HUMERUS | {"answer": "B"}, HUMERUS | {"answer": "femur"}, HUMERUS | {"answer": "A"}], {}, ["B", "B", "A"]),
    ("_choice.yaml", [NUMBERS | {"answer": "3"}, NUMBERS | {"answer": "1"}], {}, ["C", "A"]),
    ("_choice.yaml", [NUMBERS | {"choices": [10, 20, 30], "answer": 20}, NUMBERS | {"choices": [0, 1, 2], "answer": 1}],
     {}, ["B", "B"]),
    ("_choice.yaml", [NUMBERS | {"choices": [0.5, 1.0, 2.0], "answer": 1.0}], {}, ["B"]),
    ("_choice.yaml", [NUMBERS | {"choices": ["1", "2", "3", "4"], "answer": 3}], {}, ["D"]),  # as in MMLU
    ("_choice.yaml", [{"q": "?", "a": "x", "b": "y", "label": 1}],
     {"question": "q", "options": ["a", "b"], "key": "label"}, ["B"]),
    ("_number.yaml", [{"q": "?", "a": "so #### 1,200.0"}], {"question": "q", "key": "{{a.split('####')[-1]}}"}, ["1200"]),
    ("_number.yaml", [{"q": "?", "a": 12.0}, {"q": "?", "a": 0}], {"question": "q", "key": "a"}, ["12", "0"]),
    ("_yes_no.yaml", [{"q": "?", "a": True}, {"q": "?", "a": False}], {"question": "q", "key": "a"}, ["yes", "no"]),
    ("_yes_no.yaml", [{"q": "?", "a": "Yes"}, {"q": "?", "a": "no"}], {"question": "q", "key": "a"}, ["yes", "no"]),
])  # fmt: skip
def test_columns_of_any_name_give_docs(mine, base, rows, columns, keys):
    folder = mine(*rows, base=base, **({"columns": columns} if columns else {}))
    assert check_task_folder(folder) == ["mine"]
    assert [doc["key"] for doc in tasks(folder, ["mine"])["mine"].test_docs()] == keys


@pytest.mark.parametrize("rows, changed, parts", [
    ([HUMERUS, HUMERUS | {"answer": None}], {}, ["rows.jsonl, row 2", "no key", "split"]),
    ([HUMERUS, HUMERUS | {"answer": ""}], {}, ["rows.jsonl, row 2", "no key"]),
    ([HUMERUS, {"question": "?"}], {}, ["rows.jsonl, row 2", "columns.options", "columns are question"]),
    ([HUMERUS | {"answer": 2}], {}, ["row 1", "the key 2", "columns.key"]),
    ([NUMBERS | {"answer": 3}], {}, ["row 1", "the key 3", "just one of 4", "columns.key"]),
    ([HUMERUS | {"answer": "skull"}], {}, ["row 1", "'skull'", "columns.key"]),
    ([HUMERUS | {"choices": "humerus"}], {}, ["row 1", "options", "list"]),
    ([HUMERUS | {"id": 7}, HUMERUS | {"id": "7"}], {}, ["rows.jsonl", "ids", "7", "columns.id"]),
    ([HUMERUS, HUMERUS | {"answer": "B"}], {}, ["rows.jsonl", "several types", "one type"]),
    ([], {}, ["rows.jsonl", "no rows"]),
    ([HUMERUS], {"path": "other.jsonl"}, ["other.jsonl", "no such file"]),
    ([HUMERUS], {"path": None}, ["mine.yaml", "dataset_kwargs.path"]),
    ([HUMERUS], {"columns": None}, ["mine.yaml", "columns", "question"]),
    ([HUMERUS], {"columns": {"question": "question", "key": "answer"}}, ["columns has no options"]),
    ([HUMERUS], {"columns": {"question": "question", "key": "answer", "option": "choices"}}, ["columns takes", "option"]),
    ([HUMERUS], {"columns": {"question": "question", "key": "answer", "options": "choices["}}, ["columns.options", "understood"]),
    ([HUMERUS], {"path": "cais/mmlu", "name": "none"}, ["cais/mmlu/none/test.jsonl", "mirror"]),
])  # fmt: skip
def test_bad_data_are_refused_with_file_row_and_mend(mine, refused, rows, changed, parts):
    folder = mine(*rows, **changed)
    with refused(*parts):
        tasks(folder, ["mine"])


@pytest.mark.parametrize("base, key", [("_number.yaml", "many"), ("_yes_no.yaml", "perhaps")])
def test_a_key_of_another_kind_is_refused(mine, refused, base, key):
    folder = mine({"q": "?", "a": key}, base=base, columns={"question": "q", "key": "a"})
    with refused("row 1", key, "columns.key"):
        tasks(folder, ["mine"])


@pytest.mark.parametrize("items", [0, -1, 2.5, "ten"])
def test_a_subset_of_no_items_is_refused(refused, items):
    with refused("items", "above 0"):
        loading.stratified_subset([{"id": "0", "stratum": ""}], items, 0)


@pytest.mark.parametrize("text, parts", [
    ("task: mine\ndoc_to_text: '{{question}}'\n", ["mine.yaml", "metadata.kind", "_choice.yaml"]),
    ("task: mine\nmetadata: {kind: choice, trigger: ''}\n", ["mine.yaml", "doc_to_text"]),
    ("task: mine\nmetadata: {kind: poem, trigger: ''}\n", ["mine.yaml", "metadata.kind", *KINDS]),
    ("include: _choice.yaml\ntask: mine\n", ["mine.yaml", "dataset_kwargs.path"]),
    ("include: _choice.yaml\ntask: mine\ndataset_kwargs: {path: rows.jsonl}\n", ["mine.yaml", "dataset_kwargs.columns"]),
    ("include: _choice.yaml\ntask: mine\ndataset_kwargs: {path: a, columns: {}}\nfilter_list: []\n", ["filter_list", "strict"]),
    ("include: _choices.yaml\ntask: mine\n", ["mine.yaml", "include", "_choices.yaml", "copy"]),
    ("include: _choice.yaml\n", ["mine.yaml", "task is missing"]),
    ("include: _choice.yaml\ntask: [\n", ["mine.yaml", "not a task YAML"]),
])  # fmt: skip
def test_a_yaml_with_a_missing_field_is_refused_before_anything_runs(mine, refused, text, parts):
    folder = mine(HUMERUS)
    (folder / "mine.yaml").write_text(text)
    with refused(*parts):
        check_task_folder(folder)


def test_two_tasks_of_one_name_and_an_empty_folder_are_refused(mine, refused, tmp_path):
    folder = mine(HUMERUS)
    shutil.copy(folder / "mine.yaml", folder / "copy.yaml")
    with refused("mine.yaml", "copy.yaml", "rename"):
        check_task_folder(folder)
    (tmp_path / "empty").mkdir()
    with refused("empty", "no task YAML"):
        check_task_folder(tmp_path / "empty")


def test_humaneval_is_left_out_unless_switched_on():
    assert "humaneval" not in evaluate.scored_tasks(profiles.load("smoke"))
    assert "humaneval" in evaluate.scored_tasks(profiles.load("smoke", {"evaluate.run_code": True}))


@needs_sandbox
def test_a_program_is_run_and_one_that_was_not_read_is_counted():
    doc = tasks(names=["selfprompt_humaneval"])["selfprompt_humaneval"].test_docs()[0]
    right = doc["prompt"] + doc["key"]
    assert utils.run_code(doc, [right]) == {"pass_at_1": 1.0, "unread": 0.0}
    assert utils.run_code(doc, [doc["prompt"] + "    return None"]) == {
        "pass_at_1": 0.0,
        "unread": 0.0,
    }
    assert utils.run_code(doc, [NO_ANSWER]) == {"pass_at_1": 0.0, "unread": 1.0}


@needs_sandbox
@pytest.mark.parametrize("below", ["", "\n\nprint(largest())", "\n\nif 1:\n    assert largest([1]) == 2",
                                   " + T[2]\nT = {}\nfor i in range(3):\n    T[i] = 0\n    T.update({i: 0})",
                                   " + T[0]\nT = []\nT.append(int('0'))\nfor i in T:\n    T[i] = largest()"])
def test_a_function_alone_runs_below_its_prompt_s_imports_and_without_its_own_examples(below):
    doc = {"prompt": "from typing import List\n\ndef top(x): return max(x)\n\ndef largest(x: List[int]) -> int:\n",
           "test": "def check(f): assert f([1, 3, 2]) == 3", "entry_point": "largest"}  # fmt: skip
    program = f"from __future__ import annotations\ndef largest(x: List[int]) -> int:\n    return top(x){below}"
    assert utils.run_code(doc, [program])["pass_at_1"] == 1.0
    assert utils.run_code(doc, [program.replace("top(x)", "min(x)")])["pass_at_1"] == 0.0


@needs_sandbox
def test_the_group_is_refused_without_the_switch_for_code():
    metadata = {"data": str(STARTER_FOLDER), "items": 1}
    manager = TaskManager(include_path=str(TASKS_FOLDER), include_defaults=False, metadata=metadata)
    with pytest.raises(ValueError, match="selfprompt_humaneval.*unsafe"):
        simple_evaluate(model="dummy", tasks=["selfprompt"], task_manager=manager)
    without = manager.load(["selfprompt_no_code"])["tasks"]
    assert set(without) == {f"selfprompt_{name}" for name in TASKS} - {"selfprompt_humaneval"}
    assert not any(getattr(task, "UNSAFE_CODE", False) for task in without.values())


def plain_lm_eval(*arguments, **settings):
    """`python -m lm_eval run …` with the smoke model; the scores of its tasks."""
    out = settings.pop("out")
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={models.resolve('smoke')}",
               "--apply_chat_template", "--gen_kwargs", "max_gen_toks=8", "--output_path", str(out), "--batch_size", "8",
               "--device", "cpu", *map(str, arguments)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | settings)
    assert done.returncode == 0, done.stderr[-1500:]
    return json.loads(next(out.rglob("results*.json")).read_text())["results"]


@needs_sandbox
def test_plain_lm_eval_runs_the_group(tmp_path):
    scores = plain_lm_eval("--tasks", "selfprompt", "--include_path", TASKS_FOLDER, "--confirm_run_unsafe_code",
                           "--metadata", json.dumps({"data": str(STARTER_FOLDER), "items": 2}), out=tmp_path)  # fmt: skip
    assert set(scores) - {"selfprompt"} == {f"selfprompt_{name}" for name in TASKS}
    for name in TASKS:
        metric = "pass_at_1" if name == "humaneval" else "exact_match"
        for reader in ("strict", "tolerant"):
            assert 0 <= scores[f"selfprompt_{name}"][f"{metric},{reader}"] <= 1
            assert 0 <= scores[f"selfprompt_{name}"][f"unread,{reader}"] <= 1
    profile = profiles.load(
        "smoke", {"evaluate.items": 2, "evaluate.run_code": True, "evaluate.max_new_tokens": 8}
    )
    ours = evaluate.ask_benchmarks(
        *models.load("smoke"), profile, evaluate.load_tasks(profile), [evaluate.Arm("base")]
    )
    for (task, reader), right in ours.melt("task", ["correct_strict", "correct_tolerant"]).groupby(
        ["task", "variable"]
    ):
        reader, metric = (
            reader.removeprefix("correct_"),
            "pass_at_1" if task == "humaneval" else "exact_match",
        )
        assert right.value.mean() == scores[f"selfprompt_{task}"][f"{metric},{reader}"], (
            "chapter 5 scores as lm_eval does"
        )


def test_the_page_s_own_benchmark_runs_as_it_says(tmp_path):
    page = PAGE.read_text("utf-8").split("## Add a benchmark")[1]
    blocks = dict(re.findall(r"```(json|yaml|text)\n(.*?)```", page, flags=re.DOTALL))
    shell = re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)
    subprocess.run(
        shell[0].replace("selfprompt_lib/tasks", str(TASKS_FOLDER)),
        shell=True,
        check=True,
        cwd=tmp_path,
    )
    (tmp_path / "my_tasks" / "problems.jsonl").write_text(blocks["json"])
    (tmp_path / "my_tasks" / "problems.yaml").write_text(blocks["yaml"])
    assert "--include_path my_tasks --tasks problems" in shell[1]
    assert check_task_folder(tmp_path / "my_tasks") == ["problems"]
    scores = plain_lm_eval(
        "--include_path", tmp_path / "my_tasks", "--tasks", "problems", out=tmp_path / "out"
    )["problems"]
    printed = re.findall(r"(strict|tolerant) *\| *0\|(exact_match|unread)", blocks["text"])
    assert {f"{metric},{reader}" for reader, metric in printed} == {
        key for key in scores if re.match("(exact|unread).*,", key) and "stderr" not in key
    }
