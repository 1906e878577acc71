"""Links that are no device but have the ENI's MAC: none of them is ever taken for it."""

import pytest

from floatingip.core.plumbing import PlumbingReport
from tests.lab.plumbed import IPV4, NO_LINK, SOUND, Node

MADE = {
    "a bridge that has kept it": f"link add made address {IPV4.mac} type bridge",
    "a macvlan of another link": f"link add link eth0 name made address {IPV4.mac} type macvlan mode bridge",
    "a tap": "tuntap add made mode tap",
}


@pytest.mark.parametrize("command", MADE.values(), ids=MADE)
def test_what_is_no_device_is_not_the_eni(node: Node, command: str) -> None:
    """A node whose device has not come would call itself sound; the one that comes then is the one that is meant."""
    node.unplug()
    node.namespace.ip(command, f"link set made address {IPV4.mac}", "link set made up")
    assert node.plumb() == PlumbingReport(NO_LINK)
    node.plug()
    assert node.plumb().state is SOUND
    assert ("ens6", "10.0.0.100", 32) in node.addresses()
    assert "made" not in str(node.addresses())
