"""
Ask the other observers: each twice a second over HTTP, at the primary address that EC2 shows for it.

A question names its asker, so that the observer that is asked can ask back (roster.py).  It also names the floating
addresses in doubt, so that their holder checks whether it reaches the asker from them (sight.py).  While no address is
in doubt, each observer is also asked now and then for its report, for people to read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from http import HTTPStatus
from urllib.parse import urlencode

from floatingip.agent.events import Heard, Post, Reported
from floatingip.core import status, timing
from floatingip.core.model import Address
from floatingip.core.report import Report
from floatingip.core.word import LONGEST, RESERVED, Answer, parse, shortened
from floatingip.edges import background, clock
from floatingip.edges.http_client import MOST_BYTES, Connection, NoAnswer


@dataclass(frozen=True, slots=True)
class NoReport:
    """There is no report, and ``why``; ``later``: there will be one once the observer knows from EC2 who asks."""

    why: str
    later: bool = False


@dataclass(frozen=True, slots=True)
class Contact:
    """An observer at ``address``, as it is asked from here.

    ``me`` is the asker's instance.  It is empty if a person's machine asks, which may reach the observer through a
    tunnel, so that its own loopback answers.  ``source`` is that instance's primary address, by which alone peers know
    it; None leaves the choice to the kernel.
    """

    address: Address | str
    port: int
    me: str = ""
    source: Address | None = None

    def ask(self, *, look: bool = False, doubted: Sequence[str] = ()) -> Answer:
        """Ask once for its word; the answer tells a node without an observer from one that cannot be reached.

        ``look``: the observer is to ask EC2 soon.  If it holds some of the ``doubted`` floating addresses, it checks
        whether it reaches the asker from them.
        """
        query = {"asker": self.me, "doubt": [*doubted], **({"look": "soon"} if look else {})}
        with closing(self.connection(2 * timing.ASK_TIMEOUT, LONGEST)) as connection:
            return _word_by(connection, query)

    def ask_until_known(
        self, within: float, every: float, now: Callable[[], float], sleep: Callable[[float], None]
    ) -> Answer:
        """Ask, and ask again ``every`` so many seconds while it has yet to learn from EC2 who asks."""
        until, answer = now() + within, self.ask()
        while self.me and answer.status == RESERVED and now() < until:
            sleep(every)
            answer = self.ask()
        return answer

    def report(self, seconds: float) -> Report | NoReport:
        """Ask once for its report, for at most so many seconds."""
        try:
            with closing(self.connection(seconds, status.LONGEST)) as connection:
                response = connection.get(f"/v1/status?{urlencode({'asker': self.me})}")
        except NoAnswer as error:
            return NoReport(str(error))
        if response.status == HTTPStatus.FORBIDDEN:
            return NoReport("it tells only peers, and has not learned from EC2 that this node is one", later=True)
        if response.status != HTTPStatus.OK:
            return NoReport(f"it answers {response.status}: is it of an older version?")
        return status.parse(response.body) or NoReport("what it answers is no report")

    def not_ready(self) -> str:
        """Why it calls itself not ready, as far as it tells that to the asker; empty if it is ready."""
        try:
            with closing(self.connection(2 * timing.ASK_TIMEOUT)) as connection:
                response = connection.get("/readyz")
        except NoAnswer as error:
            return str(error)
        return "" if response.status == HTTPStatus.OK else shortened(response.body.decode(errors="replace"))

    def connection(self, seconds: float, most_bytes: int = MOST_BYTES) -> Connection:
        """A connection for questions that take so many seconds each at most."""
        others = bool(self.me)
        return Connection(
            self.address, self.port, seconds=seconds, source=self.source, only_others=others, most_bytes=most_bytes
        )


def _word_by(connection: Connection, query: Mapping[str, str | Sequence[str]]) -> Answer:
    """What comes of a question for the word; an answer that is no word counts as none."""
    asked_at = clock.now()
    try:
        response = connection.get(f"/v1/word?{urlencode(query, doseq=True)}")
    except NoAnswer as error:
        return Answer(asked_at, clock.now(), None, refused=error.refused)
    said = parse(response.body) if response.status == HTTPStatus.OK else None
    return Answer(asked_at, clock.now(), said)


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


class Asker:
    """Asks the observer on ``instance_id`` for its word, again and again, from a daemon thread of its own.

    Each answer and each report is posted.
    """

    def __init__(self, instance_id: str, contact: Contact, post: Post) -> None:
        self.contact = contact
        self._instance_id = instance_id
        self._connection = contact.connection(timing.ASK_TIMEOUT, LONGEST)
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
            query = {"asker": self.contact.me, "doubt": sorted(self._doubted)}
            answer = _word_by(self._connection, query)
            if not self._stopped:
                self._post(Heard(self._instance_id, answer))
            if answer.status not in (None, RESERVED) and answer.asked_at >= self._report_at and not self._doubted:
                self._report_at = answer.asked_at + timing.REPORT_EVERY
                self._ask_for_report()
            self._hurry.wait(max(0.0, answer.asked_at + timing.ASK_EVERY - clock.now()))
            self._hurry.clear()
        self._connection.close()

    def _ask_for_report(self) -> None:
        report = self.contact.report(timing.REPORT_TIMEOUT)
        if isinstance(report, Report) and not self._stopped:
            # Without its own peers: this node asks them itself.
            self._post(Reported(self._instance_id, replace(report, peers=())))


class Askers:
    """One asker for each observer that is to be asked.

    They ask as the instance ``me``, and from its primary address ``own``: peers know it by no other address, which the
    kernel might choose.
    """

    def __init__(self, me: str, own: Address, port: int, post: Post) -> None:
        self._me, self._own = me, own
        self._port = port
        self._post = post
        self._askers: dict[str, Asker] = {}

    def follow(self, wanted: Mapping[str, Address], doubted: frozenset[str]) -> None:
        """From now on ask these observers, and no others; ``doubted`` are the floating addresses in doubt."""
        for instance_id, asker in list(self._askers.items()):
            if wanted.get(instance_id) != asker.contact.address:
                asker.stop()
                del self._askers[instance_id]
        for instance_id, address in wanted.items():
            if instance_id not in self._askers:
                asker = Asker(instance_id, Contact(address, self._port, self._me, self._own), self._post)
                asker.doubt(doubted)
                if not asker.starts():
                    continue  # until the next time
                self._askers[instance_id] = asker
            self._askers[instance_id].doubt(doubted)

    def stop(self) -> None:
        """Ask nobody any more."""
        self.follow({}, frozenset())
