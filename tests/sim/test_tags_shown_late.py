"""EC2 shows a new interface, and its tags some seconds later: it is not somebody else's for that."""

from dataclasses import replace

import pytest

from floatingip.core.ec2 import Eni
from floatingip.core.errors import AddressTaken, ConfigurationError
from floatingip.core.model import Address, Allocation, Carry
from tests.fakes.cloud import FakeCloud
from tests.sim.fleet import ADDRESS, INSTANT, Fleet


class LateTags(FakeCloud):
    """EC2 as an observer reaches it; ``late`` is how many seconds old a tag is before it is shown, or found by."""

    late = 0.0

    def _is_new(self, eni: Eni) -> bool:
        return eni.id not in self._ec2.as_of(self._ec2.now - self.late).enis

    def describe_enis(self, name: str) -> tuple[Eni, ...]:
        return tuple(eni for eni in super().describe_enis(name) if not self._is_new(eni))

    def find_occupants(self, addresses: frozenset[Address]) -> tuple[Eni, ...]:
        return tuple(replace(eni, tags={}) if self._is_new(eni) else eni for eni in super().find_occupants(addresses))


def late(seconds: float, carry: Carry = Carry.ENI) -> Fleet:
    """Workers that EC2 shows tags so late."""
    fleet = Fleet(1, workers=3, profile=INSTANT, carry=carry)
    for worker in fleet.workers:
        worker.cloud = LateTags(fleet.ec2, ("sg-1",))
        worker.cloud.late = seconds
    return fleet


@pytest.mark.parametrize("carry", Carry)
@pytest.mark.parametrize("observes", [True, False], ids=["observe", "attach"])
def test_an_interface_whose_tags_are_late_is_used_as_soon_as_they_are_shown(carry: Carry, observes: bool) -> None:
    """By whoever has seen it made; and `attach` does not end for an address that is taken."""
    fleet = late(3.0, carry)
    observers = [worker.start(observes=observes) for worker in fleet.workers]
    fleet.wait(lambda: fleet.serving() is not None, 8, "one of them has the address")
    assert len({eni.id for eni in fleet.enis() if eni.has(ADDRESS)}) == 1
    assert not any(each.logged(reason="NOT_OURS") for each in observers)
    fleet.run(fleet.now + 5)
    assert not any(each.end is not None and each.end.error is not None for each in observers)


@pytest.mark.parametrize("observes", [True, False], ids=["observe", "attach"])
def test_whoever_begins_right_after_it_was_made_waits_for_its_tags_too(observes: bool) -> None:
    """Its first answer shows the interface: none before has shown nobody."""
    fleet = late(3.0)
    fleet.workers[0].start()
    fleet.wait(lambda: any(eni.has(ADDRESS) for eni in fleet.enis()), 8, "it is made")
    fleet.run(fleet.now + 1)
    second = fleet.workers[1].start(observes=observes)
    fleet.run(fleet.now + 8)
    assert fleet.serving() is not None
    assert second.logged(reason="UNTAGGED")
    assert not second.logged(reason="NOT_OURS")
    assert second.end is None or second.end.error is None


@pytest.mark.parametrize("carry", Carry)
@pytest.mark.parametrize("observes", [True, False], ids=["observe", "attach"])
def test_an_elastic_ip_that_is_with_an_interface_without_tags_is_not_somebody_elses_at_once(
    carry: Carry, observes: bool
) -> None:
    """One worker is shown the tags sooner than another, and has associated it with that interface by then."""
    fleet = late(1.0, carry)
    fleet.retarget(Allocation(fleet.ec2.allocate("203.0.113.100")))
    fleet.workers[0].start()
    fleet.run(fleet.now + 2.5)
    fleet.workers[1].cloud = cloud = LateTags(fleet.ec2, ("sg-1",))
    cloud.late = 8.0
    second = fleet.workers[1].start(observes=observes)
    fleet.run(fleet.now + 12.0)
    told = [str(line) for line in second.lines]
    assert any("not known yet whose that is" in line for line in told)
    assert not any("not ours" in line for line in told)
    if observes:
        assert not second.published.not_ready()
    else:
        assert second.end is not None
        assert second.end.error is None


def test_an_elastic_ip_that_stays_with_an_interface_without_tags_is_somebody_elses() -> None:
    """`attach` says so, and ends."""
    fleet = late(0.0)
    allocation = Allocation(fleet.ec2.allocate("203.0.113.100"))
    fleet.retarget(allocation)
    theirs = fleet.ec2.create(None, fleet.subnet, (), {}, "theirs")
    assert theirs.address is not None
    fleet.ec2.associate(allocation.id, theirs.id, theirs.address)
    attach = fleet.workers[0].start(observes=False)
    fleet.wait(lambda: attach.end is not None, 15, "it ends")
    assert attach.end is not None
    assert isinstance(attach.end.error, ConfigurationError)
    assert fleet.now >= 10.0


def test_an_interface_that_gets_no_tag_is_refused_in_the_end() -> None:
    """Somebody has made it meanwhile, with the address that nobody had."""
    fleet = late(30.0)
    attach = fleet.workers[0].start(observes=False)
    fleet.wait(lambda: attach.end is not None, 15, "it ends")
    assert attach.end is not None
    assert isinstance(attach.end.error, AddressTaken)
    assert fleet.now >= 10.0
