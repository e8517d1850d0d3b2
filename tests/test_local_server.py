"""The local server: a hub model from the cache, without a network; templates that lack something; no server is left."""

import json
import shutil
import subprocess
import sys
import time
import urllib.request

import pytest
from conftest import command, lines

from selfprompt_lib import models, profiles
from selfprompt_lib.__main__ import main

STRICT = "{{ raise_exception('System role not supported') if messages[0].role == 'system' }}"
CONNECT = """
import asyncio, time
from selfprompt_lib import profiles
from selfprompt_lib.llm_client.endpoint import connect
endpoint = asyncio.run(connect(profiles.load("smoke")))
print(endpoint.base_url, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub cache with the smoke model as me/tiny, whose template refuses a system turn."""
    cache = tmp_path_factory.mktemp("hub")
    repo = cache / "models--me--tiny"
    folder = repo / "snapshots" / ("a" * 40)
    shutil.copytree(models.resolve("smoke"), folder)
    template = folder / "chat_template.jinja"
    template.write_text(STRICT + template.read_text())
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("a" * 40)
    return cache


def test_a_hub_model_without_a_system_role_is_served_from_the_cache_offline(hub, jsonl, tmp_path):
    data, out = jsonl("q.jsonl", {"question": "Why?"}), tmp_path / "r.jsonl"
    settings = ("--base-url", "local", "--model", "me/tiny", "--set", "annotate.max_tokens=16")
    done = command("annotate", "--data", data, "--out", out, *settings, HF_HUB_CACHE=str(hub), HF_HUB_OFFLINE="1")
    assert done.returncode == 1, done.stderr  # one random layer writes no role
    [row] = lines(out.with_suffix(".replies.jsonl"))
    assert row["requested_model"] == "me/tiny" and row["tokens"] == 16


def test_the_server_ends_with_the_process_that_started_it_even_if_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", CONNECT], stdout=subprocess.PIPE, text=True) as parent:
        url = parent.stdout.readline().strip()
        assert json.load(urllib.request.urlopen(f"{url.removesuffix('/v1')}/health")) == {"status": "ok"}
        parent.kill()
    with pytest.raises(OSError):
        for _ in range(100):
            urllib.request.urlopen(f"{url.removesuffix('/v1')}/health", timeout=2).close()
            time.sleep(0.1)


def test_a_base_model_is_refused_as_judge_before_hours_of_training(tmp_path, capsys):
    base = tmp_path / "base"
    shutil.copytree(models.resolve("smoke"), base)
    (base / "chat_template.jinja").unlink()
    told = f"judge.model: {base} has no chat template, so it is a base model"
    for setting in (f"judge.model={base}", f"model={base}"):
        assert main(["run", "--profile", "smoke", "--out", str(tmp_path / "out"), "--set", setting]) == 2
        assert told in capsys.readouterr().err and not list(tmp_path.glob("out/**/*.ipynb"))
    for name in ("mistral-7b", "llama-2-7b"):
        profile = profiles.load(name)
        assert "7b" not in (profile.judge.model + profile.annotate.model).lower()
