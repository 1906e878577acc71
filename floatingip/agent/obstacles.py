"""Why an address can never be on this node, however long it waits: each function gives a sentence, empty if it can."""

from __future__ import annotations

from ipaddress import IPv4Address

from floatingip.agent.shared import Shared
from floatingip.core.ec2 import AllocationFacts, Eni, Subnet
from floatingip.core.model import Address, Allocation, Network, Target

KEPT_BY_AWS = 4
"""AWS keeps this many addresses at the start of a subnet's network for itself, and the last one."""


def misplaced(target: Target, subnet: Subnet | None, shared: Shared) -> str:
    """Why the address cannot be on this node, by its subnet, zone and Outpost; empty if it can.

    ``subnet`` is the one that the address is in, None if this VPC has no such subnet.
    """
    me = shared.me
    if subnet is None:
        public = isinstance(target, IPv4Address) and target.is_global
        other = ", or to the allocation id (eipalloc-...) if this is an Elastic IP" if public else ""
        return f"no subnet of {me.vpc_id} contains {target}; set FLOATING_IP to an address of one{other}"
    network = None if isinstance(target, Allocation) else subnet.network_of(target)
    if not isinstance(target, Allocation) and network is not None and _is_kept_by_aws(target, network):
        return f"AWS keeps {target} in {subnet.id}, as the first four and the last of {network}; choose another"
    if isinstance(target, Allocation) and {each.version for each in subnet.networks} == {6}:
        return f"{target} needs a private IPv4 address, which {subnet.id}, of IPv6 only, has not; use another subnet"
    if subnet.zone != me.zone:
        return (
            f"{target} is in {subnet.id} of zone {subnet.zone}, this node is in zone {me.zone}, and an ENI"
            f" cannot leave its zone; run on nodes of {subnet.zone} only"
        )
    if subnet.outpost != shared.outpost():
        where = f"on Outpost {subnet.outpost}" if subnet.outpost else f"in {subnet.zone}, not on an Outpost"
        return f"{target} is {where}, this node is not; run on nodes of there only"
    return ""


def _is_kept_by_aws(address: Address, network: Network) -> bool:
    place = int(address) - int(network.network_address)
    return place < KEPT_BY_AWS or address == network.broadcast_address


def unusable(target: Allocation, facts: AllocationFacts | None, eni: Eni | None, shared: Shared) -> str:
    """Why an Elastic IP cannot be used here; empty if it can.

    ``facts`` is None if EC2 knows no such Elastic IP; ``eni`` is our ENI for it, None while there is none.
    """
    zone = shared.me.zone
    if facts is None:
        return f"there is no allocation {target} in {shared.me.region}; allocate it, or correct FLOATING_IP"
    # A zone's border group is its name without the zone's letter (`us-west-2-lax-1a`, `us-west-2a`).
    group = zone.rstrip("abcdefghijklmnopqrstuvwxyz")
    if facts.border_group and facts.border_group not in (group, zone):
        return (
            f"{target} belongs to the network border group {facts.border_group}, this node's zone {zone} to {group};"
            f" allocate one with --network-border-group {group}"
        )
    if facts.eni_id and facts.eni_id not in shared.ours and (eni is None or facts.eni_id != eni.id):
        return f"{target} is associated with {facts.eni_id}, which is not ours; disassociate it there first"
    return ""
