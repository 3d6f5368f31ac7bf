"""A way to PostgreSQL that can be cut."""

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_numbers = itertools.count()


class Line:
    """A way to the database that can be cut, and whatever goes over it with it."""

    def __init__(self, there: Path) -> None:
        self._there = there
        self._cut = threading.Event()
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Nothing goes through any more."""
        self._cut.set()
        for one in tuple(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """It does again."""
        self._cut.clear()

    def close(self) -> None:
        """For good."""
        self._listening.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listening.accept()
            except OSError:
                return
            if self._cut.is_set():
                here.close()
                continue
            there = socket.socket(socket.AF_UNIX)
            there.connect(str(self._there))
            self._open |= {here, there}
            for ends in ((here, there), (there, here)):
                threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                target.sendall(piece)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            self._open.discard(end)


@contextmanager
def line_to(postgres) -> Iterator[tuple[Line, str, str]]:
    """A line, the store's URL over it and the one that leads there directly."""
    schema = f"rollout_{next(_numbers)}"
    postgres.psql(f"CREATE SCHEMA {schema};")
    direct = f"{postgres.get_uri()}&options=-csearch_path%3D{schema}"
    parts = urlsplit(direct)
    folder = parse_qs(parts.query)["host"][0]
    line = Line(Path(folder) / ".s.PGSQL.5432")
    over = f"postgresql://{parts.username}:@127.0.0.1:{line.port}{parts.path}?options=-csearch_path%3D{schema}"
    try:
        yield line, over, direct
    finally:
        line.close()
