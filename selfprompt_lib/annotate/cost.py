"""What annotating will cost, from the lengths of some samples."""

from collections.abc import Callable, Sequence

from ..rows import Sample
from .role_prompt import Form, write_role


def usage(form: Form, samples: Sequence[Sample], count: Callable[[str], float], rows: int) -> dict[str, int]:
    """Input and output tokens of annotating `rows` samples, from the lengths of these samples (chapter 1)."""
    fixed = sum(count(turn["content"]) for turn in form.messages(""))
    asked = sum(count(form.shorten(sample.question)) for sample in samples) / len(samples)
    written = [count(write_role(sample.role)) for sample in samples if sample.role] or [90]
    return {"input_tokens": round(rows * (fixed + asked)), "output_tokens": round(rows * sum(written) / len(written))}
