"""The other observers: which of them are asked, and what each said last.

A peer's word is what decisions go by.  The rest of what it reports of itself is for people only.
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
    """The last answers of the holders' observers and of all peers.

    ``addresses`` has the primary addresses at which they are asked, by instance id.
    """

    def __init__(self) -> None:
        self.addresses: Mapping[str, Address] = {}
        self._answers: dict[str, Answer] = {}
        self._heard: dict[str, Answer] = {}
        self._reports: dict[str, tuple[Report, float]] = {}

    def ask(self, addresses: Mapping[str, Address]) -> None:
        """From now on these are asked.  Forget what others said, and what these said at another address."""
        for instance_id, address in self.addresses.items():
            if addresses.get(instance_id) != address:
                self._answers.pop(instance_id, None)
                self._heard.pop(instance_id, None)
                self._reports.pop(instance_id, None)
        self.addresses = addresses

    def heard(self, instance_id: str, answer: Answer) -> bool:
        """Take up the answer, or the silence, of the observer on this instance; return whether that is news."""
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
        """All observers that are asked, as people are shown them, whether or not they ever answered.

        Those that say they belong to another deployment than ``name`` are left out, since they could take nothing over
        here.  ``node_of`` gives the name of an instance's node, as EC2 tells it.
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
        """The observers of the deployment ``name`` that are asked and have ever answered, each by its last word.

        The word of one that has fallen silent is kept as it was: those that decide by it judge how long it counts.
        """
        found = []
        for instance_id, heard in self._heard.items():
            answer, said = self._answers[instance_id], heard.status
            if said is None or said.name != name:
                continue
            if answer.status == RESERVED:
                # It was restarted and does not know this node as a peer yet: it is alive, but has told nothing.
                found.append(Peer(instance_id, answer.known_at))
            elif answer.refused:
                # Its node is alive, but has no observer now.
                found.append(Peer(instance_id, heard.known_at))
            elif answer.status is None or answer is heard:
                found.append(_peer(heard, said))
        return tuple(found)

    def answer(self, instance_id: str) -> Answer | None:
        """What came of the last question to this instance's observer; None before the first."""
        return self._answers.get(instance_id)


def _peer(heard: Answer, said: Status) -> Peer:
    """The part of an observer's answer by which this node decides."""
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
