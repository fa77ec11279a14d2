"""Puts the rooms together. Import `jitflow.bootstrap.local` for servers, `jitflow.bootstrap.home` for a data home."""
