"""Encrypted settings files: a first line that says so, then Fernet's text."""

import os
from collections.abc import Mapping
from pathlib import Path

from jitflow.settings._tree import SettingsError

MARK = "# jitflow encrypted settings, version 1"
KEY_VARIABLE = "JITFLOW_SETTINGS_KEY"
KEY_FILE_VARIABLE = "JITFLOW_SETTINGS_KEY_FILE"


def is_encrypted(text: str) -> bool:
    """Return whether a settings file is encrypted."""
    return text.startswith(MARK)


def key_file(config_home: Path, environment: Mapping[str, str]) -> Path:
    """Return the file of the key."""
    named = environment.get(KEY_FILE_VARIABLE, "")
    return Path(named).expanduser() if named else config_home / "jitflow" / "settings.key"


def find_key(config_home: Path, environment: Mapping[str, str]) -> bytes:
    """Return the key: that of the environment, else that of the file.

    Raises:
        SettingsError: there is none.
    """
    text = environment.get(KEY_VARIABLE, "")
    if text:
        return text.strip().encode()
    file = key_file(config_home, environment)
    try:
        return file.read_bytes().strip()
    except OSError as error:
        raise SettingsError(
            f"{file}: cannot read the key of the settings: {error.strerror}; set {KEY_VARIABLE} or {KEY_FILE_VARIABLE}"
        ) from error


def make_key(file: Path) -> bytes:
    """Make a key, mode 0600, and return it.

    Raises:
        SettingsError: it cannot be kept.
    """
    from cryptography.fernet import Fernet  # noqa: PLC0415 - plain settings do not pay for it

    key = Fernet.generate_key()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as opened:
            opened.write(key + b"\n")
    except OSError as error:
        raise SettingsError(f"{file}: cannot keep the key of the settings: {error.strerror}") from error
    return key


def encrypt(text: str, key: bytes) -> str:
    """Return the encrypted form.

    Raises:
        SettingsError: this is no key.
    """
    from cryptography.fernet import Fernet  # noqa: PLC0415 - plain settings do not pay for it

    try:
        sealed = Fernet(key).encrypt(text.encode()).decode()
    except ValueError as error:
        raise SettingsError(f"the key of the settings cannot be used: {error}") from error
    return "\n".join([MARK, *(sealed[start : start + 76] for start in range(0, len(sealed), 76)), ""])


def decrypt(text: str, key: bytes, source: str) -> str:
    """Return the settings of an encrypted file.

    Raises:
        SettingsError: this is not their key, or they were changed.
    """
    from cryptography.fernet import Fernet, InvalidToken  # noqa: PLC0415 - plain settings do not pay for it

    sealed = "".join(line.strip() for line in text.splitlines()[1:])
    try:
        return Fernet(key).decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise SettingsError(f"{source}: was encrypted with another key, or has been changed") from error
    except ValueError as error:
        raise SettingsError(f"{source}: the key of the settings cannot be used: {error}") from error
