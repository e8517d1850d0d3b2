"""Where an answer begins: in what is trained, in what a model wrote, in what a server sent, by one rule."""

import json
import re
from copy import copy
from pathlib import Path

import pytest
import torch
import trl
from hypothesis import given
from hypothesis import strategies as st
from test_annotate import ask

from selfprompt_lib import annotate, infer, models, profiles, sft
from selfprompt_lib.designs import ParsedReply, get_design
from selfprompt_lib.errors import UserError
from selfprompt_lib.evaluate import load_tasks
from selfprompt_lib.evaluate.judge import JudgePrompt
from selfprompt_lib.generate import chat_prompt, encode_prefill, reply_texts
from selfprompt_lib.llm_client.reply import Reply, read_completion
from selfprompt_lib.rows import STARTER_FOLDER, Question, Role, Sample, read_rows
from selfprompt_lib.tasks import NO_ANSWER, utils
from selfprompt_lib.tasks.extraction import extract_answer, strip_role
from selfprompt_lib.thoughts import MARK, Said, split_thought

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
    profile, some = profiles.load("smoke", {"dtype": "float32", "sft.residual_dropout": 0}), [SAMPLES[30]]
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


def test_a_model_with_an_empty_think_block_in_its_template_writes_roles():
    """Case 10: learned by heart, its rate of roles was 0%."""
    model, tokenizer = models.load("smoke", "float32")
    tokenizer.chat_template = next(path for path in TRL_TEMPLATES if path.stem == "qwen3").read_text(encoding="utf-8")
    role = Role(expert="a night nurse", brings="Long shifts teach calm.", request="explain fever")
    sample = Sample(id="s", source="test", conversations=("Why?", "Because it is so."), role=role)
    learn_by_heart(model, sft.conversation.encode_with_loss_mask(tokenizer, sft.to_messages(sample, DESIGN)))
    profile = profiles.load("smoke", {"infer.max_new_tokens": 40, "infer.temperature": 0})
    question = Question(id="q", domain="d", question="Why?")
    [row] = infer.ask_questions(model, tokenizer, profile, DESIGN, [question])
    assert (row["outcome"], row["role"], row["answer"]) == ("role", DESIGN.role_text(role), "Because it is so.")
    [forced] = infer.ask_questions(model, tokenizer, profile, DESIGN, [question], roles=[row["role"]])
    [free] = infer.ask_questions(model, tokenizer, profile, DESIGN, [question], without_role=True)
    assert forced["reply"] == row["reply"] and free["outcome"] == "missing"


def learn_by_heart(model, row):
    """Train until the likeliest token is the right one everywhere in the loss."""
    ids, counted = (torch.tensor([row[name]]) for name in ("input_ids", "assistant_masks"))
    labels = ids.masked_fill(counted == 0, -100)
    optimizer, wanted = torch.optim.AdamW(model.parameters(), lr=0.005), labels[:, 1:] != -100
    for _ in range(300):
        output = model(input_ids=ids, labels=labels)
        if (output.logits[:, :-1].argmax(-1) == ids[:, 1:])[wanted].all():
            return
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    raise AssertionError("not learned")


# What a model wrote

TAGS = [("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<reasoning>", "</reasoning>"), ("<thought>", "</thought>"),
        ("<Think>\n", "\n</Think>\n\n"), ("[THINK]", "[/THINK]"), ("◁think▷", "◁/think▷"), ("<seed:think>", "</seed:think>"),
        ("<|channel>thought\n", "<channel|>"), ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("<|begin_of_thought|>\n", "\n<|end_of_thought|>\n"),
        ("<inner_thoughts>", "</inner_thoughts>"), ("<antThinking>", "</antThinking>"),
        ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
        (" to=self<|message|>", "<|eom|><|start|>assistant to=user<|message|>")]  # fmt: skip
plain = st.text().filter(lambda text: not MARK.search(text))
answers = plain.map(str.strip).filter(bool) | st.sampled_from(["a < b", "`<think>` is a tag", "B", "analysis of it", '{"a": 1}'])
wrapped = st.builds(lambda tag, thought: (tag[0] + thought, tag[1]), st.sampled_from(TAGS), plain)


@given(answers)
def test_a_text_without_a_thought_is_its_answer_to_the_letter(answer):
    assert split_thought(answer) == Said("", answer)


@pytest.mark.parametrize("answer", [
    "Dear <Name>,\n\nI cannot come because of <reason>.\n\nYours", "usage: ban <user> <reason>",
    "So:\n\n```java\nList<Reason> reasons = read();\n```\nThat is all.", "```xml\n<analysis>ok</analysis>\n```\n\nSo.",
    "Usage:\n```\n<reason>\n```"])
def test_a_placeholder_and_a_tag_in_code_are_no_marks(answer):
    role = DESIGN.role_text(SAMPLES[0].role)
    assert split_thought(answer) == Said("", answer)
    for thought in ("", "<think>Hm.</think>", "```\nHm.</think>"):
        assert DESIGN.read(f"{thought}{role}\n\n{answer}") == ParsedReply(role, answer, "role")
    assert split_thought(f"{answer}\n<think>Hm.").cut


def test_a_placeholder_in_a_role_is_kept():
    assert sent(f"{GOOD} in a mail that says <reason>").outcome(LINES)[2].request.endswith("says <reason>")


@given(st.lists(wrapped, min_size=1, max_size=3), answers, st.sampled_from(["", "\n", "\n\n"]), st.booleans())
def test_an_answer_is_the_same_behind_thoughts_of_any_form(thoughts, answer, gap, begun_by_the_template):
    text = "".join(map("".join, thoughts)) + gap + answer
    if begun_by_the_template:
        text = text[len(next(start for start, end in TAGS if text.startswith(start))) :]
    assert (split_thought(text).answer, split_thought(text).cut) == (answer, False)
    role = DESIGN.role_text(SAMPLES[0].role)
    read = DESIGN.read(text[: len(text) - len(answer)] + role + "\n\n" + text)  # it thinks again behind the role
    assert (read.role, read.answer, read.outcome) == ((role, answer, "role") if not begun_by_the_template
                                                      else (None, answer, "missing"))


@given(wrapped, st.data())
def test_a_reply_cut_off_within_a_thought_has_no_answer(thought, data):
    drafted = thought[0] + DESIGN.write(SAMPLES[0].role, "The answer is B.\nVerdict: A")
    place = data.draw(st.integers(len(thought[0]), len(drafted)))
    reply = drafted[:place] + thought[1][: data.draw(st.integers(0, 2))]
    assert split_thought(reply).cut and DESIGN.read(reply) == get_design("none").read(reply)
    assert (DESIGN.read(reply).outcome, DESIGN.read(reply).answer, strip_role(reply)) == ("broken", "", "")
    for kind, more in (("choice", {"options": ["x", "y"]}), ("number", {}), ("yes_no", {})):
        assert extract_answer(kind, "tolerant", reply, more) == NO_ANSWER
    for prompt in PROMPTS:
        assert Reply("m", "stop", reply).outcome(prompt)[0] == "truncated"


# What a server sent

ROLE = Role(expert="a lock keeper", brings="Thirty years at the gates.", request="explain how a lock works")
PROMPTS = [annotate.RolePrompt.from_settings(profiles.Annotate(json_schema=schema)) for schema in (False, True)]
PROMPTS.append(JudgePrompt.from_settings(profiles.Judge()))
LINES, JSON, JUDGE = PROMPTS
DRAFT = annotate.write_role(Role(expert="a plumber", brings="Pipes.", request="explain pipes"))
GOOD = annotate.write_role(ROLE)


def sent(content, ending="stop", tokens=30, **message):
    """The reply of a server whose message this is."""
    choice = {"message": {"role": "assistant", "content": content, **message}, "finish_reason": ending}
    usage = {"prompt_tokens": 700, "completion_tokens": tokens}
    return read_completion(json.dumps({"model": "m", "choices": [choice], "usage": usage}), "m")


def outcome(prompt, *message, **more):
    return sent(*message, **more).outcome(prompt)[0]


PARTS = {
    "parts": [{"type": "text", "text": GOOD[:20]}, {"type": "output_text", "text": GOOD[20:]}],
    "texts": [GOOD[:9], GOOD[9:]],
    "Mistral's": [{"type": "thinking", "thinking": [{"type": "text", "text": DRAFT}]}, {"type": "text", "text": GOOD}],
    "Anthropic's": [{"type": "thinking", "thinking": DRAFT, "signature": "x"}, {"type": "redacted_thinking", "data": "y"},
                    {"type": "text", "text": GOOD}],
    "Gemini's": [{"text": DRAFT, "thought": True}, {"text": GOOD}],
    "nested": {"content": [{"type": "text", "text": {"value": GOOD}}]},
    "tags over parts": [{"type": "text", "text": "<thi"}, {"type": "text", "text": f"nk>{DRAFT}</think>{GOOD}"}],
}  # fmt: skip


@pytest.mark.parametrize("content", PARTS.values(), ids=PARTS)
def test_a_message_in_parts_is_read_without_its_thoughts(content):
    assert sent(content).outcome(LINES)[2] == ROLE
    assert split_thought(content).answer == GOOD


def test_a_plain_run_of_lm_eval_reads_behind_thoughts_too():
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "9, or 10"}]}, {"type": "text", "text": "#### 54"}]
    replies = ["<think>The answer is 20. Hmm.\n6 * 9 = 54.</think>\n\n#### 54", "9? So 20.</think>54", parts, "<think>It is 54."]
    docs = [{"kind": "number"}] * len(replies)
    for reader in (utils.strict, utils.tolerant):
        assert reader([[reply] for reply in replies], docs) == [["54"]] * 3 + [[NO_ANSWER]]


def test_the_text_of_another_strategy_is_no_answer_either():
    options = ["a car and a boat", "a train", "a plane"]
    reply = "Plan: say that a car and a boat stay below, and a train too.\n\nThe one that flies is a plane."
    doc = {"options": options, "kind": "choice"}
    assert extract_answer("choice", "tolerant", reply, doc | {"design": "plan"}) == "C"
    assert strip_role(reply) == reply  # an answer may begin so, where no plan was to be written
    profile = profiles.load("smoke", {"design": "plan", "annotate.strategy": "plan", "ablate.designs": ["none", "plan"]})
    docs = load_tasks(profile, ["openbookqa"])["selfprompt_openbookqa"].eval_docs
    assert {doc["design"] for doc in docs} == {"plan"}


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking", "reasoning_details"])
def test_a_thought_that_is_sent_apart_is_no_answer(field):
    thought = {field: [{"type": "reasoning.text", "text": DRAFT}] if field.endswith("details") else DRAFT}
    assert sent(GOOD, **thought).outcome(LINES)[2] == ROLE
    for content in (None, "", [], " \n"):
        assert outcome(LINES, content, "length", **thought) == "truncated"
        assert outcome(LINES, content, "stop", **thought) == "empty" == outcome(LINES, content, "length")


@pytest.mark.parametrize("around", [
    "{}", "```json\n{}\n```", "```\n{}\n```", "~~~json\n{}\n~~~", "<think>{{\"a\": 1}}</think>{}", "Sure! {} Done.", "`{}`",
    "Here it is:\n```JSON\n{}\n```\nI hope it helps {{a lot}}.",
])  # fmt: skip
def test_json_in_a_fence_or_among_words_is_read(around):
    text = around.format(json.dumps(ROLE.model_dump()))
    assert sent(text).outcome(JSON)[2] == ROLE
    assert outcome(JSON, text + "\n" + text.replace("lock", "pipe")) == "malformed"


ENDINGS = {
    "role": ["stop", "eos", "eos_token", "stop_sequence", "end_turn", "STOP", "COMPLETE", "FINISH", "endoftext", None, "",
             "tool_calls", {"type": "stop"}],
    "truncated": ["length", "max_tokens", "MAX_TOKENS", "model_length", "max_output_tokens", "ERROR_LIMIT", "token_limit",
                  "abort", "model_context_window_exceeded", "incomplete", "time_limit", "USER_CANCEL", "not_finished",
                  "error", "never heard", {"type": "length", "length": 30}],
    "content filter": ["content_filter", "SAFETY", "content_filtered", "guardrail_intervened", "PROHIBITED_CONTENT",
                       "ERROR_TOXIC"],
    "refusal": ["refusal"],
}  # fmt: skip


@pytest.mark.parametrize("name, ending", [(name, word) for name, words in ENDINGS.items() for word in words])
def test_a_reply_ends_in_the_words_of_any_server(name, ending):
    """A word that nobody knows is taken as a cut."""
    assert outcome(LINES, GOOD, ending) == name
    expected = "verdict" if name == "role" else name
    assert outcome(JUDGE, "Good.\nVerdict: A", ending) == expected
    if name == "truncated":
        assert outcome(LINES, f"Let me see.\n{DRAFT}\nNo, that is wrong, I need a", ending) == name
        assert outcome(LINES, GOOD + "\nI hope", ending) == "role"


def test_a_reply_whose_end_is_not_told_is_cut_if_all_tokens_were_used():
    assert outcome(LINES, GOOD, None, tokens=LINES.settings.max_tokens) == "truncated"
    assert outcome(LINES, GOOD, "stop", tokens=LINES.settings.max_tokens) == "role"


def test_of_two_roles_the_last_counts_whole_and_is_never_mended_with_the_first():
    assert sent(f"{DRAFT}\n\nBetter:\n{GOOD}").outcome(LINES)[2] == ROLE
    assert outcome(LINES, f"{DRAFT}\n\nBetter:\n{GOOD.splitlines()[0]}") == "malformed"


def test_a_verdict_is_read_from_the_answer_and_a_thought_is_not_sent_back():
    assert sent("<think>Verdict: B\nNo.</think>It is whole.\nVerdict: A").outcome(JUDGE)[2].verdict == "A"
    assert outcome(JUDGE, "<think>Verdict: B\nSo</think>It is whole.") == "malformed"
    again = LINES.retry_request({"messages": LINES.messages("Why?")}, "<think>I wonder", "thought: it never ends")["messages"]
    assert [turn["role"] for turn in again] == [turn["role"] for turn in LINES.messages("Why?")]


def test_the_cases_of_a_real_server(loopback, tmp_path):
    """Case 5: a draft within a cut thought, another word for a cut, a fence."""
    thought = "<think>\nA draft:\n" + DRAFT + "\nNo, locks are not pipes; I need a person who"
    for number, (content, ending, settings, expected) in enumerate([
        (thought, "length", {}, "truncated"), (GOOD[:-8], "max_tokens", {}, "truncated"),
        (f"```json\n{json.dumps(ROLE.model_dump())}\n```", "stop", {"json_schema": True}, "role"),
    ]):  # fmt: skip
        served = loopback(replies=[{"content": content, "finish_reason": ending}])
        [row] = ask(served, tmp_path / str(number), SAMPLES[:1], tries=1, **settings)
        assert (row["outcome"], row["role"]) == (expected, ROLE.model_dump() if expected == "role" else None)
