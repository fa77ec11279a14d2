"""Types that are loaded when the first answer of theirs is read: those of manifests are many, and most programs need few."""

from importlib import import_module
from typing import Any


class Later:
    """A type by its name; it stands where the type would."""

    def __init__(self, module: str, name: str) -> None:
        """Load nothing yet."""
        self._module = module
        self._name = name

    def load(self) -> Any:
        """Return the type."""
        return getattr(import_module(self._module), self._name)


def loaded(kind: Any) -> Any:
    """Return the type that is meant."""
    return kind.load() if isinstance(kind, Later) else kind
