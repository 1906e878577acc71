"""A denial of what is done to an interface that may be gone: a policy that goes by tags denies that, too."""

import random
from ipaddress import IPv4Address

import pytest

from floatingip.agent.effects import Making
from floatingip.agent.events import Wrote
from floatingip.agent.writing import Writing
from floatingip.core.errors import CloudError, Denied
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
from tests.core.told import Told

ADDRESS = IPv4Address("10.0.0.100")
MAKING = Making(None, None, {}, "", frozenset())


class Writer:
    """Writes that end as the test says."""

    def __init__(self) -> None:
        self.told = Told()
        self.writing = Writing("10.0.0.100", self.told.out, lambda _: None, random.Random(1).uniform)
        self.now = 100.0

    def write(self, write: Write, error: CloudError | None) -> str:
        """It ends so; what was logged."""
        before = len(self.told.log)
        self.writing.begin(write, MAKING, self.now)
        self.now += 1.0
        self.writing.wrote(Wrote("10.0.0.100", write, error), self.now)
        return self.told.log[before:]

    def final(self) -> CloudError | None:
        """What waiting does not mend."""
        return self.writing.final


NAMES_WHAT_MAY_BE_GONE: tuple[Write, ...] = (
    Attach("eni-1"),
    Detach("eni-attach-1"),
    Delete("eni-1"),
    Assign("eni-1", ADDRESS),
    AssignAny("eni-1"),
    Unassign("eni-1", ADDRESS),
    Tag("eni-1", "floatingip/moves", "R4@1/a"),
    Associate("eipalloc-1", "eni-1", ADDRESS),
    SetGroups("eni-1", ("sg-1",)),
    KeepAfterTermination("eni-1", "eni-attach-1"),
    CheckSource("eni-1"),
)


@pytest.mark.parametrize("write", NAMES_WHAT_MAY_BE_GONE, ids=lambda write: type(write).__name__)
def test_a_denial_is_no_missing_permission_before_ec2_was_looked_at(write: Write) -> None:
    """Somebody else was quicker, most likely; what is still wanted then, and denied again, the role may not."""
    writer, denied = Writer(), Denied("ec2:DoIt")
    assert "level=info event=write" in writer.write(write, denied)
    assert writer.final() is None
    assert writer.writing.retry_at[type(write)] > writer.now
    assert "level=error event=denied" in writer.write(write, denied)
    assert writer.final() is denied
    assert writer.write(write, denied) == ""


def test_what_names_nothing_that_could_be_gone_is_denied_at_once() -> None:
    """A creation."""
    writer, denied = Writer(), Denied("ec2:CreateNetworkInterface")
    assert "level=error event=denied" in writer.write(Create(), denied)
    assert writer.final() is denied
