"""The options of fine-tuning: micro-batches, LoRA, 8-bit AdamW, attention kernels, seeds and kept epochs."""

import copy
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from test_sft import DESIGN, SAMPLES, base_model, smoke, two_processes  # noqa: F401 (base_model is a fixture)
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from trl import SFTTrainer

from selfprompt_lib import models, profiles, sft, sources
from selfprompt_lib.designs import get_design
from selfprompt_lib.pipeline.notebooks import GLIBC, training_environment
from selfprompt_lib.sft import __main__ as main
from selfprompt_lib.sft.attention import PRODUCTS, causal_products, quick_on_a_processor
from selfprompt_lib.sft.conversation import encode_with_loss_mask
from selfprompt_lib.sft.loss import SummedCrossEntropy

FEW = SAMPLES[:4]
HERE = training_environment()
STEPS = {"sft__batch_size": 4, "sft__epochs": 2, "sft__max_length": 128}


def trained(folder, samples=FEW, **fields):
    return sft.train(smoke(**fields), samples, DESIGN, folder)


def losses(folder, **fields):
    return trained(folder, **fields)[2]["losses"]


def plain_losses(folder, dtype):
    """TRL's own trainer with the same settings: random micro-batches, padded, with an attention mask."""
    profile = smoke(**STEPS, sft__micro_batch_size=2, dtype=dtype)
    torch.manual_seed(profile.seed)
    model, tokenizer = models.load("smoke", "float32", to_train=True)
    config = sft.sft_config(profile, folder)
    config.save_strategy = "no"
    rows = Dataset.from_list([{"messages": sft.to_messages(sample, DESIGN)} for sample in FEW])
    tokenizer.chat_template = sft.training_template(tokenizer)
    trainer = SFTTrainer(model=model, args=config, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("dtype, most", [("float32", 1e-4), ("bfloat16", 2e-3)])
def test_any_micro_batch_learns_what_trl_s_own_trainer_learns(tmp_path, dtype, most):
    expected = plain_losses(tmp_path / "plain", dtype)
    assert len(set(expected)) == 2
    for micro in (1, 2, 4):
        found = losses(tmp_path / str(micro), **STEPS, sft__micro_batch_size=micro, dtype=dtype)
        assert found == pytest.approx(expected, abs=most)


@pytest.mark.parametrize("dtype, most", [("float32", 1e-6), ("bfloat16", 1e-5)])
def test_the_loss_and_its_gradient_are_those_of_pytorch(dtype, most):
    torch.manual_seed(0)
    given, labels = torch.randn(150, 300).to(getattr(torch, dtype)), torch.randint(300, (150,))
    labels[::3] = -100
    ours, theirs = (given.clone().requires_grad_() for _ in range(2))
    found = SummedCrossEntropy.apply(ours * 1, labels) / 7
    expected = torch.nn.functional.cross_entropy(theirs.float(), labels, reduction="sum") / 7
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    for loss in (found, expected):
        loss.backward()
    assert torch.allclose(ours.grad, theirs.grad, atol=most) and (ours.grad[::3] == 0).all() and ours.grad.any()


@pytest.mark.parametrize("most", [2**20, 0])  # plain products, or the fused kernel for all rows
def test_activations_may_be_computed_twice_and_attention_by_either_kernel(tmp_path, most, monkeypatch):
    expected = losses(tmp_path / "once", **STEPS, dtype="bfloat16")
    monkeypatch.setattr("selfprompt_lib.sft.attention.MOST_SCORES", most)
    for twice in (False, True):
        found = losses(tmp_path / str(twice), **STEPS, sft__gradient_checkpointing=twice, dtype="bfloat16")
        assert found == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("key_heads", [1, 2, 6])
def test_attention_in_products_and_its_gradients_are_pytorch_s(key_heads):
    torch.manual_seed(0)
    layer = SimpleNamespace(is_causal=True, num_key_value_groups=6 // key_heads, training=True)
    sizes = ((6, 8), (key_heads, 8), (key_heads, 5))  # heads, and the size of one: of queries, keys, values
    given = [torch.randn(2, heads, 17, size, requires_grad=True) for heads, size in sizes]
    for options in ({}, {"is_causal": False}):
        found = []
        for attention in (causal_products, sdpa_attention_forward):
            mixed, _ = attention(layer, *given, None, scaling=0.3, **options)
            found.append([mixed, *torch.autograd.grad(mixed.sin().sum(), given)])
        for ours, theirs in zip(*found, strict=True):
            assert ours.shape == theirs.shape and torch.allclose(ours, theirs, atol=1e-5)


def test_what_makes_training_quick_is_gone_after_it():
    model, _ = models.load("smoke", "float32", to_train=True)
    norm = model.model.norm
    model.angles = type("ComplexRotaryEmbedding", (torch.nn.Identity,), {})()  # as Llama 4 has them
    with quick_on_a_processor(model, SimpleNamespace(use_cpu=True, bf16=True)):
        assert model.angles(torch.ones(2, dtype=torch.complex64)).is_complex()
        assert norm(torch.ones(1, 4, norm.weight.numel())).dtype == torch.bfloat16
        assert model.config._attn_implementation == PRODUCTS
    assert not norm._forward_hooks and model.config._attn_implementation == "sdpa"
    for other in (SimpleNamespace(use_cpu=True, bf16=False), SimpleNamespace(use_cpu=False, bf16=True)):
        with quick_on_a_processor(model, other):
            assert not norm._forward_hooks and model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_lora_trains_adapters_and_leaves_an_ordinary_checkpoint(tmp_path, dtype):
    profile = smoke(**STEPS, sft__lora_rank=4, sft__learning_rate=1e-2, dtype=dtype)
    model, tokenizer, record = sft.train(profile, FEW, DESIGN, tmp_path / "trainer")
    before, _ = models.load("smoke", dtype)  # frozen weights are in the computing precision from the start
    assert torch.equal(model.get_input_embeddings().weight, before.get_input_embeddings().weight)
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(model.state_dict()[name], before.state_dict()[name])
    assert record["losses"][-1] < record["losses"][0] and max(record["moved"]) > 0
    sft.save_model(model, tokenizer, tmp_path / "saved")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert again.state_dict().keys() == before.state_dict().keys()
    assert torch.equal(again.state_dict()[name], model.state_dict()[name])


def test_with_lora_a_base_model_ends_its_turns_with_its_own_end_of_sequence(base_model, tmp_path):  # noqa: F811
    own = AutoTokenizer.from_pretrained(base_model).eos_token
    _, tokenizer, _ = sft.train(smoke(model=base_model, sft__lora_rank=2), FEW, DESIGN, tmp_path)
    counted = [text for text, inside in sft.tokens_in_loss(tokenizer, sft.to_messages(SAMPLES[0], DESIGN)) if inside]
    assert tokenizer.eos_token == own == counted[-1] != models.END_OF_TURN


def test_adamw_in_8_bits_learns_nearly_the_same_and_keeps_bytes(tmp_path):
    steps = {"sft__batch_size": 2, "sft__micro_batch_size": 2, "sft__epochs": 2, "sft__max_length": 96}
    full, _, record = trained(tmp_path / "full", **steps)
    small, _, other = trained(tmp_path / "small", **steps, sft__optimizer="adamw_8bit")
    assert other["losses"] == pytest.approx(record["losses"], rel=0.01)
    assert not torch.equal(full.get_input_embeddings().weight, small.get_input_embeddings().weight)
    state = torch.load(next((tmp_path / "small").glob("*/checkpoint-*/optimizer.pt")), weights_only=False)["state"]
    kept = [entry["__bnb_optimizer_quant_state__"]["state1"].dtype for entry in state.values()]
    assert torch.uint8 in kept  # small weights stay in float32


def test_attention_kernels_agree_and_a_missing_one_is_refused(tmp_path, refused):
    assert losses(tmp_path / "a", **STEPS, sft__attention="eager") == pytest.approx(losses(tmp_path / "b", **STEPS), abs=1e-4)
    for kernel in ("flash_attention_2", "no-such-kernel"):
        with refused(f"sft.attention: {kernel} cannot be used here", "set sdpa"):
            losses(tmp_path / "c", sft__attention=kernel)


@pytest.mark.parametrize("fields, parts", [
    ({"sft__lora_rank": 4}, ("sft.lora_rank: 4 needs the package peft", "pip install")),
    ({"sft__optimizer": "adamw_8bit"}, ("sft.optimizer: adamw_8bit needs the package bitsandbytes", "pip install")),
])  # fmt: skip
def test_a_missing_package_stops_it_before_training(fields, parts, monkeypatch, refused, tmp_path):
    monkeypatch.setattr(sys.modules["selfprompt_lib.sft.audit"], "find_spec", lambda name: None)  # as on a smaller installation
    with refused(*parts):
        trained(tmp_path, **fields)


def test_adapters_are_not_split_over_cards(monkeypatch, refused, tmp_path):
    two_processes(monkeypatch)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")  # as accelerate launch sets it
    with refused("sft.lora_rank", "ddp.yaml"):
        sft.preflight(smoke(sft__lora_rank=4, sft__micro_batch_size=2), FEW, DESIGN, *models.shape("smoke"))


def test_the_audit_names_an_architecture_whose_layers_are_not_known(refused):
    model, tokenizer = models.shape("smoke")
    model.config.model_type = "gpt2"
    with refused("residual dropout at the last layer: 0.2", "gpt2", "sft.residual_dropout to 0"):
        sft.preflight(smoke(), FEW, DESIGN, model, tokenizer)
    assert sft.preflight(smoke(sft__residual_dropout=0), FEW, DESIGN, model, tokenizer).good.all()


def test_several_seeds_are_one_setting(tmp_path):
    profile = smoke(sft__seeds=3, sft__batch_size=2, sft__micro_batch_size=2, sft__max_length=96)
    designs = {"self-prompt": DESIGN, "baseline": get_design("none")}
    records = sft.train_other_seeds(profile, FEW, designs, tmp_path, tmp_path / "trainer")
    assert [len(found) for found in records.values()] == [2, 2]
    first, second = (found["losses"] for found in records["self-prompt"])
    assert first != second
    saved = {path.name for path in tmp_path.iterdir()} - {"trainer"}
    assert saved == {"self-prompt-seed1", "self-prompt-seed2", "baseline-seed1", "baseline-seed2"}
    one = tmp_path / "one", tmp_path / "trainer"
    assert sft.train_other_seeds(smoke(), FEW, {"self-prompt": DESIGN}, *one) == {"self-prompt": []}


def test_settings_that_do_not_shape_a_run_leave_its_name():
    names = [sft.run_name(smoke(**fields), SAMPLES, DESIGN)
             for fields in ({}, {"sft__seeds": 2}, {"sft__checkpoints": 5}, {"sft__neutral": False}, {"sft__lora_rank": 4},
                            {"sft__attention": "eager"})]
    assert len(set(names[:4])) == 1 and len(set(names)) == 3


def test_the_neutral_model_is_trained_where_it_is_asked_for():
    designs = profiles.trained_designs(smoke())
    assert {name: design.name for name, design in designs.items()} == {
        "self-prompt": "from-now-on", "baseline": "none", "neutral": "neutral"}
    assert list(profiles.trained_designs(smoke(sft__neutral=False))) == ["self-prompt", "baseline"]
    names = {name: sft.run_name(smoke(), SAMPLES, design) for name, design in designs.items()}
    assert len(set(names.values())) == 3 and names["neutral"].startswith("neutral-")
    folders = [main.model_folder(design, smoke(), 0) for design in designs.values()]
    assert folders == list(designs), "the command leaves them where the chapter does"


def loss_by_hand(model, tokenizer, samples):
    """Mean negative log-likelihood of the tokens in the loss, sample by sample."""
    total, count = 0.0, 0
    for sample in samples:
        row = encode_with_loss_mask(tokenizer, sft.to_messages(sample, DESIGN))
        ids, counted = torch.tensor([row["input_ids"][:128]]), torch.tensor(row["assistant_masks"][1:128]).bool()
        with torch.no_grad():
            chances = model(ids).logits[0, :-1].log_softmax(-1)
        found = -chances.gather(1, ids[0, 1:, None])[counted]
        total, count = total + float(found.sum()), count + int(counted.sum())
    return total / count


def test_kept_epochs_are_shown_with_held_out_loss_and_role_rate(tmp_path):
    profile = smoke(sft__epochs=3, sft__checkpoints=2, sft__max_length=128)
    aside = sources.validation_samples(profile, SAMPLES, 6)
    assert len(aside) == 6 and not {s.id for s in aside} & {s.id for s in SAMPLES}
    _, _, record = sft.train(profile, FEW, DESIGN, tmp_path, aside)
    assert len(record["held_out"]) == 3
    found = sft.epoch_comparison(profile, tmp_path / record["checkpoints"], DESIGN, sources.held_out_questions(profile))
    assert found.epoch.tolist() == [2, 3] and found.loss.tolist() == pytest.approx(record["held_out"][1:])
    assert (found.low <= found.rate).all() and (found.rate <= found.high).all() and (found.n == 4).all()
    model, tokenizer = models.load(str(sft.list_checkpoints(tmp_path / record["checkpoints"])[-1]), "float32")
    tokenizer = copy.copy(tokenizer)
    assert loss_by_hand(model, tokenizer, aside) == pytest.approx(record["held_out"][-1], abs=2e-3)


def test_no_epochs_are_kept_and_nothing_is_held_out_by_default(tmp_path):
    profile = smoke(sft__checkpoints=0)
    assert sources.validation_samples(profile, SAMPLES) == []
    _, _, record = sft.train(profile, FEW, DESIGN, tmp_path)
    assert record["held_out"] == [] and sft.epoch_comparison(profile, tmp_path / record["checkpoints"], DESIGN, []).empty


def test_a_finished_training_without_checkpoints_is_trained_again_where_some_are_wanted(tmp_path, capsys):
    short = {"sft__epochs": 2, "sft__max_length": 64}
    _, _, before = sft.train(smoke(**short), FEW, DESIGN, tmp_path)
    _, _, after = sft.train(smoke(**short, sft__checkpoints=2), FEW, DESIGN, tmp_path)
    assert before["checkpoints"] == after["checkpoints"] and before["losses"] == pytest.approx(after["losses"])
    assert len(sft.list_checkpoints(tmp_path / after["checkpoints"])) == 2 and "taken up" not in capsys.readouterr().out
    for kept in (0, 1, 2):  # what is there is enough
        sft.train(smoke(**short, sft__checkpoints=kept), FEW, DESIGN, tmp_path)
        assert "taken up" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="about two allocators of Linux")
@pytest.mark.parametrize("variables", [GLIBC] if HERE == GLIBC else [GLIBC, HERE])
def test_memory_that_a_process_has_freed_counts_as_free(variables):
    """A study that trains again after it has measured was refused for the memory that it held itself."""
    code = """
import psutil, torch
from pathlib import Path
from selfprompt_lib.sft.memory import free_memory
blocks = [b"x" * 2**20 for _ in range(1500)]
held = psutil.Process().memory_info().rss
del blocks
free_memory(torch.nn.Linear(2, 2))
print("tcmalloc" in Path("/proc/self/maps").read_text(), (held - psutil.Process().memory_info().rss) / 2**20)
"""
    process = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"} | variables
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=process, check=True)
    loaded, given_back = done.stdout.split()
    assert loaded == str("tcmalloc" in variables.get("LD_PRELOAD", "")), done.stderr
    assert float(given_back) > 1000
