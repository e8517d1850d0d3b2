"""How likely a model finds texts behind contexts: one forward pass for many of them (chapter 5).

What several texts begin with is read once, whatever it is: a system message, a question behind
which several roles stand, a role behind which four options stand. For that, texts become trees of
tokens, and a row of a batch holds trees instead of a text: each token sees those above it in its
tree, and stands at the position that it has in its own text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from os.path import commonprefix

import torch
from tqdm import tqdm

from ..devices import alone_on_card
from ..errors import require

BATCH_TOKENS = 2048  # that are read at once, with padding
ROW_TOKENS = 256  # of trees in one row, if they are several: attention costs more in longer rows
SEEN_BY_MASK = {"full_attention", "sliding_attention"}  # layers in which a mask says what is seen
Pair = tuple[Sequence[int], Sequence[int]]  # the ids of a context, and of what stands behind it


@dataclass
class _Row:
    """Trees of tokens, one token a node; a node's parent is the token before it, -1 for none."""

    ids: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    path: list[int] = field(default_factory=list)  # the nodes of the text that was added last
    scored: dict[int, int] = field(default_factory=dict)  # node → its place among those scored
    texts: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def add(self, number: int, pair: Pair, shared: int) -> None:
        """Add a text of which the first `shared` tokens are those of the text before it."""
        context, continuation = pair
        nodes = self.path[:shared]
        for token in [*context, *continuation[:-1]][shared:]:
            self.parents.append(nodes[-1] if nodes else -1)
            nodes.append(len(self.ids))
            self.ids.append(token)
        self.path = nodes
        places = [self.scored.setdefault(node, len(self.scored))
                  for node in nodes[len(context) - 1 :]]  # a token's score is read before it
        self.texts[number] = list(zip(places, continuation, strict=True))

    def layout(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids, positions and who sees whom, with the nodes that are scored on the right."""
        size = len(self.ids)
        sees = torch.eye(size, dtype=torch.bool).numpy()
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                sees[node] |= sees[parent]
        order = [node for node in range(size) if node not in self.scored] + list(self.scored)
        seen = torch.from_numpy(sees)
        return (torch.tensor(self.ids)[order], seen.sum(1)[order] - 1, seen[order][:, order])


def encode_pairs(tokenizer, contexts: Sequence[str], texts: Sequence[str]) -> list[Pair]:
    """Each context with the text behind it as token ids, without special tokens (chapter 5).

    Both are encoded together, as they stand in training; a token belongs to the text if it ends
    there. (lm-eval gives blanks at the end of a context to the text, so the line break in front of
    an answer, or the blank line behind a role, would be scored with each option.)
    """
    if not texts:
        return []
    together = [context + text for context, text in zip(contexts, texts, strict=True)]
    encoded = tokenizer(together, add_special_tokens=False, return_offsets_mapping=True)
    pairs = []
    for context, ids, offsets in zip(contexts, encoded["input_ids"], encoded["offset_mapping"],
                                     strict=True):
        first = sum(end <= len(context) for _, end in offsets)
        pairs.append((ids[:first], ids[first:]))
    return pairs


@torch.inference_mode()
def score_ids(model, pairs: Sequence[Pair], label: str | None = None) -> list[tuple[float, bool]]:
    """For each pair the log-probability of its continuation, and whether it is the greedy one.

    Log-probabilities are sums over the continuation's tokens, in nats, by a float32 log-softmax.
    Logits are made only where a token is scored (chapter 5).

    Args:
        pairs: token ids of a context and of the continuation behind it.
        label: what the progress bar says; None shows none.

    Raises:
        UserError: a pair without a context or without a continuation.
    """
    for number, (context, continuation) in enumerate(pairs, 1):
        require(len(context) and len(continuation),
                f"pair {number} of {len(pairs)}: the context or what stands behind it has no "
                "tokens; give both some text")
    alone_on_card(model)
    trees = _sees_by_mask(model, max((len(c) + len(t) for c, t in pairs), default=0))
    rows = _fill_rows(pairs, ROW_TOKENS if trees else 0)
    found: list[tuple[float, bool]] = [(0.0, True)] * len(pairs)
    with tqdm(total=len(pairs), desc=label, unit="text", mininterval=1,
              disable=label is None) as bar:
        for batch in _split_rows(rows, BATCH_TOKENS if trees else 0):
            for number, score in _score_rows(model, batch, trees):
                found[number] = score
            bar.update(sum(len(row.texts) for row in batch))
    return found


def _sees_by_mask(model, longest: int) -> bool:
    """Whether a mask alone decides what a token sees, so that trees can be read.

    Not in recurrent layers, and not in attention kernels without masks; and layers with a sliding
    window need masks of their own where texts are longer than it. Such models read one text after
    the other.
    """
    config = model.config.get_text_config()
    if model.config._attn_implementation not in ("sdpa", "eager"):
        return False
    kinds = set(getattr(config, "layer_types", None) or SEEN_BY_MASK)
    window = getattr(config, "sliding_window", None)
    return kinds <= SEEN_BY_MASK and not (window and window < longest)


def _fill_rows(pairs: Sequence[Pair], row_tokens: int) -> list[_Row]:
    """Rows of texts that begin alike, as many as fit into `row_tokens`; the longest row first."""
    texts = [[*context, *continuation[:-1]] for context, continuation in pairs]
    rows, before = [], []
    for number in sorted(range(len(texts)), key=texts.__getitem__):
        shared = len(commonprefix([before, texts[number]])) if rows else 0
        if not rows or len(rows[-1].ids) + len(texts[number]) - shared > row_tokens:
            rows.append(_Row())
            shared = 0
        rows[-1].add(number, pairs[number], shared)
        before = texts[number]
    return sorted(rows, key=lambda row: -len(row.ids))


def _split_rows(rows: Sequence[_Row], batch_tokens: int) -> Iterator[Sequence[_Row]]:
    start = 0
    while start < len(rows):
        size = max(1, batch_tokens // len(rows[start].ids))
        yield rows[start : start + size]
        start += size


def _score_rows(model, rows: Sequence[_Row],
                trees: bool) -> Iterator[tuple[int, tuple[float, bool]]]:
    """The number of each text of a batch, and its score."""
    width, keep = len(rows[0].ids), max(len(row.scored) for row in rows)
    ids, positions = torch.zeros(2, len(rows), width, dtype=torch.long)
    seen = torch.eye(width, dtype=torch.bool).repeat(len(rows), 1, 1)  # a blank sees itself
    for place, row in enumerate(rows):
        left = width - len(row.ids)
        ids[place, left:], positions[place, left:], seen[place, left:, left:] = row.layout()
    mask = torch.zeros(seen.shape, dtype=model.dtype).masked_fill_(
        ~seen, torch.finfo(model.dtype).min)[:, None] if trees else None
    logits = model(
        input_ids=ids.to(model.device), position_ids=positions.to(model.device), use_cache=False,
        attention_mask=mask if mask is None else mask.to(model.device), logits_to_keep=keep).logits
    for row, row_logits in zip(rows, logits, strict=True):
        yield from _read_scores(row, row_logits[keep - len(row.scored) :].float())


def _read_scores(row: _Row, logits: torch.Tensor) -> Iterator[tuple[int, tuple[float, bool]]]:
    """Scores of a row's texts, from the logits at its scored places (places, vocabulary)."""
    scored = [each for text in row.texts.values() for each in text]  # one text behind the other
    places, tokens = map(list, zip(*scored, strict=True))
    values = logits.log_softmax(-1)[places, tokens].double().cpu()
    greedy = logits.argmax(-1)[places].cpu() == torch.tensor(tokens)

    lengths = [len(text) for text in row.texts.values()]
    by_text = zip(row.texts, values.split(lengths), greedy.split(lengths), strict=True)
    for number, of_tokens, are_greedy in by_text:
        yield number, (float(of_tokens.sum()), bool(are_greedy.all()))
