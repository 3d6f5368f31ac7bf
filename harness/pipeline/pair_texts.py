"""Every pair's words in one file beside the report, for people who want to read more than a page can hold."""

import gc
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InfrastructureError
from harness.pipeline.arms import arms_of
from harness.pipeline.seats import SeatedJudge
from harness.pipeline.session import Session
from harness.store import Store

FILE = "pairs.jsonl.zst"
MANY = 20_000
"""Exchanges from which on the file is written by a process of its own while the figures are computed."""
_LEVEL = 1
"""A faster one than the default: the file is hardly larger, and is written at every report."""
_BLOCK_BYTES = 1 << 17


@dataclass
class Texts:
    """The file while, or after, it is written."""

    path: Path
    process: "subprocess.Popen[str] | None" = None

    def wait(self) -> Path:
        """The path, once the file is complete.

        Raises:
            InfrastructureError: the process that writes it failed.
        """
        if self.process is not None:
            _, said = self.process.communicate()
            if self.process.returncode != 0:
                raise InfrastructureError(f"{self.path} could not be written: {' '.join(said.split()[-40:])}")
        return self.path


@contextmanager
def writing(session: Session, judges: Sequence[SeatedJudge], folder: Path) -> Iterator[Texts | None]:
    """Writes the file of a run beside whatever is done meanwhile; ``None``, and no file, when no text may be shown.

    One line per sampled exchange and arm that was asked, the replica included: ``exchange_id``, ``arm``, ``status``,
    ``error_kind``, ``request`` (messages, tools, params, tags, metadata), ``production`` and ``candidate`` (each with
    ``completion``, or ``error_message``), ``judgments`` (judge, order, state, reason, value, label, and under ``said``
    the judge's explanation and reply). Memory does not grow with the number of pairs; a reader never sees a part of it.
    """
    path = folder / FILE
    if not session.experiment.report.show_text:
        path.unlink(missing_ok=True)
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    arms = [(arm.name, arm.fingerprint) for arm in arms_of(session.experiment)]
    names = {judge.fingerprint: judge.name for judge in judges}
    if session.store.count_exchanges(session.run_id) < MANY:
        write(session.store, session.run_id, arms, names, path)
        yield Texts(path=path)
        return
    # -P: a file of the working folder that is called like a module of the library must not be run.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "harness.pipeline.pair_texts"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdin is not None  # noqa: S101  asked for
        # Not an argument: the address may hold a password, and arguments can be read by anybody.
        order = {
            "store": session.store.url,
            "run": session.run_id,
            "arms": arms,
            "judges": names,
            "path": str(path.absolute()),
        }
        process.stdin.write(json.dumps(order))
        process.stdin.close()
        process.stdin = None
        yield Texts(path=path, process=process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def write(store: Store, run_id: str, arms: Sequence[tuple[str, str]], judges: Mapping[str, str], path: Path) -> None:
    """Write the file; ``arms`` are names with fingerprints, ``judges`` names by fingerprint."""
    import zstandard

    scratch = path.with_name(f".{path.name}.tmp")
    with (
        scratch.open("wb") as file,
        zstandard.ZstdCompressor(level=_LEVEL).stream_writer(file, closefd=False) as writer,
    ):
        for arm, fingerprint in arms:
            for block in _blocks(store.pair_texts(run_id, arm, fingerprint, judges=judges)):
                writer.write(block)
    scratch.replace(path)


def _blocks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines, each with its end, as few pieces: every call of the compressor costs as much as a short line."""
    pending: list[bytes] = []
    size = 0
    for line in lines:
        pending += (line, b"\n")
        size += len(line)
        if size >= _BLOCK_BYTES:
            yield b"".join(pending)
            pending.clear()
            size = 0
    yield b"".join(pending)


def main() -> int:
    """What the process of its own does: it reads its order as JSON."""
    order = json.load(sys.stdin)
    # What libraries made at their import stays until the end: it need not be searched for garbage again and again.
    gc.freeze()
    with Store.open(order["store"], create=False) as store:
        write(store, order["run"], [tuple(arm) for arm in order["arms"]], order["judges"], Path(order["path"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
