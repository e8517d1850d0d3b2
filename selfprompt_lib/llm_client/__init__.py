"""The client for OpenAI-compatible servers that the annotator (chapter 1) and the judge (a1) share."""
