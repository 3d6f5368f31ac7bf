"""Cutting a stream of bytes into records without holding more than one of them."""

import re
from collections.abc import Iterator
from typing import BinaryIO

LINE_LIMIT = 64 << 20
"""Longest record read, in bytes."""
_CHUNK = 1 << 20
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},]', re.DOTALL)
_ENVELOPES = frozenset([b"data", b"requests", b"resourceSpans", b"resourceLogs", b"items", b"rows", b"records"])
"""Keys under which a document of one object keeps its list of records."""
_WRAPPED = frozenset([b"resourceSpans", b"resourceLogs"])
"""Envelopes whose elements need their key to be understood."""


def lines(stream: BinaryIO) -> Iterator[tuple[bytes, int, bool]]:
    r"""Lines without their ``\n``, each with its size and whether it is an unended last line.

    Only ``\n`` ends a line: U+2028 and the like are legal inside JSON strings. A line above the limit comes with
    its beginning only.
    """
    pieces: list[bytes] = []
    size = 0
    while chunk := stream.read(_CHUNK):
        first, *rest = chunk.split(b"\n")
        size += len(first)
        _keep(pieces, first, size)
        if not rest:
            continue
        yield b"".join(pieces), size, False
        *whole, last = rest
        for line in whole:
            yield line, len(line), False
        pieces, size = [last], len(last)
    if size:
        yield b"".join(pieces), size, True


def _keep(pieces: list[bytes], piece: bytes, size: int) -> None:
    if size <= LINE_LIMIT:
        pieces.append(piece)
    else:
        del pieces[1:]


class _Window:
    """A stretch of the stream: what is still needed, and a mark in it up to which tokens were read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._data = b""
        self._start = 0
        self._at = 0
        self.is_over = False
        """Whether a record outgrew the limit, after which nothing more can be told apart."""

    def drop(self, *, keep: int = 0) -> None:
        """Forget what was read but its last ``keep`` bytes."""
        self._start = self._at - keep

    def taken(self, *, but: int = 0) -> bytes:
        """What was read since the last drop, without its last ``but`` bytes."""
        return self._data[self._start : self._at - but]

    def rest(self) -> bytes:
        """Everything not yet dropped, forgotten with this."""
        rest = self._data[self._start :]
        self._data, self._start, self._at = b"", 0, 0
        return rest

    def token(self) -> bytes | None:
        """The next bracket, comma or whole string; ``None`` at the end."""
        while not self.is_over:
            match = _TOKEN.search(self._data, self._at)
            quote = self._data.find(b'"', self._at, match.start() if match else len(self._data))
            if match is not None and quote < 0:
                self._at = match.end()
                return match.group()
            # A quote before the match opens a string whose end has not been read yet.
            self._at = quote if quote >= 0 else len(self._data)
            if not self._grow():
                return None
        return None

    def _grow(self) -> bool:
        held = len(self._data) - self._start
        self.is_over = held > LINE_LIMIT + _CHUNK
        # Doubling keeps the work linear when one string is larger than the window.
        more = b"" if self.is_over else self._stream.read(min(max(_CHUNK, held), 16 * _CHUNK))
        self._data = self._data[self._start :] + more
        self._at -= self._start
        self._start = 0
        return bool(more)


def values(stream: BinaryIO) -> Iterator[tuple[bytes, int, bool]]:
    """Records of a JSON document, each with its size and whether it is whole.

    A list gives its elements; an object gives itself, or the elements of the list it only wraps (``data``,
    ``requests``, ``resourceSpans``, ...). Several documents one after the other are read as one.
    """
    window = _Window(stream)
    while (token := window.token()) is not None:
        if token == b"[":
            yield from _elements(window, b"")
        elif token == b"{":
            yield from _object(window)


def _object(window: _Window) -> Iterator[tuple[bytes, int, bool]]:
    """The object whose brace was just read."""
    window.drop(keep=1)
    depth, key, is_envelope = 1, b"", False
    while depth:
        token = window.token()
        if token is None:
            rest = window.rest()
            if not is_envelope:
                yield rest, len(rest), False
            return
        if token == b"[" and depth == 1 and key in _ENVELOPES:
            is_envelope = True
            yield from _elements(window, key if key in _WRAPPED else b"")
        elif token in b"{[":
            depth += 1
        elif token in b"}]":
            depth -= 1
        elif depth == 1 and token != b",":
            key = token[1:-1]
    if not is_envelope:
        whole = window.taken()
        yield whole, len(whole), True
    window.drop()


def _elements(window: _Window, wrapper: bytes) -> Iterator[tuple[bytes, int, bool]]:
    """Elements of the list whose bracket was just read."""
    window.drop()
    depth = 0
    while depth >= 0:
        token = window.token()
        if token is None:
            rest = window.rest().strip()
            if rest:
                yield rest, len(rest), False
            return
        if token in b"{[":
            depth += 1
        elif token in b"}]":
            depth -= 1
        if depth < 0 or (depth == 0 and token == b","):
            element = window.taken(but=1).strip()
            window.drop()
            if element:
                yield _wrap(element, wrapper), len(element), True


def _wrap(element: bytes, wrapper: bytes) -> bytes:
    return b'{"%s":[%s]}' % (wrapper, element) if wrapper else element
