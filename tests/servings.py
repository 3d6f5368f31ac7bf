"""One serving process of a gateway, with production and a canary that a test plays."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config import load_live
from harness.domain.served import Arm
from harness.spool import assignment
from harness.spool.assignment import Assignment, arm_of, control_beside
from harness.spool.reader import SpoolReader
from harness.spool.record import Captured
from tests.gateways import CHAT, Asked, Production, ask, production, until, write_live

SECRET = "of-the-supervisor"
CONVERSATION = b"x-conversation-id: "
PRODUCTIONS, CANDIDATES = b'{"model":"big","choices":[]}', b'{"model":"small","choices":[]}'


def conversation(arm: Arm, share: float = 0.3, salt: str = "exp", number: int = 0) -> str:
    """A name that is drawn for an arm."""
    there = shared(share, salt=salt)
    names = (f"c{n}" for n in range(10_000))
    return [name for name in names if arm_of(there, f"conversation\0{name}") is arm][number : number + 1][0]


def shared(share: float, *, salt: str = "exp", lease_s: float = 60.0, **more: Any) -> Assignment:
    now = time.time()
    values = {
        "rollout_id": "r1", "number": 4, "candidate": "cheap", "share": share, "control_share": control_beside(share),
        "mirror_rate": -1.0, "salt": salt, "written_at": now, "valid_until": now + lease_s,
    }  # fmt: skip
    return Assignment(**(values | more))


@dataclass
class Serving:
    """One serving process with a canary that a test plays."""

    port: int
    folder: Path
    production: Production
    canary: Production
    pid: int

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def share(self, share: float, **more: Any) -> None:
        """Have the candidate serve this share, and wait until it does."""
        assignment.write(self.spool, shared(share, **more))
        # The file is looked at every 0.2 s, and whether there is somebody to ask every 0.5 s.
        time.sleep(1.0)

    def ask(self, name: str | None, *headers: bytes, body: bytes = b'{"messages":[1]}', target: str = CHAT):
        own = () if name is None else (CONVERSATION + name.encode(),)
        return ask(self.port, body, *own, *headers, target=target)

    def notes(self, n: int | None) -> list[Captured]:
        """The records of arms that came since; waits for so many, and that there are no more, where it is known."""
        found: list[Captured] = []
        with SpoolReader(self.spool / "served") as reader:

            def more() -> bool:
                found.extend(record for _, record in reader.read(1_000))
                return n is not None and len(found) >= n

            if n is not None:
                until(more, 10, f"for {n} records, not {found}")
            time.sleep(0.15)
            more()
            reader.save()
        assert n in {None, len(found)}, found
        return found

    def mirrored(self, n: int) -> list[Captured]:
        """The same of the mirror's spool."""
        found: list[Captured] = []
        with SpoolReader(self.spool) as reader:
            until(lambda: found.extend(r for _, r in reader.read(1_000)) or len(found) >= n, 10)
            reader.save()
        assert len(found) == n, found
        return found


async def productions(asked: Asked) -> None:
    await asked.body()
    await asked.answer(PRODUCTIONS, b"content-type: application/json", b"x-request-id: p1")


def canary_that(answer: Callable[[Asked], Any], seen: list[Asked]) -> Callable[[Asked], Any]:
    async def handler(asked: Asked) -> None:
        if asked.target == b"/healthz":
            await asked.answer(b"{}", status=b"501 Not Implemented")
            return
        seen.append(asked)
        await answer(asked)

    return handler


async def candidates(asked: Asked) -> None:
    await asked.body()
    await asked.answer(CANDIDATES, b"content-type: application/json")


@contextmanager
def serving(folder: Path, **sections: Any) -> Iterator[Serving]:
    with production() as ours, production() as theirs:
        ours.handler = productions
        theirs.handler = canary_that(candidates, [])
        canary = {"first_byte_s": 0.5, "whole_s": 1.2, "deadline_s": 2, "max_response_bytes": 100_000, "lease_s": 60}
        path = write_live(folder, ours.port, **{"canary": canary, **sections})
        live = load_live(path)
        with socket.create_server(("127.0.0.1", 0)) as sock:
            sock.setblocking(False)
            with (folder / "log").open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "harness.gateway.process", "--live", str(path), "--fd", str(sock.fileno()),
                     "--parent", str(os.getpid())],
                    pass_fds=[sock.fileno()], stdin=subprocess.PIPE, stderr=log,
                )  # fmt: skip
            assert process.stdin is not None
            told = {"live": live.model_dump(mode="json"), "canary": {"port": theirs.port, "secret": SECRET}}
            process.stdin.write(json.dumps(told).encode())
            process.stdin.close()
            port = sock.getsockname()[1]
        try:
            until(lambda: ask(port)[0].status == 200, 30)
            yield Serving(port=port, folder=folder, production=ours, canary=theirs, pid=process.pid)
        finally:
            process.terminate()
            process.wait(20)
