"""
The agent of one node: it is told what happened, and returns what is to be done about the floating addresses.

``handle`` takes events (events.py) and returns effects (effects.py); ``due`` says when it wants to be called although
nothing happened.  It reads no clock, nothing in it blocks, and random numbers come in from outside: so the same events
at the same times always have the same effects, under real threads (runtime) and in simulated time alike.
"""

from __future__ import annotations

from collections.abc import Iterable

from floatingip.agent.address import FloatingAddress
from floatingip.agent.attaching import Attaching
from floatingip.agent.backoff import Chance
from floatingip.agent.bulletin import Bulletin
from floatingip.agent.company import Company
from floatingip.agent.configured import Configured
from floatingip.agent.effects import Described, Effect, End, Probe, Probing, Publish
from floatingip.agent.events import (
    AddressesShown,
    Event,
    Heard,
    LogTroubled,
    Looked,
    LookFailed,
    LookWanted,
    MetadataTroubled,
    NewsTold,
    NodePortsListed,
    NodePortsUnknown,
    Noticed,
    PeersChosen,
    PeersJudged,
    PermissionsRehearsed,
    PodShown,
    Probed,
    Reconciled,
    RehearsalEnded,
    RehearsalFailed,
    Reported,
    ReservationsRehearsed,
    SettingsFound,
    ShownByMetadata,
    SlotsRehearsed,
    Terminated,
    Wrote,
)
from floatingip.agent.journal import Journal
from floatingip.agent.leaving import Leaving
from floatingip.agent.looking import Looking
from floatingip.agent.looks import Seen
from floatingip.agent.metadata import Metadata
from floatingip.agent.node_ports import NodePorts
from floatingip.agent.outbox import Outbox
from floatingip.agent.peers import Peers
from floatingip.agent.publishing import Publishing
from floatingip.agent.rehearsal import Rehearsal
from floatingip.agent.serving import Serving
from floatingip.agent.shared import Shared
from floatingip.agent.standings import Standings
from floatingip.core import timing
from floatingip.core.decision.decision import State
from floatingip.core.errors import Denied, FloatingIPError
from floatingip.core.model import Address, Target
from floatingip.core.news import Role
from floatingip.core.node import Identity
from floatingip.core.settings import Settings
from floatingip.core.writes import Create

SIGTERM_CODE = 128 + 15
"""The exit code of a process that SIGTERM ended before it was done."""


class Agent:
    """The agent on the node ``me``.

    With ``observes`` (the command ``observe``) it keeps the addresses on live workers until SIGTERM.  Without
    (``attach``) it ends as soon as each address is on some worker.  All times such as ``now`` are seconds of a clock
    that never jumps; ``wall`` is Unix time.
    """

    def __init__(self, settings: Settings, me: Identity, *, observes: bool, started_at: float, chance: Chance) -> None:
        self._observes = observes
        self._out = Outbox()
        self._shared = Shared(me, settings)
        self._configured = Configured(self._shared, self._out)
        self._now, self._wall = started_at, 0.0
        self._addresses = {
            target: FloatingAddress(
                target, index, self._shared, self._out.about(address=target), now=started_at, chance=chance
            )
            for index, target in enumerate(settings.floating_ips)
        }
        self._by_text = {address.text: address for address in self._addresses.values()}
        addresses = tuple(self._addresses.values())
        self._standings = Standings(addresses, self._shared, self._out, chance)
        self._looking = Looking(addresses, self._shared, self._out, chance)
        self._rehearsal = Rehearsal(addresses, self._shared, self._out)
        self._attaching = Attaching(addresses, self._standings.by_subnet, self._shared, self._out, started_at)
        self._serving = Serving(settings.service_interval, settings.service_timeout)
        self._node_ports = NodePorts(self._shared, self._serving, self._out)
        self._bulletin = Bulletin(self._out, shows_role=observes)
        self._peers = Peers()
        self._company = Company(addresses, self._peers, self._shared, self._out)
        self._leaving = Leaving(self._shared, self._out, observes=observes)
        self._metadata = Metadata(self._out)
        self._journal = Journal(self._out)
        self._publishing = Publishing(
            addresses,
            self._shared,
            self._peers,
            company=self._company,
            configured=self._configured,
            journal=self._journal,
            leaving=self._leaving,
            looking=self._looking,
            metadata=self._metadata,
            node_ports=self._node_ports,
            rehearsal=self._rehearsal,
            began_at=started_at,
        )
        self._stale: set[Target] = set(self._addresses)
        self._ticked_at = self._due_at = float("-inf")
        self._ended = False
        self._probings: frozenset[Probing] = frozenset()

    # Time.

    def due(self) -> float:
        """When ``handle`` is to be called even if nothing has happened by then."""
        return self._due_at

    def handle(self, events: Iterable[Event], now: float, wall: float) -> tuple[Effect, ...]:
        """Take up the events, decide if one of them matters or if it is time to, and return what is to be done."""
        self._now, self._wall = now, wall
        for event in events:
            self._take(event)
        if not self._ended and (self._stale or now >= self._due_at):
            self._step(wall)
            # Computed only after a decision: most events are one more answered probe, which changes no due time.
            self._due_at = min(self._tick_due(), self._look_due())
        return self._out.empty()

    # What happened.

    def _take(self, event: Event) -> None:
        """Take up one event, and have the addresses judged again to which it may matter."""
        now = self._now
        match event:
            case Probed():
                self._probed(event)
            case Heard(instance_id, answer):
                # An answer that is news matters for all addresses; any other only for those in doubt.
                self._judge_doubted(all_of_them=self._peers.heard(instance_id, answer))
            case Looked(seen):
                self._looked(seen)
            case LookFailed():
                self._look_failed(event)
            case ShownByMetadata(interfaces):
                for target, interface in interfaces.items():
                    self._addresses[target].where.expect_at(interface)
                self._judge_all()
            case Wrote():
                self._wrote(event)
            case Reconciled(target, report):
                self._addresses[target].reconciled(report, now)
                self._stale.add(target)
            case AddressesShown(mac, addresses_shown, asked_at):
                for target, address in self._addresses.items():
                    if address.found_addresses(mac, addresses_shown or frozenset(), asked_at):
                        self._stale.add(target)
            case (
                SlotsRehearsed()
                | PermissionsRehearsed()
                | ReservationsRehearsed()
                | RehearsalFailed()
                | RehearsalEnded()
            ):
                if self._rehearsal.take(event, now):
                    self._judge_all()
            case _:
                self._take_of_surroundings(event)

    def _take_of_surroundings(self, event: Event) -> None:
        """The same for what is told of this node, of other observers and of the services."""
        now = self._now
        match event:
            case Reported(instance_id, report):
                self._peers.reported(instance_id, report, now)
            case PeersChosen(addresses):
                self._peers.ask(addresses)
            case PeersJudged():
                self._company.ask(now)
            case Noticed(notice, asked_at):
                self._leaving.noticed(notice, asked_at)
                self._judge_all()
            case MetadataTroubled(problem):
                self._metadata.troubled(problem, now)
            case LogTroubled(problem, lost):
                self._journal.troubled(problem, lost)
            case PodShown(own):
                self._judge_doubted(all_of_them=self._leaving.shown(own, now))
            case NodePortsListed(node_ports):
                self._node_ports.listed(node_ports)
                self._judge_all()
            case NodePortsUnknown(problem):
                self._node_ports.unknown(problem, now)
            case NewsTold():
                self._bulletin.told(event)
            case LookWanted():
                if self._looking.request(now):
                    self._judge_all()
            case SettingsFound():
                self._configured.found(event)
                self._judge_all()
            case Terminated():
                self._leaving.terminated(now)
                self._judge_all()

    def _judge_all(self) -> None:
        self._stale.update(self._addresses)

    def _judge_doubted(self, *, all_of_them: bool) -> None:
        """Have the addresses in doubt judged again (their last probe was lost), or all of them."""
        addresses = self._addresses.items()
        self._stale.update(target for target, address in addresses if all_of_them or address.answers.health.in_doubt)

    def _probed(self, probed: Probed) -> None:
        address = self._by_text.get(probed.probing.whose)
        if address is None:
            self._serving.probed(probed.probing, probed.result)
        elif address.answers.probed(probed.probing, probed.result):
            self._stale.add(address.target)

    def _wrote(self, wrote: Wrote) -> None:
        self._looking.spend(wrote.calls, self._now)
        if isinstance(wrote.write, Create) and wrote.error is not None:
            self._looking.creation_refused()
        address = self._by_text.get(wrote.writer)
        if address is not None:
            address.wrote(wrote, self._now)
            self._stale.add(address.target)
        else:
            self._standings.wrote(wrote, self._now)
            self._judge_all()

    def _looked(self, seen: Seen) -> None:
        """EC2 answered: take up what it says of this node, of other instances, and of each address."""
        shared, now = self._shared, self._now
        self._looking.spend(seen.calls, now)
        self._looking.answered(seen, now)
        are_new = bool(seen.orphans - shared.orphans)
        self._out.add(Described(seen.asked_at, shared.looked(seen, now)))
        if are_new:
            left = ", ".join(sorted(seen.orphans))
            self._out.warning(
                "orphans",
                f"ours, but not in FLOATING_IP: {left}; has another deployment this `name`? give it one of its own;"
                " else `floatingip release --unused` ends them",
            )
        for target, address in self._addresses.items():
            if target in seen.unknown:
                address.asked_in_vain()
            else:
                address.looked(seen, now)
        for target, refusal in seen.refused.items():
            self._addresses[target].fail(refusal)
        shared.forget({address.where.holder() for address in self._addresses.values()}, now)
        self._standings.looked(seen, now)
        self._judge_all()

    def _look_failed(self, failed: LookFailed) -> None:
        for target, interface in failed.interfaces.items():
            self._addresses[target].found_interface(interface)
        self._looking.spend(failed.calls, self._now)
        self._looking.failed(failed.error, self._now)
        if isinstance(failed.error, Denied):
            for address in self._addresses.values():
                address.fail(failed.error)
        self._judge_all()

    # What follows.

    def _step(self, wall: float) -> None:
        """Decide for every address with news, or for all when it is time, and ask for what follows from that."""
        now = self._now
        tick = now >= self._tick_due()
        if self._leaving.follow(now):
            self._judge_all()
        self._company.follow(now, tick=tick)
        self._metadata.follow(now)
        if tick:
            self._ticked_at = now
            self._judge_all()
            self._serving.follow(self._nodes(), self._shared.node_ports)
            self._shared.served = self._serving.told(now)
            self._standings.step(now)
        if self._stale:
            self._decide(wall)
        self._leaving.ask(
            now,
            in_doubt=any(address.answers.health.in_doubt for address in self._addresses.values()),
            relieves_since=max(address.hearing.relieves_since() for address in self._addresses.values()),
        )
        if now >= self._look_due():
            self._looking.begin(now)
        if tick and self._observes:
            self._company.warn_when_short(now)
            self._configured.follow(now)
            self._rehearsal.follow(now)
            self._node_ports.follow(now)
        self._leaving.found_ready(not any(address.lack.words for address in self._addresses.values()), now)
        snapshot = self._publishing.follow(now, wall, tick=tick)
        if snapshot is not None:
            self._out.add(Publish(snapshot))
        moving = any(address.moves.is_under_way for address in self._addresses.values())
        self._bulletin.follow(self._role(), now, moving=moving)
        self._end_when_done()

    def _tick_due(self) -> float:
        """When all addresses are judged again although there is no news."""
        calm = self._leaving.stop_at is None and all(address.is_calm() for address in self._addresses.values())
        return self._ticked_at + (timing.CALM_TICK if calm else timing.TICK)

    def _look_due(self) -> float:
        return self._looking.due(self._standings.looks_due(), self._now)

    def _nodes(self) -> dict[str, Address]:
        """The nodes on which NodePorts are checked: their primary addresses by instance id."""
        me = self._shared.me
        return {**self._peers.addresses, me.instance_id: me.address}

    def _decide(self, wall: float) -> None:
        """Judge every stale address: there is news of it, or it was not judged for a while."""
        others = self._peers.others(self._shared.name)
        burden = sum(address.burdens() for address in self._addresses.values())
        for target in [target for target in self._addresses if target in self._stale]:
            address = self._addresses[target]
            address.hear(self._peers.answer(address.where.holder()), self._now)
            # A claim counts at once when the next address is judged, so that one node does not take them all.
            burden -= address.burdens()
            address.step(others, burden, now=self._now, wall=wall)
            burden += address.burdens()
        self._stale.clear()
        answers = (each.answers for each in self._addresses.values())
        probings = frozenset[Probing]().union(*(each.probings() for each in answers))
        probings |= self._serving.probings
        if probings != self._probings:
            self._probings = probings
            self._out.add(Probe(probings))

    # The end, and telling.

    def _end_when_done(self) -> None:
        if self._leaving.may_end(self._addresses.values(), self._now):
            self._end(0 if self._observes else SIGTERM_CODE)
        elif not self._observes and self._attaching.has_ended(self._now):
            self._end(0, self._attaching.failure())

    def _end(self, code: int, error: FloatingIPError | None = None) -> None:
        self._ended = True
        self._out.add(End(code, error))

    def _role(self) -> Role | None:
        """The role that this node's pod is labelled with; None while EC2 has not answered."""
        states = {address.decision.state for address in self._addresses.values()}
        return Role.HOLDER if State.HOLDER in states else None if State.START in states else Role.STANDBY
