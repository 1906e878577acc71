"""
One overview of all addresses, made of what several observers report and of EC2's own answer, with a verdict.

Pure.  An observer that does not answer is shown as one that could not take over.  `floatingip status` and the page show
the same overview in two ways.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
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
"""The reason of a standby that gets no answer of an address which its holder serves, by which that vouches for it."""

ACTIVE = ("takeover", "claiming", "doubt")
"""States of a node that is about to take an address, or may have to."""

ON_THE_WAY = (AttachmentStatus.ATTACHING, AttachmentStatus.DETACHING)

SILENT = "its observer does not answer"
UNTOLD = "no observer told anything: whether the address answers, and who could take it over, is not known"
EC2_ALONE = (
    "EC2's view only: from here no observer is asked, so whether the address answers, and who could take it over, is"
    " not known"
)
NO_EC2 = "EC2 does not answer as it should, and perhaps nothing could be moved now"


class Verdict(StrEnum):
    """How well an address is.  ``DEGRADED``: it is served, but not safe; ``UNKNOWN``: no observer could tell."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Ec2View:
    """What EC2 itself answered just now of each address, or why that is not known (``problem``).

    ``is_silent``: EC2 was asked, had its time, and did not answer; all else, such as a denial, or that it is not known
    what to ask, says nothing of whether observers could move an address.  ``nodes`` are the names of nodes by their
    instances' ids.  ``unread`` says in sentences which interfaces cannot be read; an address that may be on one of them
    is not among the ``addresses``.  ``undescribed`` says why it is not known of a holder's instance whether that lives.
    ``elastic`` are the Elastic IPs: what is probed for one is the private address.
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

    ``why_not`` is why it could not take the address over, empty where it could, and ``unready_since`` since when, None
    where it did not tell; ``can_take_over`` is None where that is not known.
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
    """One address, as `AddressReport` has it, but as all observers together see it.

    ``health`` is UP if any standby sees the address UP, and UNPROBED if there is no standby to see it.  ``sentence`` is
    the decision that tells most, with the node that made it.  ``findings`` say what is wrong, the worst first.
    ``wrong_since`` is when it stopped answering all of those whom it did answer, or, where it does answer, or never
    did, when its holder began to lack something; None where neither is so.
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
        """The last move that happened, as far as any observer saw; None for none."""
        return next((move for move in reversed(self.moves) if move.happened), None)


@dataclass(frozen=True, slots=True)
class Observer:
    """One observer; ``problem`` is why it told nothing, empty where it told something.  ``clock_ahead`` is by how many
    seconds its node's clock is ahead of that of whoever looks, 0 where they do not differ.
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
    """Everything, at ``time`` (Unix seconds); ``unknown`` says in sentences what could not be learned."""

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

    ``silent`` are the instances whose observers were asked and told nothing, with the reason.  ``ec2`` is None where
    EC2 was not asked.
    """
    ahead = {report.instance: ahead_of(report, time) for report in reports}
    reports = [by_this_clock(report, ahead[report.instance]) for report in reports]
    cast = _Cast(reports, silent or {}, ec2, ahead)
    pictures = tuple(_picture(target, time, cast) for target in targets)
    unknown = [f"{cast.node(each.instance) or each.instance}: {what}" for each in reports for what in each.unknown]
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
    """All who are known: who told what, who is only named by others, who told nothing and why; and what EC2 said."""

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
        """The name of an instance's node, empty where nobody knows it; one that was never heard has EC2's name."""
        report, peer = self.told.get(instance), self.peers.get(instance)
        told = (report.node if report is not None else "") or (peer.node if peer is not None else "")
        return told or self.ec2.nodes.get(instance, "")

    def named(self, sentence: str) -> str:
        """The sentence with the node's name before each instance id of which it is known."""

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
        """The node of an instance that does not hold the address; ``seen`` is how it sees the address, if it told."""
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


def _picture(target: str, time: float, cast: _Cast) -> Picture:
    views = {
        instance: each for instance, report in cast.told.items() for each in report.addresses if each.address == target
    }
    shown = next((each for each in cast.ec2.addresses if each.address == target), None)
    everybody = [*([shown] if shown is not None else []), *sorted(views.values(), key=together.age)]
    holding = [instance for instance, each in sorted(views.items()) if each.health is HealthReport.UNPROBED]
    holder = (shown.holder if shown is not None else "") or next(iter(holding), "")
    holder = holder or next((each.holder for each in everybody), "")
    own = views.get(holder)
    # The newest answer of EC2 counts for what stands in its tags: an older one may tell of what was taken back since.
    best = next(iter(everybody), AddressReport(target))
    # The sentence of a node that is about to act says most, the holder's least.
    tellers = sorted(views, key=lambda i: (i == holder, views[i].state not in ACTIVE, together.age(views[i])))
    sentences = [f"{cast.node(each) or each}: {said}" for each in tellers if (said := views[each].sentence)]
    others = [each for instance, each in views.items() if instance != holder]
    standbys = tuple(cast.standby(target, each, views.get(each)) for each in cast.instances if each != holder)
    since = together.since(holder, everybody)
    moves = together.moves(views.values())
    count = sum(move.happened and time - move.began_at <= RECENT for move in moves)
    picture = Picture(
        address=target,
        verdict=Verdict.UNKNOWN,
        findings=(),
        holder=holder,
        node=cast.node(holder),
        since=since.since if since is not None else None,
        since_at_least=since is not None and since.since_at_least,
        wrong_since=together.wrong_since(own, others),
        health=together.health([each.health for each in others]),
        round_trip=max((each.round_trip for each in others if each.round_trip is not None), default=None),
        node_ports=together.node_ports(others),
        answer_age=best.answer_age,
        sentence=next(iter(sentences), best.sentence),
        standbys=standbys,
        order=best.order,
        moves=moves,
        moves_in_ten_minutes=max(count, *(each.moves_in_ten_minutes for each in everybody), 0),
        rationed_until=best.rationed_until,
        paused_until=best.paused_until,
    )
    if not everybody:
        return replace(picture, findings=("nobody could say anything of it",))
    wrong = next((each.problem for each in (own, shown) if each is not None and each.problem), "")
    is_up = picture.health is HealthReport.UP
    if own is not None and own.holder == holder and own.health is not HealthReport.UNPROBED and not is_up:
        # EC2 has given the address to that node, which knows so, but does not say yet that it carries it.
        wrong = wrong or own.sentence
    if not views and shown is not None and shown.state in ON_THE_WAY:
        wrong = wrong or shown.sentence
    rivals = [each for each in holding if each != holder]
    unshown = shown.sentence if shown is not None and holder and not shown.holder else ""
    lost = [each.reason for each in others if each.health is HealthReport.DOWN]
    vouched = bool(lost) and set(lost) == {BLOCKED} and own is not None and not own.problem
    worst, findings = _judge(picture, time, wrong, unshown, rivals, cast, vouched=vouched)
    if not views and holder and cast.ec2.undescribed and worst is not Verdict.DOWN:
        worst, findings = Verdict.UNKNOWN, (f"whether its holder lives is not known: {cast.ec2.undescribed}", *findings)
    named = tuple(map(cast.named, findings))
    return replace(picture, verdict=worst, findings=named, sentence=cast.named(picture.sentence))


def _lacking(standbys: Sequence[Standby]) -> str:
    """Why none of them could take an address over."""
    why = "; ".join(f"{each.node or each.instance}: {each.why_not}" for each in standbys)
    return why or "there is no other observer; run two replicas, on two workers of its zone"


def _judge(
    picture: Picture,
    time: float,
    problem: str,
    unshown: str,
    rivals: Sequence[str],
    cast: _Cast,
    *,
    vouched: bool,
) -> tuple[Verdict, tuple[str, ...]]:
    """How well the address is, and what is wrong, the worst first.

    ``problem`` is the holder's; ``unshown`` is what EC2 says now that shows nobody with the address, whoever said
    before that he has it; ``rivals`` are other instances that say that they hold the address.  ``vouched``: all whom it
    does not answer hear of its holder that it serves them.
    """
    down, degraded, is_up = list[str](), list[str](), picture.health is HealthReport.UP
    if not picture.holder:
        down.append(f"no node holds it: {picture.sentence}" if picture.sentence else "no node holds it")
    elif picture.health is HealthReport.DOWN:
        (degraded if vouched else down).append(f"it does not answer: {picture.sentence}")
    if problem:
        (degraded if is_up else down).append(f"its holder: {problem}")
    if unshown:
        (down if picture.address in cast.ec2.elastic else degraded).append(unshown)
    if picture.node_ports and not any(answers is not False for answers in picture.node_ports.values()):
        down.append(f"no NodePort answers there: {', '.join(sorted(picture.node_ports))}")
    blind = [each for each in picture.standbys if is_up and each.health is HealthReport.DOWN]
    degraded += [f"{each.node or each.instance} gets no answer of it" for each in blind]
    degraded += [f"{cast.node(each) or each} says that it holds it, too" for each in rivals]
    if cast.silent and not cast.told:
        degraded.append(UNTOLD)
    if cast.told:
        if picture.holder in cast.silent:
            degraded.append(f"its holder: {cast.silent[picture.holder]}")
        if not any(each.can_take_over for each in picture.standbys):
            degraded.append(f"no standby could take it over: {_lacking(picture.standbys)}")
        degraded += [f"{cast.node(i) or i}: {cast.silent[i]}" for i in cast.silent if i != picture.holder]
        leaving = {instance: report.leaving for instance, report in cast.told.items() if report.leaving}
        if picture.holder in leaving:
            degraded.append(f"its holder is leaving: {leaving[picture.holder]}")
        problems = [report.ec2_problem for report in cast.told.values()]
        if cast.ec2.is_silent or all(problems):
            why = dict.fromkeys(problems if all(problems) else [cast.ec2.problem])
            degraded.append(f"{NO_EC2}: {'; '.join(why)}")
    if picture.paused_until is not None and picture.paused_until > time:
        degraded.append(pause.told(picture.paused_until))
    verdict = Verdict.DOWN if down else Verdict.DEGRADED if degraded else Verdict.HEALTHY
    return verdict, (*down, *degraded)
