"""
Who is a peer: only an observer that EC2 has confirmed.

An observer that asks names its instance; that is a claim.  It is believed if EC2 shows that instance alive, in our
cluster, and with the question's source as its primary address.  EC2 is also asked about instances that peers name
(hearsay), since addresses are taken from EC2 only.  However many claims come, EC2 is asked at a bounded rate: each
source has at most one waiting claim, and EC2 is not asked again for a while about a source that was refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from floatingip.agent.looks import cluster_name
from floatingip.core import timing
from floatingip.core.ec2 import Instance
from floatingip.core.model import Address
from floatingip.core.token_bucket import TokenBucket
from floatingip.core.word import PEERS_AT_MOST, is_instance_id

WAITING_AT_MOST = 16
"""At most this many claims wait for EC2's answer at a time, and as many instances that are known by hearsay."""

REFUSED_AT_MOST = 256
"""At most this many refusals are remembered."""

QUESTIONS_AT_ONCE = 4
"""Questions to EC2 that may follow each other at once after a pause, so that a new observer need not wait for another.
"""


@dataclass(frozen=True, slots=True)
class _Peer:
    """A peer as EC2 described it, asked at ``asked_at``.

    ``address`` is its primary address, ``source`` the same as a text; ``ipv6`` is the IPv6 address of its primary
    interface, None if it has none.
    """

    address: Address
    asked_at: float
    source: str
    ipv6: Address | None


class Roster:
    """The peers of the observer on instance ``me``.

    ``waiting`` is called when there is a new claim to ask EC2 about, in the thread that has heard the claim.
    """

    def __init__(self, me: str, waiting: Callable[[], None]) -> None:
        self._me = me
        self._waiting = waiting
        self._lock = threading.Lock()
        self._cluster: str | None = None
        self._peers: dict[str, _Peer] = {}
        self._addresses: frozenset[str] = frozenset()
        self._asked_us_at: dict[str, float] = {}
        self._claims: dict[str, str] = {}
        self._hearsay: set[str] = set()
        self._refused: dict[str, float] = {}
        self._asking = False
        self._questions = TokenBucket(QUESTIONS_AT_ONCE, 1 / timing.PEERS_CONFIRMED_EVERY)
        self._not_before = float("-inf")

    # For the server's thread.

    def is_peer(self, instance_id: str, source: str, now: float) -> bool:
        """Whether a question from this source comes from this instance; if that is not known yet, EC2 will be asked."""
        if not is_instance_id(instance_id) or instance_id == self._me:
            return False
        with self._lock:
            peer = self._peers.get(instance_id)
            if peer is not None:
                if peer.source == source:
                    self._asked_us_at[instance_id] = now
                return peer.source == source
            refused = self._refused.get(source, now) > now
            is_new = not refused and source not in self._claims and len(self._claims) < WAITING_AT_MOST
            if is_new:
                self._claims[source] = instance_id
        if is_new:
            self._waiting()
        return False

    def has(self, source: str) -> bool:
        """Whether this is a peer's primary address; takes no lock, since it is asked for every connection."""
        return source in self._addresses

    def address_of(self, instance_id: str, version: int) -> Address | None:
        """The peer's address of this IP version, by EC2; None if it has none, or is no peer any more."""
        with self._lock:
            peer = self._peers.get(instance_id)
        found = (peer.address, peer.ipv6) if peer is not None else ()
        return next((address for address in found if address is not None and address.version == version), None)

    def askers(self, now: float) -> dict[str, Address]:
        """The peers that asked lately: their primary addresses by instance id."""
        with self._lock:
            recent = now - timing.PEER_ASKED_FOR
            return {i: peer.address for i, peer in self._peers.items() if self._asked_us_at.get(i, recent) > recent}

    # For the deciding thread.

    def follow(self, known: Iterable[str], now: float) -> dict[str, Address]:
        """The peers that asked lately, or are ``known`` from elsewhere: their primary addresses by instance id.

        Other peers are forgotten.  EC2 will be asked about instances that are ``known`` but not peers yet.
        """
        asked = self.askers(now)
        with self._lock:
            heard_of = {instance_id for instance_id in known if is_instance_id(instance_id)} - {self._me}
            for instance_id in self._peers.keys() - asked.keys() - heard_of:
                self._drop(instance_id)
            unknown = (i for i in sorted(heard_of - self._peers.keys()) if self._refused.get(i, now) <= now)
            self._hearsay = set(list(unknown)[:WAITING_AT_MOST])
            return {instance_id: peer.address for instance_id, peer in self._peers.items()}

    def question(self, now: float) -> frozenset[str]:
        """The instances to ask EC2 about now, empty if none; then `answered` or `unanswered` must be called first."""
        with self._lock:
            ids = {*self._claims.values(), *self._hearsay}
            ids.update(i for i, peer in self._peers.items() if now - peer.asked_at > timing.PEER_CONFIRMED_FOR)
            if not ids or self._asking or now < max(self._not_before, self._questions.due(1)):
                return frozenset()
            self._asking = True
            self._questions = self._questions.take(1, now)
            return frozenset(ids | {self._me} if self._cluster is None else ids)

    def answered(self, asked: frozenset[str], asked_at: float, instances: Mapping[str, Instance]) -> None:
        """EC2's answer to the question about ``asked``: an instance that is not in it does not exist."""
        self.shown(asked_at, instances)
        with self._lock:
            self._asking = False
            if self._cluster is None:
                return
            for source, instance_id in [(s, i) for s, i in self._claims.items() if i in asked]:
                del self._claims[source]
                instance = self._one_of_us(instances.get(instance_id))
                if instance is None or str(instance.address) != source:
                    self._refuse(source, asked_at)
                    continue
                self._make_room()
                if self._confirm(instance, asked_at):
                    self._asked_us_at[instance_id] = asked_at
                else:
                    self._refuse(source, asked_at)
            for instance_id in sorted(self._hearsay & asked):
                instance = self._one_of_us(instances.get(instance_id))
                if instance is None or not self._confirm(instance, asked_at):
                    self._refuse(instance_id, asked_at)
            self._hearsay -= asked
            for instance_id in asked & self._peers.keys() - instances.keys():
                self._drop(instance_id)

    def unanswered(self, now: float) -> None:
        """EC2 did not answer the question: everything stays as it is, and EC2 is asked again after a while."""
        with self._lock:
            self._asking = False
            self._not_before = now + timing.PEERS_CONFIRMED_EVERY

    def shown(self, asked_at: float, instances: Mapping[str, Instance]) -> None:
        """Take up any answer of EC2 that describes instances: a peer whose instance has ended is dropped."""
        with self._lock:
            if self._me in instances:
                self._cluster = cluster_name(instances[self._me].tags)
            for instance_id in self._peers.keys() & instances.keys():
                if self._peers[instance_id].asked_at > asked_at:
                    continue
                instance = self._one_of_us(instances[instance_id])
                if instance is None or not self._confirm(instance, asked_at):
                    self._drop(instance_id)

    # With the lock.

    def _one_of_us(self, instance: Instance | None) -> Instance | None:
        """The instance, if it is alive and of our cluster; otherwise None.

        If this node's own instance names no cluster (the setting `name` was set by hand), clusters are not compared.
        """
        if instance is None or instance.address is None or instance.state.announces_death:
            return None
        return instance if not self._cluster or cluster_name(instance.tags) == self._cluster else None

    def _confirm(self, instance: Instance, asked_at: float) -> bool:
        """Take the instance as a peer; return whether there was room."""
        if instance.address is None or (instance.id not in self._peers and len(self._peers) >= PEERS_AT_MOST):
            return False
        self._peers[instance.id] = _Peer(instance.address, asked_at, str(instance.address), instance.ipv6)
        self._changed()
        return True

    def _make_room(self) -> None:
        """If there is no room, drop a peer that is known by hearsay only: a peer that asked this node counts more."""
        told_of = self._peers.keys() - self._asked_us_at.keys()
        if len(self._peers) >= PEERS_AT_MOST and told_of:
            self._drop(min(told_of))

    def _drop(self, instance_id: str) -> None:
        del self._peers[instance_id]
        self._asked_us_at.pop(instance_id, None)
        self._changed()

    def _changed(self) -> None:
        self._addresses = frozenset(peer.source for peer in self._peers.values())

    def _refuse(self, who: str, now: float) -> None:
        self._refused = {one: until for one, until in self._refused.items() if until > now}
        if len(self._refused) >= REFUSED_AT_MOST:
            del self._refused[min(self._refused, key=self._refused.__getitem__)]
        self._refused[who] = now + timing.PEER_REFUSED_FOR
