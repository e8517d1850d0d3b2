"""Other prompting strategies than roles: what an annotator writes before an answer (chapter 6).

A strategy is a file in `resources/strategies`, or the user's own: a guideline and examples for the
annotator, and a design (template and reader). The annotations of samples lie beside it, as
`<name>.jsonl` with the ids of the samples. Whether other strategies than roles can be tuned in is
an open question of the paper (arXiv 2407.08995, section 6).
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, Field

from .designs import STRATEGIES, Design, DesignFile, design_file, read_design_file
from .errors import UserError, require
from .rows import ROLE, Name, Sample, StrategyText, read_rows, validate_fields


class StrategyExample(BaseModel):
    """An example for the annotator: a question and what the strategy writes for it."""

    question: str = Field(min_length=1)
    text: str = Field(min_length=3)


class StrategyRow(StrategyExample):
    """A line of a strategy's annotation file."""

    id: Name
    question: str = ""
    strategy: str | None = None


def read_strategy(name: str) -> DesignFile:
    """The file of a strategy, with its guideline.

    Raises:
        UserError: no such strategy, or a file without a guideline or with a faulty example.
    """
    path = design_file(name)
    file = read_design_file(path)
    require(file.guideline, f"strategy {path}: no guideline; write one for the annotator, or use "
                            "the file as a design of roles")
    for number, row in enumerate(file.examples, 1):
        try:
            validate_fields(StrategyExample, row)
        except ValueError as error:
            raise UserError(f"strategy {path}: examples.{number}: {error}") from None
    return file


def with_texts(samples: Sequence[Sample], design: Design, name: str) -> list[Sample]:
    """The samples with what a design's strategy writes for each; as they are for roles.

    Args:
        name: of the strategy, or the path of its file.

    Raises:
        UserError: no annotation file, one of another strategy, or none of these samples in it.
    """
    if design.strategy == ROLE:
        return list(samples)
    if all(sample.role and sample.role.strategy == design.strategy for sample in samples):
        return list(samples)  # annotated live
    path = design_file(name).with_suffix(".jsonl")
    texts = read_texts(path, design.strategy)
    whose = [sample.role_of or sample.id for sample in samples]  # of copies and shuffled roles
    found = [sample.model_copy(update={"role": texts[key]})
             for key, sample in zip(whose, samples, strict=True) if key in texts]
    require(found, f"{path}: has none of the samples, such as {samples[0].id}; annotate them with "
                   f"annotate.strategy={name} and annotate.train_on=live")
    return found


def example_turn(sample: Sample, design: Design) -> str:
    """The first assistant turn of a sample in a design, the bare answer where it has no annotation
    for it (chapter 6)."""
    fits = sample.role and sample.role.strategy == design.strategy
    return design.write(sample.role, sample.answer) if fits else sample.answer


def strategy_texts(samples: Sequence[Sample]) -> dict[str, list[str]]:
    """What each strategy of the package writes for some samples, roles first (chapter 6).

    Empty for a sample that has no annotation, such as one that is not of the starter set.
    """
    found = {ROLE: [sample.role.text if sample.role else "" for sample in samples]}
    for name in STRATEGIES:
        texts = read_texts(design_file(name).with_suffix(".jsonl"), name)
        found[name] = [texts[sample.id].text if sample.id in texts else "" for sample in samples]
    return found


def read_texts(path: Path, strategy: str) -> dict[str, StrategyText]:
    """The annotations of a strategy's file by the samples' ids.

    Raises:
        UserError: a missing file, a faulty line, or lines of another strategy.
    """
    require(path.is_file(), f"{path}: no such annotations of strategy {strategy}; write them, or "
                            "set annotate.train_on=live")
    rows = read_rows(path, StrategyRow, told=False)
    for row in rows:
        if row.strategy not in (None, strategy):
            raise UserError(f"{path}: holds annotations of strategy {row.strategy} (id {row.id}), "
                            f"not of {strategy}; give that strategy's own file")
    return {row.id: StrategyText(strategy=strategy, text=row.text) for row in rows}
