"""The settings file itself: read and written whole, encrypted or in clear."""

import os
from collections.abc import Mapping
from pathlib import Path

from jitflow.settings._cipher import KEY_VARIABLE, decrypt, encrypt, find_key, is_encrypted, key_file, make_key
from jitflow.settings._load import config_home, place
from jitflow.settings._private import replace_private
from jitflow.settings._tree import SettingsError


class SettingsFile:
    """One settings file. `was_encrypted` tells what it was when it was read."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        """Name the file; nothing is read yet."""
        self.path = path
        self.was_encrypted = False
        self._environment = environment
        self._config_home = config_home(environment)

    @classmethod
    def find(cls, path: str = "", environment: Mapping[str, str] | None = None) -> "SettingsFile":
        """Return the file of a path, else the one that `load` reads."""
        environment = os.environ if environment is None else environment
        return cls(place(Path(path) if path else None, environment)[0], environment)

    @property
    def key_file(self) -> Path:
        """Where the key is, unless the environment holds it."""
        return key_file(self._config_home, self._environment)

    def read(self) -> str:
        """Return the settings in clear.

        Raises:
            SettingsError: they cannot be read or decrypted.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{self.path}: cannot read the settings: {error}") from error
        self.was_encrypted = is_encrypted(text)
        return decrypt(text, self._key(), str(self.path)) if self.was_encrypted else text

    def ensure_key(self) -> bool:
        """Make the key if there is none; return whether one was made."""
        if self._environment.get(KEY_VARIABLE) or self.key_file.exists():
            return False
        make_key(self.key_file)
        return True

    def write(self, text: str, *, encrypted: bool) -> None:
        """Write the settings, whole or not at all, readable by the owner only.

        Raises:
            SettingsError: they cannot be encrypted or written.
        """
        body = encrypt(text, self._key()) if encrypted else text
        try:
            replace_private(self.path, body.encode())
        except OSError as error:
            raise SettingsError(f"{self.path}: cannot write the settings: {error.strerror}") from error

    def _key(self) -> bytes:
        return find_key(self._config_home, self._environment)
