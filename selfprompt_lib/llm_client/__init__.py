"""The client for OpenAI-compatible servers of annotator (chapter 1) and judge (a1)."""
