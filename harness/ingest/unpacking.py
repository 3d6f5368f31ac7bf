"""Unpacking gzip and zstd as a stream that gives all there is before a damage, and remembers the damage."""

import gzip
import io
import zlib
from typing import IO, Any, cast

import zstandard

_CHUNK = 1 << 16
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
DAMAGES = (EOFError, OSError, zlib.error, zstandard.ZstdError)
"""What reading a damaged or cut-off file raises."""


def is_packed(magic: bytes) -> bool:
    """Whether a file that begins with these four bytes is packed, whatever its name says."""
    return magic.startswith((_GZIP, _ZSTD))


class Unpacked(io.RawIOBase):
    """The content of a packed stream, all its members one after the other, ending early where it is damaged.

    The libraries raise in the middle of a large read, which takes with it all that read had unpacked: the whole of a
    short export. So reads are small, and an error counts as the end.

    Attributes:
        damage: what ended the stream early; ``None`` until then.
    """

    def __init__(self, inner: IO[bytes], magic: bytes) -> None:
        self.damage: Exception | None = None
        if magic.startswith(_GZIP):
            self._source: Any = gzip.GzipFile(fileobj=inner)
        else:
            decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)
            self._source = decompressor.stream_reader(inner, read_across_frames=True)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill some of the buffer; 0 at the end."""
        if self.damage is not None:
            return 0
        try:
            data = cast("bytes", self._source.read1(min(len(buffer), _CHUNK)))
        except DAMAGES as error:
            self.damage = error
            return 0
        buffer[: len(data)] = data
        return len(data)
