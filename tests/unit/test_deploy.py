"""The files in docs/deploy are what the programs they are for accept, and name commands and settings that exist."""

import configparser
import http.client
import os
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import typer
import yaml

from harness import config
from harness.cli.app import app
from harness.config.live import GatewaySection, WorkerSection
from tests.unit.capture.provider import Provider, serving

FOLDER = Path(__file__).parents[2] / "docs" / "deploy"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
UNITS = sorted(FOLDER.glob("*.service"))
LIVE = config.load_live(FOLDER / "config" / "live.yaml")


def parse(arguments: list[str]) -> None:
    """Have the real command line parse a command, without running it."""
    command = typer.main.get_command(app)
    with command.make_context("harness", arguments) as context:
        name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        found.make_context(name, list(rest), parent=context)


def unit(path: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(path.read_text(encoding="utf-8"))
    return dict(parser["Service"])


def test_a_command_line_that_does_not_exist_is_noticed():
    with pytest.raises(Exception, match="No such option"):
        parse(["serve", "live.yaml", "--prot", "80"])


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_runs_a_command_that_exists(path):
    program, *arguments = shlex.split(unit(path)["ExecStart"])

    assert Path(program).name == "harness"
    parse(arguments)


def test_units_leave_requests_and_calls_the_time_they_may_take():
    gateway, worker = (unit(FOLDER / f"shadow-{name}.service") for name in ("gateway", "worker"))

    assert int(gateway["TimeoutStopSec"]) > GatewaySection.model_fields["drain_s"].default + 5
    assert int(worker["TimeoutStopSec"]) > WorkerSection.model_fields["deadline_s"].default + 5
    for service in (gateway, worker):
        assert service["Restart"] == "always"
        assert service["DynamicUser"] == service["NoNewPrivileges"] == "yes"
        assert service["StateDirectoryMode"] == "0700"
    assert gateway["User"] == worker["User"], "they share the spool, which only its owner may read"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_accepts_a_unit(path, tmp_path):
    text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", path.read_text(encoding="utf-8"))
    (tmp_path / path.name).write_text(text, encoding="utf-8")

    found = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / path.name)], capture_output=True, text=True, check=False
    )

    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize("name", ["gateway", "worker"])
def test_a_service_of_compose_runs_a_command_that_exists(name):
    service = COMPOSE["services"][name]

    parse(service["command"])
    assert service["command"][1] == "/etc/shadow-harness/live.yaml"
    assert "./config:/etc/shadow-harness:ro" in service["volumes"]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])


def test_compose_publishes_and_checks_the_ports_of_its_configuration():
    for name, admin in (("gateway", LIVE.admin), ("worker", LIVE.worker_admin)):
        service = COMPOSE["services"][name]
        assert f":{admin.port}/" in service["healthcheck"]["test"][-1]
        assert f"127.0.0.1:{admin.port}:{admin.port}" in service["ports"]
    assert f"127.0.0.1:8080:{LIVE.gateway.port}" in COMPOSE["services"]["gateway"]["ports"]
    assert LIVE.spool.folder.startswith("/var/lib/shadow-harness/")


def test_compose_waits_longer_than_requests_and_calls_may_take():
    seconds = {"s": 1, "m": 60}
    grace = {
        name: int(service["stop_grace_period"][:-1]) * seconds[service["stop_grace_period"][-1]]
        for name, service in COMPOSE["services"].items()
        if "stop_grace_period" in service
    }

    assert grace["gateway"] > LIVE.gateway.drain_s
    assert grace["worker"] > LIVE.worker.deadline_s


def test_every_secret_of_compose_comes_from_the_environment():
    for service in COMPOSE["services"].values():
        for name, value in service["environment"].items():
            if name.endswith(("KEY", "TOKEN", "PASSWORD", "URLS")):
                assert re.fullmatch(r"\$\{[A-Z_]+(:-|:\?[^}]+)\}", value), name


def test_the_gateway_holds_no_key_and_needs_no_database():
    gateway = COMPOSE["services"]["gateway"]

    assert not [name for name in gateway["environment"] if name.endswith("_KEY") or name == "HARNESS_STORE"]
    assert "depends_on" not in gateway


def test_the_image_copies_what_is_there_and_does_not_run_as_root():
    text = (FOLDER / "Containerfile").read_text(encoding="utf-8")
    sources = [word for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", text) for word in line.split()[:-1]]

    assert {"pyproject.toml", "harness", "judges", "prompts", "reports"} <= set(sources)
    assert [name for name in sources if not (FOLDER.parents[1] / name).exists()] == []
    last = text.rsplit("\nFROM ", 1)[1]
    assert "\nUSER shadow\n" in last
    ignored = (FOLDER / "Containerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{name}" for name in sources} <= set(ignored)


def test_nginx_passes_on_to_the_gateway_and_goes_to_production_without_it(tmp_path):
    production = Provider()
    # Debian keeps it where only root looks for commands.
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert program, "nginx is missing; `make test` installs it"
    with serving(production):
        port = _nginx_port()
        text = (FOLDER / "nginx.conf").read_text(encoding="utf-8")
        text = re.sub(r"(?m)^\s*(ssl_|http2 |listen |proxy_ssl_).*\n", "", text)
        text = text.replace("server_name", f"listen 127.0.0.1:{port};\n    server_name")
        text = text.replace("https://api.openai.com", production.base)
        gateway = Provider()
        with serving(gateway):
            text = text.replace("127.0.0.1:8080", f"127.0.0.1:{gateway.port}")
            places = "".join(
                f"{kind}_temp_path {tmp_path}/{kind};\n"
                for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            (tmp_path / "nginx.conf").write_text(
                f"daemon off; pid {tmp_path}/pid; error_log stderr;\n"
                f"events {{}}\nhttp {{ access_log off;\n{places}{text}\n}}\n"
            )
            arguments = [program, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
            with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as nginx:
                try:
                    assert _ask(port) == 200
                    gateway.statuses = [502]
                    assert _ask(port) == 502
                    assert (len(gateway.requests), len(production.requests)) == (2, 0)
                finally:
                    nginx.terminate()
        with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as nginx:
            try:
                assert _ask(port) == 200
                assert production.requests[0][1]["host"] == "api.openai.com"
            finally:
                nginx.terminate()


def _nginx_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def _ask(port: int) -> int:
    deadline = time.monotonic() + 10
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request(
                "POST", "/v1/chat/completions", b'{"messages": []}', {"content-type": "application/json"}
            )
            return connection.getresponse().status
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        finally:
            connection.close()
