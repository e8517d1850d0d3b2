"""Where an answer begins: in what is trained, in what a model wrote, in what a server sent, by one rule."""

import re
from copy import copy
from pathlib import Path

import pytest
import trl

from selfprompt_lib import infer, models, profiles, sft
from selfprompt_lib.designs import get_design
from selfprompt_lib.errors import UserError
from selfprompt_lib.generate import chat_prompt, encode_prefill, reply_texts
from selfprompt_lib.rows import STARTER_FOLDER, Question, Role, Sample, read_rows
from selfprompt_lib.tasks.extraction import strip_role

SAMPLES = read_rows(STARTER_FOLDER / "train.jsonl", Sample)
DESIGN = get_design("from-now-on")
TRL_TEMPLATES = sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
IMAGES = ("idefics3", "llava_next", "smolvlm")  # templates that drop a turn which is text
UNMARKED = ("gemma4", "llama3_1", "llama3_2")  # of which TRL has no version for training


# What is trained


@pytest.fixture(scope="module")
def shape():
    """The smoke model's shape, and its tokenizer with the special tokens of TRL's templates."""
    shape, tokenizer = models.shape("smoke")
    special = re.compile(r"<[^\w\s/<>'\"][^\s<>'\"]*>|<\w+\|>|<\w+_of_\w+>")
    found = {token for path in TRL_TEMPLATES for token in special.findall(path.read_text(encoding="utf-8"))}
    tokenizer.add_tokens(["<s>", *sorted(found)], special_tokens=True)
    tokenizer.bos_token = "<s>"
    return shape, tokenizer


@pytest.mark.parametrize("path", TRL_TEMPLATES, ids=lambda path: path.stem)
def test_what_is_learned_by_heart_is_read_back_under_every_template_of_trl_or_it_is_refused(path, shape):
    model, tokenizer = shape[0], copy(shape[1])
    tokenizer.chat_template = path.read_text(encoding="utf-8")
    profile, some = profiles.load("smoke", {"dtype": "float32", "sft.residual_dropout": 0}), [SAMPLES[0], SAMPLES[30]]
    try:
        sft.preflight(profile, some, DESIGN, model, tokenizer)
    except UserError as refusal:
        why = "write the text of a turn" if path.stem.startswith(IMAGES) else "no {% generation %} markers"
        assert path.stem.startswith(IMAGES + UNMARKED) and why in str(refusal) and "\n" not in str(refusal)
        return
    assert not path.stem.startswith(IMAGES + UNMARKED)
    tokenizer, asking = copy(tokenizer), tokenizer
    tokenizer.chat_template = sft.conversation.training_template(asking)
    for sample in some:
        messages = sft.to_messages(sample, DESIGN)[:2]
        trained = sft.conversation.encode_with_loss_mask(tokenizer, messages)["input_ids"]
        prompt = encode_prefill(asking, chat_prompt(asking, messages[:1]))
        assert trained[: len(prompt)] == prompt
        replies = reply_texts(asking, [trained[len(prompt) :]])
        usual = asking.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
        text = asking.apply_chat_template(messages, tokenize=False)
        if text.startswith(usual):  # asked by others, with a prompt that leaves room for a thought
            replies.append(text.removeprefix(usual))
        for reply in replies:
            read = DESIGN.read(reply)
            assert (read.outcome, read.role) == ("role", DESIGN.role_text(sample.role))
            assert read.answer.startswith(sample.answer.strip()) and strip_role(reply) == read.answer


def test_a_model_with_an_empty_think_block_in_its_template_writes_roles(tmp_path):
    """Case 10: learned by heart, its rate of roles was 0%."""
    model, tokenizer = models.load("smoke", "float32")
    tokenizer.chat_template = next(path for path in TRL_TEMPLATES if path.stem == "qwen3").read_text(encoding="utf-8")
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "model")
    role = Role(expert="a nurse", brings="Calm.", request="help")
    sample = Sample(id="s", source="test", conversations=("Why?", "It is so."), role=role)
    profile = profiles.load("smoke", {
        "model": str(tmp_path / "model"), "dtype": "float32", "sft.epochs": 12, "sft.batch_size": 1, "sft.micro_batch_size": 1,
        "sft.learning_rate": 0.02, "sft.final_learning_rate": 0.001, "sft.residual_dropout": 0, "infer.max_new_tokens": 30})
    trained = sft.train(profile, [sample, sample], DESIGN, tmp_path / "run")[:2]
    question = Question(id="q", domain="d", question="Why?")
    [row] = infer.ask_questions(*trained, profile, DESIGN, [question])
    assert (row["outcome"], row["role"], row["answer"]) == ("role", DESIGN.role_text(role), "It is so.")
    [forced] = infer.ask_questions(*trained, profile, DESIGN, [question], roles=[row["role"]])
    [free] = infer.ask_questions(*trained, profile, DESIGN, [question], without_role=True)
    assert forced["answer"] == row["answer"] and free["outcome"] == "missing"
