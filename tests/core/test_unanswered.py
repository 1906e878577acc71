"""What EC2 does not tell: all of it is said, and for how long, and that a node could move nothing for that."""

import pytest

from floatingip.agent.effects import Part
from floatingip.agent.events import Looked, LookFailed, RehearsalFailed, SlotsRehearsed
from floatingip.core import timing
from floatingip.core.errors import CloudError, CloudUnavailable, Denied
from floatingip.core.lack import Lack
from floatingip.core.model import Allocation
from floatingip.core.status import of
from tests.core.agents import Node
from tests.core.nodes import ADDRESS, ME, OTHER

ELASTIC = Allocation("eipalloc-0123abcd")
SILENT = CloudUnavailable("DescribeNetworkInterfaces: no answer within 5 s")


def test_what_is_denied_hides_nothing_else_that_ec2_does_not_tell() -> None:
    """Three kinds of questions fail at once: whoever has mended one of them would wait for the next to be named."""
    node = Node(ELASTIC)
    denied, unknown = Denied("ec2:DescribeAddresses"), f"DescribeNetworkInterfaces: {ADDRESS} is shown on two"
    seen = node.seen(
        unknown={ELASTIC: str(denied), ADDRESS: unknown},
        refused={ELASTIC: denied},
        undescribed="DescribeInstances: RequestLimitExceeded",
    )
    node.handle(Looked(seen))
    for problem in (str(denied), unknown, seen.undescribed):
        assert problem in node.published.unanswered
        assert problem in node.told.log
    assert "level=error event=denied" in node.told.log


def silent_for(node: Node, seconds: float, error: CloudError = SILENT) -> None:
    """EC2 has not answered this node for so long."""
    until = node.now + seconds
    while node.now < until:
        node.handle(LookFailed(error, {}), after=min(15.0, until - node.now))


@pytest.mark.parametrize("error", [SILENT, Denied("ec2:DescribeNetworkInterfaces")], ids=["silent", "denied"])
def test_a_standby_that_ec2_tells_nothing_could_not_take_over(error: CloudError) -> None:
    """Not for a call that fails now and then; and with the first answer it is ready again."""
    node = Node()
    node.looked(OTHER)
    ready = node.published.addresses[0].not_ready
    silent_for(node, timing.UNANSWERED_FOR - 10.0, error)
    assert node.published.addresses[0].not_ready == ready
    silent_for(node, 30.0, error)
    [shown] = node.published.addresses
    assert shown.not_ready == f"EC2 has not told this node for over 3 min who has the address: {error}"
    assert shown.lack == Lack.EC2_UNANSWERED
    assert of(node.published, node.now).addresses[0].why_not == shown.not_ready
    node.looked(OTHER)
    assert node.published.addresses[0].not_ready == ready


def test_a_holder_that_ec2_tells_nothing_serves_on() -> None:
    node = Node()
    node.hold()
    silent_for(node, 2 * timing.UNANSWERED_FOR)
    assert (node.published.addresses[0].is_holder, node.published.not_ready()) == (True, "")


@pytest.mark.parametrize(
    ("part", "what"),
    [(Part.SLOTS, "whether this node has a free ENI slot"), (Part.PERMISSIONS, "whether IAM lets this node take over")],
)
def test_what_could_not_be_rehearsed_is_not_known(part: Part, what: str) -> None:
    """One call hangs, and all else works: nobody would know that this one says nothing."""
    node, error = Node(), CloudUnavailable("DescribeInstanceTypes: no answer within 5 s")
    node.looked(OTHER)
    node.handle(RehearsalFailed(part, error))
    assert list(node.published.unknown) == []
    for _ in range(12):
        node.handle(RehearsalFailed(part, error), after=timing.REHEARSE_AGAIN)
    assert list(node.published.unknown) == [f"not known for 12 min {what}: {error}"]
    assert f"not known for 12 min {what}" in node.published.note
    assert node.published.not_ready() == ""
    told = f'level=warning event=rehearsal msg="not known whether a takeover is possible: {error}"'
    assert node.told.log.count(told) == 1


def test_what_is_rehearsed_again_is_known() -> None:
    node = Node()
    node.looked(OTHER)
    for _ in range(3):
        node.handle(RehearsalFailed(Part.SLOTS, SILENT), after=timing.REHEARSE_AGAIN)
    assert node.published.unknown != ()
    node.handle(SlotsRehearsed(3, dict(node.agent._shared.instances), node.now))
    node.handle(after=timing.CALM_TICK)
    assert (node.published.unknown, node.agent._shared.slots) == ((), 3)
    assert ME in node.agent._shared.instances
