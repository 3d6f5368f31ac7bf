"""Workers in trouble, beside a gateway that is measured: each is at work only while its gateway's turn lasts."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.gateways import until

HARNESS = Path(sys.executable).parent / "harness"
CORES: list[int] = []
"""Where the shadow side runs; anywhere when empty."""


def _there(*command: str | Path) -> list[str | Path]:
    """The command on the shadow side's cores."""
    return ["taskset", "-c", ",".join(map(str, CORES)), *command] if CORES else [*command]


@contextmanager
def candidate(mode: str) -> Iterator[int]:
    """The port of a candidate that behaves in one way."""
    process = subprocess.Popen(
        _there(sys.executable, "-m", "tests.benchmarks.gateway.candidate", mode),
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def stranger() -> Iterator[None]:
    """A program that computes for as long as the block lasts, as nice and as much by itself as a worker."""
    command = _there("nice", "-n", "10", sys.executable, "-c", "while True: pass")
    process = subprocess.Popen(command, start_new_session=True)
    try:
        yield
    finally:
        process.kill()
        process.wait()


class Worker:
    """A worker that stands still until it is let go."""

    def __init__(self, live: Path, *, locks_store: bool = False, crashes: bool = False) -> None:
        self._live = live
        self._locks_store = locks_store
        self._crashes = crashes
        self._process = self._start()
        store = live.parent / "runs" / "harness.db"
        until(
            lambda: store.exists() and (live.parent / "spool" / "reader.lock").exists(), 60, "for the worker to start"
        )
        self._pause()

    def _start(self) -> "subprocess.Popen[bytes]":
        log = (self._live.parent / "worker.log").open("ab")
        return subprocess.Popen(
            _there(HARNESS, "worker", self._live, "--quiet"), cwd=self._live.parent, stdout=log, stderr=log,
            env=os.environ | {"OPENAI_API_KEY": "unused"}, start_new_session=True,
        )  # fmt: skip

    def _pause(self) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGSTOP)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Let it work, in its trouble, for a while."""
        over = threading.Event()
        crashing = threading.Thread(target=self._crash, args=(over,))
        self._process.send_signal(signal.SIGCONT)
        lock = sqlite3.connect(self._live.parent / "runs" / "harness.db", timeout=30) if self._locks_store else None
        if lock is not None:
            lock.execute("BEGIN EXCLUSIVE")
        if self._crashes:
            crashing.start()
        try:
            yield
        finally:
            over.set()
            if self._crashes:
                crashing.join()
            if lock is not None:
                lock.rollback()
                lock.close()
            self._pause()

    def _crash(self, over: threading.Event) -> None:
        while not over.wait(1.0):
            self._process.kill()
            self._process.wait()
            self._process = self._start()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
