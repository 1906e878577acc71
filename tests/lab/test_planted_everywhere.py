"""Planted faults that all nodes of a region have: the doctor, `/readyz` and the log name cause and remedy alike."""

import pytest

from floatingip.core.model import Carry
from lab.ec2 import PROFILES
from lab.history import History
from lab.run.region import Region
from lab.run.scenarios import WITHOUT_NFT
from tests.lab.planted import Fault, Planted


@pytest.mark.parametrize("carry", list(Carry))
def test_a_missing_nft_is_named_everywhere(in_sandbox: None, carry: Carry) -> None:
    """By the holder; where addresses move, by a standby beforehand, too."""
    settings = {"carry": str(carry)}
    with (
        History() as history,
        Region(PROFILES["instant"], history, environment={"PATH": WITHOUT_NFT}, settings=settings) as region,
    ):
        region.deploy(ready=False)
        planted = Planted(region, {"holder": region.holder()})
        if carry is Carry.ADDRESS:
            planted.at["standby"] = region.standbys()[0]
        for where in planted.at:
            planted.expect(Fault(where, "nft", "nft: command not found", "the image must contain nftables"))
