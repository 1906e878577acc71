"""A holder boots while EC2 answers with what nobody can read: it carries what IMDS shows, as where EC2 is silent."""

from dataclasses import replace

import pytest

from floatingip.core.ec2 import Eni
from floatingip.core.model import Carry
from tests.fakes.cloud import FakeCloud
from tests.sim.fleet import INSTANT, Fleet


@pytest.mark.parametrize("carry", Carry)
def test_a_holder_that_boots_carries_what_imds_shows(carry: Carry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else could take the address: to all of them it may be anywhere."""
    fleet = Fleet(1, workers=1, profile=INSTANT, carry=carry)
    (holder,) = (observer.worker for observer in fleet.observers())
    holder.cut_power()
    enis = FakeCloud.describe_enis

    def unreadable(cloud: FakeCloud, name: str) -> tuple[Eni, ...]:
        return tuple(replace(eni, unread="a status that nobody knows") for eni in enis(cloud, name))

    monkeypatch.setattr(FakeCloud, "describe_enis", unreadable)
    holder.boot()
    holder.start()
    fleet.wait(lambda: fleet.serving() is holder, 5.0, "it carries the address")
    fleet.holds_for(lambda: fleet.serving() is holder, 60.0, "it goes on")
