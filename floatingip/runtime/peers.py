"""
Ask the other observers: each twice a second over HTTP, at the primary address that EC2 shows for it.

A question names its asker, so that the observer that is asked can ask back (roster.py).  It also names the floating
addresses in doubt, so that their holder checks whether it reaches the asker from them (sight.py).  While no address is
in doubt, each observer is also asked now and then for its report, for people to read.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from http import HTTPStatus
from urllib.parse import urlencode

from floatingip.agent.events import Heard, Post, Reported
from floatingip.core import status, timing
from floatingip.core.model import Address
from floatingip.core.report import Report
from floatingip.core.word import LONGEST, RESERVED, Answer, Status, parse, shortened
from floatingip.edges import background, clock
from floatingip.edges.http_client import Connection, NoAnswer


@dataclass(frozen=True, slots=True)
class NoReport:
    """There is no report, and ``why``; ``later``: there will be one once the observer knows from EC2 who asks."""

    why: str
    later: bool = False


def ask_once(
    address: Address | str,
    port: int,
    *,
    me: str = "",
    source: Address | None = None,
    look: bool = False,
    doubted: Sequence[str] = (),
) -> Answer:
    """Ask one observer once; the answer tells a node without an observer from one that cannot be reached.

    ``me`` is the asker's instance.  It is empty if a person's machine asks, which may reach the observer through a
    tunnel, so that its own loopback answers.  ``source`` is that instance's primary address, by which alone peers know
    it; None leaves the choice to the kernel.  ``look``: the observer is to ask EC2 soon.  If the observer holds some of
    the ``doubted`` floating addresses, it checks whether it reaches the asker from them.
    """
    asked_at = clock.now()
    connection = Connection(
        address, port, only_others=bool(me), seconds=2 * timing.ASK_TIMEOUT, source=source, most_bytes=LONGEST
    )
    query: dict[str, str | list[str]] = {"asker": me, "doubt": [*doubted], **({"look": "soon"} if look else {})}
    try:
        with closing(connection):
            said = _question(connection, query)
    except NoAnswer as error:
        return Answer(asked_at, clock.now(), None, refused=error.refused)
    return Answer(asked_at, clock.now(), said)


def report_of(
    address: Address | str, port: int, *, me: str = "", seconds: float, source: Address | None = None
) -> Report | NoReport:
    """What one observer reports when it is asked once, within ``seconds``; the rest is as for `ask_once`."""
    connection = Connection(
        address, port, only_others=bool(me), seconds=seconds, source=source, most_bytes=status.LONGEST
    )
    try:
        with closing(connection):
            response = connection.get(f"/v1/status?{urlencode({'asker': me})}")
    except NoAnswer as error:
        return NoReport(str(error))
    if response.status == HTTPStatus.FORBIDDEN:
        return NoReport("it tells only peers, and has not learned from EC2 that this node is one", later=True)
    if response.status != HTTPStatus.OK:
        return NoReport(f"it answers {response.status}: is it of an older version?")
    return status.parse(response.body) or NoReport("what it answers is no report")


def not_ready(address: Address | str, port: int, *, me: str, source: Address | None = None) -> str:
    """Why one observer calls itself not ready, as far as it tells that to the asker; empty if it is ready.

    ``me`` and ``source`` are as for `ask_once`.
    """
    connection = Connection(address, port, only_others=bool(me), seconds=2 * timing.ASK_TIMEOUT, source=source)
    try:
        with closing(connection):
            response = connection.get("/readyz")
    except NoAnswer as error:
        return str(error)
    return "" if response.status == HTTPStatus.OK else shortened(response.body.decode(errors="replace"))


def reaches(address: Address, port: int, source: Address) -> bool:
    """Whether an observer can be reached from ``source``, an address of this node.

    For IPv6 a refused connection counts as an answer: only in IPv6 clusters do observers listen on IPv6 addresses.
    """
    connection = Connection(address, port, only_others=True, seconds=2 * timing.ASK_TIMEOUT, source=source)
    try:
        with closing(connection):
            connection.get("/livez")
    except NoAnswer as error:
        return error.refused and source.version == 6
    return True


def _question(connection: Connection, query: Mapping[str, str | list[str]]) -> Status | None:
    """The word in the answer; None if the answer is no word.  Raises NoAnswer."""
    response = connection.get(f"/v1/word?{urlencode(query, doseq=True)}")
    return parse(response.body) if response.status == HTTPStatus.OK else None


class Asker:
    """Asks one observer for its word, again and again, from a daemon thread of its own.

    It asks as the instance ``me`` and from that instance's primary address ``own``: peers know it by no other address,
    which the kernel might choose.  Each answer and each report is posted as one of ``instance_id``'s.
    """

    def __init__(self, instance_id: str, address: Address, port: int, me: str, own: Address, post: Post) -> None:
        self._instance_id = instance_id
        self._connection = Connection(
            address, port, only_others=True, seconds=timing.ASK_TIMEOUT, source=own, most_bytes=LONGEST
        )
        self._place = address, port
        self._me, self._own = me, own
        self._post = post
        self._report_at = float("-inf")
        self._doubted: frozenset[str] = frozenset()
        self._hurry = threading.Event()
        self._stopped = False

    def starts(self) -> bool:
        """Begin to ask; False where the system allows no more threads."""
        return background.starts("asker", self._run)

    def stop(self) -> None:
        """Ask no more; an answer that is under way is dropped."""
        self._stopped = True
        self._hurry.set()

    def doubt(self, targets: frozenset[str]) -> None:
        """From now on name these floating addresses as in doubt; ask at once if there is a new one among them."""
        if targets - self._doubted:
            self._hurry.set()
        self._doubted = targets

    def _run(self) -> None:
        while not self._stopped:
            answer = self._ask()
            if not self._stopped:
                self._post(Heard(self._instance_id, answer))
            if answer.status not in (None, RESERVED) and answer.asked_at >= self._report_at and not self._doubted:
                self._report_at = answer.asked_at + timing.REPORT_EVERY
                self._ask_for_report()
            self._hurry.wait(max(0.0, answer.asked_at + timing.ASK_EVERY - clock.now()))
            self._hurry.clear()
        self._connection.close()

    def _ask_for_report(self) -> None:
        address, port = self._place
        report = report_of(address, port, me=self._me, seconds=timing.REPORT_TIMEOUT, source=self._own)
        if isinstance(report, Report) and not self._stopped:
            # Without its own peers: this node asks them itself.
            self._post(Reported(self._instance_id, replace(report, peers=())))

    def _ask(self) -> Answer:
        asked_at = clock.now()
        try:
            said = _question(self._connection, {"asker": self._me, "doubt": sorted(self._doubted)})
        except NoAnswer as error:
            return Answer(asked_at, clock.now(), None, refused=error.refused)
        return Answer(asked_at, clock.now(), said)


class Askers:
    """One asker for each observer that is to be asked; ``me``, ``own`` and ``post`` are as for `Asker`."""

    def __init__(self, me: str, own: Address, port: int, post: Post) -> None:
        self._me, self._own = me, own
        self._port = port
        self._post = post
        self._askers: dict[str, tuple[Address, Asker]] = {}

    def follow(self, wanted: Mapping[str, Address], doubted: frozenset[str]) -> None:
        """From now on ask these observers, and no others; ``doubted`` are the floating addresses in doubt."""
        for instance_id, (address, asker) in list(self._askers.items()):
            if wanted.get(instance_id) != address:
                asker.stop()
                del self._askers[instance_id]
        for instance_id, address in wanted.items():
            if instance_id not in self._askers:
                asker = Asker(instance_id, address, self._port, self._me, self._own, self._post)
                asker.doubt(doubted)
                if not asker.starts():
                    continue  # until the next time
                self._askers[instance_id] = (address, asker)
            self._askers[instance_id][1].doubt(doubted)

    def stop(self) -> None:
        """Ask nobody any more."""
        self.follow({}, frozenset())
