"""Sockets that one process holds and others listen on, one after the other."""

import contextlib
import socket


def reserve() -> socket.socket:
    """A socket with a port of its own on loopback that nobody listens on yet, so that connections are refused."""
    sock = socket.socket()
    # Connections that are still open must not keep the next process from listening on the port.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    return sock


def refuse(sock: socket.socket) -> None:
    """Have connections refused until somebody listens again.

    As long as any process holds a socket that was listened on, it listens: connections would wait there for nobody.
    Where the system cannot undo it (others than Linux), they do. A socket without SO_REUSEADDR is left as it is: its
    port might be lost.
    """
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR):
        return
    # One that nobody listens on would be marked as shut down all the same, and be of no use any more.
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return
    address = sock.getsockname()
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
        # A port that the system chose is given up with it; one that was named is not, which is what the error says.
        sock.bind(address)
