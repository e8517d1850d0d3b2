"""What a sample looks like to the model: its turns, its tokens, and which are in the loss."""

from collections.abc import Sequence

import pandas as pd
from jinja2 import TemplateError
from trl.chat_template_utils import get_training_chat_template, has_generation_markers

from ..designs import Design
from ..errors import UserError, require
from ..models import TEMPLATES
from ..rows import Sample, chat_messages


def to_messages(sample: Sample, design: Design) -> list[dict[str, str]]:
    """A sample as TRL's `messages`, with the role in front of the first answer (chapter 3).

    A sample that is `role_free` gets nothing in front of it, whatever the design.

    White space before an answer is left out (six of LIMA's begin so): it would melt into one token
    with the template's line break, and the model would be asked in another way than it was trained.

    Raises:
        UserError: the design writes a role and the sample has none.
    """
    turns = [text.lstrip() if i % 2 else text for i, text in enumerate(sample.conversations)]
    if design.writes_role and not sample.role_free:
        require(sample.role,
                f"sample {sample.id} has no role, and design {design.name} writes one; "
                "annotate it (chapter 1) or train with design none")
        turns[1] = design.write(sample.role, turns[1])
    return chat_messages(*turns)


def training_template(tokenizer) -> str:
    """The tokenizer's chat template with generation markers, which loss masking needs.

    Raises:
        UserError: for a template that neither TRL nor this package has a marked version of, or
            that does not write the text of a turn.
    """
    probe = chat_messages("first question", "first answer", "second question", "second answer")
    try:
        rendered = tokenizer.apply_chat_template(probe, tokenize=False)
    except (TemplateError, TypeError):
        rendered = ""
    require(all(turn["content"] in rendered for turn in probe),
            "model: its chat template does not write the text of a turn (templates for images "
            "want it in parts); give the tokenizer a chat template for text")
    if has_generation_markers(tokenizer.chat_template):
        return tokenizer.chat_template
    ours = (TEMPLATES / "smollm2_training.jinja").read_text(encoding="utf-8")
    if rendered == tokenizer.apply_chat_template(probe, tokenize=False, chat_template=ours):
        return ours
    try:
        return get_training_chat_template(tokenizer) or tokenizer.chat_template
    except ValueError:
        raise UserError("model: its chat template has no {% generation %} markers and none are "
                        "known for it; add them to the template (see the TRL documentation on "
                        "assistant_only_loss)") from None


def encode_with_loss_mask(tokenizer, messages: list[dict[str, str]]) -> dict[str, list[int]]:
    """A conversation as the trainer will see it, before truncation.

    Returns:
        `input_ids`, and `assistant_masks`: 1 for a token that the loss counts.
    """
    return tokenizer.apply_chat_template(messages, chat_template=training_template(tokenizer),
                                         return_dict=True, return_assistant_tokens_mask=True)


def tokens_in_loss(tokenizer, messages: list[dict[str, str]]) -> list[tuple[str, bool]]:
    """Each token of a conversation as text, and whether the loss counts it (chapter 3)."""
    row = encode_with_loss_mask(tokenizer, messages)
    pairs = zip(row["input_ids"], row["assistant_masks"], strict=True)
    return [(tokenizer.decode([token]), bool(counted)) for token, counted in pairs]


def token_counts(tokenizer, samples: Sequence[Sample], design: Design) -> pd.DataFrame:
    """A row a sample: its `tokens`, and `answer`, those of them in the loss (chapter 3)."""
    rows = [encode_with_loss_mask(tokenizer, to_messages(sample, design)) for sample in samples]
    return pd.DataFrame({
        "tokens": [len(row["input_ids"]) for row in rows],
        "answer": [sum(row["assistant_masks"]) for row in rows],
    })
