"""The recipes of the page "Inside the package", made in a copy of the package and used there."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PAGE = (PROJECT / "book" / "inside.md").read_text(encoding="utf-8")
RECIPE = re.compile(r'```\w+\n# (\S+?)(?:, below "([^\n]+)")?\n(.*?)```', re.DOTALL)

USE = """
from selfprompt_lib import annotate, evaluate, models, profiles, sft, sources
from selfprompt_lib.designs import get_design
from selfprompt_lib.rows import Role

role = Role(expert="a guide", brings="They look at the map first.", request="name the way")
briefly = get_design("mine/briefly.yaml")
assert get_design("briefly").template == briefly.template
reply = briefly.read(briefly.write(role, "Go left."))
assert (reply.role, reply.answer) == ("Briefly, as a guide: I will name the way.", "Go left.")

profile = profiles.load("doubts")
design = get_design(profile.design)
samples = sources.training_samples(profile)
assert [sample.id for sample in samples] == ["humanities-01", "humanities-02"]
reply = design.read(sft.to_messages(samples[0], design)[1]["content"])
assert reply.role.startswith("In doubt: Whether a short rule") and reply.answer == samples[0].answer
asked = annotate.annotation_prompt(profile.annotate).messages("Which way?")
assert "what a careful reader would doubt" in asked[0]["content"]

tasks = evaluate.load_tasks(profile)
assert list(tasks) == ["selfprompt_boolq"]
assert "boolq" not in profile.evaluate.choices and "truthful_qa" in profile.evaluate.choices
model, tokenizer = models.load(profile.model, "float32")
own = evaluate.ask_benchmarks(model, tokenizer, profile, tasks, [evaluate.plain_arm("self-prompt")])
sources = evaluate.RoleSources((samples[0].role,), design, tokenizer)
arms = evaluate.substituted_arms(profile.evaluate.arms, own, sources)
items = evaluate.ask_benchmarks(model, tokenizer, profile, tasks, arms)
assert set(items.arm) == {"bare title"} and list(items.key) == ["yes", "no"]
assert items.reply.str.startswith("You are an expert.").all()
print("all recipes used")
"""


def follow(recipes, root):
    """Make the changes of the page: a new file, or lines below the line that holds the anchor."""
    for name, anchor, text in recipes:
        path = root / name
        if not anchor:
            assert not path.exists(), name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            continue
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        (place,) = [number for number, line in enumerate(lines) if anchor in line]
        indent = re.match(r" *", lines[place + 1])[0]
        lines[place + 1 : place + 1] = [indent + line for line in text.splitlines(keepends=True)]
        path.write_text("".join(lines), encoding="utf-8")


def test_each_recipe_of_the_page_does_what_it_says(tmp_path):
    recipes = RECIPE.findall(PAGE)
    sections = re.findall(r"^## Add an? (.+)$", PAGE, re.MULTILINE)
    assert sections == ["prompt design", "strategy", "benchmark", "arm", "profile"] and len(recipes) == 9
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "selfprompt_lib", tmp_path / "selfprompt_lib", ignore=ignored)
    follow(recipes, tmp_path)
    shutil.copy(tmp_path / "mine" / "briefly.yaml", tmp_path / "selfprompt_lib" / "resources" / "designs")
    data = tmp_path / "mirror" / "google" / "boolq" / "default" / "validation.jsonl"
    data.parent.mkdir(parents=True)
    rows = [{"passage": "Ants are insects.", "question": "are ants insects", "answer": True},
            {"passage": "Bats are mammals.", "question": "are bats birds", "answer": False}]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", USE], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.endswith("all recipes used\n"), done.stderr[-3000:]


def test_each_recipe_is_told_in_under_ten_lines_and_every_room_is_named():
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    recipes = [section for section in sections if section.startswith("Add a")]
    assert len(recipes) == 5
    for recipe in recipes:
        told = [line for line in recipe.splitlines()[1:] if line.strip() and not line.startswith("```")]
        assert len(told) < 10 + recipe.count("\n# "), recipe  # the line that names a file is no telling
    rooms = {path.name.removesuffix(".py") for path in (PROJECT / "selfprompt_lib").iterdir()}
    rooms -= {"__init__", "__main__", "__pycache__", "resources"}
    assert {room for room in rooms if not re.search(rf"`{room}/?`", PAGE)} == set()
