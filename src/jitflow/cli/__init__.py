"""The command line: a thin client of the HTTP APIs."""

from jitflow.cli.app import main

__all__ = ["main"]
