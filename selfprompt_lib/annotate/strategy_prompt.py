"""What is asked for where another strategy than roles is annotated: one paragraph (chapter 1)."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..designs import get_design, strategy_name
from ..llm_client.prompt import read_guideline
from ..profiles import Annotate
from ..rows import ROLE, StrategyText, read_rows, validate_fields
from ..strategies import StrategyExample, read_strategy
from .prompt import NEXT_TURN, TURN_END, RolePrompt

LONGEST = 1200  # characters


@dataclass(frozen=True)
class StrategyPrompt(RolePrompt):
    """The prompt that asks for a strategy's paragraph. `examples` are pairs of question and text.

    A reply that can be used counts as a role in the outcomes, whatever it is.
    """

    retry_instruction = "Write it once more, as one complete paragraph and nothing else."

    @classmethod
    def from_settings(cls, settings: Annotate) -> "StrategyPrompt":
        """Guideline and examples of `annotate.strategy`, or of the files that the profile names.

        Raises:
            UserError: as `read_strategy`, or a file that is missing or no example.
        """
        file = read_strategy(settings.strategy)
        guideline = file.guideline.strip()
        if settings.guideline:
            guideline = read_guideline(settings, Path(settings.guideline))
        if settings.examples:
            rows = read_rows(Path(settings.examples), StrategyExample)
        else:
            rows = [StrategyExample.model_validate(row) for row in file.examples]
        name = strategy_name(settings.strategy)
        examples = tuple((row.question, StrategyText(strategy=name, text=row.text)) for row in rows)
        return cls(settings, guideline, examples)

    @property
    def form(self) -> str:
        return "Write one paragraph and nothing else."

    def write(self, role: StrategyText) -> str:
        return role.text

    def read_answer(self, text: str) -> StrategyText:
        """The first paragraph of an answer, without a label such as "Plan:" or the design's own
        opening, which would stand there twice.

        Raises:
            ValueError: what is wrong with it.
        """
        name = strategy_name(self.settings.strategy)
        opening = get_design(self.settings.strategy).opening
        labels = "|".join(re.escape(label.strip(" :")).replace(r"\-", "[- ]")
                          for label in (name, opening))
        text = NEXT_TURN.split(TURN_END.split(text.strip())[0])[0]
        text = re.sub(rf"^\W*(?:{labels})\W*:\W*", "", text, flags=re.IGNORECASE)
        paragraph = re.split(r"\n\s*\n", text)[0].strip()
        if paragraph.endswith(":"):
            raise ValueError("text: ends with a colon, so it only announces what should follow")
        if len(paragraph) > LONGEST:
            raise ValueError(f"text: {len(paragraph)} characters; at most {LONGEST}")
        return validate_fields(StrategyText, {"strategy": name, "text": paragraph})

    def response_format(self) -> dict[str, Any] | None:
        return None  # a paragraph needs no schema

    def stops_within(self, text: str) -> str:
        """The paragraph, if the answer ends within a sentence."""
        return "" if re.search(r"[.!?…\"')\]]\s*$", text) else "text"


def annotation_prompt(settings: Annotate) -> RolePrompt:
    """The prompt of the profile's strategy: `RolePrompt`, or another one's (chapter 1).

    Raises:
        UserError: as its `from_settings`.
    """
    kind = RolePrompt if settings.strategy == ROLE else StrategyPrompt
    return kind.from_settings(settings)
