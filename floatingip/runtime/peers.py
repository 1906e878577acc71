"""
What the other observers say: each is asked twice a second over HTTP, at the primary address that EC2 shows for it.

The question tells who asks, so that whoever is asked asks back (roster.py); and which floating addresses do not answer,
for the holder to check how it sees this node from them (sight.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import urlencode

from floatingip.core.model import Address, Peer
from floatingip.core.word import LONGEST, SENTENCE_LONGEST, Answer, Status, parse
from floatingip.edges import background
from floatingip.edges.http_client import Connection, NoAnswer

ASK_EVERY = 0.5
"""Seconds between two questions to one observer."""

ASK_TIMEOUT = 0.5
"""Seconds for a question, from the connection to the last byte of the answer."""

HEARD_KEPT = 60.0
"""Seconds for which an observer that answered is asked on, whether or not anybody tells of it."""


def ask(address: Address | str, port: int, *, me: str = "", look: bool = False) -> Status | None:
    """Ask one observer once, as the instance ``me``, and, with ``look``, to ask EC2 soon; None without an answer."""
    return ask_once(address, port, me=me, look=look).status


def ask_once(address: Address | str, port: int, *, me: str = "", look: bool = False) -> Answer:
    """The same, with what tells a node on which no observer is from one that cannot be reached."""
    asked_at = time.monotonic()
    connection = Connection(address, port, seconds=2 * ASK_TIMEOUT, most_bytes=LONGEST)
    try:
        status = _question(connection, {"asker": me, **({"look": "soon"} if look else {})})
    except NoAnswer as error:
        return Answer(asked_at, time.monotonic(), None, refused=error.refused)
    finally:
        connection.close()
    return Answer(asked_at, time.monotonic(), status)


def not_ready(address: Address | str, port: int) -> str:
    """Why one observer calls itself not ready, in its own words as far as it tells them to who asks; or nothing."""
    connection = Connection(address, port, seconds=2 * ASK_TIMEOUT)
    try:
        response = connection.get("/readyz")
    except NoAnswer as error:
        return str(error)
    finally:
        connection.close()
    return "" if response.status == HTTPStatus.OK else response.body.decode(errors="replace")[:SENTENCE_LONGEST]


def reaches(address: Address | str, port: int, source: Address) -> bool:
    """Whether an observer answers at all when it is asked from this address of ours."""
    connection = Connection(address, port, seconds=2 * ASK_TIMEOUT, source=source)
    try:
        connection.get("/livez")
    except NoAnswer:
        return False
    finally:
        connection.close()
    return True


def _question(connection: Connection, query: Mapping[str, str | list[str]]) -> Status | None:
    """The word that is answered, None when it is none.  Raises NoAnswer."""
    response = connection.get(f"/v1/word?{urlencode(query, doseq=True)}")
    return parse(response.body) if response.status == HTTPStatus.OK else None


class Asker:
    """Asks one observer for its word, again and again, from a daemon thread of its own.

    ``heard`` is called from that thread with each answer.
    """

    def __init__(self, address: Address, port: int, me: str, heard: Callable[[Answer], None]) -> None:
        self._connection = Connection(address, port, seconds=ASK_TIMEOUT, most_bytes=LONGEST)
        self._me = me
        self._heard = heard
        self._doubted: frozenset[str] = frozenset()
        self._hurry = threading.Event()
        self._stopped = False

    def start(self) -> None:
        """Begin to ask."""
        background.start("asker", self._run)

    def stop(self) -> None:
        """Ask no more; an answer under way is not told."""
        self._stopped = True
        self._hurry.set()

    def doubt(self, targets: frozenset[str]) -> None:
        """Tell with each question which floating addresses do not answer; ask at once when that changed."""
        if targets - self._doubted:
            self._hurry.set()
        self._doubted = targets

    def _run(self) -> None:
        while not self._stopped:
            answer = self._ask()
            if not self._stopped:
                self._heard(answer)
            self._hurry.wait(max(0.0, answer.asked_at + ASK_EVERY - time.monotonic()))
            self._hurry.clear()
        self._connection.close()

    def _ask(self) -> Answer:
        asked_at = time.monotonic()
        try:
            status = _question(self._connection, {"asker": self._me, "doubt": sorted(self._doubted)})
        except NoAnswer as error:
            return Answer(asked_at, time.monotonic(), None, refused=error.refused)
        return Answer(asked_at, time.monotonic(), status)


class Peers:
    """Asks the holders and the peers, and keeps what they said last.

    Everything but ``post`` runs on one thread.  ``post`` hands an answer's reception to that thread; it tells
    whether anything new was said.
    """

    def __init__(self, me: str, port: int, post: Callable[[Callable[[], bool]], None]) -> None:
        self._me = me
        self._port = port
        self._post = post
        self._askers: dict[str, tuple[Address, Asker]] = {}
        self._answers: dict[str, Answer] = {}
        self._heard: dict[str, Answer] = {}

    def follow(self, holders: Mapping[str, Address], peers: Mapping[str, Address], doubted: frozenset[str]) -> None:
        """Ask these from now on, and nobody else, at the addresses that EC2 shows; each once for all targets."""
        wanted = {**peers, **holders}
        wanted.pop(self._me, None)
        for instance_id, (address, asker) in list(self._askers.items()):
            if wanted.get(instance_id) != address:
                asker.stop()
                del self._askers[instance_id]
                self._answers.pop(instance_id, None)
                self._heard.pop(instance_id, None)
        for instance_id, address in wanted.items():
            if instance_id not in self._askers:
                asker = Asker(address, self._port, self._me, self._receive(instance_id))
                self._askers[instance_id] = (address, asker)
                asker.start()
            self._askers[instance_id][1].doubt(doubted)

    def known(self, now: float) -> frozenset[str]:
        """The instances of observers that a living one names, and of those that answered lately themselves."""
        told = {peer for answer in self._answers.values() if answer.status is not None for peer in answer.status.peers}
        return frozenset(told | {i for i, heard in self._heard.items() if now - heard.known_at < HEARD_KEPT})

    def others(self, name: str) -> tuple[Peer, ...]:
        """The other observers of ours that ever answered, and are still asked."""
        found = []
        for instance_id, heard in self._heard.items():
            answer = self._answers.get(instance_id)
            status = answer.status if answer is not None else None
            if answer is not None and status is None:
                found.append(Peer(instance_id, heard.known_at, asked_at=heard.asked_at))
            elif status is not None and (status.name, status.instance_id) == (name, instance_id):
                found.append(
                    Peer(
                        instance_id,
                        heard.known_at,
                        status.sees_up,
                        status.free_slots,
                        {target: held.attachment for target, held in status.holds.items()},
                        status.served,
                        status.leaving,
                        status.claiming,
                        heard.asked_at,
                    )
                )
        return tuple(found)

    def addresses(self) -> dict[str, Address]:
        """The primary addresses of all who are asked, by instance id."""
        return {instance_id: address for instance_id, (address, _) in self._askers.items()}

    def answer(self, instance_id: str) -> Answer | None:
        """What came of the last question to this node; None before the first."""
        return self._answers.get(instance_id)

    def _receive(self, instance_id: str) -> Callable[[Answer], None]:
        def receive(answer: Answer) -> None:
            self._post(lambda: self._take(instance_id, answer))

        return receive

    def _take(self, instance_id: str, answer: Answer) -> bool:
        if instance_id not in self._askers:
            return False
        before = self._answers.get(instance_id)
        self._answers[instance_id] = answer
        if answer.status is not None and answer.status.instance_id == instance_id:
            self._heard[instance_id] = answer
        return before is None or (answer.status, answer.refused) != (before.status, before.refused)
