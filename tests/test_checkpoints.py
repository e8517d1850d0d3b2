"""Checkpoint folders: refused before work begins where no model can be loaded, known by content, whole or not used."""

import gc
import json
import os
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from test_sft import DESIGN, SAMPLES, smoke
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BertConfig, T5Config

from selfprompt_lib import checkpoints, digests, files, models, profiles, sft, sources
from selfprompt_lib.errors import UserError
from selfprompt_lib.llm_client import endpoint
from selfprompt_lib.pipeline.chapters import CHAPTERS
from selfprompt_lib.pipeline.inputs import why_run
from selfprompt_lib.sft.runs import checkpoint_fault, last_checkpoint

SMOKE = Path(models.resolve("smoke"))
SHORT = {"sft__max_length": 64, "sft__batch_size": 2, "sft__micro_batch_size": 2}


def copy_to(folder):
    """The smoke model in another folder; files are linked, so replace them and never write into them."""
    return Path(shutil.copytree(SMOKE, folder, copy_function=os.link, dirs_exist_ok=True))


def put(path, content):
    path.unlink(missing_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def changed(path, **fields):
    put(path, json.loads(path.read_text()) | fields)


def weights_of(folder):
    return (folder / "model.safetensors").read_bytes()


def drop(*names):
    return lambda folder: [path.unlink() for name in names for path in folder.glob(name)]


def as_bin(content):
    def change(folder):
        torch.save(content(AutoModelForCausalLM.from_pretrained(SMOKE)), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()

    return change


def half_a_bin(folder):
    as_bin(lambda model: model.state_dict())(folder)
    whole = (folder / "pytorch_model.bin").read_bytes()
    put(folder / "pytorch_model.bin", whole[: len(whole) // 2])


def in_shards(folder):
    (folder / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(SMOKE).save_pretrained(folder, max_shard_size="6MB")


def without_a_shard(folder):
    in_shards(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def only(name, content):
    def change(folder):
        drop("*")(folder)
        put(folder / name, content)

    return change


def of_shape(config):
    return lambda folder: (folder / "config.json").unlink() or config.save_pretrained(folder)


WEIGHTS, POINTER = "model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid x"
OWN_CODE = {"model_type": "new", "auto_map": {"AutoConfig": "configuration_new.NewConfig"}}
FAULTS = {
    "nothing": (drop("*"), "holds no config.json", "give a checkpoint folder"),
    "the folder above": (lambda f: drop("*")(f) and shutil.copytree(SMOKE, f / "inner"), "holds no config.json; give ", "inner"),
    "gguf": (only("model.Q4.gguf", b"GGUF"), "holds a GGUF file only", "give the folder of the model"),
    "half a config": (lambda f: put(f / "config.json", b'{"model_type"'), "config.json: half-written", "fetch it again"),
    "no model_type": (lambda f: put(f / "config.json", {}), "model_type", "mend that file"),
    "no tokenizer": (drop("tokenizer*"), "holds no tokenizer", "copy"),
    "half a tokenizer": (lambda f: put(f / "tokenizer.json", b"{"), "tokenizer.json: half-written", "fetch it again"),
    "a tokenizer's pointer": (lambda f: put(f / "tokenizer.json", POINTER), "tokenizer.json: only a pointer", "git lfs pull"),
    "no weights": (drop(WEIGHTS), "holds no weights", "fetch them"),
    "half the weights": (lambda f: put(f / WEIGHTS, weights_of(f)[:-1]), "model.safetensors: half-written", "fetch it again"),
    "less than a header": (lambda f: put(f / WEIGHTS, weights_of(f)[:7]), "model.safetensors: half-written", "fetch"),
    "no bytes": (lambda f: put(f / WEIGHTS, b""), "model.safetensors: half-written", "fetch it again"),
    "a pointer": (lambda f: put(f / WEIGHTS, POINTER), "git lfs pull"),
    "a shard is missing": (without_a_shard, "model-00002-of-00002.safetensors: missing", "fetch it again"),
    "half a pickle": (half_a_bin, "pytorch_model.bin: half-written", "fetch it again"),
    "a pickle that runs code": (as_bin(lambda model: model), "cannot load", "Weights only load failed"),
    "more layers than weights": (lambda f: changed(f / "config.json", num_hidden_layers=3), "18 weights", "missing"),
    "another width": (lambda f: changed(f / "config.json", intermediate_size=64), "of another shape", "mlp"),
    "an encoder": (of_shape(BertConfig(num_hidden_layers=1)), "type bert", "causal language model"),
    "both": (of_shape(T5Config(num_layers=1)), "type t5", "causal language model"),
    "quantized": (lambda f: changed(f / "config.json", quantization_config={"quant_method": "gptq", "bits": 4}), "quantized"),
    "no such type": (lambda f: changed(f / "config.json", model_type="new"), "cannot load", "model type `new`"),
    "its own code": (lambda f: changed(f / "config.json", **OWN_CODE), "brings code of its own", "give another model"),
    "no adapter's weights": (only("adapter_config.json", {"peft_type": "LORA"}), "holds no weights"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_folder_that_holds_no_model_is_refused_before_work_begins(fault, tmp_path, refused):
    change, *parts = FAULTS[fault]
    folder = copy_to(tmp_path / "folder")
    change(folder)
    with refused("model: ", str(tmp_path), *parts):
        sources.check_inputs(profiles.load("smoke", {"model": str(folder)}))


@pytest.mark.parametrize("change", [in_shards, as_bin(lambda model: model.state_dict()), lambda folder: None])
def test_a_good_folder_is_taken(change, tmp_path):
    change(copy_to(tmp_path))
    models.check(str(tmp_path))
    assert torch.equal(*(models.load(str(folder), "float32")[0].lm_head.weight for folder in (tmp_path, SMOKE)))


def test_local_annotators_and_judges_are_looked_at_too(tmp_path, refused):
    for section in ("annotate", "judge"):
        with refused("model: no folder", "missing"):
            sources.check_inputs(profiles.load("smoke", {f"{section}.model": str(tmp_path / "missing")}))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """A LoRA adapter of the smoke model that changes it, and its model merged by peft."""
    folder = tmp_path_factory.mktemp("lora") / "adapter"
    torch.manual_seed(0)
    setting = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(SMOKE, dtype=torch.float32), setting)
    model.save_pretrained(folder)
    return folder, model.merge_and_unload()


def test_an_adapter_is_merged_onto_its_base(adapter, tmp_path, monkeypatch):
    folder, expected = adapter
    monkeypatch.setenv("SELFPROMPT_CACHE", str(tmp_path))
    models.check(str(folder))
    model, tokenizer = models.load(str(folder), "float32")
    assert type(model) is type(expected) and len(tokenizer) == len(AutoTokenizer.from_pretrained(SMOKE))
    whole = AutoModelForCausalLM.from_pretrained(models.resolve(str(folder)), dtype=torch.float32)  # as a server loads it
    assert AutoTokenizer.from_pretrained(models.resolve(str(folder))).chat_template == tokenizer.chat_template
    for found in (model, whole):
        for name, weight in expected.state_dict().items():
            assert torch.equal(found.state_dict()[name], weight)
    assert models.shape(str(folder))[0].config.hidden_size == 64


def test_an_adapter_on_the_hub_is_merged_too(adapter, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    home = tmp_path / "models--org--lora"
    shutil.copytree(adapter[0], home / "snapshots" / ("a" * 40))
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("a" * 40)
    model, _ = models.load("org/lora", "float32")
    assert torch.equal(model.model.norm.weight, adapter[1].model.norm.weight)
    assert models.identity("org/lora")["digest"] == models.identity(str(adapter[0]))["digest"]


def test_an_adapter_that_cannot_be_merged_is_refused(adapter, tmp_path, refused, monkeypatch):
    def other(**fields):
        folder = shutil.copytree(adapter[0], tmp_path / f"{len(list(tmp_path.iterdir()))}")
        changed(folder / "adapter_config.json", **fields)
        return str(folder)

    with refused("is an adapter whose base cannot be loaded (no folder /home/me/llama)", "base_model_name_or_path"):
        models.check(other(base_model_name_or_path="/home/me/llama"))
    with refused("names no base", "base_model_name_or_path"):
        models.check(other(base_model_name_or_path=None))
    with refused("peft cannot read"):
        models.check(other(peft_type="NEW"))
    prompts = get_peft_model(AutoModelForCausalLM.from_pretrained(SMOKE), PromptTuningConfig("CAUSAL_LM", num_virtual_tokens=2))
    prompts.save_pretrained(tmp_path / "prompts")
    with refused("PROMPT_TUNING", "cannot be merged"):
        models.check(str(tmp_path / "prompts"))
    monkeypatch.setattr(checkpoints, "find_spec", lambda name: None)  # as on a smaller installation
    with refused("needs the package peft", "pip install"):
        models.check(str(adapter[0]))


RENAMED = {
    "not of peft": lambda key: key.removeprefix("base_model.model."),
    "of a model with pictures": lambda key: key.replace("model.layers", "model.language_model.layers"),
    "of a deeper base": lambda key: key.replace("layers.0", "layers.7"),
    "in part": lambda key: key.replace("q_proj.lora_B", "q_proj.lora_C"),
}


@pytest.mark.parametrize("renamed", RENAMED)
def test_an_adapter_whose_weights_do_not_fit_its_base_is_refused(adapter, tmp_path, refused, renamed):
    """Peft would merge it all the same, and change nothing."""
    folder = shutil.copytree(adapter[0], tmp_path / "adapter")
    weights = {RENAMED[renamed](key): value for key, value in load_file(folder / "adapter_model.safetensors").items()}
    save_file(weights, folder / "adapter_model.safetensors")
    for read in (models.check, models.load):
        with refused(f"model: {folder}: ", "weights of this adapter do not fit its base", "adapter_config.json"):
            read(str(folder))


@pytest.mark.filterwarnings("ignore:.*tied:UserWarning:peft", "ignore:Could not find a config:UserWarning:peft")
def test_an_adapter_with_new_tokens_on_an_adapter_is_taken(adapter, tmp_path, monkeypatch):
    monkeypatch.setenv("SELFPROMPT_CACHE", str(tmp_path / "cache"))
    base, tokenizer = models.load(str(adapter[0]), "float32")
    tokenizer.add_tokens([f"<new {number}>" for number in range(99)])
    base.resize_token_embeddings(len(tokenizer))
    base.config.name_or_path = base.name_or_path = str(adapter[0])
    where = {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]}
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **where))
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "second")
    models.check(str(tmp_path / "second"))
    found = models.load(str(tmp_path / "second"), "float32")[0].model.layers[0].self_attn.q_proj.weight
    assert torch.allclose(found, model.merge_and_unload().model.layers[0].self_attn.q_proj.weight, atol=1e-6)


def test_other_weights_of_the_same_size_are_another_model(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFPROMPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "SETTLED", 0)  # digests are kept at once
    here, there = copy_to(tmp_path / "a"), copy_to(tmp_path / "b" / "moved")
    put(there / "README.md", b"A word.")
    put(there / "trainer_state.json", {})

    def name(folder):
        return sft.run_name(smoke(model=str(folder)), SAMPLES[:1], DESIGN)

    first = name(here)
    assert name(there) == first == name(f"{here}/") and models.identity(str(here))["digest"]
    address = endpoint.local_address(str(here))  # is in the key of each reply that is kept
    assert address == endpoint.local_address(str(there)) != endpoint.local_address("smoke")
    content, times = bytearray(weights_of(here)), os.stat(here / WEIGHTS)
    content[-1] ^= 1
    put(here / WEIGHTS, b"")
    (here / WEIGHTS).write_bytes(content)
    os.utime(here / WEIGHTS, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert name(here) != first == name(there) and endpoint.local_address(str(here)) != address
    changed(there / "tokenizer_config.json", note="another")
    assert name(there) not in (first, name(here))


def test_a_hub_model_is_its_revision(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found, root = [], tmp_path / "run"
    finished = {"inputs": {"fields": {"model": "org/name"}, "parameters": {}, "artefacts": {}, "code": {},
                           "revisions": {"model": "a" * 40}}, "outputs": {}, "finished": "2026"}  # fmt: skip
    files.write_json(root / "annotate" / "stage.json", finished)
    chapter, profile = CHAPTERS["annotate"], profiles.load("smoke", {"model": "org/name"})
    files.write_json(chapter.executed_notebook(root), {"cells": [], "metadata": {"papermill": {"end_time": "2027"}}})
    assert why_run(chapter, profile, root) == [], "not in the cache, as on another machine"
    for revision, reasons in (("a" * 40, []), ("b" * 40, ["revisions: model"])):
        (tmp_path / "models--org--name" / "snapshots" / revision).mkdir(parents=True)
        (tmp_path / "models--org--name" / "snapshots" / revision / "config.json").write_text("{}")
        (tmp_path / "models--org--name" / "refs").mkdir(exist_ok=True)
        (tmp_path / "models--org--name" / "refs" / "main").write_text(revision)
        found.append(models.identity("org/name")["digest"])
        assert why_run(chapter, profile, root) == reasons
    assert found == ["a" * 40, "b" * 40]
    for unknown in ("gpt-9", "org/other", "a/name:with a colon"):
        assert models.identity(unknown) == {"model": unknown, "digest": ""}


ODD = {"temperature": 0.9, "top_p": 0.6, "pad_token_id": -1}
GENERATION = [ODD, {"temperature": 0.0}, {"do_sample": False, "top_k": 5}, {"length_penalty": 2.0}, {"output_scores": True}]


@pytest.mark.parametrize("generation", GENERATION)
def test_generation_settings_that_cannot_be_saved_are_mended(generation, tmp_path):
    folder = copy_to(tmp_path / "model")
    put(folder / "generation_config.json", {"eos_token_id": 2, "bos_token_id": 1, "repetition_penalty": 1.1} | generation)
    model, tokenizer = models.load(str(folder), "float32", to_train=True)
    model.generation_config.pad_token_id = 2  # as the trainer does
    sft.save_model(model, tokenizer, tmp_path / "saved")
    kept = AutoModelForCausalLM.from_pretrained(tmp_path / "saved").generation_config
    assert (kept.eos_token_id, kept.bos_token_id, kept.repetition_penalty) == (2, 1, 1.1)


def optimizers():
    return sum(issubclass(type(thing), torch.optim.Optimizer) for thing in gc.get_objects())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of three epochs, all kept, of a model with odd generation settings."""
    folder = tmp_path_factory.mktemp("trained")
    put(copy_to(folder / "model") / "generation_config.json", {"eos_token_id": 2} | ODD)
    profile = smoke(**SHORT, model=str(folder / "model"), sft__epochs=3, sft__checkpoints=3)
    before = optimizers()
    _, _, record = sft.train(profile, SAMPLES[:2], DESIGN, folder)
    assert optimizers() == before, "the optimizer's state is let go, since it is larger than a model"
    return profile, folder / record["checkpoints"], record


def test_a_finished_training_is_kept_and_not_repeated(trained):
    profile, run, record = trained
    model, _, again = sft.train(profile, SAMPLES[:2], DESIGN, run.parent)
    assert again == json.loads(json.dumps(record)) and not (run / "finished.partial").exists()
    saved = AutoModelForCausalLM.from_pretrained(run / "finished", dtype=torch.float32)
    assert torch.equal(saved.lm_head.weight, model.lm_head.weight)
    sft.copy_finished_run(run, run.parent / "copy")
    damaged = shutil.copytree(run, run.parent / "damaged")
    put(damaged / "finished" / WEIGHTS, weights_of(damaged / "finished")[:-1])
    assert sft.read_finished_run(damaged) is None
    assert models.model_digest(str(run.parent / "copy")) == models.model_digest(str(run / "finished"))


@pytest.mark.parametrize("kept, wanted, usable", [(3, 3, True), (1, 1, True), (1, 3, False), (0, 0, True), (0, 1, False)])
def test_a_finished_training_with_fewer_checkpoints_than_wanted_is_not_taken_up(trained, tmp_path, kept, wanted, usable):
    profile, whole, record = trained
    run = shutil.copytree(whole, tmp_path / "run")
    for epoch in range(1, 4 - kept):
        shutil.rmtree(run / f"checkpoint-{epoch}")
    settings = profile.sft.model_copy(update={"checkpoints": wanted})
    found = sft.reusable_run(run, profile.model_copy(update={"sft": settings}))
    assert (found == json.loads(json.dumps(record))) if usable else found is None


def test_only_whole_checkpoints_count(trained, tmp_path):
    run = shutil.copytree(trained[1], tmp_path / "run")
    names = [path.name for path in sft.list_checkpoints(run)]
    assert names == ["checkpoint-1", "checkpoint-2", "checkpoint-3"]
    optimizer = run / "checkpoint-3" / "optimizer.pt"
    put(optimizer, optimizer.read_bytes()[:-1])
    (run / "checkpoint-2" / "model.safetensors").unlink()
    (run / "checkpoint-9").mkdir()
    (run / "checkpoint-x").mkdir()
    assert [path.name for path in sft.list_checkpoints(run)] == names[:1]
    assert last_checkpoint(run) == str(run / "checkpoint-1")
    assert {path.name for path in run.iterdir()} - {"README.md"} == {"checkpoint-1", "checkpoint-x", "finished"}
    assert last_checkpoint(tmp_path / "none") is None


@given(st.integers(0, 30), st.floats(0, 1, exclude_max=True))
@settings(max_examples=40)
def test_a_checkpoint_whose_writing_was_ended_at_any_byte_is_not_whole(trained, tmp_path_factory, place, share):
    source = trained[1] / "checkpoint-3"
    files = sorted(source.iterdir(), key=lambda path: path.stat().st_mtime_ns)  # in the order of writing
    place %= len(files)
    torn = tmp_path_factory.mktemp("torn")
    for path in files[:place]:
        os.link(path, torn / path.name)
    content = files[place].read_bytes()
    (torn / files[place].name).write_bytes(content[: int(share * len(content))])
    assert checkpoint_fault(torn)
    shutil.rmtree(torn)


@contextmanager
def largest_file(size):
    """Files can grow to so many bytes, as on some disks and under some quotas."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_cannot_be_saved_is_told_before_the_first_step(tmp_path, refused, capsys):
    with largest_file(5_000_000), refused("finished.partial: cannot be saved", "make room"):
        sft.train(smoke(**SHORT), SAMPLES[:2], DESIGN, tmp_path)
    (tmp_path / "file").write_text("")
    with refused("cannot make the folder"):
        sft.train(smoke(**SHORT), SAMPLES[:2], DESIGN, tmp_path / "file")
    assert "training, design" not in capsys.readouterr().err


def test_a_checkpoint_that_cannot_be_saved_costs_one_line_and_one_epoch(tmp_path, refused):
    profile = smoke(**SHORT, sft__checkpoints=1, sft__epochs=2)
    with largest_file(20_000_000), refused("cannot be saved", "start again"):  # the optimizer's state is larger
        sft.train(profile, SAMPLES[:2], DESIGN, tmp_path)
    assert sft.train(profile, SAMPLES[:2], DESIGN, tmp_path)[2]["steps"] == 2


def test_a_disk_that_is_too_small_stops_it_before_training(tmp_path, refused):
    shape = models.shape("smoke")
    found = sft.audit(smoke(), SAMPLES, DESIGN, *shape, tmp_path, trainings=2).set_index("check")
    weights = AutoConfig.from_pretrained(SMOKE).vocab_size * 64 * 4 / 1e9
    assert found.value["disk planned, GB"] == pytest.approx(2 * 5 * weights, abs=0.05)  # a checkpoint is three times as large
    with refused("disk planned, GB: ", "are free at", "sft.checkpoints"):
        sft.preflight(smoke(sft__epochs=10**6, sft__checkpoints=10**6), SAMPLES, DESIGN, *shape, tmp_path)
    with pytest.raises(UserError, match="disk planned"):
        sft.train(smoke(sft__epochs=10**6, sft__checkpoints=10**6), SAMPLES, DESIGN, tmp_path)
