"""The dataplane room."""
