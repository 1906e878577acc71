"""What an agent publishes: one snapshot, from which its word, readiness, metrics, status and page are made."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from floatingip.agent.address import FloatingAddress
from floatingip.agent.company import Company
from floatingip.agent.configured import Configured
from floatingip.agent.journal import Journal
from floatingip.agent.leaving import UNKNOWN, Leaving
from floatingip.agent.looking import Looking
from floatingip.agent.metadata import Metadata
from floatingip.agent.node_ports import NodePorts
from floatingip.agent.peers import Peers
from floatingip.agent.rehearsal import Rehearsal
from floatingip.agent.shared import Shared
from floatingip.agent.showing import shown
from floatingip.core.decision import pause
from floatingip.core.snapshot import Snapshot
from floatingip.core.word import Status


@dataclass
class Publishing:
    """Makes the snapshot of the agent's parts, and changes none of them; ``began_at`` is when the agent began."""

    addresses: Collection[FloatingAddress]
    shared: Shared
    peers: Peers
    company: Company
    configured: Configured
    journal: Journal
    leaving: Leaving
    looking: Looking
    metadata: Metadata
    node_ports: NodePorts
    rehearsal: Rehearsal
    began_at: float
    _gone_by: tuple[object, ...] = ()

    def follow(self, now: float, wall: float, *, tick: bool) -> Snapshot | None:
        """A snapshot at each ``tick``, and at once when something has changed that machines go by; otherwise None.

        What only people look at, such as the results of probes, may be as old as the last tick.
        """
        before, status = self._gone_by, self._status(now)
        # Machines go by the word, EC2's last answer, and each address' decision, readiness, and MAC to ask IMDS about.
        decided = ((each.decision.reason, each.lack, each.mac_at_risk()) for each in self.addresses)
        self._gone_by = status, self.looking.answered_at, self.shared.unanswered, *decided
        return self._snapshot(now, wall, status) if tick or self._gone_by != before else None

    def _snapshot(self, now: float, wall: float, status: Status) -> Snapshot:
        """What others may know now; ``status`` is the word."""
        shared, me = self.shared, self.shared.me
        unknown = tuple(self._unknown(now))
        notes = (self.company.loneliness, *self._remarks(wall), *unknown, self.configured.note, self.journal.note)
        return Snapshot(
            now,
            status,
            tuple(shown(each, shared.settings, now, wall) for each in self.addresses),
            note="; ".join(filter(None, notes)),
            are_others_short=self.company.is_short,
            is_imds_well=self.metadata.is_well,
            denied=frozenset(filter(None, (*shared.denied, self.looking.denied))),
            wall=wall,
            began_at=self.began_at,
            carry=shared.settings.carry,
            node=me.node,
            address=me.address,
            leaving=shared.leaving,
            answered_at=self.looking.answered_at,
            unanswered=shared.unanswered,
            unknown=unknown,
            peers=self.peers.shown(shared.node_of, shared.name),
        )

    def _status(self, now: float) -> Status:
        """The word: what this observer tells its peers."""
        addresses, shared = self.addresses, self.shared
        return Status(
            name=shared.name,
            instance_id=shared.me.instance_id,
            holds={each.text: held for each in addresses if (held := each.held()) is not None},
            sees_up=tuple(filter(None, (each.sees_up() for each in addresses))),
            free_slots=shared.free_slots(),
            served={**shared.served, **{up: each.answers.served(now) for each in addresses if (up := each.sees_up())}},
            leaving=bool(shared.leaving),
            claiming=tuple(each.text for each in addresses if each.is_claiming()),
            ending=self.leaving.stop_at is not None,
            unsure=tuple(filter(None, (each.unsure_of(now) for each in addresses))),
        )

    def _remarks(self, wall: float) -> Iterator[str]:
        """What a person should see to, though this node is ready."""
        for each in self.addresses:
            if remark := each.remark():
                yield f"{each.text}: {remark}"
        if self.shared.unanswered and self.looking.answered_at is not None:
            yield f"EC2 does not answer as it should: {self.shared.unanswered}"
        if (paused_until := self._paused_until(wall)) > wall:
            yield pause.told(paused_until)

    def _unknown(self, now: float) -> Iterator[str]:
        """Sentences on what this observer could not find out."""
        yield from self.rehearsal.unknown(now)
        if self.leaving.problem:
            yield f"{UNKNOWN}: {self.leaving.problem}"
        if self.node_ports.problem:
            yield f"which NodePorts there are is not known: {self.node_ports.problem}"
        if self.metadata.problem:
            yield self.metadata.problem

    def _paused_until(self, wall: float) -> float:
        """The latest time, over all addresses, until which moves are paused, in Unix seconds; not later than ``wall``
        if none is paused.
        """
        owners = (each.where.owner for each in self.addresses)
        enis = [owner.eni for owner in owners if owner is not None and owner.eni is not None]
        return max((pause.ends_at(eni.tags, wall) for eni in enis), default=0.0)
