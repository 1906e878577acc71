"""A server on loopback that answers with whatever bytes a test wants, at whatever pace."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Stranger:
    """Answers each request on each connection by ``speak``; ``heard`` has the requests so far."""

    def __init__(self, speak: Callable[[socket.socket, bytes], None]) -> None:
        self.heard: list[bytes] = []
        self.connections = 0
        self.ended = threading.Event()
        self._speak = speak
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def stop(self) -> None:
        """Take no more connections, and end the answers that drip."""
        self.ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def drip(self, connection: socket.socket, text: bytes, every: float = 0.02) -> None:
        """Send it byte by byte, again and again, until the test ends."""
        with suppress(OSError):
            while not self.ended.is_set():
                for byte in text:
                    connection.sendall(bytes((byte,)))
                    if self.ended.wait(every):
                        return

    def serve(self) -> None:
        """Until `stop`."""
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        buffer = b""
        with connection, suppress(OSError):
            while True:
                while b"\r\n\r\n" not in buffer:
                    if not (came := connection.recv(65536)):
                        return
                    buffer += came
                request, _, buffer = buffer.partition(b"\r\n\r\n")
                self.heard.append(request)
                self._speak(connection, request)


def saying(*answers: bytes, hangs_up: bool = False) -> Callable[[socket.socket, bytes], None]:
    """Each in its turn, the last one ever again."""
    left = list(answers)

    def speak(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(left.pop(0) if len(left) > 1 else left[0])
        if hangs_up:
            connection.shutdown(socket.SHUT_RDWR)

    return speak


@contextmanager
def stranger(speak: Callable[[socket.socket, bytes], None]) -> Iterator[Stranger]:
    """One that serves until the block ends."""
    server = Stranger(speak)
    threading.Thread(target=server.serve, daemon=True).start()
    try:
        yield server
    finally:
        server.stop()
