"""
The glossary, and what the user reserves.  What is known of it stands in frozen values that do nothing but read
themselves: what EC2 says (ec2.py), the node of itself (node.py) and of its kernel (plumbing.py), probes (probe.py), and
other observers (peer.py).

Terms:

- **floating address**: the reserved VPC address that this project keeps on a live worker.
- **ENI**: the elastic network interface that has the floating address.  With ``carry: eni`` each address has one of its
  own, which moves with it; with ``carry: address`` each node has a **standing ENI**, and the address moves between
  them.
- **attachment**: one binding of the ENI to one instance.  EC2 gives each its own id, so the id is the fencing token:
  whoever detaches names the attachment that was judged, and can never evict a newer holder.
- **holder**: the worker that the ENI is attached to.  **Standby**: any other worker with an observer.
- **failover**, seen by the new holder a **takeover**: an unplanned move.  **Handover**: a planned one.
- **fencing**: taking the address from the judged attachment before it is claimed: by detaching it, or from its ENI.
- **word**: what the holder's observer says of itself when it is asked.

Times are seconds: ``*_at`` on the agent's own clock, which never jumps, unless the name says ``wall``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True, order=True)
class Allocation:
    """An Elastic IP, or an Outpost's customer-owned IP, by its allocation id: it is associated with the ENI."""

    id: str

    def __str__(self) -> str:
        return self.id


Target = IPv4Address | IPv6Address | Allocation
"""What the user reserved, one of ``FLOATING_IP``: it has an ENI of its own."""

Network = IPv4Network | IPv6Network


def subnets_network(network: Network) -> Network:
    """The network, if a subnet can have it.  Raises ValueError where it has no room for the VPC's router, which is at
    its second address.
    """
    if network.num_addresses < 4:
        raise ValueError(f"{network} is no network of a subnet")
    return network


class Carry(StrEnum):
    """What moves at a failover: an ENI with the address, or the address between ENIs that are there already."""

    ENI = "eni"
    ADDRESS = "address"
