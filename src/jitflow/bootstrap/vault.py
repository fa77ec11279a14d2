"""Secrets at rest: encrypted with a key file that only the owner can read."""

import hashlib
import hmac
import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from jitflow.settings import SettingsError


class Vault:
    """Seals and opens small secrets (Fernet: AES-128-CBC with HMAC-SHA256)."""

    def __init__(self, key_file: Path) -> None:
        """Read the key, or make one with mode 0600.

        Raises:
            SettingsError: the key file cannot be read or holds no key.
        """
        try:
            self._key = _read_or_make(key_file)
            self._fernet = Fernet(self._key)
        except (OSError, ValueError) as error:
            raise SettingsError(f"{key_file}: cannot use the key of the stored secrets: {error}") from error

    def token_of(self, name: str) -> str:
        """Return a secret for a name: always the same, and to be told by nobody who has not the key."""
        return hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()

    def seal(self, plain: bytes) -> bytes:
        """Return the encrypted form."""
        return self._fernet.encrypt(plain)

    def open(self, sealed: bytes) -> bytes:
        """Return the plain form.

        Raises:
            SettingsError: it was sealed with another key.
        """
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken as error:
            raise SettingsError(
                "a stored secret was encrypted with another key; restore the key file or add the secret again"
            ) from error


def _read_or_make(key_file: Path) -> bytes:
    try:
        return key_file.read_bytes().strip()
    except FileNotFoundError:
        key = Fernet.generate_key()
        handle = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(key)
        return key
