"""A llama.cpp server on loopback that speaks OpenAI chat, completions and responses, and Anthropic messages."""

import http.client
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from harness.errors import InfrastructureError
from harness.local import weights

LOOPBACK = "127.0.0.1"
_CHILD = Path(__file__).with_name("llama_process.py")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerOptions:
    """What to serve, and where."""

    gguf: Path | None = None
    """Weights in GGUF form; the bundled SmolLM2 when ``None``."""
    name: str | None = None
    """Model name in the answers; the bundled model's or the file's own when ``None``."""
    host: str = LOOPBACK
    port: int = 0
    """0 takes a free port."""
    parallel: int = 4
    """Requests answered at the same time; a further one waits."""
    context: int = 4096
    """Tokens per request, prompt and answer together."""
    threads: int | None = None
    """Processor threads; all cores when ``None``."""
    verbose: bool = False
    """Whether llama.cpp's own log goes to standard error."""
    start_timeout_s: float = 120.0

    @property
    def model_name(self) -> str:
        """The name answers carry."""
        return self.name or (self.gguf.stem if self.gguf is not None else weights.SMOLLM2.name)


class LocalServer:
    """A running server; :func:`local_server` starts and stops one."""

    def __init__(self, process: "subprocess.Popen[bytes]", *, name: str, base_url: str) -> None:
        self._process = process
        self.name = name
        self.base_url = base_url
        """Address without a path: what Anthropic clients take."""

    @property
    def openai_base(self) -> str:
        """Address with ``/v1``: what OpenAI clients take."""
        return f"{self.base_url}/v1"

    @property
    def pid(self) -> int:
        """Process that serves."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self._process.poll() is None

    def wait(self, timeout_s: float | None = None) -> int:
        """Block until the server ends by itself, and return its exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs after ``timeout_s`` seconds.
        """
        return self._process.wait(timeout_s)

    def close(self) -> None:
        """Stop serving at once; calls in flight are cut."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def local_server(options: ServerOptions | None = None) -> Iterator[LocalServer]:
    """Serve a model for the length of a ``with`` block; it answers requests from the first line on.

    Raises:
        ConfigurationError: server or weights are not installed.
        InfrastructureError: it did not start: weights unreadable, port taken, out of memory.
    """
    with closing(start(options or ServerOptions())) as server:
        yield server


def start(options: ServerOptions) -> LocalServer:
    """Start a server and wait until it answers; the caller closes it.

    Raises:
        ConfigurationError: server or weights are not installed.
        InfrastructureError: it did not start: weights unreadable, port taken, out of memory.
    """
    weights.require_server()
    gguf = options.gguf or weights.SMOLLM2.require()
    if not gguf.is_file():
        raise InfrastructureError(f"{gguf}: no such file; name weights in GGUF form")
    argument = {
        "gguf": str(gguf),
        "name": options.model_name,
        "host": options.host,
        "port": options.port,
        "parallel": options.parallel,
        "context": options.context,
        "threads": options.threads or os.cpu_count() or 1,
        "verbose": options.verbose,
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603  our own script and interpreter
            [sys.executable, "-P", str(_CHILD), json.dumps(argument)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if options.verbose else log,
            # Threads wait for each other at every layer. Spinning there for long, as is the default, makes the model
            # ten times slower as soon as anything else runs here; not spinning at all, 1.7 times when nothing does.
            env={"GOMP_SPINCOUNT": "2000"} | os.environ,
            # Unbuffered, so that waiting for the pipe and reading a line of it agree on what has come.
            bufsize=0,
            # Ctrl-C reaches this process alone, which then closes the server in order.
            start_new_session=True,
        )
        server = LocalServer(process, name=options.model_name, base_url="")
        try:
            server.base_url = _address(process, log, options.start_timeout_s)
            _check_health(server.base_url)
        except BaseException:
            process.kill()
            server.close()
            raise
    return server


def _address(process: "subprocess.Popen[bytes]", log: IO[bytes], timeout_s: float) -> str:
    """The address the child prints when its model is loaded."""
    assert process.stdout is not None  # noqa: S101  opened as a pipe above
    ends_at = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (left := ends_at - time.monotonic()) > 0:
            if not selector.select(left):
                break
            line = process.stdout.readline()
            if not line:
                raise InfrastructureError(f"the local model server did not start:\n{_tail(log)}")
            if line.startswith(b'{"address"'):
                address: str = json.loads(line)["address"]
                return address
    raise InfrastructureError(
        f"the local model server was not ready after {timeout_s:.0f} s; is the machine overloaded?"
    )


def _tail(log: IO[bytes], lines: int = 6) -> str:
    log.seek(0)
    text = log.read().decode("utf-8", "replace").strip().splitlines()
    return "\n".join(f"  {line}" for line in text[-lines:]) or "  (it said nothing; run again with -v)"


def _check_health(base_url: str) -> None:
    """One request, past any proxy the environment names."""
    url = urlsplit(base_url)
    connection = http.client.HTTPConnection(url.hostname or LOOPBACK, url.port, timeout=10)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except OSError as error:
        raise InfrastructureError(f"the local model server at {base_url} does not answer: {error}") from error
    finally:
        connection.close()
    if status != http.client.OK:
        raise InfrastructureError(f"the local model server at {base_url} answers {status} to a health check")
