"""
Deciders without a world around them: what one observer sees, told in words; and several of them on a small model EC2.

An ``Observer`` is fed by hand, at times that the test chooses, and shows what it decides as one line of text.  A
``Region`` lets several decide by their real code against the least of EC2: one ENI, whose attachment is the lock.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any

from floatingip.core import health as probing
from floatingip.core.decision.decide import decide
from floatingip.core.decision.decision import Decision, Reason, Rule, State
from floatingip.core.decision.evidence import REACHED_TAG
from floatingip.core.decision.view import Memory, View
from floatingip.core.ec2 import Attachment, AttachmentStatus, Eni, Instance, InstanceState, Owner
from floatingip.core.health import Health
from floatingip.core.peer import Peer, Sight, Word, WordState
from floatingip.core.plumbing import Extent, PlumbingReport, PlumbingState
from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.core.settings import Settings
from floatingip.core.writes import (
    Assign,
    AssignAny,
    Associate,
    Attach,
    CheckSource,
    Create,
    Delete,
    Detach,
    KeepAfterTermination,
    SetGroups,
    Tag,
    Unassign,
    Write,
)

ADDRESS = IPv4Address("10.0.0.100")
SETTINGS = Settings((ADDRESS,), fall=5)
"""A short transcript suffices for a verdict."""
NAME, ENI, ZONE = "cluster", "eni-1", "us-west-2-lax-1a"
WALL = 1_764_000_000
"""Unix time at which an observer's own clock shows 0."""


REACHED = str(WALL + 1_000_000)
"""What is told of workers that reach each other: later than anything else."""


def eni(attachment: Attachment | None = None, *, moves: str = "", name: str = NAME, reached: str = REACHED) -> Eni:
    """The ENI as EC2 would show it."""
    told = {"floatingip/moves": moves, REACHED_TAG: reached}
    tags = {"floatingip": name, **{key: value for key, value in told.items() if value}}
    return Eni(ENI, "02:00:00:00:00:64", ADDRESS, "subnet-1", ZONE, attachment, tags)


def instance(instance_id: str, state: str = "running") -> Instance:
    """A worker as EC2 would show it."""
    return Instance(instance_id, InstanceState(state), IPv4Address("10.0.0.10"), ZONE, frozenset({0}))


def written(write: Write | None) -> str:
    """A write in short."""
    match write:
        case None:
            return ""
        case Create(generation):
            return f"create:{generation}" if generation else "create"
        case Attach():
            return "attach"
        case Detach(attachment_id, force):
            return f"{'force' if force else 'detach'}:{attachment_id}"
        case Delete(eni_id):
            return f"delete:{eni_id}"
        case Assign(eni_id, _, reassign):
            return f"{'move' if reassign else 'assign'}:{eni_id}"
        case AssignAny(eni_id):
            return f"assign-any:{eni_id}"
        case Unassign(eni_id):
            return f"unassign:{eni_id}"
        case Tag(_, key, value) if key == REACHED_TAG:
            return "reached"
        case Tag(_, _, value):
            return f"tag:{value}"
        case Associate(allocation_id):
            return f"associate:{allocation_id}"
        case SetGroups(_, groups):
            return f"groups:{','.join(groups)}"
        case KeepAfterTermination(_, attachment_id):
            return f"keep:{attachment_id}"
        case CheckSource():
            return "check-source"


def peer(instance_id: str, now: float, sees_up: tuple[str, ...] = (), **said: Any) -> Peer:
    """Another observer that was asked and answered now."""
    return Peer(instance_id, now, sees_up, asked_at=now, **said)


def shown(decision: Decision) -> str:
    """A decision in short: state, reason, rule and, if there is one, the write."""
    text = f"{decision.state} {decision.reason.name} {decision.rule} {written(decision.write)}"
    return text.strip().replace(f"@{WALL}", "@0")


@dataclass
class Observer:
    """The observer of ``me``.  What it saw stays as it was until it is told otherwise."""

    me: str = "i-b"
    settings: Settings = SETTINGS
    memory: Memory = field(default_factory=Memory)
    api: str = "answers"
    view: View = field(default_factory=lambda: View(0.0, WALL, ADDRESS, "", NAME, None, Health(), Word()))

    def see(self, now: float, words: str = "", **changes: object) -> Decision:
        """Decide at ``now`` after what the words tell, and let EC2 accept what was decided at once.

        - ``ec2:ATTACHMENT@INSTANCE/STATUS/STATE``, ``ec2:free``, ``ec2:absent``: an answer to a question asked now; the
          ENI's status is ``attached`` unless given; without a state EC2 was not asked for the instance's;
        - ``tag:MOVES``, ``name:NAME``: the ENI's tags in that answer;
        - ``probe:AATLF``: probes sent and known now: answered, answered by TCP alone, lost, failed here;
        - ``word:STATE/SIGHT``: the holder's word; ``word:silent`` is one without sight;
        - ``peer:INSTANCE``, ``peer:INSTANCE=ATTACHMENT``: another observer answered now, and what it sees UP;
        - ``api:none``, ``api:silent``: there is no API server, or it answers no more; otherwise it answers at any time;
        - ``link:none|ahead|sound|unsound``: what this node carries; ``full``: it has no free slot.
        """
        told = dict(word.partition(":")[::2] for word in words.split())
        self.api = told.get("api", self.api)
        witness_at = {"none": None, "silent": self.view.witness_at}.get(self.api, now)
        view = replace(self.view, now=now, wall=WALL + now, me=self.me, witness_at=witness_at)
        if "ec2" in told:
            view = replace(view, owner=self._owner(now, told["ec2"], told.get("tag", ""), told.get("name", NAME)))
        view = self._followed(view)
        for letter in told.get("probe", ""):
            answered, lost, failed = ProbeOutcome.ANSWERED, ProbeOutcome.LOST, ProbeOutcome.FAILED_HERE
            outcome = {"A": answered, "T": answered, "L": lost, "F": failed}[letter]
            limits = {"rise": self.settings.rise, "fall": self.settings.fall}
            result = ProbeResult(now, now, outcome, by_tcp=letter == "T")
            view = replace(view, health=probing.observe(view.health, result, timeout=0.5, **limits))
        if "word" in told:
            state, _, sight = told["word"].partition("/")
            since = view.word.since if state == view.word.state else now
            view = replace(view, word=Word(WordState(state), since, Sight(sight or "untried"), "nft is missing"))
        for other in (word.removeprefix("peer:") for word in words.split() if word.startswith("peer:")):
            name, _, sees = other.partition("=")
            others = tuple(known for known in view.peers if known.instance_id != name)
            view = replace(view, peers=(*others, peer(name, now, (sees,) if sees else ())))
        if "link" in told:
            view = replace(view, plumbing=_report(told["link"]))
        if "full" in told:
            view = replace(view, obstacle="no free ENI slot")
        view = replace(view, **changes)  # type: ignore[arg-type]  # the test names fields of View
        self.memory, decision = decide(self.memory, view, self.settings)
        self.view = view if decision.write is None else replace(view, wrote_at=now, accepted=decision.write)
        return decision

    def _owner(self, now: float, text: str, moves: str, name: str) -> Owner:
        if text == "absent":
            return Owner(now, None)
        if text == "free":
            return Owner(now, eni(moves=moves, name=name))
        bound, *rest = text.split("/")
        attachment_id, _, holder = bound.partition("@")
        status = AttachmentStatus(rest[0]) if rest and rest[0] else AttachmentStatus.ATTACHED
        instances = {holder: instance(holder, rest[1])} if len(rest) > 1 else {}
        return Owner(now, eni(Attachment(attachment_id, holder, 1, status), moves=moves, name=name), instances)

    def _followed(self, view: View) -> View:
        """Health and word belong to one attachment, as the runner sees to."""
        attachment = view.owner.eni.attachment if view.owner is not None and view.owner.eni is not None else None
        attachment_id = attachment.id if attachment is not None else ""
        if attachment_id == view.health.attachment_id:
            return view
        return replace(view, health=Health(attachment_id), word=Word(since=view.now))


def _report(link: str) -> PlumbingReport:
    """What a node that should carry the address has found, or, for ``ahead``, one that should be ready for it."""
    if link == "ahead":
        return PlumbingReport(PlumbingState.SOUND, extent=Extent.AHEAD)
    state = {"none": PlumbingState.NO_LINK}.get(link) or PlumbingState(link)
    return PlumbingReport(state, problem="nft" if link == "unsound" else "")


def replay(transcript: str, observer: Observer | None = None) -> None:
    """Check a transcript: lines of ``TIME  WHAT IS SEEN  -> STATE REASON RULE [WRITE]``; ``#`` begins a comment."""
    observer = observer or Observer()
    for line in transcript.strip().splitlines():
        seen, arrow, expected = line.partition("#")[0].partition("->")
        if arrow:
            time, *words = seen.split()
            decision = shown(observer.see(float(time), " ".join(words)))
            assert decision == " ".join(expected.split()), f"at {line.strip()!r}"


@dataclass
class Node:
    """A worker with its observer on the model EC2.

    ``alive``: has power.  ``sound``: can carry the address.  ``pings``: sees whether the address answers.  ``device``:
    what EC2 attaches to it appears.
    """

    observer: Observer
    alive: bool = True
    sound: bool = True
    pings: bool = True
    device: bool = True
    killed_before: type[Attach] | None = None
    decision: Decision = field(default_factory=lambda: Decision(State.START, Reason.EC2_SILENT, Rule.R9, 0.0))

    @property
    def id(self) -> str:
        """Its instance id."""
        return self.observer.me


@dataclass
class Region:
    """The least of EC2: one ENI, bound by attachments, each detach and attach taking some seconds.

    EC2 refuses, by its own state, what a late or a second caller wants: then nothing happens.
    """

    nodes: list[Node]
    detach_takes: float = 0.5
    attach_takes: float = 0.5
    now: float = 0.0
    attachment: Attachment | None = None
    moves: str = ""
    reached: str = ""
    settled_at: float = 0.0
    attached: list[str] = field(default_factory=list)
    detached: list[str] = field(default_factory=list)
    calls: int = 0

    def run(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass: every node sees and decides at each step."""
        end = self.now + seconds
        while self.now < end:
            self.now += step
            self._settle()
            for node in self.nodes:
                if node.alive:
                    self._step(node)

    def until(self, condition: Callable[[], bool], within: float) -> None:
        """Let time pass until that is so; it is a failure if it is not in time."""
        end = self.now + within
        while not condition():
            assert self.now < end, f"not within {within} s: {[shown(node.decision) for node in self.nodes]}"
            self.run(0.25)

    @property
    def holder(self) -> str:
        """The instance that EC2 shows as attached."""
        bound = self.attachment
        return bound.instance_id if bound is not None and bound.status is AttachmentStatus.ATTACHED else ""

    def _settle(self) -> None:
        bound = self.attachment
        if bound is None or self.now < self.settled_at:
            return
        if bound.status is AttachmentStatus.DETACHING:
            self.attachment = None
        elif bound.status is AttachmentStatus.ATTACHING:
            self.attachment = replace(bound, status=AttachmentStatus.ATTACHED)

    def _step(self, node: Node) -> None:
        view = node.observer.view
        changes: dict[str, object] = {}
        if self.now >= node.decision.look_at:
            holders = {self.attachment.instance_id} if self.attachment is not None else set()
            instances = {holder: instance(holder) for holder in holders | {node.id}}
            shown = eni(self.attachment, moves=self.moves, reached=self.reached)
            changes["owner"] = Owner(self.now, shown, instances)
            self.calls += 1
        owner = changes.get("owner", view.owner)
        shown_attachment = owner.eni.attachment if isinstance(owner, Owner) and owner.eni is not None else None
        changes["plumbing"] = self._plumbing(node)
        changes["peers"] = tuple(
            Peer(peer.id, self.now, self._sees_up(peer), asked_at=self.now)
            for peer in self.nodes
            if peer.alive and peer is not node
        )
        changes["word"] = self._word(node, shown_attachment)
        letters = ""
        if shown_attachment is not None and shown_attachment.id == view.health.attachment_id and self.holder != node.id:
            letters = "AA" if node.pings and self._carries(shown_attachment) else "LL"
        # EC2 answers what was asked before this step's writes: the next answer is a later one.
        node.decision = node.observer.see(self.now, f"probe:{letters}", **changes)
        if node.killed_before is not None and isinstance(node.decision.write, node.killed_before):
            node.alive = False
        elif node.decision.write is not None:
            self._write(node, node.decision.write)

    def _plumbing(self, node: Node) -> PlumbingReport:
        if self.holder != node.id or not node.device:
            return PlumbingReport(PlumbingState.NO_LINK)
        return PlumbingReport(PlumbingState.SOUND if node.sound else PlumbingState.UNSOUND)

    def node(self, instance_id: str) -> Node:
        """The worker."""
        return next(node for node in self.nodes if node.id == instance_id)

    def _node(self, instance_id: str) -> Node | None:
        return next((node for node in self.nodes if node.id == instance_id), None)

    def _carries(self, bound: Attachment) -> bool:
        node = self._node(bound.instance_id)
        return (
            self.attachment == bound
            and self.holder != ""
            and node is not None
            and node.alive
            and node.sound
            and node.device
        )

    def _sees_up(self, node: Node) -> tuple[str, ...]:
        health = node.observer.view.health
        return (health.attachment_id,) if health.state is probing.HealthState.UP else ()

    def _word(self, node: Node, bound: Attachment | None) -> Word:
        before = node.observer.view.word
        holder = self._node(bound.instance_id) if bound is not None else None
        if bound is None or holder is node:
            return Word(since=self.now)
        if holder is None or not holder.alive:
            state = WordState.SILENT
        elif holder.decision.state is not State.HOLDER or holder.decision.attachment_id != bound.id:
            state = WordState.OTHER
        else:
            state = WordState.SOUND if holder.decision.reason is Reason.HELD_HERE else WordState.UNSOUND
        return Word(state, before.since if state is before.state else self.now, Sight.SEEN)

    def _write(self, node: Node, write: Write) -> None:
        self.calls += 1
        bound = self.attachment
        match write:
            case Tag(_, key, value) if key == REACHED_TAG:
                self.reached = value
            case Tag(_, _, value):
                self.moves = value
            case Detach(attachment_id) if bound is not None and bound.id == attachment_id:
                if bound.status is not AttachmentStatus.DETACHING:
                    self.detached.append(attachment_id)
                self.attachment = replace(bound, status=AttachmentStatus.DETACHING)
                self.settled_at = self.now + self.detach_takes
            case Attach() if bound is None:
                attachment_id = f"eni-attach-{len(self.attached):09d}"
                self.attachment = Attachment(attachment_id, node.id, 1, AttachmentStatus.ATTACHING)
                self.attached.append(node.id)
                self.settled_at = self.now + self.attach_takes


def region(*names: str, seed: int = 0) -> Region:
    """Nodes by these instance ids, whose observers begin at slightly different moments; the ENI is free."""
    chance = random.Random(seed)
    nodes = [Node(Observer(me=name)) for name in names]
    for node in nodes:
        node.decision = replace(node.decision, look_at=chance.uniform(0.0, 1.0))
    return Region(nodes)
