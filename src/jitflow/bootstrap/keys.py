"""Where the key of the stored secrets comes from: a file of the data home or another, the environment, the system's keyring.

The text of a key source holds one key a line (or with commas between them). The first seals; all others only open what was sealed
before the last rotation. A line `names:KEY` keeps the key from which tokens of plugins follow, which a rotation must not change.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cryptography.fernet import Fernet
from msgspec import Struct

from jitflow.settings import SettingsError, replace_private

NAMES = b"names:"
SERVICE = "jitflow"
"""How the keyring calls this program."""


class Keys(Struct, frozen=True, kw_only=True):
    """Keys, the one that seals first, and the key of names."""

    seals: tuple[bytes, ...]
    names: bytes

    def text(self) -> bytes:
        """Return them as they are kept."""
        return b"".join(key + b"\n" for key in (*self.seals, NAMES + self.names))


class KeySource(Protocol):
    """Keeps the text of the keys."""

    def read(self) -> bytes | None:
        """Return the text, None if there is none yet.

        Raises:
            SettingsError: it cannot be read.
        """
        ...

    def write(self, text: bytes) -> None:
        """Keep a text in place of the one before.

        Raises:
            SettingsError: that cannot be done here.
        """
        ...


def parse(text: bytes, where: str) -> Keys:
    """Return the keys of a text.

    Raises:
        SettingsError: it holds none, or something else.
    """
    parts = [part.strip() for part in re.split(rb"[\s,]+", text) if part.strip()]
    seals = tuple(part for part in parts if not part.startswith(NAMES))
    names = next((part.removeprefix(NAMES) for part in parts if part.startswith(NAMES)), seals[-1] if seals else b"")
    try:
        for key in (*seals, names):
            Fernet(key)
    except ValueError as error:
        raise SettingsError(f"{where}: cannot use the key of the stored secrets: {error}") from error
    return Keys(seals=seals, names=names)


class FileKey:
    """A file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        """Name the file."""
        self._path = path

    def __str__(self) -> str:
        """Return the file's path."""
        return str(self._path)

    def read(self) -> bytes | None:
        """Return the text; see `KeySource`."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingsError(f"{self._path}: cannot use the key of the stored secrets: {error}") from error

    def write(self, text: bytes) -> None:
        """Keep a text, whole or not at all; see `KeySource`."""
        try:
            replace_private(self._path, text)
        except OSError as error:
            raise SettingsError(f"{self._path}: cannot keep the key of the stored secrets: {error}") from error


class EnvironmentKey:
    """A variable of the environment; who sets it changes it."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        """Name the variable."""
        self._name = name
        self._environment = environment

    def __str__(self) -> str:
        """Return what it is."""
        return f"environment variable {self._name}"

    def read(self) -> bytes | None:
        """Return the text; see `KeySource`."""
        text = self._environment.get(self._name, "")
        if not text:
            raise SettingsError(
                f"secrets.key: the environment variable {self._name} is not set; `jitflow secrets new-key` prints a key for it"
            )
        return text.encode()

    def write(self, text: bytes) -> None:
        """Refuse; see `KeySource`."""
        raise SettingsError(
            f"the key is in the environment variable {self._name}, which the server cannot change: put a new key before the old "
            "one (NEW,OLD), start the server again, and rotate then"
        )


class KeyringKey:
    """The keyring of the operating system; needs the package `keyring`."""

    def __init__(self, account: str) -> None:
        """Take the entry of an account."""
        self._account = account

    def __str__(self) -> str:
        """Return what it is."""
        return f"keyring entry {SERVICE} {self._account}"

    def read(self) -> bytes | None:
        """Return the text; see `KeySource`."""
        keyring, errors = _keyring()
        try:
            text = keyring.get_password(SERVICE, self._account)
        except errors as error:
            raise SettingsError(f"secrets.key: the keyring cannot be read: {error}") from error
        return None if text is None else text.encode()

    def write(self, text: bytes) -> None:
        """Keep a text; see `KeySource`."""
        keyring, errors = _keyring()
        try:
            keyring.set_password(SERVICE, self._account, text.decode())
        except errors as error:
            raise SettingsError(f"secrets.key: the keyring keeps no key: {error}") from error


def _keyring():
    try:
        import keyring  # noqa: PLC0415 - only who uses it needs it
        from keyring.errors import KeyringError  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError("secrets.key: the keyring needs a package; install `jitflow[keyring]`") from error
    return keyring, KeyringError


def source_of(setting: str | dict[str, str], default: Path, environment: Mapping[str, str] | None = None) -> KeySource:
    """Return where the setting `secrets.key` says that the key is; empty: the file `default`.

    Raises:
        SettingsError: it says nothing that can be used.
    """
    if setting == "":
        return FileKey(default)
    if setting == "keyring":
        return KeyringKey(str(default.parent))
    if isinstance(setting, dict) and set(setting) == {"file"}:
        return FileKey(Path(setting["file"]).expanduser())
    if isinstance(setting, dict) and set(setting) == {"env"}:
        return EnvironmentKey(setting["env"], os.environ if environment is None else environment)
    raise SettingsError('secrets.key: write { file = "PATH" }, { env = "NAME" } or "keyring"; the key itself has no place here')
