"""One floating address, as this node deals with it: what is known of it, what is decided, and what is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from floatingip.agent.answers import Answers
from floatingip.agent.backoff import Chance
from floatingip.agent.claims import Claims
from floatingip.agent.effects import Announce, Keep, Making, Wanted
from floatingip.agent.events import Wrote
from floatingip.agent.hearing import Hearing
from floatingip.agent.looks import Seen
from floatingip.agent.moves import Moves
from floatingip.agent.outbox import Outbox
from floatingip.agent.readiness import problem_here, shortcoming
from floatingip.agent.shared import Shared
from floatingip.agent.shown_by_imds import ShownByImds
from floatingip.agent.telling import NOTED, Telling
from floatingip.agent.whereabouts import Whereabouts
from floatingip.agent.writing import Writing
from floatingip.core import timing
from floatingip.core.decision import served
from floatingip.core.decision.decide import decide
from floatingip.core.decision.decision import Decision, Reason, Rule, State
from floatingip.core.decision.view import Memory, View
from floatingip.core.ec2 import ALLOCATION_TAG
from floatingip.core.errors import CloudError
from floatingip.core.health import HealthState
from floatingip.core.lack import Shortcoming
from floatingip.core.model import Address, Allocation, Target
from floatingip.core.node import Interface
from floatingip.core.peer import Peer
from floatingip.core.plumbing import Extent, PlumbingReport, PlumbingState
from floatingip.core.word import Answer, Held
from floatingip.core.writes import Assign, Associate, Attach, Detach, Unassign, Write, is_upkeep

CALM = frozenset({Reason.ANSWERS, Reason.PING_BLOCKED, Reason.HELD_HERE, Reason.NOT_SERVED_HERE})
"""Reasons of decisions after which nothing is urgent, so that EC2 may be asked some seconds later than planned."""


class FloatingAddress:
    """The floating address ``target``, which is the ``index``-th of the settings, as this node deals with it.

    ``text`` is the target as the settings have it.  ``where`` tells where it is, ``answers`` what this node sees of it,
    ``hearing`` what it hears of it, ``moves`` which moves it made.  ``report`` is the last report on this node's
    kernel, None before the first.  ``view`` is what the last decision went by (None before the first), at ``now``;
    ``memory`` and ``decision`` are its result.  ``lack`` is what this node lacked then to serve the address or to take
    it over, since ``unready_since`` (None if it lacks nothing).
    """

    def __init__(self, target: Target, index: int, shared: Shared, out: Outbox, *, now: float, chance: Chance) -> None:
        self.target, self.text = target, str(target)
        self._shared = shared
        self._way = shared.way
        self.where = Whereabouts(target, index, shared)
        self.answers = Answers(self.text, shared, now)
        self.hearing = Hearing(self.text, shared)
        self._writing, self._tending = (Writing(self.text, out, shared.found_full, chance) for _ in range(2))
        self._claims = Claims()
        self._unasked: CloudError | None = None
        self.now = now
        self._chance = chance
        self.memory = Memory()
        self.decision = Decision(State.START, Reason.EC2_SILENT, Rule.R9, look_at=self.now)
        self.lack = Shortcoming(self.decision.reason.name, self.decision.sentence)
        self.view: View | None = None
        self.report: PlumbingReport | None = None
        self._out = out
        self._telling = Telling(self.text, out)
        self.moves = Moves(target, shared, out)
        self._imds = ShownByImds()
        self._jitter = 0.0
        self._kept: Wanted | None = None
        self.unready_since: float | None = None

    @property
    def final(self) -> CloudError | None:
        """A refusal of EC2 that waiting does not mend; None where there is none."""
        return self._writing.final or self._tending.final or self._unasked

    def fail(self, error: CloudError) -> None:
        """EC2 refused a question about this address; that counts until EC2 tells of the address again."""
        self._unasked = error

    # What is known.

    def is_here(self) -> bool:
        """The link with the ENI's MAC is on this node, and the address with it."""
        return self.report is not None and self.report.is_here

    def is_shown_here(self, now: float) -> bool:
        """The address is on this node, and IMDS says so, too."""
        return self.is_here() and self._imds.shown is True and not self._imds.is_silent(now)

    def has_device(self) -> bool | None:
        """Whether the link by which this node would carry the address is there; None while nobody has looked."""
        if self.report is None or self.report.extent is Extent.NOTHING:
            return None
        return self.report.state is not PlumbingState.NO_LINK

    def is_plumbed_ahead(self) -> bool:
        """All plumbing is there that can be there before the address comes."""
        return self.report is not None and self.report.state is PlumbingState.SOUND

    def burdens(self) -> bool:
        """Whether the address counts as one that this node has: EC2 shows it here, or it is about to come here."""
        claimed = isinstance(self._writing.accepted, Attach | Assign | Associate) and self._asked_before_write()
        is_promised = self.decision.reason is Reason.ASSIGNING
        claiming = claimed or is_promised or (self._writing.written.under_way and self.decision.state is State.CLAIMING)
        return claiming or self.where.holder() == self._shared.me.instance_id

    def is_claiming(self) -> bool:
        """Whether EC2 has promised the address to this node, or is being asked for it, which may take a while.

        A claim that is tried again after a refusal does not count: peers would wait for one try after the other.
        """
        is_asked = isinstance(self._writing.under_way, Assign | Unassign | Associate)
        return (is_asked and not self._writing.is_tried_again) or self.decision.reason is Reason.ASSIGNING

    def _asked_before_write(self) -> bool:
        """EC2's last answer is too old to show what the last write has changed."""
        return self.where.owner is None or self.where.owner.asked_at <= self._writing.wrote_at

    def is_calm(self) -> bool:
        """The address has a holder and answers, as far as this node can tell, and nothing is under way."""
        return self.decision.reason in CALM and not self.answers.health.in_doubt

    def is_judging(self) -> bool:
        """Whether EC2 is to be asked about the holder's instance as well: the address does not answer, this node cannot
        tell whether it does, the holder's observer is quiet, or EC2 last showed the instance as ended.
        """
        troubled = self.answers.health.in_doubt or self.hearing.word.is_quiet or self.memory.dead_answers > 0
        return self.decision.state in (State.DOUBT, State.STANDBY) and (troubled or bool(self.answers.blind))

    def blind(self) -> str:
        """Why this node, which should probe the address, cannot tell whether it answers; empty if it can."""
        return self.answers.why_blind(self.report, self.now)

    def obstacle(self) -> str:
        """Why this node could not carry the address at all, or not now; empty if it could."""
        return self.where.obstacle(self.now).words

    def mac_at_risk(self) -> str:
        """The MAC of the interface by which this node carries the address, or has until IMDS lacked it a moment ago, if
        EC2 could take the address off it without any event of the kernel; otherwise empty.
        """
        is_asked_about = self.is_here() or self._imds.is_doubted(self.now)
        return self.where.mac() if is_asked_about and self._way.vanishes_silently(self.where.address()) else ""

    # News.

    def wrote(self, wrote: Wrote, now: float) -> None:
        """A write has ended: EC2 did it, or did not."""
        self._writer_of(wrote.write).wrote(wrote, now)
        if wrote.error is None:
            self._writing.final = self._tending.final = None
            self._claims.accepted(wrote.write)
            if isinstance(wrote.write, Attach | Assign | Associate):
                # It may be on the link still since it was here before: IMDS shows late that it is here again.
                self._imds.claimed(now)

    def _writer_of(self, write: Write) -> Writing:
        """Upkeep has a `Writing` of its own, so that a move does not wait for EC2's answer to upkeep."""
        return self._tending if is_upkeep(write) else self._writing

    def looked(self, seen: Seen, now: float) -> None:
        """EC2 answered."""
        held_by, was_foreign = self.where.holder(), self.where.is_foreign()
        self._unasked = None
        self.where.looked(seen)
        if was_foreign and not self.where.is_foreign():
            # While the ENI counted as somebody else's, no node carried the address: that it was silent means nothing.
            self.answers.forget(now)
        holder = self.where.holder()
        if holder != held_by and self._shared.me.instance_id in (holder, held_by):
            self._shared.slots_change(now)
        self._jitter = self._chance(0.0, timing.PEACE_JITTER)
        attachment = self.where.attachment()
        self.moves.shown(attachment, now)
        self._claims.shown(attachment)
        attachment_id = attachment.id if attachment is not None else ""
        self.answers.come_under(attachment_id, now)
        self.answers.probe(self.where.address())

    def hear(self, answer: Answer | None, now: float) -> None:
        """Take up what came of the last question to the holder's observer; None if it was never asked."""
        self.hearing.hear(answer, self.where.attachment(), now)

    def found_interface(self, interface: Interface) -> None:
        """IMDS shows the address on a link of this node: enough to plumb it while EC2 cannot be asked (R9)."""
        if self.where.found_interface(interface):
            self._imds.found()

    def asked_in_vain(self) -> None:
        """EC2 answered, but not about this address.  If EC2 never has, this node goes by what IMDS showed at the first
        question, as if EC2 were silent (R9), until IMDS tells more.
        """
        if self.where.is_expected() and self._imds.shown is None:
            self._imds.found()

    def found_addresses(self, mac: str, addresses: frozenset[Address], asked_at: float) -> bool:
        """IMDS, asked at ``asked_at``, shows these addresses on the interface with this MAC.  Return whether that is
        news.
        """
        address = self.where.address()
        return address is not None and mac == self.mac_at_risk() and self._imds.told(address in addresses, asked_at)

    def reconciled(self, report: PlumbingReport, now: float) -> None:
        """The kernel was brought to what it should be, and read back."""
        if report.is_here and not self.is_here():
            # IMDS is late with an address that EC2 has just given to this node.  But it must show at once an address
            # that was on the link before this process began, or was put there because IMDS showed it.
            self._imds.carried(now, at_once=self.where.owner is None or "address" not in report.repaired)
        elif not report.is_here:
            self._imds.dropped()
        self._telling.reconciled(report, self.moves.loss, now)
        self.report = report
        if self.is_here():
            self.moves.attached(now)

    # Deciding and acting.

    def step(self, peers: tuple[Peer, ...], burden: int, *, now: float, wall: float) -> None:
        """Decide once, log what is worth it, and ask for what follows.

        ``burden`` is how many other floating addresses this node has, or is about to have.
        """
        self.now = now
        self.answers.look(self.report, now)
        self._telling.blind(self.answers.blind, self.answers.address, now, is_here=self.is_here())
        before, obstacle = self.decision, self.where.obstacle(now)
        view = self.view = self._view(peers, burden, wall, obstacle.words)
        self.memory, self.decision = decide(self.memory, view, self._shared.settings)
        self._shared.coming[self.target] = self.where.coming() if self.decision.obliged else ""
        if self.decision.state is State.HOLDER and self.is_here():
            # This node no longer probes the address: probes that were lost before it came say nothing of now.
            self.answers.begin_anew()
        self.lack = self._lacking(obstacle)
        if not self.lack.words:
            self.unready_since = None
        elif self.unready_since is None:
            self.unready_since = now
        self._telling.decided(before, self.decision, self.lack.words, self.moves.loss, now, wall)
        if self.report is not None:
            self._telling.kernel(self.report, now)
        self.moves.follow(self.decision, self.where.holder(), now, wall)
        answers, holder = self.answers, self.where.holder()
        self._telling.astray(sorted(served.astray(view, holder)), holder, answers.address, now)
        answers.check(self._shared.node_ports)
        # Probe only once it is known that probes leave this node: one that hears itself sees the address UP for ever.
        answers.turn(on=self.report is not None and not self.is_here() and not self.report.blind)
        if self.decision.write is not None:
            self._begin_write(self.decision, self.decision.write)
        wanted = self.wanted()
        if wanted is not None and wanted != self._kept:
            self._kept = wanted
            self._out.add(Keep(self.target, wanted))
        if self.decision.state is State.HOLDER and before.state is not State.HOLDER:
            self._out.add(Announce(self.target))

    def look_due(self) -> float:
        """When EC2 should be asked next."""
        look_at, owner = self.decision.look_at, self.where.owner
        if owner is not None and self.lacks_witness():
            return min(look_at, owner.asked_at + timing.LOOK_UNWITNESSED)
        if owner is not None and self.where.awaits_tags():
            return min(look_at, owner.asked_at + timing.LOOK_IN_DOUBT)
        in_peace = owner is not None and look_at >= owner.asked_at + timing.LOOK_IN_PEACE
        return look_at + (self._jitter if in_peace and self.decision.reason in CALM else 0.0)

    def lacks_witness(self) -> bool:
        """The address is here and could be taken away silently, and IMDS is silent: only EC2 would tell (R10)."""
        return bool(self.mac_at_risk()) and self._imds.is_silent(self.now)

    def wanted(self) -> Wanted | None:
        """How the kernel should be for this address; None while it is not known what that takes."""
        plumbing = self.where.plumbing()
        return Wanted(plumbing, self.decision.extent) if plumbing is not None else None

    def _view(self, peers: tuple[Peer, ...], burden: int, wall: float, obstacle: str) -> View:
        standing = self.where.standing()
        return View(
            now=self.now,
            wall=wall,
            target=self.target,
            me=self._shared.me.instance_id,
            name=self._shared.name,
            owner=self.where.owner,
            health=self.answers.health,
            word=self.hearing.word,
            peers=peers,
            plumbing=self.report,
            obstacle=obstacle,
            leaving=self._shared.leaving,
            services=dict(self.answers.services),
            served=self._shared.served,
            groups=self._shared.groups_of(self.where.own_eni()),
            burden=burden,
            informed_at=self._shared.informed_at,
            neighbours=self._shared.neighbours,
            reached_by_tags=self.where.reached_by_tags,
            written=self._writing.written,
            tended=self._tending.written,
            retry_at={**self._writing.retry_at, **self._tending.retry_at},
            taken_at=self._writing.taken_at,
            taken=self._writing.taken,
            mixed=self._shared.mixed,
            witness_at=self._shared.witness_at,
            ready_at=self._shared.ready_at,
            told_at=self._shared.told_at,
            mine=standing.eni if standing is not None else None,
            unshown=self.where.unshown(),
            records=self.where.records,
            carried_since=self._imds.carried_since,
            shown_by_imds=self._imds.shown,
            lost_until_asked_at=self._imds.lost_until_asked_at,
        )

    def _begin_write(self, decision: Decision, write: Write) -> None:
        takes = isinstance(write, Attach | Detach | Assign | Unassign)
        if takes and decision.rule not in (Rule.R13, Rule.R14):
            self.moves.begin(decision, self.where.attachment(), self.answers.health.first_lost_at, self.now)
        # An ENI that is created with its address needs no token: EC2 lets only one ENI have the address.
        is_allocation = isinstance(self.target, Allocation)
        token = self._shared.token(str(self.target), self.memory.token.generation) if is_allocation else ""
        making = Making(self.target, self.where.subnet(), self._tags(), token, self._shared.taken())
        about = {"failover": self.moves.failover} if takes else {}
        self._writer_of(write).begin(write, making, self.now, **about)

    def _tags(self) -> Mapping[str, str]:
        tags = self._shared.tags(str(self.target))
        return tags | ({ALLOCATION_TAG: self.target.id} if isinstance(self.target, Allocation) else {})

    # Telling.

    def held(self) -> Held | None:
        """How this node holds the address; None when it does not."""
        decision, written_off = self.decision, self._shared.written_off
        if decision.state is not State.HOLDER:
            return None
        leaving = decision.leaving
        return Held(decision.attachment_id, problem_here(decision), leaving, bool(leaving) and written_off)

    def sees_up(self) -> str:
        """The sighting that tells peers that this node sees the address UP (`Way.of_one`); empty while it does not."""
        if self.answers.health.state is not HealthState.UP:
            return ""
        return self._way.of_one(self.answers.health.attachment_id, self.target)

    def unsure_of(self, now: float) -> str:
        """The sighting that this node has just begun to look for, so that it cannot tell yet; empty if it can tell.

        While EC2 has told nothing there is no attachment to make a sighting of: then it is the target itself.
        """
        if self.where.owner is None:
            return self.text
        is_new = self.answers.are_new(now)
        return self._way.of_one(self.answers.health.attachment_id, self.target) if is_new else ""

    def remark(self) -> str:
        """What a person should see to although this node is ready; empty if there is nothing."""
        if self.decision.reason in NOTED:
            return self.decision.sentence
        report = self.report
        problem = report.problem if report is not None and report.state is PlumbingState.SOUND else ""
        return problem or self._telling.undone

    def _lacking(self, obstacle: Shortcoming) -> Shortcoming:
        """Why this node could neither serve the address nor take it over; ``obstacle`` is why it could not carry it."""
        return shortcoming(
            self.decision,
            obstacle,
            self.report,
            self._shared,
            blind=self.answers.blind,
            unsound_before=self.memory.unsound_here,
            refused=str(self.final or self._claims.problem),
            answer_age=self.now - self.where.owner.asked_at if self.where.owner is not None else 0.0,
        )
