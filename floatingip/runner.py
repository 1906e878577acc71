"""
Run one floating address on this node: observe, decide, act, tell.

One thread decides, here.  What may block has a thread of its own (threads.py, peers.py) and posts what it found to
the inbox, so that a hanging EC2 call never delays a probe, nor a slow nft a decision.  ``attach`` and ``observe`` are
the same loop with different ends.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from floatingip import health as probing
from floatingip.decide import (
    OWNER_TAG,
    Attach,
    Carry,
    Create,
    Decision,
    Detach,
    Memory,
    Reason,
    State,
    Tag,
    View,
    Write,
    decide,
)
from floatingip.errors import (
    AddressTaken,
    CloudError,
    CloudUnavailable,
    ConfigurationError,
    Denied,
    HostError,
    LookAgain,
    MetadataError,
    NoFreeSlot,
)
from floatingip.health import Health, HealthState
from floatingip.model import (
    Attachment,
    AttachmentStatus,
    Identity,
    Instance,
    Interface,
    Owner,
    Plumbing,
    PlumbingReport,
    PlumbingState,
    ProbeResult,
    Subnet,
)
from floatingip.peers import Peers, Status, StatusServer
from floatingip.ports import Cloud, Host, Metadata, Prober
from floatingip.settings import Settings
from floatingip.telemetry import Log
from floatingip.threads import Backoff, HostKeeper, Lane, ProbeLoop, Wanted

CLUSTER_TAG_PREFIX = "kubernetes.io/cluster/"
CLUSTER_TAG = "eks:cluster-name"
"""Tags by which an EKS worker's instance names its cluster: as the rest of the first one's key, or the second one's
value."""

TICK = 0.25
"""Seconds after which the view is judged again even when nothing happened: time itself decides some rules."""

ATTACH_GIVES_UP = 20.0
"""Seconds without any answer of EC2 after which ``attach`` leaves the rest to ``observe``."""

UNSOUND_ATTACH_ENDS = 5.0
"""Seconds for which ``attach`` tries to plumb what it holds before it leaves that to ``observe``, which reports it."""

OBLIGED_AT_MOST = 12.0
"""Seconds for which SIGTERM may be put off between a detach and its attach; the manifest's grace period is longer."""

ENDS_WITHIN = 0.5
"""Seconds for the kernel's last change at the end."""

FULL_FOR = 60.0
"""Seconds for which an instance without a free ENI slot is not tried again."""

LIVE_WITHIN = 10.0
"""Seconds within which the deciding thread must have come by, or the agent is not alive."""

PEACE_JITTER = 5.0
"""Seconds by which a question to EC2 in peace is put off at random, so that the agents do not ask all at once."""

BACKOFF_FIRST, BACKOFF_LAST, BACKOFF_MOVING, BACKOFF_DENIED = 0.5, 15.0, 2.0, 60.0
"""Seconds to wait after EC2 failed: at first, at most in peace, at most while something is wrong, and after a
denial."""


CALM = frozenset({Reason.ANSWERS, Reason.HELD_HERE})
"""Reasons for which EC2 need not be asked at a certain time."""

JUDGING = frozenset({State.DOUBT, State.STANDBY})
"""States in which the holder's instance matters as well, if its address does not answer."""


@dataclass(frozen=True, slots=True)
class Edges:
    """The world, as the runner needs it."""

    cloud: Cloud
    host: Host
    prober: Prober
    metadata: Metadata


@dataclass
class Move:
    """When each phase of a move to this node was reached, for the one line that sums it up."""

    rule: str
    source: str
    began_at: float
    reached: dict[str, float] = field(default_factory=dict)

    def reach(self, phase: str, at: float) -> None:
        """The phase ends now, unless it did before."""
        self.reached.setdefault(phase, at)

    def durations(self) -> dict[str, float]:
        """Seconds of each phase that took place, in order, and of all together."""
        previous = self.began_at
        spans: dict[str, float] = {}
        for phase in ("detect", "detach", "attach", "plumb"):
            if phase in self.reached:
                spans[phase] = self.reached[phase] - previous
                previous = self.reached[phase]
        return {"duration": previous - self.began_at, **spans}


class Agent:
    """One floating address on this node."""

    def __init__(self, settings: Settings, me: Identity, edges: Edges, log: Log) -> None:
        self._settings = settings
        self._me = me
        self._edges = edges
        self._log = log
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._now = self._started_at = time.monotonic()
        self._stop_at: float | None = None

        self._memory = Memory()
        self._decision = Decision(State.START, Reason.EC2_SILENT, "R9", look_at=self._now)
        self._move: Move | None = None
        self._unsound_since: float | None = None

        self._name = settings.name
        self._owner: Owner | None = None
        self._instances: dict[str, Instance] = {}
        self._subnets: tuple[Subnet, ...] | None = None
        self._interface: Interface | None = None
        self._report: PlumbingReport | None = None
        self._health = Health()
        self._health_since = self._now

        self._look, self._write = Lane("look"), Lane("write")
        self._look_backoff, self._write_backoff = Backoff(BACKOFF_FIRST), Backoff(BACKOFF_FIRST)
        self._look_not_before = self._retry_at = self._wrote_at = self._full_until = float("-inf")
        self._jitter = 0.0
        self._complaint = self._write_complaint = ""
        self._final: CloudError | None = None

        self._peers = Peers(me.instance_id, settings.port, self._inbox.put)
        self._server: StatusServer | None = None
        self._host = HostKeeper(edges.host, lambda report: self._inbox.put(lambda: self._reconciled(report)))
        self._probes = ProbeLoop(
            edges.prober, self._probe_interval, lambda result: self._inbox.put(lambda: self._probed(result))
        )

    # The two commands.

    def attach(self) -> int:
        """Return 0 when the address is held somewhere, or when EC2 stayed silent; 143 when SIGTERM came first.

        Raises what waiting cannot mend: ``AddressTaken``, ``ConfigurationError``, ``Denied``, or ``CloudError`` for a
        write that EC2 refuses as such.
        """
        self._host.start()
        self._probes.start()
        while not self._attach_ended():
            self._step()
            if self._stopping():
                return 128 + signal.SIGTERM
        return 0

    def observe(self) -> int:
        """Keep the address on a live worker until SIGTERM; the plumbing of a holder stays, so that it goes on serving.

        Raises ``HostError`` when the status port cannot be had.
        """
        self._server = self._serve()
        self._host.start()
        self._probes.start()
        while not self._stopping():
            self._step()
        self._host.end(ENDS_WITHIN)
        self._log.info("stopped", address=self._settings.floating_ip)
        return 0

    def stop(self) -> None:
        """End soon; may be called from a signal handler."""
        self._stop_at = time.monotonic()
        self._inbox.put(lambda: None)

    def _stopping(self) -> bool:
        if self._stop_at is None:
            return False
        return not self._decision.obliged or time.monotonic() - self._stop_at > OBLIGED_AT_MOST

    def _attach_ended(self) -> bool:
        decision, attachment = self._decision, self._attachment()
        if self._final is not None:
            raise self._final
        if decision.state is State.REFUSED:
            raise AddressTaken(
                f"{self._settings.floating_ip}: {decision.sentence}", "free it there or choose another address"
            )
        if decision.reason in (Reason.NAME_UNKNOWN, Reason.NO_SUBNET):
            raise ConfigurationError(decision.sentence)
        if self._owner is None and self._now - self._started_at > ATTACH_GIVES_UP:
            self._log.warning("attach", "EC2 has not answered; the observer goes on trying", seconds=ATTACH_GIVES_UP)
            return True
        if decision.reason is Reason.UNSOUND_HERE:
            self._unsound_since = self._unsound_since or self._now
            if self._now - self._unsound_since > UNSOUND_ATTACH_ENDS:
                self._log.error("attach", "held but not plumbed; the observer goes on trying", problem=decision.detail)
                return True
        if decision.reason is Reason.HELD_HERE:
            return True
        held = (AttachmentStatus.ATTACHING, AttachmentStatus.ATTACHED)
        return attachment is not None and attachment.instance_id != self._me.instance_id and attachment.status in held

    # The loop.

    def _step(self) -> None:
        """Wait for news, take all there is, decide once, act."""
        self._take_news()
        self._now = time.monotonic()
        self._follow_attachment()
        before = self._decision
        self._memory, self._decision = decide(self._memory, self._view(), self._settings)
        self._tell(before, self._decision)
        self._act(self._decision)

    def _take_news(self) -> None:
        wait = TICK if self._look.busy else min(TICK, max(0.01, self._look_due() - time.monotonic()))
        try:
            self._inbox.get(timeout=wait)()
            while True:
                self._inbox.get_nowait()()
        except Empty:
            pass

    def _view(self) -> View:
        return View(
            now=self._now,
            wall=time.time(),
            me=self._me.instance_id,
            name=self._name,
            owner=self._owner,
            health=self._health,
            word=self._word,
            peers=self._peers.others(self._name),
            plumbing=self._report,
            obstacle=self._obstacle(),
            writing=self._write.busy,
            wrote_at=self._wrote_at,
            retry_at=self._retry_at,
        )

    def _act(self, decision: Decision) -> None:
        plumbing = self._plumbing()
        self._host.want(Wanted(plumbing, decision.carry is Carry.WITH_THE_LINK) if plumbing else None)
        self._probes.switch(on=not self._link_is_here())
        if decision.write is not None:
            self._begin_write(decision, decision.write)
        if not self._look.busy and time.monotonic() >= self._look_due():
            self._begin_look(judging=decision.state in JUDGING and self._health.in_doubt)

    def _look_due(self) -> float:
        jitter = self._jitter if self._decision.reason in CALM else 0.0
        return max(self._decision.look_at + jitter, self._look_not_before)

    # What is known.

    def _attachment(self) -> Attachment | None:
        return self._owner.eni.attachment if self._owner is not None and self._owner.eni is not None else None

    def _subnet(self) -> Subnet | None:
        return next((s for s in self._subnets or () if self._settings.floating_ip in s.network), None)

    def _obstacle(self) -> str:
        """Why this node could not carry the address at all, or nothing."""
        address, me, subnet = self._settings.floating_ip, self._me, self._subnet()
        if self._subnets is None:
            return "its subnet is not known yet"
        if subnet is None:
            return f"no subnet of {me.vpc_id} contains {address}; set FLOATING_IP to an address of one"
        if subnet.zone != me.zone:
            return (
                f"{address} is in {subnet.id} of zone {subnet.zone}, this node is in zone {me.zone}, and an ENI cannot"
                f" leave its zone; run on nodes of {subnet.zone} only"
            )
        if self._now < self._full_until:
            return f"{me.instance_id} has no free ENI slot; keep one free (the VPC CNI's MAX_ENI)"
        return ""

    def _follow_attachment(self) -> None:
        """Point health, word and questions at the attachment that EC2 showed last."""
        attachment = self._attachment()
        attachment_id, holder = (attachment.id, attachment.instance_id) if attachment else ("", "")
        if attachment_id != self._health.attachment_id:
            self._health = probing.under(self._health, attachment_id)
            self._health_since = self._now
        known = self._instances.get(holder)
        address = known.address if known is not None else None
        askers = self._server.askers() if self._server is not None else {}
        self._peers.follow(holder, address, askers, self._now, doubt=self._health.in_doubt)
        unreachable = known is not None and address is None
        self._word = self._peers.word(self._name, holder, attachment_id, self._now, unreachable=unreachable)

    def _probe_interval(self) -> float:
        doubt = self._health.in_doubt
        return self._settings.probe_fast_interval if doubt else self._settings.probe_interval

    def _probed(self, result: ProbeResult) -> None:
        if result.sent_at >= self._health_since:
            settings = self._settings
            self._health = probing.observe(
                self._health, result, rise=settings.rise, fall=settings.fall, timeout=settings.probe_timeout
            )

    # EC2: looking.

    def _begin_look(self, *, judging: bool) -> None:
        asked_at = time.monotonic()
        cloud, address, me = self._edges.cloud, self._settings.floating_ip, self._me.instance_id
        known, need_subnets, silent = frozenset(self._instances), self._subnets is None, self._owner is None

        def job() -> None:
            try:
                eni = cloud.find_eni(address)
                holder = eni.attachment.instance_id if eni is not None and eni.attachment is not None else ""
                wanted = frozenset(filter(None, (me, holder)))
                instances = cloud.describe_instances(wanted) if judging or not wanted <= known else {}
                subnets = cloud.describe_subnets() if need_subnets else None
            except CloudError as error:
                failure, interface = error, self._interface_by_metadata() if silent else None
                self._inbox.put(lambda: self._look_failed(failure, interface))
            else:
                self._inbox.put(lambda: self._looked(Owner(asked_at, eni, instances), subnets))

        self._look.start(job)

    def _interface_by_metadata(self) -> Interface | None:
        """The link with the address, as IMDS shows it: enough to plumb while EC2 cannot be asked (R9)."""
        try:
            return self._edges.metadata.interface_with(self._settings.floating_ip)
        except MetadataError as error:
            self._log.warning("imds", str(error))
            return None

    def _looked(self, owner: Owner, subnets: tuple[Subnet, ...] | None) -> None:
        self._look.done()
        self._look_backoff.reset()
        self._look_not_before = float("-inf")
        self._jitter = random.uniform(0.0, PEACE_JITTER)
        self._owner = owner
        self._instances.update(owner.instances)
        self._subnets = self._subnets if subnets is None else subnets
        if self._complaint:
            self._complaint = ""
            self._log.info("ec2", "EC2 answers again")
        if not self._name and self._me.instance_id in self._instances:
            self._name = _cluster_name(self._instances[self._me.instance_id].tags)
        if self._move is not None and self._attachment() is None:
            self._move.reach("detach", time.monotonic())

    def _look_failed(self, error: CloudError, interface: Interface | None) -> None:
        self._look.done()
        self._interface = interface or self._interface
        if isinstance(error, Denied):
            pause = BACKOFF_DENIED
            self._deny(error)
        else:
            pause = self._look_backoff.pause(BACKOFF_MOVING if self._health.in_doubt else BACKOFF_LAST)
            if str(error) != self._complaint:
                self._log.warning("ec2", f"{error}; trying again", retry_in=pause)
        self._complaint = str(error)
        self._look_not_before = time.monotonic() + pause

    def _deny(self, error: Denied) -> None:
        if str(self._final) != str(error):
            self._log.error("denied", str(error), action=error.action)
        self._final = error

    # EC2: writing.

    def _begin_write(self, decision: Decision, write: Write) -> None:
        if self._move is None and isinstance(write, Attach | Detach) and decision.rule != "R13":
            self._begin_move(decision, write)

        def job() -> None:
            began = time.monotonic()
            try:
                self._perform(write)
            except CloudError as error:
                failure = error
                self._inbox.put(lambda: self._write_failed(write, failure))
            else:
                seconds = time.monotonic() - began
                self._inbox.put(lambda: self._wrote(write, seconds))

        self._write.start(job)

    def _begin_move(self, decision: Decision, write: Attach | Detach) -> None:
        attachment = self._attachment()
        source = attachment.instance_id if attachment is not None else "none"
        lost_at = self._health.first_lost_at if isinstance(write, Detach) else None
        self._move = Move(decision.rule, source, self._now if lost_at is None else lost_at)
        self._move.reach("detect", self._now)
        self._log.info(
            "takeover" if isinstance(write, Detach) else "claim",
            decision.sentence,
            rule=decision.rule,
            attachment=attachment.id if attachment is not None else "none",
            source=source,
            detect=self._now - self._move.began_at,
        )

    def _perform(self, write: Write) -> None:
        cloud, address, subnet = self._edges.cloud, self._settings.floating_ip, self._subnet()
        match write:
            case Create():
                if subnet is None:
                    raise LookAgain(f"the subnet of {address} is not known")
                tags = {
                    "Name": f"floatingip {self._name} {address}",
                    OWNER_TAG: self._name,
                    # The VPC CNI leaves an interface alone only if this tag is there from the first moment.
                    "node.k8s.amazonaws.com/no_manage": "true",
                }
                cloud.create_eni(address, subnet, tags)
            case Attach(eni_id):
                mine = self._instances.get(self._me.instance_id)
                cloud.attach_eni(eni_id, self._me.instance_id, mine.device_indexes if mine else frozenset())
            case Detach(attachment_id, force):
                cloud.detach_eni(attachment_id, force=force)
            case Tag(eni_id, key, value):
                cloud.tag_eni(eni_id, {key: value})

    def _wrote(self, write: Write, seconds: float) -> None:
        self._write.done()
        self._wrote_at = time.monotonic()
        self._write_backoff.reset()
        self._write_complaint = ""
        self._log.info("write", "EC2 accepted", write=str(write), seconds=seconds)

    def _write_failed(self, write: Write, error: CloudError) -> None:
        self._write.done()
        now = self._wrote_at = time.monotonic()
        match error:
            case LookAgain():
                self._log.info("write", f"{error}; looking again", write=str(write))
            case Denied():
                self._retry_at = now + BACKOFF_DENIED
                self._deny(error)
            case NoFreeSlot():
                self._full_until = now + FULL_FOR
                self._log.error("write", str(error), write=str(write))
            case CloudUnavailable():
                self._retry_at = now + self._write_backoff.pause(BACKOFF_MOVING)
                self._complain(write, error)
            case _:
                self._final = error
                self._retry_at = now + self._write_backoff.pause(BACKOFF_LAST)
                self._complain(write, error)

    def _complain(self, write: Write, error: CloudError) -> None:
        """Say what went wrong once, not with each retry."""
        if str(error) != self._write_complaint:
            self._log.error("write", f"{error}; looking again", write=str(write))
        self._write_complaint = str(error)

    # The kernel.

    def _link_is_here(self) -> bool:
        return self._report is not None and self._report.state is not PlumbingState.NO_LINK

    def _plumbing(self) -> Plumbing | None:
        """What this node would need to carry the address, as far as that is known."""
        settings, subnet = self._settings, self._subnet()
        if self._owner is None and self._interface is not None:
            mac, network = self._interface.mac, self._interface.network
        elif self._owner is not None and self._owner.eni is not None and subnet is not None:
            mac, network = self._owner.eni.mac, subnet.network
        else:
            return None
        # The VPC router has the first address behind the subnet's own.
        gateway = network[1]
        return Plumbing(
            settings.floating_ip, mac, gateway, self._me.mac, settings.table, settings.priority, settings.mark
        )

    def _reconciled(self, report: PlumbingReport) -> None:
        problem_before = self._report.problem if self._report is not None else ""
        self._report = report
        if report.removed:
            self._log.info("unplumbed", "the address is not here any more", removed=",".join(report.removed))
        if report.repaired:
            self._log.info("plumbed", "brought the kernel to what it should be", repaired=",".join(report.repaired))
        if report.problem and report.problem != problem_before:
            self._log.error("plumbing", report.problem)
        if self._move is not None and self._link_is_here():
            self._move.reach("attach", time.monotonic())

    # Telling.

    def _serve(self) -> StatusServer:
        settings, me = self._settings, self._me
        try:
            server = StatusServer(
                me.address, settings.port, settings.floating_ip, self._status, self._not_live, self._not_ready
            )
        except OSError as error:
            raise HostError(
                f"cannot listen on {me.address}:{settings.port}: {error.strerror}", "set `port` to a free one"
            ) from error
        server.start()
        return server

    def _status(self) -> Status:
        """What this observer says of itself; called from the server's threads."""
        decision, health = self._decision, self._health
        if decision.state is State.HOLDER:
            problem = "" if decision.reason is Reason.HELD_HERE else decision.sentence
            return Status(self._name, self._me.instance_id, decision.attachment_id, problem)
        sees_up = health.attachment_id if health.state is HealthState.UP else ""
        return Status(self._name, self._me.instance_id, sees_up=sees_up)

    def _not_live(self) -> str:
        silent_for = time.monotonic() - self._now
        return f"the deciding thread was last seen {silent_for:.0f} s ago" if silent_for > LIVE_WITHIN else ""

    def _not_ready(self) -> str:
        """Why this node could neither serve nor take over, or nothing."""
        decision = self._decision
        if decision.state in (State.START, State.REFUSED):
            return decision.sentence
        if decision.state is State.HOLDER:
            return "" if decision.reason is Reason.HELD_HERE else decision.sentence
        return self._obstacle()

    def _tell(self, before: Decision, now: Decision) -> None:
        """One line for each new decision, and one for each finished move."""
        if (now.state, now.reason, now.rule, now.attachment_id) != (
            before.state,
            before.reason,
            before.rule,
            before.attachment_id,
        ):
            attachment = now.attachment_id or "none"
            self._log.info(
                "decision", now.sentence, state=now.state, rule=now.rule, reason=now.reason.name, attachment=attachment
            )
        move = self._move
        if move is None:
            return
        if now.reason is Reason.HELD_HERE:
            move.reach("plumb", self._now)
            self._log.info("failover", rule=move.rule, source=move.source, to=self._me.instance_id, **move.durations())
            self._move = None
        elif now.state in (State.STANDBY, State.REFUSED):
            self._log.info("lost-race", "another node has the address now", rule=move.rule)
            self._move = None


def _cluster_name(tags: Mapping[str, str]) -> str:
    """The EKS cluster that an instance's tags name, or nothing."""
    names = [tag.removeprefix(CLUSTER_TAG_PREFIX) for tag in tags if tag.startswith(CLUSTER_TAG_PREFIX)]
    return names[0] if names else tags.get(CLUSTER_TAG, "")
