"""Greedy decoding of one prompt at a time by plain `generate`: what every faster way is held against."""

import torch


def single(model, tokenizer, prompt, **settings):
    """The new token ids of one prompt (text), up to and with the one that ends the turn."""
    encoded = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).to(model.device)
    encoded.pop("token_type_ids", None)
    produced = model.generate(
        **encoded, do_sample=False, pad_token_id=tokenizer.pad_token_id, **settings
    )
    return produced[0, encoded["input_ids"].shape[1] :].tolist()


def tie(model, tokenizer, prompt, one, other):
    """How near the two tokens are where two replies part, in a run of one: their logits' difference, relative.

    Below `resolution(model)` rounding decides which is larger, so neither reply is the wrong one.
    """
    parting = next(
        i for i, (a, b) in enumerate(zip([*one, None], [*other, None], strict=False)) if a != b
    )
    ids = tokenizer.encode(prompt, add_special_tokens=False) + one[:parting]
    with torch.inference_mode():
        logits = (
            model(torch.tensor([ids], device=model.device), logits_to_keep=1).logits[0, -1].float()
        )
    first, second = logits[one[parting]], logits[other[parting]]
    return float((first - second).abs() / first.abs())


def resolution(model):
    """The relative difference under which rounding explains another token: some steps of the model's precision."""
    return 1e-3 if model.dtype == torch.float32 else 8 * torch.finfo(model.dtype).eps


def gaps(model, prompt, reply):
    """How far each token of a reply (both as ids) is from the best one in a run of one: the
    difference of their logits, relative. Greedy decoding has zeros, and ties where a batch
    was rounded in another way: less than `resolution(model)`."""
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + reply], device=model.device)).logits[0].float()
    logits = logits[len(prompt) - 1 : -1]  # (tokens of the reply, vocabulary)
    best = logits.max(-1).values
    written = logits.gather(1, torch.tensor(reply, device=model.device)[:, None])[:, 0]
    return ((best - written) / best.abs()).tolist()
