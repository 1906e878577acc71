"""An interface of ours was called somebody else's for a while, by its tag, and is ours again: all begins anew."""

import pytest

from floatingip.core.ec2 import OWNER_TAG
from floatingip.core.model import Carry
from tests.sim.fleet import Fleet


@pytest.mark.parametrize("carry", Carry)
@pytest.mark.parametrize("minutes", [1, 3])
def test_what_was_seen_meanwhile_moves_nothing(carry: Carry, minutes: int) -> None:
    """Neither that the address did not answer, which nobody was to carry, nor that its link was left alone (R14)."""
    fleet = Fleet(0, carry=carry)
    fleet.observers()
    fleet.run(180.0)
    eni, told = fleet.eni(), len(fleet.lines)
    fleet.cloud.tag_eni(eni.id, {OWNER_TAG: "another"})
    fleet.run(fleet.now + 60.0 * minutes)
    fleet.cloud.tag_eni(eni.id, {OWNER_TAG: eni.tags[OWNER_TAG]})
    fleet.wait(lambda: fleet.serving() is not None, 75, "it is served again")
    fleet.run(fleet.now + 90.0)
    lines = fleet.lines[told:]
    assert any(" reason=NOT_OURS " in line for line in lines)
    assert fleet.stays() == ["a"], "\n".join(lines)
    assert not any("R14" in line or "floatingip/moves" in line for line in lines), "\n".join(lines)
