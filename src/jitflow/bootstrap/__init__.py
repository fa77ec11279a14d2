"""The bootstrap room."""
