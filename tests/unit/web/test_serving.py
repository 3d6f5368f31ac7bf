import errno
import re
import socket
import webbrowser

import pytest

from harness.errors import ConfigurationError, InfrastructureError
from harness.web import serving


def test_a_free_port_is_taken_and_told_with_the_token():
    with serving.listening("127.0.0.1", 0) as where:
        port = where.socket.getsockname()[1]
        assert where.address == f"http://127.0.0.1:{port}/?token={where.access.token}"
        assert where.access.port == port
        assert not where.is_open_to_others


def listen(host: str, port: int) -> None:
    with serving.listening(host, port):
        pass


def test_a_port_that_is_taken_is_said_to_be():
    with serving.listening("127.0.0.1", 0) as where, pytest.raises(InfrastructureError, match="--port"):
        listen("127.0.0.1", where.access.port)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"), "name an address of this machine"),
        (PermissionError(errno.EACCES, "Permission denied"), "above 1023"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name or service not known"),
    ],
)
def test_an_address_that_cannot_be_used_is_a_matter_of_configuration(error, words, monkeypatch):
    def refuse(*args, **options):
        raise error

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(ConfigurationError, match=words):
        listen("127.0.0.1", 80)


def test_a_page_for_the_network_is_told_by_the_machines_name(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "Desk")
    monkeypatch.setattr(socket, "getfqdn", lambda: "desk.example")
    with serving.listening("0.0.0.0", 0) as where:  # noqa: S104
        assert where.address.startswith("http://Desk:")
        assert where.is_open_to_others
        assert where.access.knows_host(f"desk:{where.access.port}")
        assert where.access.knows_host("desk.example")
        assert where.access.knows_host("10.1.2.3:80")
        assert not where.access.knows_host("evil.example")


def test_the_browser_is_shown_a_file_that_only_this_user_can_read(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    address = "http://127.0.0.1:1/?token=a&b"

    with serving.opened_in_browser(address, tmp_path):
        [file] = tmp_path.iterdir()
        assert opened == [file.as_uri()]
        assert "token" not in opened[0]
        assert file.stat().st_mode & 0o077 == 0
        assert re.findall(r'url=([^"]*)', file.read_text()) == ["http://127.0.0.1:1/?token=a&amp;b"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "w"}, True),
        ("darwin", {}, True),
    ],
)
def test_a_browser_is_opened_only_where_there_is_a_desktop(platform, variables, expected, monkeypatch):
    monkeypatch.setattr(serving.sys, "platform", platform)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert serving.has_desktop() is expected
