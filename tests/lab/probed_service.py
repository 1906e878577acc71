"""A service for probes to ask, which answers in the way of each test."""

import socket
import threading
import time

from floatingip.edges import clock
from lab.network.netns import Namespace
from tests.lab.probing import PORT


class Service:
    """Listens on all of the holder's addresses; says `answers` in turn, the last one again and again.

    With `asks` it waits for a request first; it thinks for `seconds`.  `met` is what each connection came to: the
    request, and how it ended.
    """

    def __init__(self, holder: Namespace, answers: list[bytes], *, asks: bool, seconds: float = 0.0) -> None:
        self.met: list[tuple[bytes, str]] = []
        self._answers = answers
        self._asks = asks
        self._seconds = seconds
        self._listeners = [holder.listen(address, PORT) for address in ("0.0.0.0", "::")]
        for listener in self._listeners:
            threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def close(self) -> None:
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def wait_for(self, connections: int) -> list[tuple[bytes, str]]:
        """What came of that many connections, once they all have ended."""
        end = clock.now() + 5
        while len(self.met) < connections:
            assert clock.now() < end, self.met
            time.sleep(0.01)
        return self.met

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed by the test's end
                return
            with connection:
                self.met.append(self._meet(connection))

    def _meet(self, connection: socket.socket) -> tuple[bytes, str]:
        request = b""
        try:
            while self._asks and not request.endswith(b"\r\n\r\n"):
                request += connection.recv(4096)
            time.sleep(self._seconds)
            connection.sendall(self._answers[min(len(self.met), len(self._answers) - 1)])
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
        except OSError as error:
            return request, type(error).__name__
        return request, "closed"
