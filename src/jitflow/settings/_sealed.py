"""Single texts, sealed with the key of the settings."""

import os
from collections.abc import Mapping

from jitflow.settings._cipher import KEY_VARIABLE, decrypt, encrypt, find_key, key_file, make_key
from jitflow.settings._load import config_home


def seal(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Return the sealed form of a text, on one line; makes the key of the settings where there is none.

    Raises:
        SettingsError: the key cannot be used or kept.
    """
    environment = os.environ if environment is None else environment
    home = config_home(environment)
    if not environment.get(KEY_VARIABLE) and not key_file(home, environment).exists():
        make_key(key_file(home, environment))
    return "".join(encrypt(text, find_key(home, environment)).splitlines()[1:])


def unseal(sealed: str, where: str, environment: Mapping[str, str] | None = None) -> str:
    """Return a text in clear. `where` names it in errors.

    Raises:
        SettingsError: the key is not there, or is another one.
    """
    environment = os.environ if environment is None else environment
    return decrypt(f"\n{sealed}", find_key(config_home(environment), environment), where)
