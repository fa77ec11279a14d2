"""Keeps secrets out of texts: error messages and log lines pass through here before anybody sees them. Pure."""

import json
from collections.abc import Iterable, Iterator
from typing import cast
from urllib.parse import quote, quote_plus

HIDDEN = "[hidden]"
SHORTEST = 3
"""Shorter secrets are not looked for: replacing one letter everywhere would tell which letter it is."""


class Redactor:
    """Replaces known secrets, in the forms in which tools print them, by `[hidden]`."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Know these secrets; more can be added."""
        self._forms: tuple[str, ...] = ()
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Hide these, too, from now on; secrets are never forgotten, for an old one may still be in a late message."""
        forms = set(self._forms)
        for secret in secrets:
            forms.update(form for form in _forms(secret) if len(form) >= SHORTEST)
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        return text


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield secret.strip()
    yield quote(secret, safe="")
    yield quote(secret)
    yield quote_plus(secret)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield from _leaves(secret)


def _leaves(secret: str) -> Iterator[str]:
    """Yield the texts within a secret that is a JSON document, such as an OAuth token."""
    if not secret.lstrip().startswith("{"):
        return
    try:
        document = cast("object", json.loads(secret))
    except ValueError:
        return
    if isinstance(document, dict):
        for value in cast("dict[str, object]", document).values():
            if isinstance(value, str) and len(value) >= 8:
                yield value
