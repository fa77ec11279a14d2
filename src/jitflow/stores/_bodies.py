"""How documents lie in the database: a marker byte, then the bytes, deflated where that pays."""

import zlib

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
    """Return the document of a stored form."""
    return zlib.decompress(memoryview(stored)[1:]) if stored[:1] == _DEFLATED else stored[1:]
