"""
The glossary, and the values that stand for what the user reserves.

Other modules have the values for what is known about that: what EC2 says (ec2.py), what a node knows of itself
(node.py) and of its kernel (plumbing.py), what probes show (probe.py), and what other observers say (peer.py).

Terms:

- **floating address**: the reserved VPC address that this project keeps on a live worker.
- **ENI**: the elastic network interface that has the floating address.  With ``carry: eni`` each address has one of its
  own, which moves with it; with ``carry: address`` each node has a **standing ENI**, and the address moves between
  them.
- **attachment**: one binding of the ENI to one instance.  EC2 gives each its own id, so the id is the fencing token:
  whoever detaches names the attachment that was judged, and can never evict a newer holder.
- **holder**: the worker that the ENI is attached to.  **Standby**: any other worker with an observer.
- **failover**, for the new holder a **takeover**: an unplanned move.  **Handover**: a planned one.
- **fencing**: making sure that the judged holder no longer has the address, before it is claimed: by a detach of its
  attachment, or by taking the address off its ENI.
- **word**: what an observer says of itself when another one asks; the word of the holder's observer matters most.
  It **vouches** for the address if the holder serves the address, and reaches the asker from it.
- **charge**: a reason to move the address away from its holder.  The holder is **convicted** once a move may follow.
- **look**: all questions to EC2 that are asked together, and their answers.
- **plumbing**: what a node needs in its kernel to carry an address.  An ENI **has** the address by EC2's answer; the
  address **is here** once the ENI's link is on this node and is to have it; the node **carries** it if all of that is
  sound.
- **lack**: what keeps a node from serving an address, or from taking it over.
- **ration**: the growing pauses between moves that may not help.
- **target**: one entry of ``FLOATING_IP``: an address, or the allocation of an Elastic IP.

Times are seconds on the agent's own clock, which never jumps; if the name says ``wall``, they are Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True, order=True)
class Allocation:
    """An Elastic IP, or an Outpost's customer-owned IP, by its allocation id: it is associated with the ENI."""

    id: str

    def __str__(self) -> str:
        return self.id


Target = IPv4Address | IPv6Address | Allocation
"""What the user reserved: one entry of ``FLOATING_IP``."""

Network = IPv4Network | IPv6Network


def subnets_network(network: Network) -> Network:
    """The same network, if a subnet can have it.

    Raises ValueError if it is too small: the VPC's router needs the second address.
    """
    if network.num_addresses < 4:
        raise ValueError(f"{network} is no network of a subnet")
    return network


def subnets_address(text: str) -> Address:
    """The address that the text gives, if a subnet can have it.

    Raises ValueError for a text that is no address, for an address with a zone (``%eth0``), and for an IPv4 address in
    IPv6 form: the last two would be other addresses than they look like.
    """
    address = ip_address(text)
    if isinstance(address, IPv6Address) and (address.scope_id is not None or address.ipv4_mapped is not None):
        raise ValueError(f"{text} is no address of a subnet")
    return address


def ping_protocol(address: Address | None) -> str:
    """The protocol of pings to this address, as security groups name it; that of IPv4 if the address is not known."""
    return "ICMPv6" if isinstance(address, IPv6Address) else "ICMP"


class Carry(StrEnum):
    """What moves at a failover: an ENI with the address, or only the address, between ENIs that are there already."""

    ENI = "eni"
    ADDRESS = "address"
