"""The recipe: residual dropout, end of turn, the audit before training, seeds, resume, and how much of the model moved."""

import os
import signal

import pytest
import torch
from accelerate import PartialState
from conftest import forked
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GPT2Config, LlamaConfig, MistralConfig, get_scheduler

from selfprompt_lib import models, profiles, sft
from selfprompt_lib.designs import get_design
from selfprompt_lib.rows import STARTER_FOLDER, Sample, read_rows
from selfprompt_lib.sft.memory import parameter_counts, training_minutes
from selfprompt_lib.sft.trainer import this_process

SAMPLES = read_rows(STARTER_FOLDER / "train.jsonl", Sample)[:8]
DESIGN = get_design("from-now-on")
SHAPE = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 99}


def small(kind=LlamaConfig, layers=5):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(kind(num_hidden_layers=layers, **SHAPE))


def batch():
    torch.manual_seed(1)
    ids = torch.randint(0, 99, (2, 64))
    return {"input_ids": ids, "labels": ids}


def test_rates_rise_linearly_from_nothing_to_the_last():
    assert sft.dropout_rates(5, 0.3) == pytest.approx([0.0, 0.075, 0.15, 0.225, 0.3])
    assert sft.dropout_rates(1, 0.3) == [0.0]


@pytest.mark.parametrize("kind", [LlamaConfig, MistralConfig])
def test_the_measured_rates_are_those_of_the_recipe(kind):
    model, shares = small(kind).train(), {}
    with sft.residual_dropout(model, 0.3):
        for index, layer in enumerate(model.model.layers):
            for name in ("self_attn", "mlp"):
                def note(_m, _i, output, where=(index, name)):
                    first = output[0] if isinstance(output, tuple) else output
                    shares[where] = float((first == 0).float().mean())

                getattr(layer, name).register_forward_hook(note)  # runs after the dropout's own hook
        model(**batch())
    for (index, _), share in shares.items():
        assert share == pytest.approx(sft.dropout_rates(5, 0.3)[index], abs=0.02)


def test_it_leaves_no_trace_and_changes_nothing_in_evaluation():
    model = small().eval()
    plain = model(**batch()).logits
    with sft.residual_dropout(model, 0.3):
        assert torch.equal(model(**batch()).logits, plain)
        assert set(model.state_dict()) == set(small().state_dict())
        model.train()
        assert not torch.equal(model(**batch()).logits, plain)
    assert torch.equal(model.train()(**batch()).logits, plain)  # the block is over


def gradients(checkpointing):
    model = small().train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    with sft.residual_dropout(model, 0.3):
        torch.manual_seed(2)
        model(**batch()).loss.backward()
    return [weight.grad for weight in model.parameters()]


def test_gradients_agree_with_and_without_activation_checkpointing():
    for plain, recomputed in zip(gradients(False), gradients(True), strict=True):
        assert torch.allclose(plain, recomputed, atol=1e-7) and plain.abs().sum() > 0


def test_an_unknown_architecture_is_refused(refused):
    model = AutoModelForCausalLM.from_config(GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=9))
    with refused("gpt2", "sft.residual_dropout", "llama, mistral"), sft.residual_dropout(model, 0.1):
        pass
    with sft.residual_dropout(model, 0.0):
        pass


@pytest.fixture(scope="module")
def base_model(tmp_path_factory):
    """The smoke model as a base model: no chat template."""
    folder = tmp_path_factory.mktemp("base")
    AutoModelForCausalLM.from_pretrained(models.resolve("smoke")).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(models.resolve("smoke"))
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    return str(folder)


def smoke(**fields):
    """The profile smoke; in float32 unless a test says otherwise, so that no test hangs on the processor."""
    given = {"dtype": "float32"} | fields
    return profiles.load("smoke", {key.replace("__", "."): value for key, value in given.items()})


def two_processes(monkeypatch):
    """As in one of two processes that `accelerate launch` started."""
    this_process()
    monkeypatch.setitem(PartialState._shared_state, "num_processes", 2)


def test_a_base_model_learns_a_new_end_of_turn_token(base_model, tmp_path):
    profile = smoke(model=base_model)
    model, tokenizer, record = sft.train(profile, SAMPLES, DESIGN, tmp_path / "trainer")
    end = tokenizer.convert_tokens_to_ids(models.END_OF_TURN)
    before = AutoModelForCausalLM.from_pretrained(base_model).get_input_embeddings().num_embeddings
    assert tokenizer.eos_token_id == end >= before - 1 and tokenizer.pad_token_id != end
    counted = [text for text, inside in sft.tokens_in_loss(tokenizer, sft.to_messages(SAMPLES[0], DESIGN)) if inside]
    assert counted[-1] == models.END_OF_TURN
    sft.save_model(model, tokenizer, tmp_path / "saved")
    again, its_tokenizer = models.load(str(tmp_path / "saved"), "float32")
    assert end in again.generation_config.eos_token_id and its_tokenizer.eos_token == models.END_OF_TURN
    assert again.get_input_embeddings().num_embeddings > end


def test_every_answer_of_a_conversation_is_in_the_loss_and_the_role_stands_before_the_first():
    sample = next(s for s in read_rows(STARTER_FOLDER / "train.jsonl", Sample) if len(s.conversations) > 2)
    _, tokenizer = models.load("smoke", "float32")
    inside = "".join(text for text, counted in sft.tokens_in_loss(tokenizer, sft.to_messages(sample, DESIGN)) if counted)
    assert all(answer[:40] in inside for answer in sample.conversations[1::2])
    assert inside.count(DESIGN.opening) == 1 and inside.startswith(DESIGN.opening)


def test_white_space_before_an_answer_does_not_melt_into_the_template():
    sample = SAMPLES[0].model_copy(update={"conversations": ("Why?", "\n\n Because.")})
    for design in (DESIGN, get_design("none")):
        found = sft.audit(smoke(), [sample], design, *models.shape("smoke")).set_index("check")
        assert found.value["question and answer melt into one token"] == 0
        assert sft.to_messages(sample, design)[1]["content"].endswith("Because.")
    assert sft.to_messages(sample, get_design("none"))[1]["content"] == "Because."


@pytest.fixture
def loaded():
    return models.load("smoke", "float32", to_train=True)


def test_the_audit_of_good_rows_counts_and_finds_nothing(loaded):
    found = sft.audit(smoke(), SAMPLES, DESIGN, *loaded).set_index("check")
    assert found.good.all()
    assert found.value["samples"] == 8 and found.value["optimizer steps"] == 2
    lengths = [len(sft.tokens_in_loss(loaded[1], sft.to_messages(s, DESIGN))) for s in SAMPLES]
    assert found.value["tokens"] == sum(lengths) and found.value["longest sample, tokens"] == max(lengths)
    assert found.value["time expected, minutes"] < 5


def test_the_expected_time_grows_with_the_work(loaded):
    one, many = (training_minutes(loaded[0].config, smoke(sft__epochs=epochs), 10**6) for epochs in (1, 100))
    assert 20 < many / one < 500  # the machine's speed wanders while it is measured


def test_truncated_samples_are_counted_and_lose_their_end(loaded):
    found = sft.audit(smoke(sft__max_length=100), SAMPLES, DESIGN, *loaded).set_index("check")
    lengths = [len(sft.tokens_in_loss(loaded[1], sft.to_messages(s, DESIGN))) for s in SAMPLES]
    assert found.value["truncated samples, which lose their end of turn"] == sum(n > 100 for n in lengths) > 0


END_OUTSIDE = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}<|im_end|>"
    "{% else %}Q: {{ m.content }}\n{% endif %}{% endfor %}"
)
END_INSIDE = END_OUTSIDE.replace("{% endgeneration %}<|im_end|>", "<|im_end|>{% endgeneration %}")
TWO_STARTS = "{{ bos_token }}{{ bos_token }}" + END_INSIDE
MELTS = (
    "{% for m in messages %}{% if m.role == 'assistant' %} {% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
    "{% else %}Q: {{ m.content }}\n{% endif %}{% endfor %}{% if add_generation_prompt %} {% endif %}"
)


@pytest.mark.parametrize("template, parts", [
    (END_OUTSIDE, ("end of turn outside the loss: 8", "generation block")),
    (TWO_STARTS, ("double beginning of sequence: 8", "bos_token")),
    (MELTS, ("melt into one token: 8", "generation prompt")),
])  # fmt: skip
def test_a_template_that_would_spoil_training_stops_it(loaded, refused, template, parts):
    model, tokenizer = loaded
    tokenizer.chat_template = template
    with refused("before training: ", *parts):
        sft.preflight(smoke(), SAMPLES, DESIGN, model, tokenizer)


@pytest.mark.parametrize("fields, parts", [
    ({"sft__max_length": 32}, ("no token in the loss", "raise sft.max_length")),
    ({"sft__batch_size": 100_000, "sft__micro_batch_size": 100_000}, ("memory planned", "sft.micro_batch_size")),
])  # fmt: skip
def test_a_setting_that_would_spoil_training_stops_it(loaded, refused, fields, parts):
    wordy = [s.model_copy(update={"conversations": ("word " * 60, "yes")}) for s in SAMPLES[:2]]
    with refused("before training: ", *parts):
        sft.preflight(smoke(**fields), wordy, get_design("none"), *loaded)


def test_samples_longer_than_the_model_s_context_stop_it(loaded, refused):
    model, tokenizer = loaded
    model.config.max_position_embeddings = 128
    with refused("context of the model, tokens: 128", "set sft.max_length to 128"):
        sft.preflight(smoke(), SAMPLES, DESIGN, model, tokenizer)


def weights_after(profile, folder, samples=SAMPLES):
    model, _, record = sft.train(profile, samples, DESIGN, folder)
    return torch.cat([weight.reshape(-1) for weight in model.parameters()]), record


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_seed_gives_the_same_weights_bit_for_bit_and_another_seed_others(tmp_path, dtype):
    short = {"dtype": dtype, "sft__max_length": 128}
    one, first = weights_after(smoke(**short), tmp_path / "a", SAMPLES[:5])
    same, again = weights_after(smoke(**short), tmp_path / "b", SAMPLES[:5])
    other, _ = weights_after(smoke(**short, seed=1), tmp_path / "c", SAMPLES[:5])
    assert torch.equal(one, same) and first["losses"] == again["losses"]
    assert not torch.equal(one, other)


def test_master_weights_stay_in_float32_when_computing_in_bfloat16(tmp_path):
    tiny = {"sft__learning_rate": 1e-5, "sft__final_learning_rate": 1e-6, "dtype": "bfloat16"}
    _, record = weights_after(smoke(**tiny), tmp_path, SAMPLES[:4])
    assert min(record["moved"]) > 0.9  # in bfloat16 weights, steps so small change a few percent
    model, _ = models.load("smollm2-135m-instruct", "float32")
    share = sft.one_step_update_fraction(model, (1e-5,)).set_index("weights in").share
    assert share["float32"] > 0.99 and share["bfloat16"] < 0.1


def test_a_training_that_is_taken_up_after_its_end_still_tells_how_it_went(tmp_path):
    once, again = (weights_after(smoke(sft__checkpoints=1), tmp_path, SAMPLES[:4])[1] for _ in range(2))
    assert once["steps"] == len(once["moved"]) == len(once["losses"]) > 0
    assert again["moved"] == once["moved"] and again["losses"] == once["losses"]


def train_and_save(folder, result):
    torch.set_num_threads(1)
    torch.save(weights_after(smoke(sft__epochs=5, sft__checkpoints=1), folder, SAMPLES[:4])[0], result)


def train_until_torn(folder, result):
    """Ends as by `kill -9` when half of the third checkpoint's optimizer is written."""
    save = torch.save

    def torn(content, path):
        save(content, path)
        if str(path).endswith("checkpoint-3/optimizer.pt"):
            os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = torn
    train_and_save(folder, result)


def test_killed_and_started_again_the_weights_are_those_of_a_run_that_was_not(tmp_path):
    whole, folder, result = tmp_path / "whole.pt", tmp_path / "killed", tmp_path / "resumed.pt"
    unharmed = forked(train_and_save, tmp_path / "whole", whole)
    killed = forked(train_until_torn, folder, result)
    killed.join()
    [run] = folder.iterdir()
    assert killed.exitcode == -signal.SIGKILL and (run / "checkpoint-3" / "optimizer.pt").is_file()
    assert [path.name for path in sft.list_checkpoints(run)] == ["checkpoint-2"]
    resumed = forked(train_and_save, folder, result)
    for one in (unharmed, resumed):
        one.join()
        assert one.exitcode == 0
    assert torch.equal(torch.load(whole), torch.load(result))


def test_the_learning_rate_falls_linearly_to_its_end(tmp_path):
    config = sft.sft_config(profiles.load("mistral-7b", {"dtype": "float32"}), tmp_path)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=config.learning_rate)
    schedule = get_scheduler(config.lr_scheduler_type, optimizer, config.warmup_steps, 10,
                             scheduler_specific_kwargs=config.lr_scheduler_kwargs)
    rates = []
    for _ in range(11):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([1e-5 - 0.9e-6 * step for step in range(11)])


def test_a_checkpoint_of_another_run_is_not_taken_up():
    names = {sft.run_name(smoke(**fields), SAMPLES[:n], design)
             for n in (7, 8) for design in (DESIGN, get_design("none"))
             for fields in ({}, {"sft__learning_rate": 2e-3}, {"seed": 3}, {"model": "smollm2-135m-instruct"})}  # fmt: skip
    assert len(names) == 16


def test_the_memory_plan_of_known_shapes():
    for config in (LlamaConfig(num_hidden_layers=2, **SHAPE), MistralConfig(num_hidden_layers=2, head_dim=16, **SHAPE)):
        model = AutoModelForCausalLM.from_config(config)
        assert parameter_counts(config)["model"] == sum(weight.numel() for weight in model.parameters())
    mistral = AutoConfig.for_model("mistral")  # its defaults are Mistral-7B's shape
    plan = sft.memory_plan(mistral, profiles.load("mistral-7b", {"sft.optimizer": "adamw"}))
    assert parameter_counts(mistral)["model"] == 7_241_732_096
    assert plan["weights"] == pytest.approx(28.97, abs=0.01) and plan["optimizer"] == pytest.approx(57.93, abs=0.01)
    assert sft.fits(plan) == {"24 GB card": False, "80 GB card": False, "141 GB card": True}
