"""The guard of tests/conftest.py holds, so that no other test can pass by reaching a provider."""

import asyncio
import socket
import threading

import pytest


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80, 0, 0)])
def test_no_test_connects_to_another_machine(address):
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as sock, pytest.raises(BaseException, match="only reach this machine"):
        sock.connect(address)


async def test_names_are_not_looked_up_even_from_a_thread():
    with pytest.raises(BaseException, match="only reach this machine"):
        await asyncio.get_running_loop().getaddrinfo("example.com", 443)


def test_loopback_is_open():
    received = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept():
            connection, _ = server.accept()
            with connection:
                received.append(connection.recv(10))

        thread = threading.Thread(target=accept)
        thread.start()
        with socket.create_connection(("localhost", server.getsockname()[1])) as client:
            client.sendall(b"hello")
        thread.join(5)
    assert received == [b"hello"]
