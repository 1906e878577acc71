"""
What this observer answers, and to whom: peers and this node itself are told everything, anybody else only whether it is
well.  Connections from the node's own addresses or from loopback are this node's, or come by `kubectl port-forward`.

Nothing can be commanded here: IAM says who may move the address.  A question names its asker, which becomes a peer once
EC2 has confirmed who it is (roster.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

from floatingip.core import page, status, word
from floatingip.core.model import Address
from floatingip.core.peer import Sight
from floatingip.core.snapshot import Snapshot
from floatingip.core.word import Status
from floatingip.edges import clock
from floatingip.runtime.roster import Roster
from floatingip.runtime.status_server import Html, Json

FIELDS_AT_MOST = word.MOST
"""Parameters of a question, at most: the asker, and the addresses in doubt."""

LOOPBACK = "127.0.0.1"
"""Where `kubectl port-forward` connects to, and from."""

METRICS_KEPT = 1.0
"""Seconds for which gathered metrics are given again, so that nobody can have them gathered more often."""

Told = tuple[Status, dict[str, Address], dict[str, Sight]]


class Desk:
    """Gives the answers of the observer at ``address``, all in one thread.

    ``published`` gives the newest snapshot, and ``metrics`` makes Prometheus' text of it.  ``look`` is called when a
    peer says that EC2 has news.  ``sight`` tells whether an observer's address is reached from a floating address
    (sight.py).  ``hangs`` says, in a sentence, which thread of this observer hangs beside the deciding one; empty if
    none does.  ``kubernetes`` is the node's address in Kubernetes, from which the kubelet asks, if that is another one.

    While the deciding thread hangs, what it has published says nothing of now: then this observer is not ready, and as
    silent to those who ask for its word as if it had died.
    """

    def __init__(
        self,
        address: Address,
        published: Callable[[], Snapshot],
        metrics: Callable[[Snapshot], str],
        look: Callable[[], None],
        roster: Roster,
        sight: Callable[[Address, Address], Sight],
        now: Callable[[], float] = clock.now,
        *,
        hangs: Callable[[float], str] = lambda _now: "",
        kubernetes: Address | None = None,
    ) -> None:
        self._me = str(address)
        self._own = frozenset({self._me, LOOPBACK, *([str(kubernetes)] if kubernetes is not None else [])})
        self._published = published
        self._metrics = metrics
        self._look = look
        self._roster = roster
        self._sight_of = sight
        self._now = now
        self._hangs = hangs
        self._gathered, self._gathered_at = "", float("-inf")

    def knows(self, source: str) -> bool:
        """Whether the source of a connection is known: this node itself (mostly its kubelet), a peer, or a floating
        address, from which a holder checks whether it reaches this node.
        """
        if self._is_friend(source):
            return True
        return ip_address(source) in self._published().sources().values()

    def answer(self, target: str, source: str) -> tuple[HTTPStatus, str]:
        """The answer to a GET of ``target`` from this address."""
        try:
            url = urlsplit(target)
            query = parse_qs(url.query, max_num_fields=FIELDS_AT_MOST)
        except ValueError:
            return HTTPStatus.BAD_REQUEST, "no such question"
        match url.path:
            case "/livez":
                return self._health(self._not_live(), "not live", "", source)
            case "/readyz":
                published = self._published()
                return self._health(self._not_ready(), "not ready", published.note, source)
            case "/metrics":
                return HTTPStatus.OK, self._scrape()
            case "/v1/word" if self._published().not_live(self._now()):
                return HTTPStatus.SERVICE_UNAVAILABLE, "not live"
            case "/v1/word":
                return HTTPStatus.OK, Json(self._word(query, source))
            case "/v1/status" if self._may_read(query, source):
                return HTTPStatus.OK, Json(status.to_json(status.of(self._published(), self._now())))
            case "/v1/status":
                return HTTPStatus.FORBIDDEN, Json(word.to_stranger(ready=not self._not_ready()))
            case "/" if self._is_friend(source):
                shown = page.render(self._published(), self._now(), reloads=url.query == page.RELOADS)
                return HTTPStatus.OK, Html(shown)
            case "/":
                return HTTPStatus.FORBIDDEN, "not ready" if self._not_ready() else "ok"
        return HTTPStatus.NOT_FOUND, "see /, /v1/status, /v1/word, /livez, /readyz, /metrics"

    def _not_live(self) -> str:
        now = self._now()
        return self._published().not_live(now) or self._hangs(now)

    def _not_ready(self) -> str:
        return self._not_live() or self._published().not_ready()

    def _is_friend(self, source: str) -> bool:
        return source in self._own or self._roster.has(source)

    def _may_read(self, query: Mapping[str, list[str]], source: str) -> bool:
        """Whether ``source`` may read the status.  A peer that is not known yet names itself, and EC2 is asked."""
        return self._is_friend(source) or self._roster.is_peer(query.get("asker", [""])[0], source, self._now())

    def _health(self, wrong: str, in_short: str, note: str, source: str) -> tuple[HTTPStatus, str]:
        """The answer of a health check: only friends are told the reason and the note, which name addresses."""
        friend = self._is_friend(source)
        if not wrong:
            return HTTPStatus.OK, f"ok; {note}" if note and friend else "ok"
        if not friend:
            return HTTPStatus.SERVICE_UNAVAILABLE, in_short
        return HTTPStatus.SERVICE_UNAVAILABLE, f"{wrong}; {note}" if note else wrong

    def _scrape(self) -> str:
        now = self._now()
        if now - self._gathered_at > METRICS_KEPT:
            self._gathered, self._gathered_at = self._metrics(self._published()), now
        return self._gathered

    def _word(self, query: Mapping[str, list[str]], source: str) -> str:
        told = self.told(query.get("asker", [""])[0], source, query.get("doubt", []))
        if told is None:
            return word.to_stranger(ready=not self._not_ready())
        if "look" in query:
            self._look()
        return word.to_peer(*told)

    def told(self, asker: str, source: str, doubted: Iterable[str]) -> Told | None:
        """What a peer, or this node itself, is told; None for anybody else.

        This is the word, the other peers' addresses, and the sights: for each address in doubt that this node holds,
        whether it reaches the asker from it.
        """
        published, now = self._published(), self._now()
        is_peer = self._roster.is_peer(asker, source, now)
        if not is_peer and source != self._me:
            return None
        peers = {other: address for other, address in self._roster.askers(now).items() if other != asker}
        holds = published.status.holds
        asked = [target for target in doubted if target in holds] if is_peer else []
        return published.status, peers, {target: self._sight(published, target, asker) for target in asked}

    def _sight(self, published: Snapshot, target: str, asker: str) -> Sight:
        source = published.sources().get(target)
        # Peers ask each other by IPv4; from an IPv6 floating address only the asker's IPv6 address can be reached.
        at = self._roster.address_of(asker, source.version) if source is not None else None
        return self._sight_of(at, source) if source is not None and at is not None else Sight.UNTRIED
