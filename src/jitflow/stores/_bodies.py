"""How documents lie in the database: a marker byte, then the bytes, deflated where that pays."""

import zlib

from jitflow.ports.errors import Broken

_PLAIN = b"\x00"
_DEFLATED = b"\x01"
COMPRESS_ABOVE_BYTES = 4096


def pack(body: bytes) -> bytes:
    """Return the stored form of a document."""
    if len(body) > COMPRESS_ABOVE_BYTES:
        deflated = zlib.compress(body, 1)
        if len(deflated) < len(body):
            return _DEFLATED + deflated
    return _PLAIN + body


def unpack(stored: bytes) -> bytes:
    """Return the document of a stored form.

    Raises:
        Broken: it is damaged, as far as its form tells.
    """
    if stored[:1] != _DEFLATED:
        return stored[1:]
    try:
        return zlib.decompress(memoryview(stored)[1:])
    except zlib.error as error:
        raise Broken(f"what is stored is damaged ({error}); `jitflow state verify` says where") from error
