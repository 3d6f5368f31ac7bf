"""The driver's side of the worker processes: starts them, shares calls out, and starts anew what died."""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelReply, ModelSpec
from harness.engine.frames import CALL, CANCEL, ERROR, READY, Link, Unpacker, error_of, packed
from harness.engine.protocol import Tell
from harness.models.failover import AttemptLost

_RESTARTS = 3
"""Per worker wanted; what dies more often than that does so for a reason that will not pass."""
_GRACE_S = 30.0
"""Time beyond a call's own deadline after which its worker is taken for stuck."""

Answer = asyncio.Future[ModelReply]


def start(command: list[str], size: int, died: Callable[["Worker"], None]) -> list["Worker"]:
    """Start so many workers: one process, which forks the others once it has loaded what all of them need."""
    # The sockets are inherited, keys come with the environment: nothing secret stands on a command line.
    pairs = [socket.socketpair() for _ in range(size)]
    theirs = [each.fileno() for _, each in pairs]
    try:
        process = subprocess.Popen(  # noqa: S603  our own program
            [*command, *map(str, theirs)],
            pass_fds=theirs,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno() if _has_descriptor() else subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": _path()},
            start_new_session=True,
        )
    finally:
        for _, each in pairs:
            each.close()
    return [Worker(ours, died, process if number == 0 else None) for number, (ours, _) in enumerate(pairs)]


class Worker:
    """One process and the calls it is making."""

    def __init__(
        self, sock: socket.socket, died: Callable[["Worker"], None], process: "subprocess.Popen[bytes] | None"
    ) -> None:
        self._sock = sock
        self._process = process
        """``None`` for one that another worker forked."""
        self.pid = None if process is None else process.pid
        """``None`` while it has not said so itself."""
        self._died = died
        self._unpacker = Unpacker()
        self._link: Link | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._attaching: asyncio.Task[Any] | None = None
        self.calls: dict[int, Answer] = {}
        self.ready = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be heard in ``loop``; the process outlives the loops it works for."""
        if self._loop is loop:
            return
        if self._link is not None and not self._link.idle:
            self.kill()  # half a message is under way, and nobody is left to send the other half
        self._loop, self.calls = loop, {}
        link = Link(self._received, lambda: self._lost(link), self._unpacker)
        self._link = link
        ours = self._sock.dup()
        ours.setblocking(False)
        # Kept here: the loop keeps only a weak reference to its tasks.
        self._attaching = loop.create_task(loop.create_connection(lambda: link, sock=ours))

    def ask(self, number: int, frame: bytes) -> Answer:
        """Send a call; the future ends with its reply, its error or the worker."""
        assert self._loop is not None  # noqa: S101  the pool attaches before it asks
        assert self._link is not None  # noqa: S101
        answer: Answer = self._loop.create_future()
        self.calls[number] = answer
        self._link.send(frame)
        return answer

    def cancel(self, number: int) -> None:
        """Have the worker give up a call whose answer nobody waits for."""
        if self._link is not None:
            self._link.send(packed((CANCEL, number)))

    def kill(self) -> None:
        """End the process, whatever it does; only while its socket is open, or another may have its number."""
        if self._process is not None:
            self._process.kill()
        elif self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process and forget it."""
        if self._process is None:
            self.kill()
        self._gone()

    def _gone(self) -> None:
        self.ready = False
        self._sock.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _received(self, message: Any) -> None:
        if message[0] == READY:
            self.ready, self.pid = True, message[1]
            return
        answer = self.calls.get(message[1])
        if answer is None or answer.done():
            return
        if message[0] == ERROR:
            answer.set_exception(error_of(message[2]))
        else:
            answer.set_result(message[2])

    def _lost(self, link: Link) -> None:
        if link is not self._link:
            return
        self._gone()
        for answer in self.calls.values():
            if not answer.done():
                answer.set_exception(AttemptLost(f"a worker process{self.ending}"))
        self._died(self)

    @property
    def ending(self) -> str:
        """How the process ended, in brackets; empty where that was not for us to see."""
        code = None if self._process is None else self._process.returncode
        if code is None:
            return ""
        return f" (signal {-code})" if code < 0 else f" (exit code {code})"


class Pool:
    """A number of workers; each call goes to the one with the fewest in flight."""

    def __init__(self, size: int, *, command: list[str] | None = None) -> None:
        self._command = command or [sys.executable, "-m", "harness.engine.worker"]
        self._numbers = itertools.count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._restarts = _RESTARTS * size
        self._tell: Tell = lambda _: None
        # Elsewhere a process that has loaded the system's own libraries may not be forked.
        together = size if sys.platform == "linux" else 1
        self.workers = [
            worker for _ in range(0, size, together) for worker in start(self._command, together, self._died)
        ]

    def attach(self, tell: Tell) -> None:
        """Work for the running loop; ``tell`` hears of workers that died."""
        self._tell = tell
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return
        self._loop = loop
        for worker in self.workers:
            worker.attach(loop)

    @property
    def ready(self) -> bool:
        """Whether any worker takes calls."""
        return any(worker.ready for worker in self.workers)

    async def complete(self, request: ChatRequest, model: ModelSpec, *, deadline_s: float) -> ModelReply:
        """Ask once in a worker.

        Raises:
            ModelError: the call failed; AttemptLost when its worker ended.
            ConfigurationError: the model cannot be asked.
        """
        number = next(self._numbers)
        frame = packed((CALL, number, request, model, deadline_s))
        worker = min((each for each in self.workers if each.ready), key=lambda each: len(each.calls))
        answer = worker.ask(number, frame)
        stuck = asyncio.get_running_loop().call_later(deadline_s + _GRACE_S, worker.kill)
        try:
            return await answer
        except asyncio.CancelledError:
            worker.cancel(number)
            raise
        finally:
            stuck.cancel()
            worker.calls.pop(number, None)

    def close(self) -> None:
        """End all workers."""
        workers, self.workers = self.workers, []
        for worker in workers:
            worker.close()

    def _died(self, worker: Worker) -> None:
        if worker not in self.workers:
            return
        self.workers.remove(worker)
        again = self._restarts > 0
        what = "another is started" if again else "none is started any more; what is left is done by the others"
        self._tell(f"a worker process ended{worker.ending} with {len(worker.calls)} calls in flight; {what}")
        if again:
            self._restarts -= 1
            [fresh] = start(self._command, 1, self._died)
            self.workers.append(fresh)
            if self._loop is not None:
                fresh.attach(self._loop)


def _path() -> str:
    """Where the worker finds this very program."""
    own = str(Path(harness.__file__).parents[1])
    known = os.environ.get("PYTHONPATH")
    return own if not known else os.pathsep.join([own, known])


def _has_descriptor() -> bool:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return sys.stderr.fileno() >= 0
    return False
