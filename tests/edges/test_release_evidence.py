"""What a release goes by: how long a detach has been under way, and more than one answer that lacks an interface."""

import pytest

from floatingip.commands import release
from floatingip.core.errors import Throttled
from tests.edges.test_release import ADDRESS, Vpc
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import FakeEc2


@pytest.fixture(name="vpc")
def _vpc() -> Vpc:
    return Vpc()


class ThrottledFor(FakeCloud):
    """EC2 that throttles detaches for so many seconds."""

    def __init__(self, ec2: FakeEc2, seconds: float) -> None:
        super().__init__(ec2)
        self.model, self.until = ec2, ec2.now + seconds
        self.detached: list[bool] = []

    def detach_eni(self, attachment_id: str, *, force: bool) -> None:
        """See :class:`floatingip.core.ports.Cloud`."""
        if self.model.now < self.until:
            raise Throttled("DetachNetworkInterface: RequestLimitExceeded")
        self.detached.append(force)
        super().detach_eni(attachment_id, force=force)


def test_a_detach_that_was_begun_late_is_not_forced_for_that(vpc: Vpc) -> None:
    """The guest has had no time yet to let go; why nothing happens is told once."""
    held = vpc.eni(ADDRESS)
    cloud = ThrottledFor(vpc.ec2, 2 * release.FORCE_AFTER)
    said = vpc.release(ADDRESS, cloud=cloud)
    assert cloud.detached == [False]
    assert said == [
        f"{held}: DetachNetworkInterface: RequestLimitExceeded; trying again",
        f"{held}: detaching from {vpc.worker}",
        f"{held}: deleted",
    ]


def test_an_interface_that_ec2_does_not_show_once_is_not_taken_for_gone(vpc: Vpc) -> None:
    """It was shown when the release was planned."""
    held = vpc.eni(ADDRESS)
    chosen = vpc.plan()
    vpc.cloud.omitted.add(held)
    sleep = vpc.sleep

    def shown_again(seconds: float) -> None:
        vpc.cloud.omitted.clear()
        sleep(seconds)

    vpc.sleep = shown_again  # type: ignore[method-assign]  # EC2 is late
    vpc.carry_out(chosen)
    assert held not in vpc.there()
