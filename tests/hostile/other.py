"""Somebody at the other end, who says what a test wants, and hangs up."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.edges.strangers import stranger


@dataclass
class Other:
    """What is said to each request from now on, on which port of 127.0.0.1."""

    says: bytes = b""
    port: int = 0


@contextmanager
def somebody() -> Iterator[Other]:
    """One who is there until the block ends."""
    other = Other()

    def speak(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(other.says)
        connection.shutdown(socket.SHUT_RDWR)

    with stranger(speak) as server:
        other.port = server.port
        yield other
