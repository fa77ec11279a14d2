"""Fuzzing what people send: manifests and the small languages inside them."""
