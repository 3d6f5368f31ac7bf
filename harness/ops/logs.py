"""Structured logs: one JSON object per line on standard error, without bodies, queries or credentials."""

import atexit
import json
import logging
import os
import queue
import sys
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener

_WAITING = 1_000
"""Lines that may wait for a slow sink; more are lost rather than waited for."""


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "source": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line |= fields
        if record.exc_text:
            line["error"] = record.exc_text
        return json.dumps(line, ensure_ascii=False, default=str)


class _Dropping(QueueHandler):
    """Never waits: whoever reads our standard error may have stopped, and requests must not."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Let go of everything that a line that waits would keep alive, such as the bodies in a traceback's frames."""
        record.msg, record.args = record.getMessage(), None
        if record.exc_info and record.exc_info[1] is not None:
            # The class and the place; a message may quote a prompt.
            error, trace = record.exc_info[1], record.exc_info[2]
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            where = "" if trace is None else f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
            record.exc_text = f"{type(error).__name__}{where}"
        record.exc_info = None
        return record

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """A full queue loses the line."""


class _Raw(logging.Handler):
    """Writes to a descriptor: a thread that hangs in Python's own standard error keeps the process from ending."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.setFormatter(_Lines())

    def createLock(self) -> None:  # noqa: N802  logging's name
        """None is needed by the one thread that writes, and logging waits for it at the end of the process."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """As logging's own without its lock, which later versions of Python do not do without."""
        if not self.filter(record):
            return False
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, however long the sink takes."""
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError:
            # Nobody reads it any more.
            return
        except Exception:  # noqa: BLE001  a line that cannot be written is no reason to write none any more
            return


def configure() -> None:
    """Log to standard error from a thread of its own."""
    lines: queue.Queue[logging.LogRecord] = queue.Queue(_WAITING)
    handler = _Raw(sys.stderr.fileno())
    listener = QueueListener(lines, handler)
    listener.start()
    # The listener's thread is a daemon: a sink that hangs cannot keep the process from ending.
    atexit.register(_stop, listener)
    root = logging.getLogger()
    root.handlers[:] = [_Dropping(lines)]
    root.setLevel(logging.WARNING)
    logging.getLogger("harness").setLevel(logging.INFO)
    # Everything it says about a request, the gateway says itself; its tracebacks would hold more than they may.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL + 1)
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)


def _stop(listener: QueueListener) -> None:
    """Let the last lines out, for a second at most."""
    thread = listener._thread
    try:
        listener.enqueue_sentinel()
    except queue.Full:
        return
    if thread is not None:
        thread.join(1.0)
