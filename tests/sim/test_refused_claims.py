"""EC2 refuses the claims of one standby: the next one waits for its turn, and not for each of those claims."""

import pytest

from floatingip.core import timing
from floatingip.core.errors import CloudError, CloudUnavailable, LookAgain
from floatingip.core.model import Carry
from tests.sim.fleet import ADDRESS, INSTANT, Fleet
from tests.sim.line import Call

KNOWN_WITHIN = 1.5
"""Seconds until a death is known."""


@pytest.mark.parametrize("takes", [1.0, 4.0])
@pytest.mark.parametrize("kind", [CloudUnavailable, LookAgain, CloudError])
def test_the_next_standby_waits_for_the_first_claim_only(kind: type[CloudError], takes: float) -> None:
    """Of three workers: the first standby asks EC2 again and again, which takes its time to refuse."""
    fleet = Fleet(1, workers=3, profile=INSTANT, carry=Carry.ADDRESS)
    holder, refused, next_one = (observer.worker for observer in fleet.observers())
    refused.ec2_takes = {"write": (takes, takes)}

    def refuse(call: Call) -> None:
        if ADDRESS in call.args:
            raise kind("refused")

    fleet.at_calls("assign", before=refuse, by=refused)
    holder.cut_power()
    within = KNOWN_WITHIN + takes + timing.TAKING_STEP + 1.5
    fleet.wait(lambda: fleet.serving() is next_one, within, "the next one takes over")
