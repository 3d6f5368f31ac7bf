"""A port that is handed on from process to process."""

import socket
import sys

import pytest

from harness.ops.listening import refuse, reserve


def connects(address):
    try:
        with socket.create_connection(address, timeout=1):
            return True
    except ConnectionRefusedError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a socket that listens cannot be told not to")
def test_connections_are_refused_whenever_nobody_listens_and_the_port_stays():
    with reserve() as sock:
        address = sock.getsockname()
        for _ in range(3):
            assert not connects(address)
            sock.listen()
            with socket.create_connection(address), sock.accept()[0]:
                refuse(sock)
                assert not connects(address)
        assert sock.getsockname() == address


def test_to_refuse_again_what_nobody_listens_on_leaves_it_as_it_is():
    with reserve() as sock:
        address = sock.getsockname()
        refuse(sock)
        sock.listen()
        refuse(sock)
        refuse(sock)
        sock.listen()
        assert connects(address)


def test_a_socket_that_could_lose_its_port_goes_on_listening():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        refuse(sock)
        assert connects(sock.getsockname())
