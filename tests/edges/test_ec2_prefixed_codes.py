"""EC2's codes as its tools and relays write them, with whose error it is in front: `Client.UnauthorizedOperation`."""

import pytest

from floatingip.core.errors import CloudError, CloudUnavailable, Denied, LookAgain, NoCredentials, NoFreeSlot, Throttled
from tests.edges.ec2_stub import Endpoint

pytest_plugins = ["tests.edges.ec2_fixtures"]


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("Client.RequestLimitExceeded", 503, Throttled),
        ("Client.UnauthorizedOperation", 403, Denied),
        ("Client.InvalidAttachmentID.NotFound", 400, LookAgain),
        ("Client.AttachmentLimitExceeded", 400, NoFreeSlot),
        ("Client.ExpiredToken", 400, NoCredentials),
        ("Server.InternalError", 500, CloudUnavailable),
        ("Server.InternalError", 400, CloudUnavailable),
    ],
)
def test_such_a_code_has_its_meaning(endpoint: Endpoint, code: str, status: int, kind: type[CloudError]) -> None:
    """A denial that is taken for any other refusal would let a rehearsal call the write allowed."""
    endpoint.refuses("DetachNetworkInterface", code, status=status)
    assert type(endpoint.error_of("DetachNetworkInterface")) is kind
    assert endpoint.tally.read().calls == {("DetachNetworkInterface", code.partition(".")[2]): 1}
