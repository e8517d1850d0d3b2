"""What a workshop needs: exercises, and a room without network."""

from .exercises import start_exercises
