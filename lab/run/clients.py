"""The clients of a region: each asks the NodePort over one floating address all the time (client.py)."""

import gc
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from lab.history import History
from lab.network.fabric import Fabric
from lab.run.floating import Floating, client_name

ROOT = Path(__file__).parents[2]


class Clients:
    """
    Processes inside and outside of the VPC, whose attempts to reach `port` over the addresses go into the history.

    urgent: the clients have priority over all else on this machine, so that they do not measure how busy it is.
    """

    def __init__(
        self, fabric: Fabric, history: History, floating: Sequence[Floating], port: int, *, urgent: bool
    ) -> None:
        self._fabric = fabric
        self._history = history
        self._floating = floating
        self._port = port
        self._urgent = urgent
        self._running: list[tuple[subprocess.Popen[str], threading.Thread]] = []
        self.names: set[str] = set()
        """The names of those that run, as in the history."""

    def measure(self, *places: str) -> None:
        """Start clients `in` and `out` of the VPC that ask the NodePort over each floating address all the time."""
        # Objects made so far need not be visited again: a collection would stop the lab, which also answers the
        # clients, for most of a second.
        gc.collect()
        gc.freeze()
        namespaces = {"in": self._fabric.client_in, "out": self._fabric.client_out}
        for one in self._floating:
            for place in places:
                if place in one.hosts:
                    url, name = f"http://{one.hosts[place]}:{self._port}/hostname", client_name(place, one)
                    command = [sys.executable, "-m", "lab.run.client", "--url", url, "--name", name]
                    if self._urgent:
                        command = ["nice", "--adjustment=-10", *command]
                    client = namespaces[place].popen(command, stdout=subprocess.PIPE, cwd=ROOT)
                    reader = threading.Thread(target=self._read, args=(client,), name=f"client-{name}", daemon=True)
                    reader.start()
                    self._running.append((client, reader))
                    self.names.add(name)

    def stop(self) -> None:
        """Let them finish their attempts, and record all that they measured."""
        for client, _ in self._running:
            client.terminate()
        for client, reader in self._running:
            client.wait()
            reader.join()
        self._running.clear()
        self.names.clear()

    def close(self) -> None:
        """As `stop`; from then on garbage collections visit all objects again.  Idempotent."""
        self.stop()
        gc.unfreeze()

    def _read(self, client: subprocess.Popen[str]) -> None:
        for line in client.stdout or ():
            self._history.record(json.loads(line))
