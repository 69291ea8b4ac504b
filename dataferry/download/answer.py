"""The answer to one request: http.client's response with a head parsed for speed and reads that never wait for more."""

from __future__ import annotations

import http.client
import io
import re
import socket
from typing import Any

__all__ = ["Answer", "KeptReader"]

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9]\d\d)(?: ([^\r\n]*))?\r?\n")
_LONGEST_LINE = 65536
_MOST_HEADERS = 200


class _Ahead(socket.SocketIO):
    """A socket of which somebody has read more than was his."""

    def __init__(self, sock: socket.socket, ahead: bytes) -> None:
        super().__init__(sock, "r")
        self._ahead = ahead

    def readinto(self, buffer: Any) -> int | None:
        if not self._ahead:
            return super().readinto(buffer)
        count = min(len(buffer), len(self._ahead))
        memoryview(buffer).cast("B")[:count] = self._ahead[:count]
        self._ahead = self._ahead[count:]
        return count


class KeptReader(io.BufferedReader):
    """The reading side of a kept connection: an answer that has ended does not close it."""

    def __init__(self, sock: socket.socket, ahead: bytes = b"") -> None:
        super().__init__(_Ahead(sock, ahead) if ahead else socket.SocketIO(sock, "r"), 65536)

    def makefile(self, *_: Any) -> KeptReader:
        """What `http.client.HTTPResponse` asks a socket for; here it is the reader itself.

        Returns
        -------
        KeptReader
            This reader.
        """
        return self

    def close(self) -> None:
        """Do nothing: the connection closes its socket."""


class Answer(http.client.HTTPResponse):
    """The answer to one GET.

    `http.client` spends more on parsing a head than on a small file, so the head is parsed here, into a plain mapping
    of lower-case names. Bodies (chunked, with a length, until the end) are read by `http.client`.
    """

    fields: dict[str, str]
    url: str = ""
    place: int = 0  # where in the file its body begins
    limit: int | None = None  # and where the object that it comes from ends, if that is not the file's end

    def __init__(self, reader: KeptReader) -> None:
        super().__init__(reader, method="GET")  # type: ignore[arg-type]
        self.fields = {}

    def begin(self) -> None:
        """Read the head.

        Raises
        ------
        http.client.HTTPException
            If it is no head of HTTP/1.
        OSError
            If the connection fails.
        """
        while True:
            line = self.fp.readline(_LONGEST_LINE + 1)
            if not line:
                raise http.client.RemoteDisconnected("the server closed the connection without an answer")
            match = _STATUS.fullmatch(line)
            if match is None:
                raise http.client.BadStatusLine(repr(line[:60]))
            status = int(match[2])
            self._read_fields()
            if status >= 200:
                break
        fields = self.fields
        self.status = self.code = status
        self.reason = (match[3] or b"").decode("latin-1").strip()
        self.version = 11 if match[1] == b"1" else 10
        connection = fields.get("connection", "").lower()
        self.will_close = "close" in connection or (self.version == 10 and "keep-alive" not in connection)
        self.chunked = "chunked" in fields.get("transfer-encoding", "").lower()
        self.chunk_left = None
        self.length = None
        if status in (204, 304):
            self.length = 0
            self.chunked = False
        elif not self.chunked and "content-length" in fields:
            text = fields["content-length"]
            if not (text.isascii() and text.isdigit()):
                raise http.client.HTTPException(f"Content-Length is {text!r}")
            self.length = int(text)
        if self.length is None and not self.chunked:
            self.will_close = True

    def _read_fields(self) -> None:
        fields: dict[str, str] = {}
        # Most heads are in the buffer as a whole: one look and one cut instead of a call for each line.
        end = self.fp.peek().find(b"\r\n\r\n")
        if 0 <= end < _LONGEST_LINE:
            for text in self.fp.read(end + 4).decode("latin-1").split("\r\n")[:-2]:
                self._field(fields, text)
            self.fields = fields
            return
        readline = self.fp.readline
        for _ in range(_MOST_HEADERS):
            line = readline(_LONGEST_LINE + 1)
            if line in (b"\r\n", b"\n"):
                self.fields = fields
                return
            if not line.endswith(b"\n"):
                raise (
                    http.client.IncompleteRead(b"") if len(line) <= _LONGEST_LINE else http.client.LineTooLong("header")
                )
            self._field(fields, line.decode("latin-1"))
        raise http.client.HTTPException(f"more than {_MOST_HEADERS} headers")

    @staticmethod
    def _field(fields: dict[str, str], text: str) -> None:
        name, _, value = text.partition(":")
        name, value = name.strip().lower(), value.strip()
        if name == "content-length" and fields.get(name, value) != value:
            raise http.client.HTTPException("two different Content-Length headers")
        fields[name] = value

    @property
    def total(self) -> int | None:
        """Bytes of the body as announced; None if the server did not say."""
        text = self.fields.get("content-length")
        return int(text) if text is not None and not self.chunked else None

    def read_some(self, into: memoryview) -> int:
        """Read what is there, at least a byte, with at most one wait for the network.

        Parameters
        ----------
        into : memoryview
            Where to put it.

        Returns
        -------
        int
            Bytes read; 0 at the end of the body.

        Raises
        ------
        http.client.IncompleteRead
            If the body ends before its announced length.
        OSError
            If the connection fails.
        """
        if self.ended:
            return 0
        if self.chunked:
            data = self.read1(len(into))
            into[: len(data)] = data
            return len(data)
        if self.length is not None and len(into) > self.length:
            into = into[: self.length]
        count: int = self.fp.readinto1(into)
        if self.length is not None:
            if not count:
                raise http.client.IncompleteRead(b"", self.length)
            self.length -= count
        elif not count:
            self.length = 0
        return count

    @property
    def ended(self) -> bool:
        """True once the whole body was read, so that the connection may serve again."""
        fp: object = self.fp
        return fp is None or self.length == 0
