"""Modules that are loaded when a command needs them: `jitflow --help` must not wait for HTTP, Rich or the server's parts."""

from importlib import import_module
from types import ModuleType


def load(name: str) -> ModuleType:
    """Return the module, importing it now if nobody did before."""
    return import_module(name)
