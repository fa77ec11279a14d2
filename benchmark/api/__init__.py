"""What the APIs bear: watchers, and requests a second."""
