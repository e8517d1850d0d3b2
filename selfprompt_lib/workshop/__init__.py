"""What a workshop needs: exercises, and a room without network."""
