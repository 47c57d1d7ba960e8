"""The language of a response."""
