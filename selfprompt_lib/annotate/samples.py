"""Annotate the samples as a profile says."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..llm_client.ask import ask_what_is_missing
from ..llm_client.endpoint import Endpoint
from ..llm_client.job import PromptRun
from ..llm_client.response_cache import ResponseCache
from ..profiles import Profile
from ..rows import Conversation
from .role_prompt import RolePrompt


async def annotate(endpoint: Endpoint, profile: Profile, samples: Sequence[Conversation], folder: Path,
                   say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """Annotate the samples as the profile says; returns one row a sample, in their order (chapter 1).

    The log of replies is `<folder>/replies.jsonl`: run again, and only what is missing is asked.

    Raises:
        UserError: a model, key or setting that the server refuses; a budget without a price.
    """
    with ResponseCache(folder / "replies.jsonl") as replies:
        job = PromptRun.of(endpoint, RolePrompt.from_settings(profile.annotate), replies)
        await ask_what_is_missing(job, samples, folder / "batches.json", say)
        return list(job.rows(samples))
