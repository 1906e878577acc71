"""Find out now and then whether this node could take an address over if its holder failed, and warn if not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from floatingip.agent.address import FloatingAddress
from floatingip.agent.effects import Part, Rehearse
from floatingip.agent.events import (
    PermissionsRehearsed,
    RehearsalEnded,
    RehearsalFailed,
    Rehearsed,
    ReservationsRehearsed,
    SlotsRehearsed,
)
from floatingip.agent.outbox import Outbox
from floatingip.agent.shared import Shared
from floatingip.agent.trouble import Trouble
from floatingip.core import timing
from floatingip.core.decision.room import lacks_slot
from floatingip.core.ec2 import OWNER_TAG, Eni, Subnet
from floatingip.core.errors import CloudError, Denied
from floatingip.core.model import Allocation
from floatingip.core.wording import span

UNKNOWN = {
    Part.SLOTS: "not known for {span} whether this node has a free ENI slot: {why}",
    Part.PERMISSIONS: "not known for {span} whether IAM lets this node take over: {why}",
}
"""What is said while a part of the rehearsal fails; ``span`` is for how long it has failed, ``why`` the last reason."""


@dataclass
class _Unknown:
    """A part of the rehearsal that has failed since the time ``since``, the last time for the reason ``why``.

    ``trouble`` tells when to log that, and ``denial`` when to log that IAM denies it.
    """

    since: float
    why: str = ""
    trouble: Trouble = field(default_factory=lambda: Trouble(timing.REHEARSE_EVERY))
    denial: Trouble = field(default_factory=Trouble)


Place = tuple[str, ...]
"""What permissions are tried with: the ids of an ENI and its attachment, or of the ENI alone, or nothing."""


class Rehearsal:
    """Rehearses a takeover of ``addresses`` by this node.

    A denial counts until the same part is rehearsed again.  But a policy that goes by tags also denies actions on an
    interface or attachment that is gone.  So permissions are tried again as soon as the ENI that they were tried with
    has moved.
    """

    def __init__(self, addresses: Sequence[FloatingAddress], shared: Shared, out: Outbox) -> None:
        self._addresses = addresses
        self._shared = shared
        self._out = out
        self._way = shared.way
        parts = tuple(Part) if self._way.has_standing_enis else (Part.PERMISSIONS, Part.SLOTS)
        self._due = dict.fromkeys(parts, float("-inf"))
        self._unknown: dict[Part, _Unknown] = {}
        self._denied = Trouble()
        self._denials: dict[Part, tuple[str, ...]] = {}
        self._denied_with: Place | None = None
        self._asking, self._asked_at = False, float("-inf")
        self._reserved_in: set[str] = set()
        self._asked_in = ""

    def follow(self, now: float) -> None:
        """Ask for a rehearsal, when it is time and enough is known."""
        shared = self._shared
        eni, targets = self._moving(), tuple(each.target for each in self._addresses)
        if self._denied_with is not None and self._denied_with not in self._places():
            self._denied_with, self._due[Part.PERMISSIONS] = _place_of(eni), now
        if self._denials.get(Part.PERMISSIONS) and not all(each.is_calm() for each in self._addresses):
            # An address may have to move, and this node leaves it where it is until it knows that the denial is over.
            again_at = self._asked_at + timing.LOOK_WHILE_BARRED
            self._due[Part.PERMISSIONS] = min(self._due[Part.PERMISSIONS], again_at)
        me = shared.instances.get(shared.me.instance_id)
        subnet = next(iter(self._subnets()), None)
        if self._asking or me is None or subnet is None:
            return
        done = {Part.RESERVATIONS} if subnet.id in self._reserved_in else set[Part]()
        due = tuple(part for part, at in self._due.items() if now >= at and part not in done)
        if not due:
            return
        self._due.update(dict.fromkeys(due, now + timing.REHEARSE_EVERY))
        self._asking, self._asked_at, self._asked_in = True, now, subnet.id
        tags = {OWNER_TAG: shared.name}
        self._out.add(Rehearse(due, eni, targets, subnet, me, tags, shared.slots, self._way.needed, now))

    def _subnets(self) -> list[Subnet]:
        """The addresses' subnets whose reservations are not known yet, if any, otherwise all.  The one that was asked
        about last, perhaps in vain, comes last.
        """
        found = [subnet for each in self._addresses if (subnet := each.where.subnet()) is not None]
        unknown = [subnet for subnet in found if subnet.id not in self._reserved_in]
        return sorted(unknown, key=lambda subnet: subnet.id == self._asked_in) or found

    def _moving(self) -> Eni | None:
        """An ENI by which one of the addresses would move; None while there is none."""
        return next((eni for each in self._addresses if (eni := each.where.own_eni()) is not None), None)

    def _places(self) -> set[Place]:
        """The places with which permissions could be tried now; only the empty one if no address has an ENI."""
        return {_place_of(eni) for each in self._addresses if (eni := each.where.own_eni()) is not None} or {()}

    def take(self, event: Rehearsed, now: float) -> bool:
        """Take up what one part has shown, or that all were tried.  Return whether that may change what is decided."""
        match event:
            case SlotsRehearsed():
                self._found_slots(event)
            case PermissionsRehearsed():
                self._found_permissions(event, now)
            case RehearsalFailed():
                self._failed(event, now)
            case ReservationsRehearsed():
                self._found_reservations(event)
                return False
            case RehearsalEnded():
                self._asking = False
                return False
        return True

    def unknown(self, now: float) -> Iterator[str]:
        """A sentence for each part of the rehearsal that has failed for a while."""
        for part, each in self._unknown.items():
            if part in UNKNOWN and now - each.since >= timing.REHEARSE_AGAIN:
                yield UNKNOWN[part].format(span=span(now - each.since), why=each.why)

    def _found_slots(self, found: SlotsRehearsed) -> None:
        """EC2 told how many ENIs this instance has, and may have."""
        shared = self._shared
        self._unknown.pop(Part.SLOTS, None)
        self._deny(Part.SLOTS)
        shared.slots = found.slots
        shared.describe(found.me, found.asked_at)
        wanted = any(not each.burdens() for each in self._addresses)
        if wanted and not self._way.has_standing_enis and shared.free_slots() == 0:
            self._out.warning("rehearsal", f"this node could take nothing over: {lacks_slot(shared.me.instance_id)}")

    def _found_permissions(self, found: PermissionsRehearsed, now: float) -> None:
        """Dry runs showed what IAM denies."""
        denied, actions, place = found.denied, ", ".join(found.denied), _place_of(found.eni)
        self._unknown.pop(Part.PERMISSIONS, None)
        if denied and place and place not in self._places():
            self._due[Part.PERMISSIONS] = now
            return
        # A detach can be tried only with an attachment.  Without one, an earlier denial of it stays open.
        is_open = self._denied_with is not None and len(place) < 2
        self._denied_with = place if denied or is_open else None
        if self._denied.is_due(actions, now):
            self._out.error("rehearsal", f"a takeover would fail: {Denied(*denied)}")
        self._deny(Part.PERMISSIONS, *denied)
        if denied:
            self._due[Part.PERMISSIONS] = now + timing.REHEARSE_AGAIN

    def _found_reservations(self, found: ReservationsRehearsed) -> None:
        """Warn, once, of addresses that are not reserved: EC2 may give one to a pod while it is on no ENI."""
        self._unknown.pop(Part.RESERVATIONS, None)
        self._reserved_in.add(found.subnet.id)
        self._due[Part.RESERVATIONS] = float("-inf")
        for target in (each.target for each in self._addresses):
            network = None if isinstance(target, Allocation) else found.subnet.network_of(target)
            if network is not None and not any(target in each for each in found.reserved):
                advice = f"reserve it: `aws ec2 create-subnet-cidr-reservation --subnet-id {found.subnet.id}`"
                self._out.warning("reservation", f"EC2 may hand {target} out to a pod while no node has it; {advice}")

    def _failed(self, failed: RehearsalFailed, now: float) -> None:
        """One part could not be found out: it is tried again soon."""
        part, error = failed.part, failed.error
        self._due[part] = now + timing.REHEARSE_AGAIN
        unknown = self._unknown.setdefault(part, _Unknown(now))
        unknown.why = str(error)
        if not isinstance(error, Denied):
            if unknown.trouble.is_due(part.name, now):
                self._tell(part, error)
            return
        if part is not Part.RESERVATIONS:
            # The other denials stay: this failure says nothing of them.
            self._deny(part, *self._denials.get(part, ()), error.action)
        if part is Part.PERMISSIONS:
            self._denied_with = _place_of(self._moving())
        if unknown.denial.is_due(str(error), now):
            self._tell(part, error)

    def _deny(self, part: Part, *actions: str) -> None:
        """IAM denies these actions, as this part of the rehearsal showed."""
        self._denials[part] = actions
        self._shared.denied = tuple(dict.fromkeys(action for each in Part for action in self._denials.get(each, ())))

    def _tell(self, part: Part, error: CloudError) -> None:
        said = f"not known whether a takeover is possible: {error}"
        if part is Part.RESERVATIONS:
            self._out.warning("reservation", f"not known whether the address is reserved: {error}")
        elif isinstance(error, Denied):
            self._out.error("rehearsal", said)
        else:
            self._out.warning("rehearsal", said)


def _place_of(eni: Eni | None) -> Place:
    if eni is None:
        return ()
    return (eni.id, eni.attachment.id) if eni.attachment is not None else (eni.id,)
