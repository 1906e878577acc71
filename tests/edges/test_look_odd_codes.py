"""EC2 refuses one question of a look with a code that nobody knows: as if it had not answered that one."""

from ipaddress import IPv4Address
from typing import Any

import pytest

from floatingip.agent.looks import Question, Seen
from floatingip.core.ec2 import OWNER_TAG
from floatingip.core.errors import CloudError
from floatingip.core.model import Allocation
from floatingip.core.settings import Settings
from floatingip.runtime.look import look
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import FakeEc2

NAME, ADDRESS, OTHER = "cluster", IPv4Address("10.0.0.100"), IPv4Address("10.0.0.101")


class OddCloud(FakeCloud):
    """Refuses the questions with these names."""

    def __init__(self, ec2: FakeEc2, *refused: str) -> None:
        super().__init__(ec2, ("sg-1",))
        for name in refused:
            setattr(self, name, self._refuse)

    def _refuse(self, *_: Any) -> Any:
        raise CloudError("Describe: UnsupportedOperation: not today")


def seen(*refused: str) -> Seen:
    """A holder with an address, another address that nobody has, and an Elastic IP."""
    ec2 = FakeEc2()
    subnet = ec2.add_subnet("10.0.0.0/24")
    me, holder = (ec2.add_instance(f"10.0.0.{last}", subnet) for last in (10, 11))
    eni = FakeCloud(ec2, ("sg-1",)).create_eni(ADDRESS, subnet, {OWNER_TAG: NAME}, "")
    ec2.attach(eni.id, holder, 1)
    targets = ADDRESS, OTHER, Allocation(ec2.allocate("198.51.100.1"))
    return look(OddCloud(ec2, *refused), Settings(targets), Question(0.0, me, NAME, judged=frozenset({holder})))


@pytest.mark.parametrize("name", ["describe_instances", "find_occupants", "describe_allocation"])
def test_what_is_known_without_that_question_is_known(name: str) -> None:
    """So a dead holder is relieved; and what depends on it is neither free nor gone."""
    told = seen(name)
    assert told.enis[ADDRESS].attachment is not None
    assert "UnsupportedOperation" in " ".join([told.undescribed, *told.unknown.values()])
    assert not told.refused


def test_where_the_addresses_are_is_not_known_without_the_interfaces() -> None:
    """Then all of the look fails."""
    with pytest.raises(CloudError, match="UnsupportedOperation"):
        seen("describe_enis")
