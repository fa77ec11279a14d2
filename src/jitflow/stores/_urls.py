"""URLs of states: which store they mean, and how people are shown them."""

from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from jitflow.ports.errors import Broken

SQLITE, POSTGRESQL, MONGODB = "sqlite", "postgresql", "mongodb"
_SCHEMES = {
    "sqlite": SQLITE,
    "postgresql": POSTGRESQL,
    "postgres": POSTGRESQL,
    "mongodb": MONGODB,
    "mongodb+srv": MONGODB,
}


def kind_of(url: str) -> str:
    """Return which store a URL means.

    Raises:
        Broken: none.
    """
    scheme = urlsplit(url).scheme
    if scheme not in _SCHEMES:
        said = f"{scheme}://…" if scheme else "this text"
        raise Broken(f"{said} names no state: write sqlite:///PATH, postgresql://HOST/DATABASE or mongodb://HOST/DATABASE")
    return _SCHEMES[scheme]


def path_of(url: str) -> Path:
    """Return the file of a `sqlite:` URL.

    Raises:
        Broken: it names none, or another machine's.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc or not path.strip("/"):
        raise Broken(f"{shown(url)}: write the file's whole path with three slashes, as sqlite:///srv/jitflow/state.db")
    return Path("/" + path.lstrip("/"))


def url_of(path: Path) -> str:
    """Return the URL of a file."""
    return f"sqlite://{quote(str(path.absolute()))}"


def is_file(url: str, path: Path) -> bool:
    """Return whether a URL means this file."""
    return kind_of(url) == SQLITE and path_of(url).resolve() == path.resolve()


def shown(url: str) -> str:
    """Return a URL without its password, user and options."""
    parts = urlsplit(url)
    where = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{where}{parts.path}"
