"""
The floating addresses of one deployment on this node, as a value over time: what happened goes in, what is to be done
comes out.

``handle`` takes events (events.py) and gives effects (effects.py); ``due`` says when it wants to be called although
nothing happened.  No clock is read here, nothing blocks, and chance comes in from outside: the same events at the same
times always have the same effects, under threads (runtime) and in simulated time alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from floatingip.agent import ending, pod
from floatingip.agent.address import FloatingAddress
from floatingip.agent.attaching import Attaching
from floatingip.agent.backoff import Chance
from floatingip.agent.bulletin import Bulletin
from floatingip.agent.configured import Configured
from floatingip.agent.effects import (
    Announce,
    AskPeers,
    AskPod,
    Described,
    Effect,
    End,
    Keep,
    Probe,
    Probing,
    Publish,
    Wanted,
)
from floatingip.agent.events import (
    AddressesShown,
    Asking,
    Event,
    Heard,
    Looked,
    LookFailed,
    LookWanted,
    MetadataTroubled,
    NewsTold,
    NodePortsListed,
    NodePortsUnknown,
    Noticed,
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
from floatingip.agent.looking import Looking
from floatingip.agent.looks import Seen, cluster_name
from floatingip.agent.node_ports import NodePorts
from floatingip.agent.outbox import Outbox
from floatingip.agent.peers import Peers
from floatingip.agent.rehearsal import Rehearsal
from floatingip.agent.serving import Serving
from floatingip.agent.shared import Shared
from floatingip.agent.showing import shown
from floatingip.agent.standing_eni import StandingEni
from floatingip.agent.trouble import Complaints, Trouble
from floatingip.core import timing
from floatingip.core.decision import pause, ration
from floatingip.core.decision.carry import way_to
from floatingip.core.decision.decision import Reason, State
from floatingip.core.errors import Denied, FloatingIPError
from floatingip.core.figures import Figures
from floatingip.core.model import Address, Identity, Owner, OwnPod, Target
from floatingip.core.news import Role
from floatingip.core.settings import Settings
from floatingip.core.snapshot import AddressSnapshot, Snapshot
from floatingip.core.word import Status

SIGTERM_CODE = 128 + 15
"""The exit code of a process that SIGTERM ended before it was done."""

LONELY = "no other observer answers: nobody would take over"
"""What is told of a node that hears of no other observer."""

_UNKNOWN = "not known whether Kubernetes ends this pod, or has written its node off"


class Agent:
    """Of the node ``me``; ``observes``: it keeps the addresses on live workers until SIGTERM, rather than only put them
    somewhere; ``now`` is on a clock that never jumps.
    """

    def __init__(self, settings: Settings, me: Identity, *, observes: bool, started_at: float, chance: Chance) -> None:
        self._settings = settings
        self._me = me
        self._observes = observes
        self._way = way_to(settings.carry)
        self._chance = chance
        self._out = Outbox()
        self._configured = Configured(settings, self._out)
        self._now, self._wall = started_at, 0.0
        groups = settings.security_groups
        self._shared = Shared(me, settings.name, groups or me.security_groups, settings.carry, bool(groups))
        self._addresses = {
            target: FloatingAddress(
                target, index, settings, self._shared, self._out.about(address=target), now=started_at, chance=chance
            )
            for index, target in enumerate(settings.floating_ips)
        }
        self._by_text = {address.text: address for address in self._addresses.values()}
        self._standing: dict[str, StandingEni] = {}
        addresses = tuple(self._addresses.values())
        self._looking = Looking(addresses, self._shared, self._out, chance)
        self._rehearsal = Rehearsal(addresses, self._shared, self._out)
        self._attaching = Attaching(addresses, self._standing, self._shared, self._out, started_at)
        self._serving = Serving(settings.service_interval, settings.service_timeout)
        self._node_ports = NodePorts(settings, self._shared, self._serving, self._out)
        self._bulletin = Bulletin(self._out, shows_role=observes)
        self._peers = Peers()
        self._stale: set[Target] = set(self._addresses)
        self._doubted: frozenset[str] = frozenset()
        self._ticked_at = self._due_at = float("-inf")
        self._stop_at: float | None = None
        self._ended = False
        self._pod = pod.PodMemory()
        self._pod_problem = self._metadata_problem = self._notice = ""
        self._ready_since: float | None = None
        self._metadata = Complaints(timing.METADATA_CALM)
        self._lonely, self._short = Trouble(timing.SHORT_FOR), Trouble(timing.SHORT_FOR)
        self._unheard, self._ending = Trouble(), Trouble()
        self._are_others_short = False
        self._orphans: frozenset[str] = frozenset()
        self._probings: frozenset[Probing] = frozenset()
        self._kept: dict[Target, Wanted] = {}
        self._pod_asked_every: float | None = None
        self._shown: dict[Target, AddressSnapshot] = {}
        self._unshown: set[Target] = set()
        self._published = Snapshot(started_at, Status(self._shared.name, me.instance_id), starting=True)

    # Time.

    def due(self) -> float:
        """When ``handle`` is to be called, whether or not anything has happened by then."""
        return self._due_at

    def handle(self, events: Iterable[Event], now: float, wall: float) -> tuple[Effect, ...]:
        """Take what happened, decide if any of it matters or it is time, and say what is to be done, in this order."""
        self._now, self._wall = now, wall
        for event in events:
            self._take(event)
        if not self._ended and (self._stale or now >= self._due_at):
            self._step(wall)
            # What is no news changes nothing of this: most of what comes is one more probe that was answered.
            self._due_at = min(self._tick_due(), self._look_due())
        return self._out.empty()

    # What happened.

    def _take(self, event: Event) -> None:
        now = self._now
        match event:
            case Probed(probing, result):
                address = self._by_text.get(probing.whose)
                if address is None:
                    self._serving.probed(probing, result)
                elif address.probed(probing, result):
                    self._stale.add(address.target)
            case Heard(instance_id, answer):
                # What others say matters at once when it is new, and whatever they say for what is in doubt.
                self._judge_doubted(all_of_them=self._peers.heard(instance_id, answer))
            case Reported(instance_id, report):
                self._peers.reported(instance_id, report)
            case Asking(addresses):
                self._peers.ask(addresses)
            case PeersJudged():
                self._ask_peers()
            case Looked(seen):
                self._looked(seen)
            case LookFailed():
                self._look_failed(event)
            case ShownByMetadata(interfaces):
                for target, interface in interfaces.items():
                    self._addresses[target].expect_at(interface)
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
            case Noticed(notice):
                self._notice = f"{notice.kind}: {notice.detail}" if notice is not None else ""
                self._judge_all()
            case MetadataTroubled(problem):
                self._metadata_problem = problem
                if self._metadata.is_news(problem, now):
                    self._out.warning("imds", problem)
            case PodShown(own):
                self._judge_doubted(all_of_them=self._pod_shown(own))
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
                for address in self._addresses.values():
                    address.configure(self._configured.settings)
                self._judge_all()
            case Terminated():
                self._stop_at = now
                self._judge_all()
            case SlotsRehearsed():
                self._rehearsal.found_slots(event)
                self._judge_all()
            case PermissionsRehearsed():
                self._rehearsal.found_permissions(event, now)
                self._judge_all()
            case ReservationsRehearsed():
                self._rehearsal.found_reservations(event)
            case RehearsalFailed():
                self._rehearsal.failed(event, now)
                self._judge_all()
            case RehearsalEnded():
                self._rehearsal.ended()

    def _judge_all(self) -> None:
        self._stale.update(self._addresses)

    def _judge_doubted(self, *, all_of_them: bool) -> None:
        """Those addresses that do not answer; or all, since there is news."""
        addresses = self._addresses.items()
        self._stale.update(target for target, address in addresses if all_of_them or address.health.in_doubt)

    def _wrote(self, wrote: Wrote) -> None:
        address = self._by_text.get(wrote.writer)
        if address is not None:
            address.wrote(wrote, self._now)
            self._stale.add(address.target)
        else:
            self._standing[wrote.writer].writing.wrote(wrote, self._now)
            self._judge_all()

    def _looked(self, seen: Seen) -> None:
        """EC2 told of everything."""
        shared, now = self._shared, self._now
        unread = "; ".join(sorted({*seen.unknown.values(), *(f"{eni.id}: {eni.unread}" for eni in seen.unread)}))
        self._looking.answered(seen.asked_at, unread, seen.undescribed, now)
        self._out.add(Described(seen.asked_at, shared.describe(seen.instances, seen.asked_at)))
        shared.subnets = shared.subnets if seen.subnets is None else seen.subnets
        if not shared.name and self._me.instance_id in shared.instances:
            shared.name = cluster_name(shared.instances[self._me.instance_id].tags)
        if seen.orphans - self._orphans:
            left = ", ".join(sorted(seen.orphans))
            self._out.warning(
                "orphans", f"ours, but not in FLOATING_IP: {left}; `floatingip release --unused` ends them"
            )
        self._orphans = seen.orphans
        shared.mixed, shared.ours = seen.mixed, seen.ours
        for target, address in self._addresses.items():
            if target in seen.unknown:
                continue
            if target in seen.allocations:
                address.found_allocation(seen.allocations[target])
            key = self._way.of_one(ration.TAG, target)
            records = {eni.id: eni.tags[key] for eni in seen.standing if eni.tags.get(key)}
            address.looked(Owner(seen.asked_at, seen.enis.get(target), seen.instances, seen.calls), now, records)
        self._keep_standing(seen)
        self._judge_all()

    def _look_failed(self, failed: LookFailed) -> None:
        for target, interface in failed.interfaces.items():
            self._addresses[target].found_interface(interface)
        self._looking.failed(failed.error, self._now)
        if isinstance(failed.error, Denied):
            for address in self._addresses.values():
                address.fail(failed.error)
        self._judge_all()

    def _keep_standing(self, seen: Seen) -> None:
        """Where addresses move, this node needs a standing ENI in every subnet that has one."""
        if not self._way.has_standing_enis:
            return
        for subnet in filter(None, (address.subnet() for address in self._addresses.values())):
            if subnet.id not in self._standing:
                self._standing[subnet.id] = StandingEni(
                    subnet, self._settings, self._shared, self._out, now=self._now, chance=self._chance
                )
        # Its own could be one that cannot be read: not to be seen is not to be gone.
        if any(eni.standing_for in ("", self._me.instance_id) for eni in seen.unread):
            return
        for standing in self._standing.values():
            instances = None if seen.undescribed else seen.instances
            standing.looked(seen.asked_at, seen.standing, instances, frozenset(seen.enis), seen.calls)
        self._step_standing()

    def _step_standing(self) -> None:
        """Keep the standing ENIs, each of whose device is looked after by the addresses of its subnet."""
        addresses = self._addresses.values()
        holds = any(address.is_here() for address in addresses)
        for standing in self._standing.values():
            # An Elastic IP without an ENI has no address yet that could be looked after.
            of_it = [each for each in addresses if each.subnet() == standing.subnet and each.address() is not None]
            found = {address.has_device() for address in of_it}
            device = True if True in found or not found else False if False in found else None
            standing.step(now=self._now, holds=holds, device=device)

    def _pod_shown(self, own: OwnPod) -> bool:
        """The API server was asked; return whether that is news."""
        before, shared = self._pod, self._shared
        self._pod = pod.learn(before, own, self._stop_at)
        shared.witness_at, shared.ready_at = self._pod.witness_at, pod.ready_at(self._pod)
        problem = self._pod.problem
        if self._unheard.is_due(problem, self._now):
            self._out.warning("kubernetes", f"{_UNKNOWN}: {problem}")
        elif self._pod_problem and not problem:
            self._out.info("kubernetes", "the API server tells of this pod again")
        is_news = problem != self._pod_problem or self._stop_at is not None or self._pod.against != before.against
        self._pod_problem = problem
        return is_news

    # What follows.

    def _step(self, wall: float) -> None:
        """Decide for every address that has any news, or for all when it is time, and ask for what follows."""
        now = self._now
        tick = now >= self._tick_due()
        self._follow_causes()
        self._follow_pod()
        self._follow_peers(tick=tick)
        if self._metadata.are_over(now):
            self._metadata_problem = ""
            self._out.info("imds", "IMDS answers again")
        if tick:
            self._ticked_at = now
            self._judge_all()
            self._serving.follow(self._nodes(), self._shared.node_ports)
            self._shared.served = self._serving.told(now)
            self._step_standing()
        if self._stale:
            self._decide(wall)
        if now >= self._look_due():
            self._looking.begin(now)
        if tick and self._observes:
            self._warn_when_short()
            self._configured.follow(now)
            self._rehearsal.follow(now)
            self._node_ports.follow(now)
        self._publish()
        moving = any(address.is_moving_here() for address in self._addresses.values())
        self._bulletin.follow(self._role(), now, moving=moving)
        self._end_when_done()

    def _tick_due(self) -> float:
        """When all is judged whatever the news."""
        calm = self._stop_at is None and all(address.is_calm() for address in self._addresses.values())
        return self._ticked_at + (timing.CALM_TICK if calm else timing.TICK)

    def _look_due(self) -> float:
        return self._looking.due((standing.now.look_at for standing in self._standing.values()), self._now)

    def _follow_causes(self) -> None:
        """Ask to be relieved of what this node holds, and come last for the rest, as long as anything speaks for it."""
        shared = self._shared
        ends = [cause for cause in (pod.leaving(self._pod, self._stop_at), self._notice) if cause]
        off = self._written_off()
        why = "; ".join([*ends, off] if off else ends)
        if (why, bool(off and not ends)) != (shared.leaving, shared.written_off):
            if shared.leaving and not why:
                self._out.info("leaving", "no longer")
            shared.leaving, shared.written_off = why, bool(off and not ends)
            self._judge_all()
        if self._ending.is_due(why, self._now):
            self._out.warning("leaving", why)

    def _written_off(self) -> str:
        return pod.written_off(self._pod, self._now, self._ready_since)

    def _follow_pod(self) -> None:
        """Ask the API server more often when it matters more."""
        awaited = self._stop_at is not None or pod.is_suspect(self._pod)
        in_doubt = any(address.health.in_doubt for address in self._addresses.values())
        every = timing.POD_AWAITED if awaited else timing.POD_IN_DOUBT if in_doubt else timing.POD_EVERY
        if self._observes and every != self._pod_asked_every:
            self._pod_asked_every = every
            self._out.add(AskPod(every))

    def _follow_peers(self, *, tick: bool) -> None:
        """Ask those who hold an address, and all others, at once when another address is in doubt."""
        doubted = frozenset(text for text, address in self._by_text.items() if address.health.in_doubt)
        if not tick and doubted == self._doubted:
            return
        self._doubted = doubted
        self._ask_peers()

    def _ask_peers(self) -> None:
        holders: dict[str, Address] = {}
        for address in self._addresses.values():
            instance = self._shared.instances.get(address.holder())
            if instance is not None and instance.address is not None:
                holders[instance.id] = instance.address
        self._out.add(AskPeers(holders, self._peers.known(self._now), self._doubted))

    def _nodes(self) -> dict[str, Address]:
        """Where NodePorts are checked: primary addresses by instance id."""
        return {**self._peers.addresses, self._me.instance_id: self._me.address}

    def _decide(self, wall: float) -> None:
        """Judge every address of which there is news, or which was not judged for a while."""
        others = self._peers.others(self._shared.name)
        burden = sum(address.burdens() for address in self._addresses.values())
        for target in [target for target in self._addresses if target in self._stale]:
            address = self._addresses[target]
            address.hear(self._peers.answer(address.holder()), self._now)
            # What one address begins counts for the next one at once: a node claims them one by one.
            burden -= address.burdens()
            was_holder = address.decision.state is State.HOLDER
            address.step(others, burden, now=self._now, wall=wall)
            burden += address.burdens()
            wanted = address.wanted()
            if wanted is not None and wanted != self._kept.get(target):
                self._kept[target] = wanted
                self._out.add(Keep(target, wanted))
            if address.decision.state is State.HOLDER and not was_holder:
                self._out.add(Announce(target))
        self._unshown |= self._stale
        self._stale.clear()
        probings = frozenset[Probing]().union(*(each.probings() for each in self._addresses.values()))
        probings |= self._serving.probings()
        if probings != self._probings:
            self._probings = probings
            self._out.add(Probe(probings))

    def _warn_when_short(self) -> None:
        """Say loudly when the others could not take over all that this node holds, or there are none."""
        now = self._now
        held = sum(address.decision.state is State.HOLDER for address in self._addresses.values())
        others = self._peers.others(self._shared.name)
        slots = [peer.free_slots for peer in others if now - peer.heard_at < timing.LIVE_WITHIN]
        known = [free for free in slots if free is not None]
        short = ""
        if held and slots and len(known) == len(slots) and sum(known) < held:
            short = f"should this node be lost, the others have {sum(known)} free ENI slots for its {held} addresses"
        if self._short.is_due(short, now):
            self._out.warning("capacity", f"{short}; add nodes, or keep more slots free (the VPC CNI's MAX_ENI)")
        was_lonely = self._lonely.is_told
        if self._lonely.is_due("" if slots else LONELY, now):
            self._out.warning("alone", LONELY)
        if was_lonely and slots:
            self._out.info("alone", "another observer answers again")
        self._are_others_short = bool(short) or (self._lonely.is_told and bool(held))

    # The end, and telling.

    def _end_when_done(self) -> None:
        if self._stop_at is not None and self._may_end(self._stop_at):
            self._end(0 if self._observes else SIGTERM_CODE)
        elif not self._observes and self._attaching.has_ended(self._now):
            self._end(0, self._attaching.failure())

    def _may_end(self, stop_at: float) -> bool:
        addresses = self._addresses.values()
        if not self._observes:
            return not ending.is_obliged(addresses, self._now - stop_at)
        off = bool(self._written_off())
        return ending.may_end(addresses, self._pod, stop_at, self._now, self._out, off=off)

    def _end(self, code: int, error: FloatingIPError | None = None) -> None:
        self._ended = True
        self._out.add(End(code, error))

    def _show(self) -> None:
        """Those of which there is news; of the others the same is told as before."""
        for target in self._unshown | self._stale:
            self._shown[target] = shown(self._addresses[target], self._settings, self._wall)
        self._unshown.clear()

    def _publish(self) -> None:
        self._published = self._snapshot()
        if self._published.not_ready():
            self._ready_since = None
        elif self._ready_since is None:
            self._ready_since = self._now
        self._out.add(Publish(self._published))

    def _role(self) -> Role | None:
        """What this node is; None while that is not known."""
        states = {address.decision.state for address in self._addresses.values()}
        return Role.HOLDER if State.HOLDER in states else None if State.START in states else Role.STANDBY

    def _pause_left(self) -> float:
        """Seconds until moves that nobody asked for are allowed again, of the address that waits longest."""
        owners = (each.owner for each in self._addresses.values())
        enis = [owner.eni for owner in owners if owner is not None and owner.eni is not None]
        return max((pause.ends_at(eni.tags, self._wall) - self._wall for eni in enis), default=0.0)

    def _snapshot(self) -> Snapshot:
        """What others may know now."""
        addresses, now, shared = self._addresses.values(), self._now, self._shared
        self._show()
        status = Status(
            name=shared.name,
            instance_id=self._me.instance_id,
            holds={each.text: held for each in addresses if (held := each.held()) is not None},
            sees_up=tuple(filter(None, (each.sees_up() for each in addresses))),
            free_slots=shared.free_slots(),
            served={**shared.served, **{up: each.served(now) for each in addresses if (up := each.sees_up())}},
            leaving=bool(shared.leaving),
            claiming=tuple(each.text for each in addresses if each.decision.reason is Reason.ASSIGNING),
            ending=self._stop_at is not None,
        )
        if status == self._published.status:
            status = self._published.status  # What is the same need not be told anew.
        notes = [LONELY] if self._lonely.is_told else []
        unknown = []
        if self._pod_problem:
            unknown.append(f"{_UNKNOWN}: {self._pod_problem}")
        if (pause_left := self._pause_left()) > 0:
            unknown.append(f"nothing is to move for {ceil(pause_left / 60)} min: `floatingip resume` ends the pause")
        notes += unknown
        if self._configured.note:
            notes.append(self._configured.note)
        if self._node_ports.problem:
            unknown.append(f"which NodePorts there are is not known: {self._node_ports.problem}")
        if self._metadata_problem:
            unknown.append(self._metadata_problem)
        return Snapshot(
            now,
            status,
            tuple(self._shown[target] for target in self._addresses),
            note="; ".join(notes),
            are_others_short=self._are_others_short,
            figures=Figures(
                heard_at=self._peers.heard_at(),
                imds_up=not self._metadata.go_on,
                denied=frozenset(filter(None, (*shared.denied, self._looking.denied))),
            ),
            wall=self._wall,
            carry=self._settings.carry,
            node=self._me.node,
            address=self._me.address,
            leaving=shared.leaving,
            answered_at=self._looking.answered_at,
            unanswered=shared.unanswered,
            unknown=tuple(unknown),
            peers=self._peers.shown(),
        )
