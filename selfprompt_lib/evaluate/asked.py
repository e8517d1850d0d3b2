"""A model that is asked, with what it was asked before taken up (chapters 5 and 6, see `kept`)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import models
from ..kept import keep
from ..profiles import Profile


class AskedModel:
    """A model whose replies, roles and scores are kept in `folder`, by what it is and is asked.

    Chapters that ask the same, and cells of a sweep, ask once: it is loaded only for what is new.
    """

    def __init__(self, place: str, folder: Path):
        self.place, self.folder = place, folder
        self._loaded: tuple[Any, Any] | None = None

    @property
    def tokenizer(self) -> Any:
        return self._loaded[1] if self._loaded else models.shape(self.place)[1]

    def load(self, profile: Profile) -> tuple[Any, Any]:
        """The model and its tokenizer, in the profile's `dtype`, which each answer depends on."""
        dtype = profile.dtype
        self._loaded = self._loaded or models.load(self.place, dtype)
        return self._loaded

    def keep(self, asked: list, ask: Callable[..., dict[str, Any]], profile: Profile,
             *arguments: Any) -> dict[str, Any]:
        """What `ask(profile, model, *arguments)` returns or has returned, see `kept.keep`."""
        about = [ask.__name__, models.mark(self.place), *asked]
        return keep(self.folder, about, ask, profile, self, *arguments)
