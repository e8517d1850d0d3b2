"""How the chapters are run: `start_chapter` opens one in its notebook, `run` executes them all."""

from .chapters import CHAPTERS, Chapter
from .stage import Stage, start_chapter
