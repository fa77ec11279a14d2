"""The expr room."""
