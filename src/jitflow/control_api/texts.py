"""Whether the target of a request is text: what is no UTF-8 would otherwise be read as something else than was sent."""

from urllib.parse import unquote_to_bytes

from starlette.types import Scope

_REPLACED = "\ufffd"
_SHOWN = 80


def text_fault(scope: Scope) -> str:
    """Return what of a request's path and query is no UTF-8, empty if all of it is."""
    query: bytes = scope.get("query_string", b"")
    if b"%" in query:
        for part in query.split(b"&"):
            if not _is_text(part):
                name = unquote_to_bytes(part.partition(b"=")[0]).decode("utf-8", "replace")
                return (
                    f"query parameter {name[:_SHOWN]} is no UTF-8: {_shown(part)}; send its characters as UTF-8, percent-encoded"
                )
    path: bytes = scope.get("raw_path") or b""
    if _REPLACED in scope["path"] and not _is_text(path):
        return f"the path is no UTF-8: {_shown(path)}; send its characters as UTF-8, percent-encoded"
    return ""


def _is_text(encoded: bytes) -> bool:
    try:
        unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError:
        return False
    return True


def _shown(encoded: bytes) -> str:
    return encoded[:_SHOWN].decode("ascii", "replace")
