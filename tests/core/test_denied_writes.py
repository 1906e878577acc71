"""A denial of what is done to an interface that may be gone: a policy that goes by tags denies that, too."""

import random

import pytest

from floatingip.agent.effects import Making
from floatingip.agent.events import Wrote
from floatingip.agent.writing import Writing
from floatingip.core.errors import CloudError, Denied
from floatingip.core.writes import Delete, Detach, Write
from tests.core.told import Told

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


@pytest.mark.parametrize(
    ("write", "action"), [(Detach("eni-attach-1"), "Detach"), (Delete("eni-1"), "Delete")], ids=["detach", "delete"]
)
def test_a_denial_is_no_missing_permission_before_ec2_was_looked_at(write: Write, action: str) -> None:
    """Somebody else was quicker, most likely; what is still wanted then, and denied again, the role may not."""
    writer, denied = Writer(), Denied(f"ec2:{action}NetworkInterface")
    assert "level=info event=write" in writer.write(write, denied)
    assert writer.final() is None
    assert writer.writing.retry_at[type(write)] > writer.now
    assert "level=error event=denied" in writer.write(write, denied)
    assert writer.final() is denied
    assert writer.write(write, denied) == ""
