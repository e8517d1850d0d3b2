"""How the chapters are run: `start_chapter` opens one in its notebook, `run` executes them all."""

from .stage import CHAPTERS, Chapter, Stage, start_chapter

__all__ = ["CHAPTERS", "Chapter", "Stage", "start_chapter"]
