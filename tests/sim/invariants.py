"""
What must hold at every moment of a history, whatever misfortunes befall the fleet.

- A worker that can know that an address is elsewhere does not have it configured for long.
- An address is taken from a worker only for a cause: the worker answers neither the taker nor the other observers.
- An attachment is detached only by an observer that has judged it; nothing of another owner is touched; and nothing is
  taken while an operator has paused all moves.
- A worker that has the address by EC2 keeps it configured.
- No observer makes more than so many calls to EC2 a minute; and rationed moves keep their distance in time.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from math import inf

from floatingip.agent.effects import Tell
from floatingip.core import pace
from floatingip.core.decision import ration
from floatingip.core.decision.carry import way_to
from floatingip.core.ec2 import OWNER_TAG, Attachment, Eni
from floatingip.core.model import Address, Carry, Target
from tests.sim.fleet import Fleet
from tests.sim.lately import WELL_FOR, Lately
from tests.sim.line import WRITES, Call
from tests.sim.observer import Observer
from tests.sim.worker import Worker

REMOVED_WITHIN = 8.0
"""Seconds for which a worker that lost an address, and can know it, may still have it configured: if IMDS is silent,
EC2 is asked after four seconds, and has to say so twice.
"""

SEEN_FOR = 5.0
"""Seconds for which another observer must have seen the address UP, and been heard by the taker, for the taking to be a
fault.
"""

TOGETHER, ALONE_FOR, EXISTS_FOR = 0.3, 3.9, 10.0
"""Seconds.  If all workers that an observer reaches fall silent within TOGETHER, it is most likely cut off itself; it
must then wait for ALONE_FOR, if the holder serves on.  A worker that fell silent counts for EXISTS_FOR (`timing`).
"""

ASKED_WITHIN = 1.0
"""Seconds within which an observer has asked all others again: one that has been reached for that long has answered."""

HERS_FOR, HERS_FOR_IMDS = 5.0, 45.0
"""Seconds for which a worker must have had an address by EC2 for its removal there to be a fault; and the same if IMDS
is late, which counts from thirty seconds after the address came.
"""

EC2_LAGS = 6.0
"""Seconds for which Describes may show a past state."""

MORE_CALLS = 15
"""The calls that an observer may make in a minute beyond what its pace allows: those of one more question, of the
writes that follow from its answer, and of a rehearsal.
"""

PAUSE_KNOWN = 8.0
"""Seconds for which an interface must have been tagged with a pause before a move is a fault: a move that was decided
before may still be under way, if an answer was slow.
"""

RATIONED_APART = 40.0
"""Seconds between two rationed moves of one address: 60 by R12, but a move is recorded early if calls fail or hang."""

TAGGED_A_MINUTE = 8
"""How often within a minute an observer writes the same tag, for it to be a fault, if EC2 accepts that."""

PATIENCE = 25.0
"""Seconds for which a holder that calls itself sound must be left an address that reaches nobody (R4: 30)."""

VOUCHED_WITHIN = 2.5
"""Seconds after which a holder has been asked about an address that no longer answers: observers know that within 1.45
s, and ask the holder twice a second.
"""

RATIONED, RATIONED_WORDS = ("R4", "R6", "R7"), ("relieved: Kubernetes has written", "unsound")
"""The rules whose moves are rationed, and words in the message of those moves by R5 that are."""

ORDER_KNOWN = 8.0
"""Seconds after an order has ended or was taken back, for which a move that it caused may still be under way."""


class Invariants:
    """Watches over a fleet with these addresses; ``faults`` are those so far."""

    def __init__(self, fleet: Fleet, addresses: Iterable[Target], bystanders: Iterable[Eni]) -> None:
        self._fleet = fleet
        self._addresses = tuple(addresses)
        self._way = way_to(fleet.settings.carry)
        self._bystanders = tuple(bystanders)
        self.faults: list[str] = []
        self._lately = Lately(fleet, self._addresses)
        allowed = pace.AT_ONCE + pace.FOR_EACH * len(self._addresses) + 60.0 * pace.A_SECOND
        self._calls_a_minute = int(allowed) + MORE_CALLS
        self._calls: defaultdict[Observer | None, deque[float]] = defaultdict(deque)
        self._made: defaultdict[str, set[tuple[object, ...]]] = defaultdict(set)
        self._tagged: defaultdict[tuple[object, ...], deque[float]] = defaultdict(deque)
        self._rationed: dict[Target, tuple[str, float, frozenset[str]]] = {}
        fleet.called, fleet.told, fleet.dropped = self._called, self._told, self._dropped

    def _fault(self, what: str) -> None:
        self.faults.append(f"{what} at {self._fleet.now:.3f}")
        self._fleet.tell("", f"FAULT: {what}")

    # The present state, looked at again and again.

    def look(self) -> None:
        """Note the present state; check that no worker has an address configured that another one has had for long."""
        self._lately.note()
        for address in self._addresses:
            if address in self._rationed and (not self._fleet.enis(address) or self._is_disowned(address)):
                del self._rationed[address]  # The records of its moves are gone with its interface.
            self._look_for_doubles(address)

    def _is_disowned(self, address: Target) -> bool:
        """Whether an interface on which moves of the address are recorded is tagged as another owner's."""
        key, name = self._way.of_one(ration.TAG, address), self._fleet.settings.name
        return any(key in eni.tags and eni.tags.get(OWNER_TAG) != name for eni in self._fleet.ec2.state.enis.values())

    def _look_for_doubles(self, target: Target) -> None:
        """A worker that has the target configured, and can know that it is elsewhere by EC2, must remove it."""
        fleet, address, at = self._fleet, self._fleet.address_of(target), self._fleet.at(target)
        carrying = fleet.carrying(address) if address and at is not None else []
        troubled = bool(carrying) and self._is_troubled()
        for worker in fleet.workers:
            place = self._lately.places[worker.name, target]
            if worker is at or worker not in carrying or not _can_know(worker, is_troubled=troubled):
                place.doubled_since = None
                continue
            if place.doubled_since is None or place.doubled_by is not worker.observer:
                place.doubled_since, place.doubled_by = fleet.now, worker.observer
            if fleet.now - place.doubled_since > REMOVED_WITHIN:
                self._fault(f"{target} is configured on {worker.name}, though {at.name if at else 'nobody'} has it")
                place.doubled_since = inf

    # What observers do.

    def _called(self, call: Call) -> None:
        self._count(call)
        self._r8(call)
        match call.name, call.args:
            case "detach_eni", (str(attachment_id), *_):
                self._detaches(call.by, attachment_id)
            # Without reassignment, and always with IPv6, an assignment takes the address from nobody.
            case "assign" | "unassign", (_, address, *_) if call.options.get("reassign", True):
                for each in self._addresses:
                    if self._fleet.address_of(each) == address:
                        self._takes(call.by, each)
        touched = {eni.id for eni in self._bystanders}
        if call.name != "rehearse" and touched.intersection(arg for arg in call.args if isinstance(arg, str)):
            self._fault(f"{call.by} touches what is not ours: {call.name} {call.args}")

    def _count(self, call: Call) -> None:
        calls, now = self._calls[self._worker(call.by).observer], self._fleet.now
        calls.append(now)
        while calls[0] < now - 60.0:
            calls.popleft()
        if len(calls) == self._calls_a_minute:
            self._fault(f"{call.by} has called EC2 {len(calls)} times within a minute")

    def _r8(self, call: Call) -> None:
        """R8: no write is repeated before EC2 has been asked again, and no tag is written again and again.  (Two
        addresses on one interface may each write the same tag once.)
        """
        made, worker, now = self._made[call.by], self._worker(call.by), self._fleet.now
        if call.name == "describe_enis":
            made.clear()
        elif call.name in WRITES - {"tag_eni"}:
            what = (worker.observer, call.name, *map(repr, call.args))
            if what in made:
                self._fault(f"{call.by} makes a call again without a look in between: {call.name} {call.args}")
            made.add(what)
        troubled = worker.cloud.denied or self._is_troubled()
        if call.name == "tag_eni" and worker.observer is not None and not troubled:
            tagged = self._tagged[worker.observer, call.args[0], *_keys(call.args[1])]
            tagged.append(now)
            while tagged[0] < now - 60.0:
                tagged.popleft()
            if len(tagged) == TAGGED_A_MINUTE:
                self._fault(f"{call.by} writes a tag again and again: {call.args[1]}")

    def _is_troubled(self) -> bool:
        """Whether calls to EC2 may now fail, hang, or lose their answers."""
        return any(trouble.hits < trouble.most for trouble in self._fleet.troubles)

    def _detaches(self, by: str, attachment_id: str) -> None:
        eni = next((eni for eni in self._fleet.ec2.state.enis.values() if _is_by(eni.attachment, attachment_id)), None)
        taker = self._worker(by)
        if eni is None or eni.attachment is None or eni.attachment.instance_id == taker.id:
            return
        if eni.attachment.status == "detaching" or eni.standing_for:
            return
        for address in self._addresses:
            if eni.has(address):
                self._takes(by, address)

    def _takes(self, by: str, address: Target) -> None:
        """An observer takes an address from the worker that has it by EC2."""
        self.look()  # Note what has happened since the last look.
        fleet, taker, holder = self._fleet, self._worker(by), self._fleet.at(address)
        if holder is None or holder is taker or self._is_late() or self._is_ordered(address):
            return
        if any(eni.attachment is not None and eni.attachment.status == "detaching" for eni in fleet.enis(address)):
            return  # The observer that began the detach has taken it; now any may claim it.
        lately, since = self._lately, self._lately.since
        if lately.is_paused(address) and since(lately.unpaused[address]) > PAUSE_KNOWN:
            self._fault(f"{by} takes {address} from {holder.name}, though all moves are paused")
        last, heard = lately.workers[holder.name], lately.pairs[by, holder.name]
        serves_for = since(lately.places[holder.name, address].absent)
        if serves_for > WELL_FOR and self._judged(taker, address) != lately.sighting(address):
            self._fault(f"{by} takes {address} from {holder.name}, which it has not judged")
        vouches = min(since(last.unsound), since(heard.unheard)) > SEEN_FOR
        if holder.is_mute and vouches and since(last.reachable) < PATIENCE:
            self._fault(f"{by} takes {address} from {holder.name} without patience")
        if since(last.unwell) < WELL_FOR or (holder.drops_pings and not self._is_vouched_for(holder)):
            return
        if min(serves_for, since(heard.unheard)) > WELL_FOR:
            self._fault(f"{by} takes {address} from {holder.name}, which answers it")
        elif serves_for >= SEEN_FOR:
            self._takes_what_it_does_not_hear(taker, address, holder)

    def _judged(self, taker: Worker, address: Target) -> str:
        judged = taker.observer.judged(address) if taker.observer is not None else ""
        return self._way.of_one(judged, address)

    def _takes_what_it_does_not_hear(self, taker: Worker, address: Target, holder: Worker) -> None:
        """``taker`` takes an address that its holder serves: a fault if other observers see that, or if ``taker`` is
        cut off itself.
        """
        lately, since, by = self._lately, self._lately.since, taker.name
        asked = [o for o in self._fleet.workers if o not in (taker, holder) and self._knows(taker, o)]
        for other in asked:
            sees_for = since(lately.places[other.name, address].unseen)
            heard_for = since(lately.pairs[by, other.name].unheard)
            reaches_for = since(lately.pairs[other.name, holder.name].unheard)
            if min(sees_for, heard_for, reaches_for) > SEEN_FOR:
                self._fault(f"{by} takes {address} from {holder.name}, which {other.name} sees answer")
                return
        if since(lately.disturbed) < EXISTS_FOR:
            return
        if any(since(lately.pairs[by, other.name].unheard) > ASKED_WITHIN for other in asked):
            return  # Another worker has been heard since.
        # The last silence; it may have ended so recently that no worker has been heard since.
        last = lately.pairs[by, holder.name]
        others = [lately.pairs[by, other.name].lost for other in asked]
        known = [at for at in others if last.lost - EXISTS_FOR < at]
        at_once = known and all(abs(at - last.lost) <= TOGETHER for at in known)
        if at_once and last.unheard - last.lost < ALONE_FOR:
            self._fault(f"{by} takes {address} from {holder.name}, though all fell silent at once")

    def _is_vouched_for(self, holder: Worker) -> bool:
        """Whether the holder's observer, since pings are dropped there, has recently said that the address answers (R3,
        R4): otherwise nobody can see that it does.
        """
        last, since = self._lately.workers[holder.name], self._lately.since
        if since(last.silenced) < WELL_FOR:
            return False
        return last.sound - last.answering > VOUCHED_WITHIN and since(last.sound) <= PATIENCE

    def _is_ordered(self, address: Target) -> bool:
        """Whether a handover of the address from its present place is ordered, or was until a moment ago, by any
        worker's clock.
        """
        return self._lately.since(self._lately.ordered[address]) <= ORDER_KNOWN

    def _is_late(self) -> bool:
        """Whether EC2 shows a past state, or did a moment ago: a verdict may be about that state."""
        return self._lately.since(self._lately.lagged) < EC2_LAGS

    def _knows(self, taker: Worker, other: Worker) -> bool:
        """Whether ``taker`` has heard of ``other`` as a peer lately."""
        heard_at = taker.observer.heard_at.get(other.id) if taker.observer is not None else None
        return heard_at is not None and self._fleet.now - heard_at < EXISTS_FOR

    def _worker(self, name: str) -> Worker:
        return next(worker for worker in self._fleet.workers if worker.name == name)

    def _told(self, worker: Worker, line: Tell) -> None:
        rule = str(line.fields.get("rule", ""))
        if line.event != "takeover" or not (rule in RATIONED or any(word in line.message for word in RATIONED_WORDS)):
            return
        self.look()
        address = line.fields["address"]
        assert not isinstance(address, str), "the agent tells targets as they are"
        for each in self._addresses:
            if each != address:
                continue
            if self._lately.has_jumped():
                self._rationed.pop(each, None)  # The last move was recorded by a clock that was wrong.
                continue
            judged, before, on = self._rationed.get(each, ("", -inf, frozenset()))
            if judged == line.fields["attachment"]:
                continue  # The same move, by another observer, or repeated: what counts is when it was recorded first.
            now_on = frozenset(eni.id for eni in self._fleet.enis(each))
            self._rationed[each] = str(line.fields["attachment"]), self._fleet.now, now_on
            # If its ENI was replaced, even for a moment, the record on that ENI is gone.
            is_known = self._fleet.settings.carry is Carry.ADDRESS or on & now_on
            if is_known and self._fleet.now - before < RATIONED_APART:
                self._fault(f"{worker.name} takes {each} by {rule} {self._fleet.now - before:.1f} s after such a move")

    def _dropped(self, worker: Worker, address: Address) -> None:
        since, lagged = self._lately.since, self._lately.imds_lagged
        needed = HERS_FOR_IMDS if since(lagged) < HERS_FOR_IMDS else HERS_FOR
        for target in self._addresses:
            if self._fleet.address_of(target) != address or self._fleet.at(target) is not worker:
                continue
            ours = all(eni.tags.get(OWNER_TAG) == self._fleet.settings.name for eni in self._fleet.enis(target))
            if ours and since(self._lately.places[worker.name, target].absent) > needed and not self._is_late():
                self._fault(f"{worker.name} drops {target}, which EC2 leads there")


def _is_by(attachment: Attachment | None, attachment_id: str) -> bool:
    return attachment is not None and attachment.id == attachment_id


def _keys(tags: object) -> tuple[str, ...]:
    assert isinstance(tags, dict), "the tags that are written"
    return tuple(tags)


def _can_know(worker: Worker, *, is_troubled: bool) -> bool:
    """Whether the worker's observer can find out that the address is elsewhere now, and remove it.  An observer that
    has just begun must first learn from EC2 by which interface it would have the address.  ``is_troubled``: calls to
    EC2 fail.
    """
    observer = worker.observer
    if observer is None or observer.is_paused or not worker.runs or worker.problem:
        return False
    if observer.published.answered_at is None:
        return False
    tells = worker.cloud.reachable and not (worker.cloud.denied or is_troubled)
    return tells or not (worker.is_imds_silent or worker.imds_lag)


def foreign(fleet: Fleet) -> list[Eni]:
    """Make two interfaces in the same subnet that are not ours: one without an owner, and another deployment's."""
    made = [
        fleet.ec2.create(None, fleet.subnet, (), tags, f"bystander {number}")
        for number, tags in enumerate(({}, {OWNER_TAG: "another"}))
    ]
    return [fleet.ec2.state.enis[eni.id] for eni in made]
