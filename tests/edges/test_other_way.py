"""Whoever asks about a deployment from elsewhere may have forgotten its setting `carry`: that is told."""

from dataclasses import replace

import pytest

from floatingip.commands import pause, status
from floatingip.commands.handover import plan
from floatingip.core.decision import pause as pauses
from floatingip.core.errors import ConfigurationError
from floatingip.core.model import Carry
from floatingip.core.overview import Verdict
from floatingip.core.settings import Settings
from tests.edges.handed_over import ADDRESS, NAME, Vpc

BOTH = pytest.mark.parametrize("carry", Carry)


def other(carry: Carry) -> Carry:
    """Not this one."""
    return next(each for each in Carry if each != carry)


@BOTH
def test_no_command_takes_the_other_way_to_carry_for_an_address_that_nobody_has(carry: Carry) -> None:
    """It names the interface and the setting."""
    vpc, given = Vpc(carry=carry), other(carry)
    told = f"{vpc.enis[0]} has it in the other way to carry; is `carry: {given}` what the deployment has"
    with pytest.raises(ConfigurationError, match=told):
        plan(replace(vpc.ours, carry=given), (ADDRESS,))
    with pytest.raises(ConfigurationError, match=told):
        pause.begin(replace(vpc.ours, carry=given), [ADDRESS], 600.0)
    with pytest.raises(ConfigurationError, match=f"{told}|has no interface of"):
        pause.end(replace(vpc.ours, carry=given), [ADDRESS])
    seen = status.look(Settings((ADDRESS,), name=NAME, carry=given), None, lambda: vpc.cloud)
    assert told in seen.addresses[0].findings[0]
    assert (seen.carry, seen.verdict) == (given, Verdict.DOWN)


@BOTH
def test_a_status_by_ec2_alone_says_by_which_way_it_was_read(carry: Carry) -> None:
    """As no observer tells."""
    seen = status.look(Settings((ADDRESS,), name=NAME, carry=carry), None, lambda: Vpc(carry=carry).cloud)
    assert (seen.carry, seen.verdict) == (carry, Verdict.HEALTHY)


def test_a_pause_is_shown_of_an_address_that_nobody_holds() -> None:
    """Whoever has just restarted the holder wonders why nothing moves."""
    vpc, wall = Vpc(carry=Carry.ENI), 1_764_000_000.0
    vpc.cloud.tag_eni(vpc.enis[0], {pauses.TAG: str(int(wall) + 600)})
    vpc.cloud.detach_eni(vpc.attachment().id, force=False)
    vpc.ec2.advance(vpc.ec2.now + 60.0)
    seen = status.look(Settings((ADDRESS,), name=NAME), None, lambda: vpc.cloud, wall=lambda: wall)
    assert seen.addresses[0].paused_until == wall + 600
    assert any("`floatingip resume` ends the pause" in said for said in seen.addresses[0].findings)
