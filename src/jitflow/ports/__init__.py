"""What the engine needs of the world, as narrow protocols. Each has a conformance suite in `jitflow.testing`."""
