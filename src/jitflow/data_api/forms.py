"""Forms with files, `multipart/form-data`, read as they come: no file of one is ever held in memory."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from email.message import Message
from email.parser import Parser

from msgspec import Struct

from jitflow.model.problems import Refused

MAX_HEAD_BYTES = 16_384
MAX_TEXT_BYTES = 16_384
_CUT = "the form is cut off: its last boundary is missing"


class Part(Struct, frozen=True):
    """A field of a form; `filename`: as the client says, empty for one that is no file."""

    name: str
    filename: str


class Form:
    """A form: `next` part, then its `body` or `text`; what is not read of a part is skipped."""

    def __init__(self, content_type: str, chunks: AsyncIterator[bytes]) -> None:
        """Read chunks of a body.

        Raises:
            Refused: it is no form.
        """
        head = Message()
        head["content-type"] = content_type.encode("ascii", "replace").decode()
        boundary = head.get_boundary("")
        if head.get_content_type() != "multipart/form-data" or not boundary:
            raise Refused("the body is no form with a file; send multipart/form-data, as `curl -F` does")
        self._delimiter = b"\r\n--" + boundary.encode()
        self._chunks = chunks
        self._held = bytearray(b"\r\n")  # the first boundary has no line before it
        self._inside = True

    async def next(self) -> Part | None:
        """Return the next part, None after the last.

        Raises:
            Refused: the form is cut off, or a part has no readable head.
        """
        async with aclosing(self.body()) as rest:
            async for _ in rest:
                pass
        await self._until(b"\r\n", 4)
        if self._held.startswith(b"--"):
            return None
        end = await self._until(b"\r\n\r\n", MAX_HEAD_BYTES)
        try:
            text = bytes(self._held[:end]).decode()
        except UnicodeDecodeError:
            raise Refused("the head of a part is no UTF-8; send names of fields and files as UTF-8") from None
        head = Parser().parsestr(text.lstrip("\r\n"), headersonly=True)
        del self._held[: end + 4]
        name = head.get_param("name", "", header="content-disposition")
        self._inside = True
        return Part(name=name if isinstance(name, str) else "", filename=head.get_filename("") or "")

    async def body(self) -> AsyncGenerator[bytes]:
        """Yield what is left of the part.

        Raises:
            Refused: the form is cut off.
        """
        kept = len(self._delimiter) - 1
        while self._inside:
            found = self._held.find(self._delimiter)
            if found >= 0:
                chunk = bytes(self._held[:found])
                del self._held[: found + len(self._delimiter)]
                self._inside = False
                yield chunk
                return
            if len(self._held) > kept:
                chunk = bytes(self._held[:-kept])
                del self._held[:-kept]
                yield chunk
            await self._more()

    async def text(self) -> str:
        """Return a part that is a text.

        Raises:
            Refused: it is too long, or none.
        """
        text = bytearray()
        async with aclosing(self.body()) as chunks:
            async for chunk in chunks:
                text += chunk
                if len(text) > MAX_TEXT_BYTES:
                    raise Refused(f"a field of the form is longer than {MAX_TEXT_BYTES} bytes")
        try:
            return text.decode()
        except UnicodeDecodeError:
            raise Refused("a field of the form is no UTF-8") from None

    async def _until(self, mark: bytes, most: int) -> int:
        """Read on until a mark is there; return where. The end of the form counts as one, too."""
        while (found := self._held.find(mark)) < 0 and not (mark == b"\r\n" and self._held.startswith(b"--")):
            if len(self._held) > most:
                raise Refused("the form cannot be read: a part has no head, or a very long one")
            await self._more()
        return found

    async def _more(self) -> None:
        async for chunk in self._chunks:
            if chunk:
                self._held += chunk
                return
        raise Refused(_CUT)
