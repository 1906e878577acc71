"""
One overview of all addresses, with a verdict, made of several observers' reports and of EC2's own answer.

Pure.  An observer that does not answer is shown as one that could not take over.  `floatingip status` and the page show
the same overview in two ways.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from floatingip.core import together
from floatingip.core.clocks import ahead_of, by_this_clock
from floatingip.core.decision import pause
from floatingip.core.decision.decision import Reason
from floatingip.core.ec2 import AttachmentStatus
from floatingip.core.move import Move
from floatingip.core.report import AddressReport, HealthReport, OrderReport, PeerReport, Report
from floatingip.core.status import RECENT, move_document

BLOCKED = Reason.PROBE_BLOCKED.name
"""The reason of a standby to which an address does not answer although the holder vouches for the address."""

ACTIVE = ("takeover", "claiming", "doubt")
"""States of a node that is about to take an address, or may have to."""

ON_THE_WAY = (AttachmentStatus.ATTACHING, AttachmentStatus.DETACHING)

SILENT = "its observer does not answer"
UNTOLD = "no observer told anything: whether the address answers, and who could take it over, is not known"
EC2_ALONE = (
    "EC2's view only: from here no observer is asked, so whether the address answers, and who could take it over, is"
    " not known"
)
ALONE = "there is no other observer; run two replicas, on two workers of its zone"
NO_EC2 = "EC2 does not answer as it should, and perhaps nothing could be moved now"


class Verdict(StrEnum):
    """How well an address is.  ``DEGRADED``: it is served, but not safely; ``UNKNOWN``: no observer could tell."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"
    DOWN = "down"


Charge = tuple[Verdict, str]
"""What is wrong with an address, in a sentence, and how well it is by that alone."""


@dataclass(frozen=True, slots=True)
class Ec2View:
    """What EC2 itself has just answered about each address, or why that is not known (``problem``).

    ``is_silent``: EC2 was asked, was given enough time, and did not answer.  Any other problem, such as a denial, or
    that the caller did not know what to ask, does not tell whether observers could move an address.  ``nodes`` has the
    names of nodes by instance id.  ``unread`` says in sentences which interfaces could not be read; an address that may
    be on one of them is not among the ``addresses``.  ``undescribed`` says why it is not known whether a holder's
    instance is alive.  ``elastic`` are the Elastic IPs; for these the private address is probed.
    """

    problem: str = ""
    is_silent: bool = False
    addresses: tuple[AddressReport, ...] = ()
    nodes: Mapping[str, str] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    undescribed: str = ""
    elastic: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Standby:
    """A node that does not hold an address, and how it sees that.

    ``why_not`` is why it could not take the address over, empty if it could, and ``unready_since`` since when that has
    been so, None if it did not tell.  ``can_take_over`` is None if that is not known.
    """

    instance: str
    node: str
    health: HealthReport
    round_trip: float | None
    can_take_over: bool | None
    why_not: str
    unready_since: float | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """One address as all observers together see it.  Fields without an explanation are as in `AddressReport`.

    ``health`` is UP if any standby sees the address UP, and UNPROBED if there is no standby to see it.  ``sentence`` is
    the decision that tells most, with the node that made it.  ``findings`` say what is wrong, the worst first.
    ``wrong_since`` is when the address stopped answering the last of the observers that it did answer.  If it answers
    or never did, that is when its holder began to lack something; None if it lacks nothing.
    """

    address: str
    verdict: Verdict
    findings: tuple[str, ...]
    holder: str
    node: str
    since: float | None
    since_at_least: bool
    wrong_since: float | None
    health: HealthReport
    round_trip: float | None
    node_ports: Mapping[str, bool | None]
    answer_age: float | None
    sentence: str
    standbys: tuple[Standby, ...]
    order: OrderReport | None
    moves: tuple[Move, ...]
    moves_in_ten_minutes: int
    rationed_until: float | None
    paused_until: float | None

    @property
    def last_move(self) -> Move | None:
        """The last move that happened, as far as any observer saw; None if none saw any."""
        return next((move for move in reversed(self.moves) if move.happened), None)


@dataclass(frozen=True, slots=True)
class Observer:
    """One observer; ``problem`` is why it told nothing, empty if it did tell something.  ``clock_ahead`` is by how many
    seconds its node's clock is ahead of the reader's, 0 if they agree.
    """

    instance: str
    node: str
    address: str
    problem: str
    leaving: str
    answer_age: float | None
    ec2_problem: str
    clock_ahead: float = 0.0


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole overview, at ``time`` (Unix seconds); ``unknown`` says in sentences what could not be found out."""

    time: float
    name: str
    carry: str
    verdict: Verdict
    addresses: tuple[Picture, ...]
    observers: tuple[Observer, ...]
    unknown: tuple[str, ...]


_WORST = tuple(Verdict)
_INSTANCE_ID = re.compile(r"\bi-[0-9a-f]+\b")


def document(seen: Overview) -> dict[str, object]:
    """The overview for JSON, as docs/status.md describes it."""
    addresses = [{**asdict(each), "moves": [move_document(move) for move in each.moves]} for each in seen.addresses]
    return {**asdict(seen), "addresses": addresses}


def overview(
    time: float,
    name: str,
    targets: Sequence[str],
    reports: Sequence[Report],
    silent: Mapping[str, str] | None = None,
    ec2: Ec2View | None = None,
) -> Overview:
    """The overview of ``targets``.

    ``silent`` has the instances whose observers were asked and told nothing, with the reason.  ``ec2`` is None if EC2
    was not asked.
    """
    ahead = {report.instance: ahead_of(report, time) for report in reports}
    reports = [by_this_clock(report, ahead[report.instance]) for report in reports]
    cast = _Cast(reports, silent or {}, ec2, ahead)
    pictures = tuple(_Told(target, time, cast).picture() for target in targets)
    unknown = [f"{cast.called(each.instance)}: {what}" for each in reports for what in each.unknown]
    if ec2 is not None:
        problems = (ec2.problem, *ec2.unread, ec2.undescribed)
        unknown[:0] = [f"what EC2 says now: {problem}" for problem in problems if problem]
    if not reports:
        unknown.insert(0, UNTOLD if silent else EC2_ALONE)
    verdict = max((picture.verdict for picture in pictures), key=_WORST.index, default=Verdict.UNKNOWN)
    carry = next((report.carry for report in reports), "")
    observers = tuple(map(cast.observer, cast.instances))
    return Overview(time, name, carry, verdict, pictures, observers, tuple(unknown))


class _Cast:
    """All known observers: those that reported, those only named by others, those that told nothing, and why; and what
    EC2 said.
    """

    def __init__(
        self, reports: Sequence[Report], silent: Mapping[str, str], ec2: Ec2View | None, ahead: Mapping[str, float]
    ) -> None:
        self._ahead = ahead
        self.told = {report.instance: report for report in reports}
        self.peers: dict[str, PeerReport] = {}
        for peer in (peer for report in reports for peer in report.peers):
            before = self.peers.get(peer.instance)
            if before is None or _heard(peer) < _heard(before):
                self.peers[peer.instance] = peer
        silenced = {instance: SILENT for instance, peer in self.peers.items() if peer.silent}
        self.silent = {i: why for i, why in {**silenced, **silent}.items() if i not in self.told}
        self.ec2 = ec2 or Ec2View()
        self.instances = sorted({*self.told, *self.peers, *self.silent})

    def node(self, instance: str) -> str:
        """The name of an instance's node, empty if nobody knows it; for one that was never heard it is EC2's name."""
        report, peer = self.told.get(instance), self.peers.get(instance)
        told = (report.node if report is not None else "") or (peer.node if peer is not None else "")
        return told or self.ec2.nodes.get(instance, "")

    def called(self, instance: str) -> str:
        """The name of an instance's node, or its own where nobody knows that."""
        return self.node(instance) or instance

    def named(self, sentence: str) -> str:
        """The sentence, with the node's name put before each instance id whose node is known."""

        def both(found: re.Match[str]) -> str:
            node = self.node(found[0])
            return f"{node} ({found[0]})" if node else found[0]

        return _INSTANCE_ID.sub(both, sentence)

    def observer(self, instance: str) -> Observer:
        """The observer on this instance."""
        report, peer, node = self.told.get(instance), self.peers.get(instance), self.node(instance)
        if report is not None:
            said = report.leaving, report.answer_age, report.ec2_problem, self._ahead[instance]
            return Observer(instance, node, report.node_address, "", *said)
        problem = self.silent.get(instance, "it was not asked")
        return Observer(instance, node, peer.address if peer is not None else "", problem, "", None, "")

    def standby(self, target: str, instance: str, seen: AddressReport | None) -> Standby:
        """The standby on this instance, for the address ``target``; ``seen`` is its report of that, None for none."""
        report, peer, node = self.told.get(instance), self.peers.get(instance), self.node(instance)
        if report is not None:
            why = "its observer is starting" if report.starting else ""
            why = why or (seen.why_not if seen is not None else "its settings do not name this address")
            health, round_trip = (seen.health, seen.round_trip) if seen is not None else (HealthReport.UNKNOWN, None)
            since = seen.unready_since if seen is not None else None
            return Standby(instance, node, health, round_trip, not why, why, since)
        why = self.silent.get(instance, "")
        if not why and peer is not None:
            why = "its node is about to end" if peer.leaving else peer.why_not.get(target, "")
        return Standby(instance, node, HealthReport.UNKNOWN, None, False if why else None, why or "it was not asked")


def _heard(peer: PeerReport) -> float:
    return float("inf") if peer.heard_age is None else peer.heard_age


class _Told:
    """What all who know of one address tell of it, EC2 among them; ``picture`` is what that comes to.

    ``views`` are the observers' by instance, and ``own`` is the holder's; ``shown`` is EC2's.  ``newest`` is by the
    newest answer of EC2: that counts for what stands in its tags, as an older one may tell of what was taken back.
    """

    def __init__(self, target: str, time: float, cast: _Cast) -> None:
        told = ((instance, each) for instance, report in cast.told.items() for each in report.addresses)
        self.target, self.time, self.cast = target, time, cast
        self.views = {instance: each for instance, each in told if each.address == target}
        self.shown = next((each for each in cast.ec2.addresses if each.address == target), None)
        seen = sorted(self.views.values(), key=together.age)
        self.everybody = [self.shown, *seen] if self.shown is not None else seen
        self.newest = next(iter(self.everybody), AddressReport(target))
        self.holding = sorted(i for i, each in self.views.items() if each.health is HealthReport.UNPROBED)
        shown = self.shown.holder if self.shown is not None else ""
        self.holder = shown or next(iter(self.holding), self.newest.holder)
        self.own = self.views.get(self.holder)
        self.others = [each for instance, each in self.views.items() if instance != self.holder]
        standbys = (each for each in cast.instances if each != self.holder)
        self.standbys = tuple(cast.standby(target, each, self.views.get(each)) for each in standbys)
        self.health = together.health([each.health for each in self.others])
        self.node_ports = together.node_ports(self.others)

    def picture(self) -> Picture:
        """The address as all of them together see it."""
        verdict, findings = self._judged()
        since = together.since(self.holder, self.everybody)
        moves = together.moves(self.views.values())
        count = sum(move.happened and self.time - move.began_at <= RECENT for move in moves)
        return Picture(
            address=self.target,
            verdict=verdict,
            findings=tuple(map(self.cast.named, findings)),
            holder=self.holder,
            node=self.cast.node(self.holder),
            since=since.since if since is not None else None,
            since_at_least=since is not None and since.since_at_least,
            wrong_since=together.wrong_since(self.own, self.others),
            health=self.health,
            round_trip=max((each.round_trip for each in self.others if each.round_trip is not None), default=None),
            node_ports=self.node_ports,
            answer_age=self.newest.answer_age,
            sentence=self.cast.named(self._sentence()),
            standbys=self.standbys,
            order=self.newest.order,
            moves=moves,
            moves_in_ten_minutes=max(count, *(each.moves_in_ten_minutes for each in self.everybody), 0),
            rationed_until=self.newest.rationed_until,
            paused_until=self.newest.paused_until,
        )

    def _sentence(self) -> str:
        """That of a node that is about to act says most, the holder's least."""
        views = self.views
        tellers = sorted(views, key=lambda i: (i == self.holder, views[i].state not in ACTIVE, together.age(views[i])))
        sentences = (f"{self.cast.called(each)}: {said}" for each in tellers if (said := views[each].sentence))
        return next(sentences, self.newest.sentence)

    def _judged(self) -> tuple[Verdict, tuple[str, ...]]:
        """How well the address is, and what is wrong, the worst first."""
        if not self.everybody:
            return Verdict.UNKNOWN, ("nobody could say anything of it",)
        charges = [*self._of_the_address(), *self._of_its_holder(), *self._of_the_others(), *self._of_moving_it()]
        if not self.views and self.holder and (why := self.cast.ec2.undescribed):
            charges.append((Verdict.UNKNOWN, f"whether its holder lives is not known: {why}"))
        charges.sort(key=lambda charge: _WORST.index(charge[0]), reverse=True)
        return next((worst for worst, _ in charges), Verdict.HEALTHY), tuple(said for _, said in charges)

    def _of_the_address(self) -> Iterator[Charge]:
        """Nobody holds it, it does not answer, or its holder does not serve it."""
        shown, is_up = self.shown, self.health is HealthReport.UP
        if not self.holder and all(each.answer_age is None for each in self.everybody):
            yield Verdict.UNKNOWN, f"who holds it is not known: {self._sentence()}"
        elif not self.holder:
            said = self._sentence()
            yield Verdict.DOWN, f"no node holds it: {said}" if said else "no node holds it"
        elif self.health is HealthReport.DOWN:
            yield Verdict.DEGRADED if self._is_vouched() else Verdict.DOWN, f"it does not answer: {self._sentence()}"
        if problem := self._problem():
            yield Verdict.DEGRADED if is_up else Verdict.DOWN, f"its holder: {problem}"
        if self.holder and shown is not None and not shown.holder and shown.sentence:
            # Whoever said before that he has it.  What is probed for an Elastic IP is another address.
            yield Verdict.DOWN if self.target in self.cast.ec2.elastic else Verdict.DEGRADED, shown.sentence
        if self.node_ports and not any(answers is not False for answers in self.node_ports.values()):
            yield Verdict.DOWN, f"no NodePort answers there: {', '.join(sorted(self.node_ports))}"
        for each in self.standbys:
            if is_up and each.health is HealthReport.DOWN:
                yield Verdict.DEGRADED, f"{each.node or each.instance} gets no answer of it"

    def _is_vouched(self) -> bool:
        """Whether all whom it does not answer hear of its holder that it serves them."""
        lost = {each.reason for each in self.others if each.health is HealthReport.DOWN}
        return lost == {BLOCKED} and self.own is not None and not self.own.problem

    def _problem(self) -> str:
        """Why its holder does not serve it; empty where it does, as far as anybody tells."""
        own, shown = self.own, self.shown
        if problem := next((each.problem for each in (own, shown) if each is not None and each.problem), ""):
            return problem
        is_up, holds = self.health is HealthReport.UP, own is not None and own.health is HealthReport.UNPROBED
        if own is not None and own.holder == self.holder and not holds and not is_up:
            # EC2 has given the address to that node, which knows so, but does not say yet that it carries it.
            return own.sentence
        return shown.sentence if not self.views and shown is not None and shown.state in ON_THE_WAY else ""

    def _of_its_holder(self) -> Iterator[Charge]:
        """Others say that they hold it as well, or its holder's observer tells nothing."""
        for rival in (each for each in self.holding if each != self.holder):
            yield Verdict.DEGRADED, f"{self.cast.called(rival)} says that it holds it, too"
        if self.cast.silent and not self.cast.told:
            yield Verdict.DEGRADED, UNTOLD
        elif why := self.cast.silent.get(self.holder, ""):
            yield Verdict.DEGRADED, f"its holder: {why}"

    def _of_the_others(self) -> Iterator[Charge]:
        """Nobody could take it over, or an observer tells nothing; as far as any observer tells at all."""
        if not self.cast.told:
            return
        if not any(each.can_take_over for each in self.standbys):
            why = "; ".join(f"{each.node or each.instance}: {each.why_not}" for each in self.standbys)
            yield Verdict.DEGRADED, f"no standby could take it over: {why or ALONE}"
        for instance in (each for each in self.cast.silent if each != self.holder):
            yield Verdict.DEGRADED, f"{self.cast.called(instance)}: {self.cast.silent[instance]}"

    def _of_moving_it(self) -> Iterator[Charge]:
        """It should be moved, or could not be."""
        cast, holders = self.cast, self.cast.told.get(self.holder)
        if holders is not None and holders.leaving:
            yield Verdict.DEGRADED, f"its holder is leaving: {holders.leaving}"
        problems = [report.ec2_problem for report in cast.told.values()]
        if problems and (cast.ec2.is_silent or all(problems)):
            why = dict.fromkeys(problems if all(problems) else [cast.ec2.problem])
            yield Verdict.DEGRADED, f"{NO_EC2}: {'; '.join(why)}"
        paused_until = self.newest.paused_until
        if paused_until is not None and paused_until > self.time:
            yield Verdict.DEGRADED, pause.told(paused_until)
