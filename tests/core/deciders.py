"""
A decider without a world around it: what one observer sees, told in words.

An ``Observer`` is fed by hand, at times that the test chooses, and shows what it decides as one line of text.  What
several do to each other is for tests/sim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any, ClassVar, Self

from floatingip.core import health as probing
from floatingip.core import writes
from floatingip.core.decision.decide import decide
from floatingip.core.decision.decision import Decision
from floatingip.core.decision.evidence import REACHED_TAG
from floatingip.core.decision.view import Memory, View
from floatingip.core.ec2 import Attachment, AttachmentStatus, Eni, Instance, InstanceState, Owner
from floatingip.core.health import Health
from floatingip.core.peer import Peer, Sight, Word, WordState
from floatingip.core.plumbing import Extent, PlumbingReport, PlumbingState
from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.core.settings import Settings

ADDRESS = IPv4Address("10.0.0.100")
SETTINGS = Settings((ADDRESS,), fall=5)
"""A short transcript suffices for a verdict."""
NAME, ENI, ZONE = "cluster", "eni-1", "us-west-2-lax-1a"
WALL = 1_764_000_000
"""Unix time at which an observer's own clock shows 0."""


OF_WRITES = {"writing": "under_way", "wrote_at": "ended_at", "accepted": "accepted"}
"""What tests call the fields of `View.written`."""

KINDS: dict[str, type[writes.Write]] = {
    "assign": writes.Assign,
    "attach": writes.Attach,
    "create": writes.Create,
    "tag": writes.Tag,
}

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


def written(write: writes.Write | None) -> str:
    """A write in short."""
    match write:
        case None:
            return ""
        case writes.Create(generation):
            return f"create:{generation}" if generation else "create"
        case writes.Attach():
            return "attach"
        case writes.Detach(attachment_id, force):
            return f"{'force' if force else 'detach'}:{attachment_id}"
        case writes.Delete(eni_id):
            return f"delete:{eni_id}"
        case writes.Assign(eni_id, _, reassign):
            return f"{'move' if reassign else 'assign'}:{eni_id}"
        case writes.AssignAny(eni_id):
            return f"assign-any:{eni_id}"
        case writes.Unassign(eni_id):
            return f"unassign:{eni_id}"
        case writes.Tag(_, key, value) if key == REACHED_TAG:
            return "reached"
        case writes.Tag(_, _, value):
            return f"tag:{value}"
        case writes.Associate(allocation_id):
            return f"associate:{allocation_id}"
        case writes.SetGroups(_, groups):
            return f"groups:{','.join(groups)}"
        case writes.KeepAfterTermination(_, attachment_id):
            return f"keep:{attachment_id}"
        case writes.CheckSource():
            return "check-source"


def written_at(view: View, now: float, write: writes.Write, *, accepted: bool = True) -> View:
    """The view once this write has ended."""
    if writes.is_upkeep(write):
        return replace(view, tended=replace(view.tended, ended_at=now, accepted=write if accepted else None))
    return replace(view, written=replace(view.written, ended_at=now, accepted=write if accepted else None))


def peer(instance_id: str, now: float, sees_up: tuple[str, ...] = (), **said: Any) -> Peer:
    """Another observer that was asked and answered now."""
    return Peer(instance_id, now, sees_up, asked_at=now, **said)


def shown(decision: Decision) -> str:
    """A decision in short: state, reason, rule and, if there is one, the write."""
    return f"{decision.state} {decision.reason.name} {decision.rule} {written(decision.write)}".strip()


@dataclass
class Observer:
    """The observer of ``me``.  What it saw stays as it was until it is told otherwise; its clock ``began`` so."""

    me: str = "i-b"
    began: float = 0.0
    settings: Settings = SETTINGS
    memory: Memory = field(default_factory=Memory)
    api: str = "answers"
    began_by: ClassVar[str] = "ec2:a1@i-a word:sound probe:AA"
    """What it sees first where i-a has the address, and all is well."""
    view: View = field(default_factory=lambda: View(0.0, WALL, ADDRESS, "", NAME, None, Health(), Word()))

    def see(self, now: float, words: str = "", **changes: object) -> Decision:
        """Decide at ``now`` after what the words tell, and let EC2 accept what was decided at once.

        - ``ec2:ATTACHMENT@INSTANCE/STATUS/STATE``, ``ec2:free``, ``ec2:absent``: an answer to a question asked now; the
          ENI's status is ``attached`` unless given; without a state EC2 was not asked for the instance's;
        - ``tag:MOVES``, ``name:NAME``: the ENI's tags in that answer, moves separated by commas;
        - ``age:SECONDS``, ``reached:SECONDS``, ``reached:never``: by that answer it was attached so long before the
          observer's clock began, and workers were last reached so long after that;
        - ``probe:AATLF``: probes sent and known now: answered, answered by TCP alone, lost, failed here;
        - ``word:STATE/SIGHT``: the holder's word; ``word:silent`` is one without sight;
        - ``peer:INSTANCE``, ``peer:INSTANCE=ATTACHMENT``: another observer answered now, and what it sees UP;
          ``gone:INSTANCE`` is none any more;
        - ``api:none``, ``api:silent``: there is no API server, or it answers no more; otherwise it answers at any time;
        - ``link:none|ahead|sound|unsound``: what this node carries; ``full``: it has no free slot;
        - ``upkeep``: some is under way; ``retry:WRITE@TIME``: no such write may be made before.

        The changes are fields of `View`, or of what it tells of this node's writes (`OF_WRITES`).
        """
        wall = WALL + now
        now += self.began
        told = dict(word.partition(":")[::2] for word in words.split())
        self.api = told.get("api", self.api)
        witness_at = {"none": None, "silent": self.view.witness_at}.get(self.api, now)
        view = replace(self.view, now=now, wall=wall, me=self.me, witness_at=witness_at, told_at=now)
        if "ec2" in told:
            view = replace(
                view, owner=self._owner(now, told["ec2"], told.get("tag", "").replace(",", " "), told.get("name", NAME))
            )
            view = replace(view, owner=_dated(view.owner, told))
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
        if "gone" in told:
            view = replace(view, peers=tuple(known for known in view.peers if known.instance_id != told["gone"]))
        if "link" in told:
            view = replace(view, plumbing=_report(told["link"]))
        if "full" in told:
            view = replace(view, obstacle="no free ENI slot")
        if "retry" in told:
            kind, _, at = told["retry"].partition("@")
            view = replace(view, retry_at={KINDS[kind]: float(at)})
        if "upkeep" in told:
            view = replace(view, tended=replace(view.tended, under_way=True))
        written = {OF_WRITES[name]: changes.pop(name) for name in OF_WRITES.keys() & changes}
        view = replace(view, written=replace(view.written, **written), **changes)  # type: ignore[arg-type]  # the test names fields
        self.memory, decision = decide(self.memory, view, self.settings)
        self.view = view if decision.write is None else written_at(view, now, decision.write)
        return decision

    def fall(self, word: str = "word:silent") -> Self:
        """It saw i-a hold the address and answer; from 10.0 on the probes were lost; EC2 was not asked since."""
        self.see(0.0, self.began_by)
        self.see(10.0, f"probe:LLLLL {word}")
        return self

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


def _dated(owner: Owner | None, told: Mapping[str, str]) -> Owner | None:
    """The same answer with the ages that are told."""
    if owner is None or owner.eni is None:
        return owner
    eni = owner.eni
    if "reached" in told:
        reached = {} if told["reached"] == "never" else {REACHED_TAG: str(WALL + int(told["reached"]))}
        eni = replace(eni, tags={key: value for key, value in eni.tags.items() if key != REACHED_TAG} | reached)
    if "age" in told and eni.attachment is not None:
        eni = replace(eni, attachment=replace(eni.attachment, since_wall=WALL - float(told["age"])))
    return replace(owner, eni=eni)


def _report(link: str) -> PlumbingReport:
    """What a node that should carry the address has found, or, for ``ahead``, one that should be ready for it."""
    if link == "ahead":
        return PlumbingReport(PlumbingState.SOUND, extent=Extent.AHEAD)
    state = {"none": PlumbingState.NO_LINK}.get(link) or PlumbingState(link)
    return PlumbingReport(state, problem="nft" if link == "unsound" else "")
