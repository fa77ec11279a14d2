"""Secrets at rest: encrypted with a key that only the server's owner can read."""

import hashlib
import hmac
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from msgspec.structs import replace

from jitflow.bootstrap.keys import FileKey, Keys, KeySource, parse
from jitflow.settings import SettingsError


class Vault:
    """Seals and opens small secrets (Fernet: AES-128-CBC with HMAC-SHA256)."""

    def __init__(self, source: KeySource | Path) -> None:
        """Read the keys, or make one where there is none (a file: with mode 0600).

        Raises:
            SettingsError: the keys cannot be read or kept, or are none.
        """
        self._source = FileKey(source) if isinstance(source, Path) else source
        text = self._source.read()
        if text is None:
            names = Fernet.generate_key()
            keys = Keys(seals=(Fernet.generate_key(),), names=names)
            self._source.write(keys.text())
        else:
            keys = parse(text, str(self._source))
        self._use(keys)

    def _use(self, keys: Keys) -> None:
        self._keys = keys
        self._fernet = MultiFernet([Fernet(key) for key in keys.seals])

    def token_of(self, name: str) -> str:
        """Return a secret for a name: always the same, and to be told by nobody who has not the key."""
        return hmac.new(self._keys.names, name.encode(), hashlib.sha256).hexdigest()

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
                "a stored secret was encrypted with another key; restore the key or add the secret again"
            ) from error

    def is_current(self, sealed: bytes) -> bool:
        """Return whether something was sealed with the key that seals now."""
        try:
            Fernet(self._keys.seals[0]).decrypt(sealed)
        except InvalidToken:
            return False
        return True

    def begin_rotation(self) -> None:
        """Seal with a new key from now on; what older ones have sealed can still be opened.

        Where the key cannot be written (the environment), the new one must have been put before the old one already.

        Raises:
            SettingsError: there is no new key, and none can be kept.
        """
        if len(self._keys.seals) > 1:
            return  # a rotation that was cut off, or a new key that somebody has put there: go on with it
        keys = replace(self._keys, seals=(Fernet.generate_key(), *self._keys.seals))
        self._source.write(keys.text())
        self._use(keys)

    def end_rotation(self) -> bool:
        """Forget the older keys; return whether they could be removed from where the keys are kept."""
        keys = replace(self._keys, seals=self._keys.seals[:1])
        try:
            self._source.write(keys.text())
        except SettingsError:
            return False
        self._use(keys)
        return True
