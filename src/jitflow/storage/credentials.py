"""The secrets of stores that only a manifest names: read from the object store when they are needed, kept nowhere."""

import base64
from collections.abc import Iterable
from typing import Protocol

from jitflow.model.objects import Objects, Secret
from jitflow.model.origins import Origin
from jitflow.model.problems import Refused
from jitflow.objects import secret_values
from jitflow.ports.errors import AccessRefused, Unreachable
from jitflow.storage.redact import Redactor

_BASE64 = "_base64"
"""Options whose names end so take any bytes, written in base64."""


class Secrets(Protocol):
    """Knows the secrets of stores that only a manifest names."""

    def options(self, origin: Origin) -> dict[str, str]:
        """Return an origin's options with its secrets as they are now.

        Raises:
            AccessRefused: a Secret is not there, or lacks the key. Unreachable: who has them was not heard of yet.
        """
        ...


class SentCredentials:
    """Implements `Secrets` with what somebody else has sent, in memory only."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._sent: dict[str, dict[str, str] | str] = {}

    def take(self, name: str, options: dict[str, str], error: str) -> None:
        """Know the options of the origin of that name, or why they cannot be had."""
        self._sent[name] = error or options

    def options(self, origin: Origin) -> dict[str, str]:
        """See `Secrets.options`."""
        found = self._sent.get(origin.name, None if origin.secrets else dict(origin.options))
        if found is None:
            raise Unreachable(f"{origin.label}: its secrets come with the control service, which was not heard of yet")
        if isinstance(found, str):
            raise AccessRefused(found)
        return dict(found)


class Credentials:
    """Implements `Secrets` with those of the object store."""

    def __init__(self, objects: Objects) -> None:
        """Take Secrets from `objects`."""
        self._objects = objects

    def options(self, origin: Origin) -> dict[str, str]:
        """Return an origin's options with its secrets as they are now.

        Raises:
            AccessRefused: a Secret is not there, or lacks the key.
        """
        return {**origin.options, **{option: self._value(origin, option) for option in origin.secrets}}

    def _value(self, origin: Origin, option: str) -> str:
        wanted = origin.secrets[option]
        secret = self._objects.find(Secret, wanted.namespace, wanted.name)
        if secret is None:
            raise AccessRefused(f"{origin.label}: {wanted} not found; create it, or correct its name in the artifact")
        try:
            value = secret_values(secret).get(wanted.key)
            if value is None:
                known = ", ".join(sorted(secret.data)) or "none"
                raise AccessRefused(f"{origin.label}: {wanted} has no key {wanted.key!r} (its keys: {known})")
            return base64.b64encode(value).decode() if option.endswith(_BASE64) else value.decode()
        except Refused as error:
            raise AccessRefused(f"{origin.label}: {error}") from error
        except UnicodeDecodeError:
            raise AccessRefused(f"{origin.label}: the value of {wanted.key!r} in {wanted} is no text") from None


def redactor_of(origin: Origin, options: dict[str, str]) -> Redactor:
    """Return what hides an origin's secrets in texts."""
    hidden: Iterable[str] = (
        value for name, value in options.items() if value and (name in origin.secrets or name in origin.hidden)
    )
    return Redactor(hidden)
