"""
Run all floating addresses on this node: observe, decide, act, tell.

One thread decides, here; each address has a Watch (watch.py), and all share what is asked once: EC2 with one question
for all of them, the other observers, the kernel.  What may block has a thread of its own and posts what it found to
the inbox, so that a hanging EC2 call never delays a probe, nor a slow nft a decision.  ``attach`` and ``observe`` are
the same loop with different ends.
"""

from __future__ import annotations

import functools
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from queue import Empty, SimpleQueue

from floatingip.agent import pod
from floatingip.agent.backoff import BACKOFF_FIRST, BACKOFF_LAST, BACKOFF_MOVING, Backoff
from floatingip.agent.shared import Shared
from floatingip.agent.trouble import Trouble
from floatingip.core import pace
from floatingip.core.decision import ration
from floatingip.core.decision.decision import Reason, State
from floatingip.core.errors import (
    AddressTaken,
    CloudError,
    ConfigurationError,
    Denied,
    FloatingIPError,
    HostError,
    MetadataError,
    ServicesUnknown,
)
from floatingip.core.model import (
    OWNER_TAG,
    Address,
    Allocation,
    AttachmentStatus,
    Carry,
    Identity,
    Instance,
    Interface,
    Network,
    NodePort,
    Notice,
    Owner,
    OwnPod,
    PlumbingReport,
    PlumbingState,
    Subnet,
    Target,
)
from floatingip.core.ports import Cloud, Host, Metadata, Orders, Prober, Services
from floatingip.core.settings import AUTO, Settings
from floatingip.core.snapshot import LIVE_WITHIN, Snapshot
from floatingip.core.word import Status
from floatingip.edges import background
from floatingip.edges.telemetry import Log, Metrics
from floatingip.runtime.desk import Desk
from floatingip.runtime.look import Question, Seen, cluster_name, look
from floatingip.runtime.peers import Peers
from floatingip.runtime.roster import Roster
from floatingip.runtime.serving import Serving, chosen
from floatingip.runtime.sight import Sights
from floatingip.runtime.status_server import StatusServer
from floatingip.runtime.threads import (
    POD_AWAITED,
    POD_EVERY,
    POD_IN_DOUBT,
    HostKeeper,
    MetadataLoop,
    PodLoop,
    ProbeLoop,
)
from floatingip.runtime.upkeep import Upkeep
from floatingip.runtime.watch import Watch

TICK = 0.25
"""Seconds after which a view is judged again even when nothing happened: time itself decides some rules."""

CALM_TICK = 1.0
"""The same for an address that is held and answers: whatever ends that is news, and is judged at once."""

ATTACH_GIVES_UP = 20.0
"""Seconds without any answer of EC2 after which ``attach`` leaves the rest to ``observe``."""

AHEAD_GIVES_UP = 60.0
"""Seconds after which ``attach`` leaves it to ``observe`` to prepare this node for what another one holds."""

ATTACH_AT_MOST = 120.0
"""Seconds after which ``attach`` leaves whatever is not done to ``observe``: EC2 takes a minute for a move at most."""

UNSOUND_ATTACH_ENDS = 5.0
"""Seconds for which ``attach`` tries to plumb what it holds before it leaves that to ``observe``, which reports it."""

OBLIGED_AT_MOST = 12.0
"""Seconds for which SIGTERM may be put off between a detach and its attach; the manifest's grace period is longer."""

EVICTED_AT_MOST = 10.0
"""Seconds for which a holder whose node ends stays until it is relieved; the manifest's grace period is longer."""

ENDS_UNTOLD, ENDS_HALF_TOLD = 1.0, 3.0
"""Seconds after SIGTERM after which a holder ends that does not know why: the API server has told nothing, or too
little."""

ENDS_WITHIN = 0.5
"""Seconds for the kernel's last change at the end."""

SHORT_FOR = 30.0
"""Seconds for which the others must have lacked room before that is told: an observer that starts has none at first."""

LONELY = "no other observer answers: nobody would take over"
"""What is told of a node that hears of no other observer."""

LOOKS_ON_REQUEST_EVERY = 5.0
"""Seconds between two questions to EC2 that somebody else asked for: nobody may spend our rate of calls."""

BACKOFF_DENIED = 60.0
"""Seconds to wait in peace after IAM denied what is asked for."""

LIST_EVERY = 60.0
"""Seconds between two questions which NodePorts there are."""

REHEARSE_EVERY = 600.0
"""Seconds between two checks whether a takeover would be possible: free slots and permissions."""


@dataclass(frozen=True, slots=True)
class Edges:
    """The world, as the runner needs it; ``prober`` makes one for an address, ``service`` one for a NodePort there;
    ``services`` tells which of these there are.
    """

    cloud: Cloud
    host: Host
    prober: Callable[[Address], Prober]
    metadata: Metadata
    orders: Orders
    service: Callable[[NodePort, Address], Prober] | None = None
    services: Services | None = None


def _named(settings: Settings) -> tuple[NodePort, ...]:
    """The NodePort that the settings name, if they name one."""
    check = settings.service_check
    return () if check is None else (NodePort(check[1], check[2] if check[0] == "http" else ""),)


def _shown(node_port: NodePort) -> str:
    return f"{node_port.port}/{node_port.service}"


class Part(Enum):
    """What a rehearsal finds out; each part fails by itself."""

    PERMISSIONS = auto()
    RESERVATIONS = auto()
    SLOTS = auto()


_News = Callable[[], None]
"""What another thread found, for the deciding one to take in."""

_UNKNOWN = "not known whether Kubernetes ends this pod, or has written its node off"


class Agent:
    """The floating addresses of one deployment on this node."""

    def __init__(self, settings: Settings, me: Identity, edges: Edges, log: Log) -> None:
        self._settings = settings
        self._me = me
        self._edges = edges
        self._log = log
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._alive_at = self._started_at = time.monotonic()
        self._stop_at: float | None = None
        self._pod = pod.PodMemory()
        self._pod_problem = self._notice = ""
        self._ready_since: float | None = None
        self._unsound_since: dict[Target, float] = {}
        groups = settings.security_groups
        self._shared = Shared(me, settings.name, groups or me.security_groups, settings.carry, bool(groups))
        self._upkeeps: dict[str, Upkeep] = {}
        self._probe_loop = ProbeLoop()
        self._watches = {
            target: Watch(
                target,
                index,
                settings,
                self._shared,
                edges.cloud,
                edges.prober,
                self._probe_loop,
                self._hand_over(target),
                self._hand_over_if_new(target),
                log.about(address=target),
                edges.service,
                now=self._alive_at,
                chance=random.uniform,
            )
            for index, target in enumerate(settings.floating_ips)
        }
        self._stale: set[Target] = set(self._watches)
        self._doubted: frozenset[str] = frozenset()
        self._ticked_at = float("-inf")
        self._looking = self._rehearsing = False
        self._answered = False
        self._look_backoff = Backoff(BACKOFF_FIRST, random.uniform)
        self._look_again_at = self._look_again_in_peace_at = self._look_asked_at = float("-inf")
        self._look_wanted_at: float | None = None
        self._asked_ec2_at = float("-inf")
        self._rehearse_at = dict.fromkeys(Part, float("-inf"))
        self._rehearsal_failures: dict[Part, str] = {}
        self._complaint, self._lonely, self._short = Trouble(), Trouble(SHORT_FOR), Trouble(SHORT_FOR)
        self._orphans: frozenset[str] = frozenset()
        self._roster = Roster(me.instance_id, lambda: self._inbox.put(self._ask_about_peers))
        self._peers = Peers(me.instance_id, settings.port, self._hand_over_word)
        self._are_others_short = False
        self._published = Snapshot(self._alive_at, Status(self._shared.name, me.instance_id), starting=True)
        self._server: StatusServer | None = None
        self._shared.node_ports = _named(settings)
        self._shared.wants_node_ports = bool(settings.service)
        self._serving = (
            Serving(edges.service, self._probe_loop, settings.service_interval, settings.service_timeout)
            if edges.service is not None
            else None
        )
        self._listing = False
        self._list_at = float("-inf")
        self._unlisted = ""
        self._unchecked: frozenset[str] = frozenset()
        self._host = HostKeeper(edges.host, self._post_report)
        self._imds = MetadataLoop(
            edges.metadata,
            self._macs_at_risk,
            self._post_addresses,
            self._post_notice,
            self._imds_failed,
            self._imds_recovered,
        )
        self._pod_loop = PodLoop(edges.orders, self._post_pod)

    # The two commands.

    def attach(self) -> int:
        """Return 0 when every address is held somewhere, or EC2 stayed silent; 143 when SIGTERM came first.

        What waiting cannot mend is said, and raised when no address is left that could be served: ``AddressTaken``,
        ``ConfigurationError``, ``Denied``, or ``CloudError`` for a write that EC2 refuses as such.
        """
        self._probe_loop.start()
        self._host.start()
        open_watches = list(self._watches.values())
        while open_watches := [watch for watch in open_watches if not self._attach_ended(watch)]:
            self._step()
            if self._stopping():
                return 128 + signal.SIGTERM
        failures = [failure for watch in self._watches.values() if (failure := self._hopeless(watch)) is not None]
        if len(failures) == len(self._watches):
            raise failures[0]
        for failure in failures:
            self._log.error("attach", f"{failure}; the others are served")
        return 0

    def observe(self) -> int:
        """Keep the addresses on live workers until SIGTERM; the plumbing of a holder stays, so that it goes on serving.

        Raises ``HostError`` when the status port cannot be had.
        """
        self._server = self._serve()
        self._probe_loop.start()
        self._host.start()
        self._imds.start()
        self._pod_loop.start()
        while not self._stopping():
            if self._step():
                self._warn_when_short()
                self._rehearse_when_due()
                self._list_services_when_due()
        self._host.end(ENDS_WITHIN)
        self._log.info("stopped")
        return 0

    def stop(self) -> None:
        """End soon; may be called from a signal handler."""
        self._stop_at = time.monotonic()
        self._inbox.put(self._judge_all)

    def _stopping(self) -> bool:
        if self._stop_at is None:
            return False
        since = time.monotonic() - self._stop_at
        if any(watch.decision.obliged for watch in self._watches.values()):
            return since > OBLIGED_AT_MOST
        holds = any(watch.decision.state is State.HOLDER or watch.is_here() for watch in self._watches.values())
        if self._server is None or not holds:
            return True
        if pod.is_replaced(self._pod, self._stop_at):
            return True
        if pod.leaving(self._pod, self._stop_at) or self._written_off():
            return since > EVICTED_AT_MOST
        at_most = ENDS_HALF_TOLD if pod.has_told(self._pod, self._stop_at) else ENDS_UNTOLD
        if since <= at_most and not pod.is_refused(self._pod, self._stop_at):
            return False
        latest = self._pod.latest
        problem = latest.problem if latest is not None and latest.problem else "the API server has not answered"
        self._log.warning("kubernetes", f"not known whether this pod's node ends: {problem}")
        return True

    def _hopeless(self, watch: Watch) -> FloatingIPError | None:
        """What waiting cannot mend."""
        decision = watch.decision
        if watch.final is not None:
            return watch.final
        refused = [upkeep.writer.final for upkeep in self._upkeeps.values() if upkeep.writer.final is not None]
        if refused and watch.attachment() is None:
            return refused[0]
        if decision.state is State.REFUSED:
            hint = "free it there or choose another address"
            return AddressTaken(f"{watch.target}: {decision.sentence}", hint)
        if decision.reason is Reason.NAME_UNKNOWN:
            return ConfigurationError(decision.sentence)
        if watch.is_known() and decision.reason in (Reason.NO_SUBNET, Reason.CANNOT_CLAIM) and watch.impossible():
            return ConfigurationError(watch.impossible())
        return None

    def _attach_ended(self, watch: Watch) -> bool:
        """There is nothing more that ``attach`` could do for this address."""
        now, decision, attachment = time.monotonic(), watch.decision, watch.attachment()
        if self._hopeless(watch) is not None or decision.reason is Reason.HELD_HERE:
            return True
        if watch.owner is None and now - self._started_at > ATTACH_GIVES_UP:
            seconds = ATTACH_GIVES_UP
            said = f"{watch.not_ready()}; the observer goes on trying"
            self._log.warning("attach", said, address=watch.target, seconds=seconds)
            return True
        if now - self._started_at > ATTACH_AT_MOST:
            said = "not done yet; the observer goes on trying"
            self._log.error("attach", said, address=watch.target, problem=decision.sentence)
            return True
        unsound = watch.report is not None and watch.report.state is PlumbingState.UNSOUND
        if decision.reason is Reason.UNSOUND_HERE or unsound:
            since = self._unsound_since.setdefault(watch.target, now)
            if now - since > UNSOUND_ATTACH_ENDS:
                said = "not plumbed; the observer goes on trying"
                problem = watch.report.problem if watch.report is not None else ""
                self._log.error("attach", said, address=watch.target, problem=problem)
                return True
        held = (AttachmentStatus.ATTACHING, AttachmentStatus.ATTACHED)
        if attachment is None or attachment.instance_id == self._me.instance_id or attachment.status not in held:
            return False
        return self._is_ready_ahead(watch, now)

    def _is_ready_ahead(self, watch: Watch, now: float) -> bool:
        """All that a later takeover would need to find on this node is there, or does not come."""
        if self._settings.carry is Carry.ENI:
            return True
        lacks = watch.obstacle() or ("" if watch.is_plumbed_ahead() else "it is not plumbed yet")
        if lacks and now - self._started_at > AHEAD_GIVES_UP:
            said = "this node could not take the address over; the observer goes on trying"
            self._log.error("attach", said, address=watch.target, problem=lacks)
            return True
        return not lacks

    # The loop.

    def _step(self) -> bool:
        """Wait for news, take all there is, decide for every address that has any, act; return whether it was time."""
        self._take_news()
        now = self._alive_at = time.monotonic()
        self._published = replace(self._published, alive_at=now)
        self._follow_causes()
        doubted = frozenset(str(target) for target, watch in self._watches.items() if watch.health.in_doubt)
        tick = now >= self._tick_due()
        awaited = self._stop_at is not None or pod.is_suspect(self._pod)
        self._pod_loop.ask(every=POD_AWAITED if awaited else POD_IN_DOUBT if doubted else POD_EVERY)
        if tick or doubted != self._doubted:
            self._doubted = doubted
            self._follow_peers()
        if tick:
            self._ticked_at = now
            self._judge_all()
            if self._serving is not None:
                self._serving.follow(self._nodes(), self._shared.node_ports)
                self._shared.served = self._serving.told(now)
            self._step_upkeeps()
        if self._stale:
            self._decide()
            self._published = self._snapshot()
            if self._published.not_ready():
                self._ready_since = None
            elif self._ready_since is None:
                self._ready_since = now
        if not self._looking and time.monotonic() >= self._look_due():
            self._begin_look()
        return tick

    def _tick_due(self) -> float:
        """When all is judged whatever the news."""
        calm = self._stop_at is None and all(watch.is_calm() for watch in self._watches.values())
        return self._ticked_at + (CALM_TICK if calm else TICK)

    def _judge_all(self) -> None:
        self._stale.update(self._watches)

    def _decide(self) -> None:
        """Judge every address of which there is news, or which was not judged for a while."""
        others = self._peers.others(self._shared.name)
        burden = sum(watch.burdens() for watch in self._watches.values())
        for target in [target for target in self._watches if target in self._stale]:
            watch = self._watches[target]
            watch.hear(self._peers.answer(watch.holder()), time.monotonic())
            # What one address begins counts for the next one at once: a node claims them one by one.
            burden -= watch.burdens()
            was_holder = watch.decision.state is State.HOLDER
            watch.step(others, burden, now=time.monotonic(), wall=time.time())
            burden += watch.burdens()
            self._host.want(target, watch.wanted())
            if watch.decision.state is State.HOLDER and not was_holder:
                self._host.announce(target)
        self._stale.clear()

    def _take_news(self) -> None:
        """Take what others found until some of it matters, or something is due; and all that is there by then."""
        due = self._tick_due() if self._looking else min(self._tick_due(), self._look_due())
        try:
            while not self._stale:
                self._inbox.get(timeout=max(0.0, due - time.monotonic()))()
            while True:
                self._inbox.get_nowait()()
        except Empty:
            pass

    def _hand_over(self, target: Target | None = None) -> Callable[[Callable[[], None]], None]:
        """How other threads hand over what they found: about one address, or about all of them."""

        def post(news: Callable[[], None]) -> None:
            def take() -> None:
                news()
                self._stale.update(self._watches if target is None else (target,))

            self._inbox.put(take)

        return post

    def _hand_over_if_new(self, target: Target) -> Callable[[Callable[[], bool]], None]:
        """The same for what mostly says nothing new, such as one more probe that was answered; the news tell."""

        def post(news: Callable[[], bool]) -> None:
            self._inbox.put(lambda: self._stale.add(target) if news() else None)

        return post

    def _hand_over_word(self, news: Callable[[], bool]) -> None:
        """What other observers say matters at once when it is new, and whatever they say for what is in doubt."""

        def take() -> None:
            is_new = news()
            self._stale.update(target for target, watch in self._watches.items() if is_new or watch.health.in_doubt)

        self._inbox.put(take)

    def _look_due(self) -> float:
        dues = [watch.look_due() for watch in self._watches.values()]
        dues += [upkeep.now.look_at for upkeep in self._upkeeps.values()]
        if self._look_wanted_at is not None:
            dues.append(self._look_wanted_at)
        changed_at = self._shared.slots_changed_at
        if changed_at is not None:
            dues.append(self._asked_ec2_at + pace.pause(self._alive_at - changed_at))
        return max(min(dues), self._look_again_at if self._is_troubled() else self._look_again_in_peace_at)

    def _is_troubled(self) -> bool:
        """Something may have to be done now."""
        waiting = (State.START, State.REFUSED)
        return any(not w.is_calm() and w.decision.state not in waiting for w in self._watches.values())

    def _follow_peers(self) -> None:
        holders: dict[str, Address] = {}
        for watch in self._watches.values():
            instance = self._shared.instances.get(watch.holder())
            if instance is not None and instance.address is not None:
                holders[instance.id] = instance.address
        peers = self._roster.follow(self._peers.known(self._alive_at), self._alive_at)
        self._peers.follow(holders, peers, self._doubted)
        self._ask_about_peers()

    def _ask_about_peers(self) -> None:
        """Ask EC2 who those are that call themselves peers, as far as it is to be asked now."""
        asked_at = time.monotonic()
        asked = self._roster.question(asked_at)
        if not asked:
            return

        def job() -> None:
            try:
                instances = self._edges.cloud.describe_instances(asked)
            except CloudError:
                # That EC2 does not answer is told by who looks at the addresses.
                self._inbox.put(lambda: self._roster.unanswered(time.monotonic()))
            else:
                self._inbox.put(lambda: self._peers_shown(asked, asked_at, instances))

        background.start("peers", job)

    def _peers_shown(self, asked: frozenset[str], asked_at: float, instances: Mapping[str, Instance]) -> None:
        self._roster.answered(asked, asked_at, instances)
        self._follow_peers()

    def _post_report(self, target: Target, report: PlumbingReport) -> None:
        self._hand_over(target)(lambda: self._watches[target].reconciled(report, time.monotonic()))

    # EC2: one question for all addresses.

    def _begin_look(self) -> None:
        shared, watches = self._shared, self._watches.values()
        me, known = self._me.instance_id, frozenset(shared.instances)
        judging = shared.slots_changed_at is not None or any(watch.is_judging() for watch in watches)
        judged = frozenset({me, *(watch.holder() for watch in watches)} - {""}) if judging else frozenset()
        question = Question(time.monotonic(), me, shared.name, known, judged, need_subnets=shared.subnets is None)
        self._asked_ec2_at = question.asked_at
        silent = not self._answered

        def job() -> None:
            try:
                seen = look(self._edges.cloud, self._settings, question)
            except CloudError as error:
                failure, interfaces = error, self._interfaces_by_metadata() if silent else {}
                self._hand_over()(lambda: self._look_failed(failure, interfaces))
            else:
                self._hand_over()(lambda: self._looked(seen))

        self._looking = True
        background.start("look", job)
        if silent:
            background.start("look-metadata", self._ask_where_it_is)

    def _ask_where_it_is(self) -> None:
        """While EC2 has never answered: what is on a link of this node must not be carried on when IMDS lacks it, and a
        question to EC2 may hang for as long as it takes somebody else to get the address.
        """
        interfaces = self._interfaces_by_metadata()

        def expect() -> None:
            for target, interface in interfaces.items():
                self._watches[target].expect_at(interface)

        self._hand_over()(expect)

    def _interfaces_by_metadata(self) -> Mapping[Target, Interface]:
        """The links with our addresses, as IMDS shows them."""
        found: dict[Target, Interface] = {}
        for target in self._settings.floating_ips:
            if isinstance(target, Allocation):
                continue
            try:
                interface = self._edges.metadata.interface_with(target)
            except MetadataError as error:
                self._imds.complain(error)
                break
            if interface is not None:
                found[target] = interface
        return found

    def _looked(self, seen: Seen) -> None:
        self._looking = False
        self._answered = True
        problem = "; ".join(sorted({*seen.unknown.values(), *(f"{eni.id}: {eni.unread}" for eni in seen.unread)}))
        if problem:
            # Of some of it nothing is known (R9): it is asked for again, but not all the time.
            self._look_again_later(problem)
        else:
            self._look_backoff.reset()
            self._look_again_at = self._look_again_in_peace_at = float("-inf")
            if seen.undescribed:
                self._complain_of_ec2(seen.undescribed)
            else:
                self._ec2_answers()
        if self._look_wanted_at is not None and seen.asked_at >= self._look_wanted_at:
            self._look_wanted_at = None
        shared = self._shared
        self._roster.shown(seen.asked_at, shared.describe(seen.instances, seen.asked_at))
        shared.subnets = shared.subnets if seen.subnets is None else seen.subnets
        if not shared.name and self._me.instance_id in shared.instances:
            shared.name = cluster_name(shared.instances[self._me.instance_id].tags)
        if seen.orphans - self._orphans:
            left = ", ".join(sorted(seen.orphans))
            self._log.warning(
                "orphans", f"ours, but not in FLOATING_IP: {left}; `floatingip release --unused` ends them"
            )
        self._orphans = seen.orphans
        shared.mixed, shared.ours = seen.mixed, seen.ours
        for target, watch in self._watches.items():
            if target in seen.unknown:
                continue
            if target in seen.allocations:
                watch.found_allocation(seen.allocations[target])
            key = ration.key(target, self._settings.carry)
            records = {eni.id: eni.tags[key] for eni in seen.standing if eni.tags.get(key)}
            owner = Owner(seen.asked_at, seen.enis.get(target), seen.instances, seen.calls)
            watch.looked(owner, time.monotonic(), records)
        self._keep_up(seen)

    def _keep_up(self, seen: Seen) -> None:
        """Where addresses move, this node needs a standing ENI in every subnet that has one."""
        if self._settings.carry is Carry.ENI:
            return
        for subnet in filter(None, (watch.subnet() for watch in self._watches.values())):
            if subnet.id not in self._upkeeps:
                self._upkeeps[subnet.id] = Upkeep(
                    subnet,
                    self._settings,
                    self._shared,
                    self._edges.cloud,
                    self._hand_over(),
                    self._log,
                    now=time.monotonic(),
                    chance=random.uniform,
                )
        # Its own could be one that cannot be read: not to be seen is not to be gone.
        if any(eni.standing_for in ("", self._me.instance_id) for eni in seen.unread):
            return
        for upkeep in self._upkeeps.values():
            instances = None if seen.undescribed else seen.instances
            upkeep.looked(seen.asked_at, seen.standing, instances, frozenset(seen.enis), seen.calls)
        self._step_upkeeps()

    def _step_upkeeps(self) -> None:
        """Keep the standing ENIs, each of whose device is looked after by the addresses of its subnet."""
        watches = self._watches.values()
        holds = any(watch.is_here() for watch in watches)
        for upkeep in self._upkeeps.values():
            # An Elastic IP without an ENI has no address yet that could be looked after.
            of_it = [watch for watch in watches if watch.subnet() == upkeep.subnet and watch.address() is not None]
            found = {watch.has_device() for watch in of_it}
            device = True if True in found or not found else False if False in found else None
            upkeep.step(now=time.monotonic(), holds=holds, device=device)

    def _look_failed(self, error: CloudError, interfaces: Mapping[Target, Interface]) -> None:
        self._looking = False
        for target, interface in interfaces.items():
            self._watches[target].found_interface(interface)
        if isinstance(error, Denied):
            if self._complaint.is_due(str(error), time.monotonic()):
                self._log.error("denied", str(error), action=error.action)
            for watch in self._watches.values():
                watch.fail(error)
            self._shared.unanswered = str(error)
            self._put_off_look(BACKOFF_DENIED)
        else:
            self._look_again_later(str(error))

    def _look_again_later(self, problem: str) -> None:
        """EC2 did not answer, or not so that it could be read: say it once, and ask again after a growing pause."""
        self._complain_of_ec2(problem)
        self._put_off_look(BACKOFF_LAST)

    def _complain_of_ec2(self, problem: str) -> None:
        if self._complaint.is_due(problem, time.monotonic()):
            self._log.warning("ec2", f"{problem}; trying again")
        self._shared.unanswered = problem

    def _ec2_answers(self) -> None:
        if self._complaint.is_told:
            self._log.info("ec2", "EC2 answers again")
        self._complaint, self._shared.unanswered = Trouble(), ""

    def _put_off_look(self, longest: float) -> None:
        """For a pause that grows; what goes wrong meanwhile makes it a short one."""
        now, pause = time.monotonic(), self._look_backoff.pause(longest)
        self._look_again_in_peace_at = now + pause
        self._look_again_at = now + min(pause, BACKOFF_MOVING * random.uniform(0.8, 1.2))

    # IMDS.

    def _macs_at_risk(self) -> frozenset[str]:
        """Called from the thread that asks IMDS."""
        return self._published.macs_at_risk()

    def _post_addresses(self, mac: str, addresses: frozenset[Address] | None, asked_at: float) -> None:
        def found() -> None:
            for target, watch in self._watches.items():
                if watch.found_addresses(mac, addresses or frozenset(), asked_at):
                    self._stale.add(target)

        self._inbox.put(found)

    def _post_notice(self, notice: Notice | None) -> None:
        self._hand_over()(lambda: self._noticed(notice))

    def _noticed(self, notice: Notice | None) -> None:
        self._notice = f"{notice.kind}: {notice.detail}" if notice is not None else ""

    def _imds_failed(self, error: MetadataError) -> None:
        self._log.warning("imds", str(error))

    def _imds_recovered(self) -> None:
        self._log.info("imds", "IMDS answers again")

    # Kubernetes.

    def _post_pod(self, own: OwnPod) -> None:
        def take() -> None:
            is_news = self._pod_shown(own)
            self._stale.update(target for target, watch in self._watches.items() if is_news or watch.health.in_doubt)

        self._inbox.put(take)

    def _pod_shown(self, own: OwnPod) -> bool:
        """The API server was asked; return whether that is news."""
        before, shared = self._pod, self._shared
        self._pod = pod.learn(before, own, self._stop_at)
        shared.witness_at, shared.ready_at = self._pod.witness_at, pod.ready_at(self._pod)
        problem = self._pod.problem
        if problem and problem != self._pod_problem:
            self._log.warning("kubernetes", f"{_UNKNOWN}: {problem}")
        elif self._pod_problem and not problem:
            self._log.info("kubernetes", "the API server tells of this pod again")
        is_news = problem != self._pod_problem or self._stop_at is not None or self._pod.against != before.against
        self._pod_problem = problem
        return is_news

    def _written_off(self) -> str:
        return pod.written_off(self._pod, self._alive_at, self._ready_since)

    def _follow_causes(self) -> None:
        """Ask to be relieved of what this node holds, and come last for the rest, as long as anything speaks for it."""
        shared = self._shared
        ends = [cause for cause in (pod.leaving(self._pod, self._stop_at), self._notice) if cause]
        off = self._written_off()
        why = "; ".join([*ends, off] if off else ends)
        if (why, bool(off and not ends)) != (shared.leaving, shared.written_off):
            if why != shared.leaving:
                self._log.warning("leaving", why) if why else self._log.info("leaving", "no longer")
            shared.leaving, shared.written_off = why, bool(off and not ends)
            self._judge_all()

    # The services.

    def _nodes(self) -> Mapping[str, Address]:
        """Where NodePorts are checked: primary addresses by instance id."""
        return {**self._peers.addresses(), self._me.instance_id: self._me.address}

    def _list_services_when_due(self) -> None:
        """Find out now and then which NodePorts there are."""
        services = self._edges.services
        if services is None or self._settings.service != AUTO or self._listing or self._alive_at < self._list_at:
            return
        post = self._hand_over()

        def job() -> None:
            try:
                found = services.node_ports()
            except ServicesUnknown as error:
                problem = str(error)
                post(lambda: self._services_unknown(problem))
            else:
                post(lambda: self._services_listed(found))

        self._listing = True
        self._list_at = self._alive_at + LIST_EVERY
        background.start("services", job)

    def _services_unknown(self, problem: str) -> None:
        """What is checked goes on being checked."""
        self._listing = False
        if problem != self._unlisted:
            checked = ", ".join(str(each.port) for each in self._shared.node_ports) or "none"
            self._log.warning("services", f"which NodePorts there are is not known: {problem}", checked=checked)
        self._unlisted = problem

    def _services_listed(self, listed: tuple[NodePort, ...]) -> None:
        self._listing, self._unlisted = False, ""
        self._shared.wants_node_ports = bool(listed)
        before = self._shared.node_ports
        answered = self._serving.answered() if self._serving is not None else frozenset()
        now = self._shared.node_ports = chosen(listed, {each.port for each in before}, answered)
        if now != before:
            self._log.info("services", checked=",".join(map(_shown, now)) or "none")
        unchecked = frozenset(map(_shown, listed)) - frozenset(map(_shown, now))
        if unchecked - self._unchecked:
            names = ", ".join(sorted(unchecked))
            self._log.warning("services", f"more NodePorts than are checked at a time; not now: {names}")
        self._unchecked |= unchecked

    # Before the failure.

    def _rehearse_when_due(self) -> None:
        """Find out now and then, and say, whether this node could take an address over."""
        now, mine = time.monotonic(), self._shared.instances.get(self._me.instance_id)
        subnet = next((watch.subnet() for watch in self._watches.values() if watch.subnet() is not None), None)
        due = [part for part, at in self._rehearse_at.items() if now >= at]
        if self._rehearsing or not due or mine is None or subnet is None:
            return
        for part in due:
            self._rehearse_at[part] = now + REHEARSE_EVERY
        parts = self._parts(mine, subnet, now)
        post = self._hand_over()

        def job() -> None:
            for part in due:
                try:
                    post(parts[part]())
                except CloudError as error:
                    post(functools.partial(self._rehearsal_failed, part, error))
            post(self._rehearsed)

        self._rehearsing = True
        background.start("rehearsal", job)

    def _parts(self, mine: Instance, subnet: Subnet, asked_at: float) -> Mapping[Part, Callable[[], _News]]:
        """What each part of a rehearsal asks, in a thread of its own, and what the deciding one makes of the answer."""
        cloud, settings = self._edges.cloud, self._settings
        found = [(eni, target) for target, watch in self._watches.items() if (eni := watch.own_eni()) is not None]
        eni, target = found[0] if found else (None, settings.floating_ips[0])
        tags, known = {OWNER_TAG: self._shared.name}, self._shared.slots

        def slots() -> _News:
            most = known or cloud.describe_slots(mine.type)
            me = cloud.describe_instances(frozenset((mine.id,)))
            return lambda: self._found_slots(most, me, asked_at)

        def permissions() -> _News:
            denied = cloud.rehearse(eni, subnet, mine.id, tags, target, settings.carry)
            return lambda: self._found_denied(denied)

        def reservations() -> _News:
            if settings.carry is Carry.ENI:
                return lambda: self._found_reserved(subnet, None)
            reserved = cloud.describe_reservations(subnet.id)
            return lambda: self._found_reserved(subnet, reserved)

        return {Part.SLOTS: slots, Part.PERMISSIONS: permissions, Part.RESERVATIONS: reservations}

    def _found_slots(self, slots: int, me: Mapping[str, Instance], asked_at: float) -> None:
        self._rehearsal_failures.pop(Part.SLOTS, None)
        self._shared.slots = slots
        self._shared.describe(me, asked_at)
        wanted = any(not watch.burdens() for watch in self._watches.values())
        if wanted and self._shared.carry is Carry.ENI and self._shared.free_slots() == 0:
            self._log.warning("rehearsal", f"this node could take nothing over: all {slots} ENI slots are in use")

    def _found_denied(self, denied: tuple[str, ...]) -> None:
        self._rehearsal_failures.pop(Part.PERMISSIONS, None)
        if denied and denied != self._shared.denied:
            actions = ", ".join(denied)
            self._log.error("rehearsal", f"a takeover would fail: IAM denies {actions}; allow it to this pod's role")
        self._shared.denied = denied
        if denied:
            self._rehearse_at[Part.PERMISSIONS] = time.monotonic() + BACKOFF_DENIED

    def _found_reserved(self, subnet: Subnet, reserved: tuple[Network, ...] | None) -> None:
        """Once: while an address that moves is on no ENI, EC2 may hand it out to a pod."""
        self._rehearsal_failures.pop(Part.RESERVATIONS, None)
        self._rehearse_at[Part.RESERVATIONS] = float("inf")
        if reserved is None:
            return
        for target in self._settings.floating_ips:
            network = None if isinstance(target, Allocation) else subnet.network_of(target)
            if network is not None and not any(target in each for each in reserved):
                advice = f"reserve it: `aws ec2 create-subnet-cidr-reservation --subnet-id {subnet.id}`"
                self._log.warning("reservation", f"EC2 may hand {target} out to a pod while no node has it; {advice}")

    def _rehearsal_failed(self, part: Part, error: CloudError) -> None:
        """A part that failed says nothing of the others, and is tried again soon."""
        self._rehearse_at[part] = time.monotonic() + BACKOFF_DENIED
        is_news = self._rehearsal_failures.get(part) != str(error)
        self._rehearsal_failures[part] = str(error)
        if not isinstance(error, Denied):
            return
        if part is not Part.RESERVATIONS:
            self._shared.denied = (error.action,)
        if is_news and part is Part.RESERVATIONS:
            self._log.warning("reservation", f"not known whether the address is reserved: {error}")
        elif is_news:
            self._log.error("rehearsal", f"not known whether a takeover is possible: {error}")

    def _rehearsed(self) -> None:
        self._rehearsing = False

    def _warn_when_short(self) -> None:
        """Say loudly when the others could not take over all that this node holds, or there are none."""
        held = sum(watch.decision.state is State.HOLDER for watch in self._watches.values())
        slots = [peer.free_slots for peer in self._peers.others(self._shared.name) if self._is_heard(peer.heard_at)]
        known = [free for free in slots if free is not None]
        short = ""
        if held and slots and len(known) == len(slots) and sum(known) < held:
            short = f"should this node be lost, the others have {sum(known)} free ENI slots for its {held} addresses"
        if self._short.is_due(short, self._alive_at):
            self._log.warning("capacity", f"{short}; add nodes, or keep more slots free (the VPC CNI's MAX_ENI)")
        was_lonely = self._lonely.is_told
        if self._lonely.is_due("" if slots else LONELY, self._alive_at):
            self._log.warning("alone", LONELY)
        if was_lonely and slots:
            self._log.info("alone", "another observer answers again")
        are_short = bool(short) or (self._lonely.is_told and bool(held))
        if are_short != self._are_others_short:
            self._are_others_short = are_short
            self._published = self._snapshot()

    def _is_heard(self, heard_at: float) -> bool:
        return self._alive_at - heard_at < LIVE_WITHIN

    # Telling.

    def _serve(self) -> StatusServer:
        settings, me = self._settings, self._me
        desk = Desk(
            me.address,
            lambda: self._published,
            Metrics().text,
            self._look_soon,
            self._roster,
            Sights(settings.port),
        )
        try:
            server = StatusServer(me.address, settings.port, desk.answer, desk.knows)
        except OSError as error:
            raise HostError(
                f"cannot listen on {me.address}:{settings.port}: {error.strerror}", "set `port` to a free one"
            ) from error
        server.start()
        return server

    def _snapshot(self) -> Snapshot:
        """What is published now."""
        watches, now = self._watches.values(), time.monotonic()
        status = Status(
            name=self._shared.name,
            instance_id=self._me.instance_id,
            holds={str(watch.target): held for watch in watches if (held := watch.held()) is not None},
            sees_up=tuple(filter(None, (watch.sees_up() for watch in watches))),
            free_slots=self._shared.free_slots(),
            served={**self._shared.served, **{up: watch.served(now) for watch in watches if (up := watch.sees_up())}},
            leaving=bool(self._shared.leaving),
            claiming=tuple(str(watch.target) for watch in watches if watch.decision.reason is Reason.ASSIGNING),
            ending=self._stop_at is not None,
        )
        notes = [LONELY] if self._lonely.is_told else []
        if self._pod_problem:
            notes.append(f"{_UNKNOWN}: {self._pod_problem}")
        return Snapshot(
            self._alive_at,
            status,
            tuple(watch.snapshot() for watch in watches),
            note="; ".join(notes),
            are_others_short=self._are_others_short,
        )

    def _look_soon(self) -> None:
        """A peer says that EC2 has news; called from the server's thread."""
        self._inbox.put(self._asked_to_look)

    def _asked_to_look(self) -> None:
        if self._alive_at - self._look_asked_at > LOOKS_ON_REQUEST_EVERY:
            self._look_asked_at = self._alive_at
            self._look_wanted_at = self._alive_at
            self._judge_all()
