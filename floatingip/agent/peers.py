"""The other observers: which of them are asked, and what each said last.

What they report beside their word is for people: nothing is decided by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from floatingip.core import timing
from floatingip.core.model import Address
from floatingip.core.peer import Peer
from floatingip.core.report import Report
from floatingip.core.snapshot import PeerSnapshot
from floatingip.core.word import RESERVED, Answer, Status


class Peers:
    """The observers on the instances that hold an address, and all peers.

    ``addresses`` are the primary addresses at which they are asked, by instance id.
    """

    def __init__(self) -> None:
        self.addresses: Mapping[str, Address] = {}
        self._answers: dict[str, Answer] = {}
        self._heard: dict[str, Answer] = {}
        self._reports: dict[str, tuple[Report, float]] = {}

    def ask(self, addresses: Mapping[str, Address]) -> None:
        """From now on these are asked.  What others said, or these at another address, is forgotten."""
        for instance_id, address in self.addresses.items():
            if addresses.get(instance_id) != address:
                self._answers.pop(instance_id, None)
                self._heard.pop(instance_id, None)
                self._reports.pop(instance_id, None)
        self.addresses = addresses

    def heard(self, instance_id: str, answer: Answer) -> bool:
        """The observer on this instance was asked; return whether its answer, or its silence, is news."""
        if instance_id not in self.addresses:
            return False
        before = self._answers.get(instance_id)
        self._answers[instance_id] = answer
        if answer.status is not None and answer.status.instance_id == instance_id:
            self._heard[instance_id] = answer
        return before is None or (answer.status, answer.refused) != (before.status, before.refused)

    def reported(self, instance_id: str, report: Report, now: float) -> None:
        """The observer on this instance reported more of itself than its word."""
        if instance_id in self.addresses and report.instance == instance_id:
            self._reports[instance_id] = report, now

    def shown(self, node_of: Callable[[str], str], name: str) -> tuple[PeerSnapshot, ...]:
        """All that are asked, whether or not they ever answered, as people are shown them; but not those that call
        themselves another deployment's of the cluster than ``name``, which could take nothing over here.

        ``node_of`` tells the name of an instance's node by EC2.
        """
        told = {i: heard.status.name for i, heard in self._heard.items() if heard.status is not None}
        foreign = {instance_id for instance_id, theirs in told.items() if name and theirs and theirs != name}
        ours = ((each, address) for each, address in self.addresses.items() if each not in foreign)
        return tuple(self._shown(each, address, node_of(each)) for each, address in ours)

    def _shown(self, instance_id: str, address: Address, node: str) -> PeerSnapshot:
        heard, answer = self._heard.get(instance_id), self._answers.get(instance_id)
        report, reported_at = self._reports.get(instance_id, (None, None))
        return PeerSnapshot(
            instance_id,
            address,
            heard.known_at if heard is not None else None,
            answer is not None and answer.status is None,
            heard.status if heard is not None else None,
            report,
            node,
            reported_at,
        )

    def known(self, now: float) -> frozenset[str]:
        """Instances that may have an observer: those that observers name as peers, and those that answered lately."""
        told = {peer for answer in self._answers.values() if answer.status is not None for peer in answer.status.peers}
        return frozenset(told | {i for i, heard in self._heard.items() if now - heard.known_at < timing.HEARD_KEPT})

    def others(self, name: str) -> tuple[Peer, ...]:
        """The observers of this deployment that are asked and have ever answered, each by its last word.

        One that has been silent since has taken nothing of that back: how long it counts is for who decides by it.
        """
        found = []
        for instance_id, heard in self._heard.items():
            answer, said = self._answers[instance_id], heard.status
            if said is None or said.name != name:
                continue
            if answer.status == RESERVED:
                # It was restarted, and does not know this node yet: it is there, but has told nothing.
                found.append(Peer(instance_id, answer.known_at))
            elif answer.refused:
                # Its node is there, without an observer.
                found.append(Peer(instance_id, heard.known_at))
            elif answer.status is None or answer is heard:
                found.append(_peer(heard, said))
        return tuple(found)

    def answer(self, instance_id: str) -> Answer | None:
        """What came of the last question to this instance's observer; None before the first."""
        return self._answers.get(instance_id)


def _peer(heard: Answer, said: Status) -> Peer:
    """What somebody has said in an answer, as far as this node decides by it."""
    return Peer(
        instance_id=said.instance_id,
        heard_at=heard.known_at,
        asked_at=heard.asked_at,
        holds={target: held.attachment for target, held in said.holds.items()},
        sees_up=said.sees_up,
        unsure=said.unsure,
        free_slots=said.free_slots,
        served=said.served,
        leaving=said.leaving,
        claiming=said.claiming,
    )
