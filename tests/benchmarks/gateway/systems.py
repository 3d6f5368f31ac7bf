"""The systems that are compared: how each is configured, started, and asked how much it mirrored."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.benchmarks.gateway import messages, processes

ROOT = Path(__file__).parents[3]
LITELLM = Path(".bench/venv/bin")
"""Where `make bench-gateway` installs LiteLLM's proxy, below the repository."""

_NGINX = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
daemon off;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  tcp_nodelay on;
  keepalive_timeout 300s;
  keepalive_requests 100000000;
  client_body_buffer_size 16k;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{http}
}}
"""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a system runs."""

    folder: Path
    core: int | None
    production: int
    """Port of the upstream."""
    shadow: int
    """Port of the candidate."""
    stream: bool


class System(ABC):
    """Something between client and upstream. Started when made; `close` ends it."""

    name: ClassVar[str]
    mirrors: ClassVar[str]
    """What becomes of the copy of a request."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.folder = place.folder / self.name.replace(" ", "-").replace("+", "and")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.log = self.folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.port = self._start()
        try:
            self._await_answer()
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def _start(self) -> int:
        """Start the processes and say on which port they listen."""

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """What is measured, with its version."""

    def mirrored(self) -> int | None:
        """How many requests were mirrored so far; None for a system that mirrors nothing."""
        return None

    def close(self) -> None:
        """End the processes."""
        if self.process is not None:
            processes.stop(self.process)

    def _run(self, command: list[str], *, env: dict[str, str] | None = None) -> None:
        self.process = processes.start(command, core=self.place.core, log=self.log, folder=self.folder, env=env)

    def _await_answer(self) -> None:
        """Wait for the first answer, which has to be the upstream's."""
        until = time.monotonic() + 120
        while True:
            try:
                body = ask(self.port, messages.request(stream=self.place.stream))
                break
            except OSError as error:  # refused, reset, timed out, or an error from the system itself
                if time.monotonic() > until or (self.process is not None and self.process.poll() is not None):
                    tail = self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""
                    raise SystemExit(f"{self.name} does not answer: {error}\n{tail}") from error
                time.sleep(0.2)
        if messages.text_of(body) != messages.ANSWER:
            raise SystemExit(f"{self.name} does not pass on production's answer:\n{body[:500]!r}")


class Direct(System):
    """No system at all."""

    name = "direct"
    mirrors = "nothing"

    def _start(self) -> int:
        return self.place.production

    @classmethod
    def version(cls) -> str:
        return "no system in between"


class Nginx(System):
    """nginx as a reverse proxy with kept-alive connections, one worker, no access log."""

    name = "nginx"
    mirrors = "nothing"
    mirror = ""

    def _start(self) -> int:
        (port,) = processes.free_ports(1)
        http = f"""
  upstream production {{ server 127.0.0.1:{self.place.production}; keepalive 512; keepalive_requests 100000000; }}
  upstream shadow {{ server 127.0.0.1:{self.place.shadow}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_buffering {"off" if self.place.stream else "on"};
    location / {{ proxy_pass http://production; {self.mirror} }}
    location = /mirror {{ internal; proxy_pass http://shadow$request_uri; }}
  }}"""
        self._run(nginx(self.folder, http))
        return port

    @classmethod
    def version(cls) -> str:
        return f"nginx {nginx_version()}, 1 worker"


class NginxMirror(Nginx):
    """The same with its own mirror module, which throws the candidate's answer away."""

    name = "nginx + mirror"
    mirrors = "a copy to the candidate, whose answer is thrown away"
    mirror = "mirror /mirror;"

    def mirrored(self) -> int:
        return answered(self.place.shadow)


class LiteLLM(System):
    """LiteLLM's proxy with `silent_model`: its own way to mirror every request."""

    name = "LiteLLM"
    mirrors = "a copy to the candidate, whose answer is thrown away"

    def _start(self) -> int:
        (port,) = processes.free_ports(1)
        config = self.folder / "config.yaml"
        models = (
            (messages.MODEL, self.place.production, "      silent_model: candidate\n"),
            ("candidate", self.place.shadow, ""),
        )
        config.write_text(
            "model_list:\n"
            + "".join(
                f"  - model_name: {name}\n    litellm_params:\n      model: openai/{messages.MODEL}\n"
                f"      api_base: http://127.0.0.1:{upstream}/v1\n      api_key: none\n{more}"
                for name, upstream, more in models
            )
            # Without a key it has less to do; it listens on loopback only.
            + "general_settings:\n  dangerously_permit_weak_or_unset_master_key: true\n"
            + "litellm_settings:\n  num_retries: 0\n  telemetry: false\n  set_verbose: false\n"
        )
        env = {key: value for key, value in os.environ.items() if not key.startswith(("LITELLM", "PYTHON"))}
        env |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
        command = [str(ROOT / LITELLM / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
        self._run([*command, "--port", str(port), "--num_workers", "1", "--telemetry", "False"], env=env)
        return port

    @classmethod
    def version(cls) -> str:
        code = "import importlib.metadata as m, platform; print(m.version('litellm'), platform.python_version())"
        found = subprocess.check_output([str(ROOT / LITELLM / "python"), "-c", code], text=True).split()
        return f"LiteLLM proxy {found[0]} on Python {found[1]}, 1 worker, silent_model"

    def mirrored(self) -> int:
        return answered(self.place.shadow)


class Ours(System):
    """`harness serve` with everything mirrored and captured into a spool on disk."""

    name = "harness serve"
    mirrors = "request and production's answer into the spool"

    def _start(self) -> int:
        port, admin = processes.free_ports(2)
        config = self.folder / "live.yaml"
        live = {
            "name": "benchmark",
            "gateway": {"upstream": f"http://127.0.0.1:{self.place.production}", "host": "127.0.0.1", "port": port},
            "mirror": {"rate": 1},
            "spool": {"folder": "spool"},
            "admin": {"host": "127.0.0.1", "port": admin},
            "candidates": [{"name": "candidate", "model": "openai/candidate"}],
        }
        config.write_text(json.dumps(live, indent=2))  # JSON is YAML
        self.spool = self.folder / "spool"
        self.captured = self.damaged = 0
        self._run([str(Path(sys.executable).parent / "harness"), "serve", str(config)])
        return port

    @classmethod
    def version(cls) -> str:
        from importlib.metadata import version

        commit = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty"], text=True, capture_output=True, check=False
        ).stdout.strip()
        python = ".".join(map(str, sys.version_info[:3]))
        return f"shadow-harness {version('shadow-harness')} ({commit or 'no git'}) on Python {python}, 1 process"

    def mirrored(self) -> int:
        """Whole records read back from the spool; what was read is removed, as the worker would."""
        from harness.spool.reader import SpoolReader

        with SpoolReader(self.spool) as reader:
            while sum(1 for _ in reader.read(10_000)):
                reader.save()
            reader.save()
            self.captured, self.damaged = reader.position.records, reader.position.damaged_bytes
        return self.captured

    def lost(self) -> str:
        """What was sampled and is not in the spool, by reason; empty when nothing is missing."""
        from harness.spool import counters
        from harness.spool.reader import COUNTERS

        missing = [
            f"{number:,} dropped as {reason}"
            for reason, number in counters.dropped(counters.totals(self.spool / COUNTERS))
        ]
        return ", ".join(missing + ([f"{self.damaged:,} damaged bytes in the spool"] if self.damaged else []))


def nginx(folder: Path, http: str) -> list[str]:
    """Command of an nginx with these servers."""
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, http=http))
    return [nginx_path(), "-e", "stderr", "-p", str(folder), "-c", str(config)]


def nginx_path() -> str:
    """Where nginx is; Debian keeps it off the path of people."""
    found = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        raise SystemExit("nginx is not installed; `make bench-gateway` installs it")
    return found


def nginx_version() -> str:
    """Version of the installed nginx."""
    text = subprocess.run([nginx_path(), "-v"], text=True, capture_output=True, check=True).stderr
    return text.rpartition("/")[2].split()[0]


def static_upstream(folder: Path, port: int, *, core: int | None) -> subprocess.Popen[bytes]:
    """An nginx that answers every request with the same chat completion; the fastest upstream there is to have."""
    folder.mkdir(parents=True, exist_ok=True)
    body = messages.answer().decode()
    assert not {"'", "$"} & set(body), "nginx would read these as its own"
    http = f"""
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    default_type application/json;
    location / {{ return 200 '{body}'; }}
    location = /count {{ stub_status; }}
  }}"""
    process = processes.start(nginx(folder, http), core=core, log=folder / "log", folder=folder)
    until = time.monotonic() + 10
    while True:
        try:
            answered(port)
            return process
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def answered(port: int) -> int:
    """How many chat requests an upstream has answered."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/count", timeout=10) as reply:
        text: str = reply.read().decode()
    if text.isdigit():
        return int(text)
    requests = re.search(r"requests\s+\d+ \d+ (\d+)", text)
    assert requests, text
    # Asking is a request, too.
    _asked[port] = _asked.get(port, 0) + 1
    return int(requests[1]) - _asked[port]


_asked: dict[int, int] = {}


def ask(port: int, body: bytes) -> bytes:
    """One request as a client would send it."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        data=body,
        headers={"Content-Type": "application/json", "Authorization": "Bearer none"},
    )
    with urllib.request.urlopen(request, timeout=20) as reply:  # noqa: S310  always http
        answer: bytes = reply.read()
    return answer
