"""What a tree of processes uses, from /proc, and how to start one on a core."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/<pid>/stat from the third on; None when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def tree(root: int) -> list[int]:
    """A process and all its descendants."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    parents = {pid: int(stat[1]) for pid in pids if (stat := _stat(pid))}
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of a tree so far, with that of children that have ended."""
    return sum(sum(map(int, stat[11:15])) / _TICK for pid in tree(root) if (stat := _stat(pid)))


def busy_seconds(core: int) -> float:
    """What programs have used of a core so far, and what the host took from it; without its handling of packets."""
    lines = Path("/proc/stat").read_text().splitlines()
    user, nice, system, *_, steal = next(line.split()[1:9] for line in lines if line.startswith(f"cpu{core} "))
    return (int(user) + int(nice) + int(system) + int(steal)) / _TICK


def memory_mb(root: int) -> float:
    """Resident memory of a tree; pages that its processes share count once for each of them."""
    return sum(int(stat[21]) * _PAGE for pid in tree(root) if (stat := _stat(pid))) / (1 << 20)


def open_files(root: int) -> int:
    """File handles of a tree."""
    total = 0
    for pid in tree(root):
        try:
            total += sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def wait_until_idle(root: int, *, limit_s: float = 60.0) -> None:
    """Wait until a tree uses less than 5 % of a core, so that what it has put off is done and counted."""
    until, before = time.monotonic() + limit_s, cpu_seconds(root)
    while time.monotonic() < until:
        time.sleep(0.2)
        now = cpu_seconds(root)
        if now - before <= 0.01:
            return
        before = now


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens right now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def start(
    command: Sequence[str], *, core: int | None, log: Path, folder: Path, env: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program, on one core when one is given; what it prints goes to a file."""
    pinned = [] if core is None else ["taskset", "-c", str(core)]
    with log.open("ab") as out:
        return subprocess.Popen(
            [*pinned, *command], stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=env, cwd=folder
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program and whatever it started and left behind."""
    members = tree(process.pid)
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in members[1:]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
