"""
Which port of the VPC each address belongs to, and the commands by which the kernel learns of a change.

The commands are only made here: the caller runs them together with others, since each transaction takes the kernel 15
ms.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import ip_address

from lab.network import tables
from lab.network.netns import Namespace


@dataclass
class Port:
    """Where an ENI is plugged in.  It outlasts its link in a power cut: for EC2 the ENI is still attached."""

    name: str
    mac: str
    namespace: Namespace
    addresses: set[str] = field(default_factory=set)
    blocked: set[str] = field(default_factory=set)
    powered: bool = True
    silent: bool = False


class Owners:
    """The owner of each address; addresses are canonical texts."""

    def __init__(self) -> None:
        self._owners: dict[str, Port] = {}

    def of(self, address: str) -> Port | None:
        """The port that owns the address, None if none does."""
        return self._owners.get(address)

    def clear(self) -> None:
        """Let nobody own any address."""
        self._owners.clear()

    def lead(self, port: Port | None, addresses: Collection[str]) -> tuple[list[str], str]:
        """Take these addresses off their owners, and give them to `port`, or to nobody; return the commands for `ip`
        and for `nft` that do so.
        """
        routes, elements = [], []
        for address in sorted(canonical(address) for address in addresses):
            old = self._owners.get(address)
            if old is port:
                continue
            if old is not None:
                old.addresses.remove(address)
                elements.append(tables.element("delete", "owned", old.name, address))
                if old.powered:
                    routes += [f"route delete {address} dev {old.name}", f"neigh delete {address} dev {old.name}"]
            if port is None:
                del self._owners[address]
                continue
            self._owners[address] = port
            port.addresses.add(address)
            elements.append(tables.element("add", "owned", port.name, address))
            if port.powered:
                routes.append(f"neigh replace {address} lladdr {port.mac} nud permanent dev {port.name}")
                routes.append(f"route replace {address} dev {port.name}")
        return routes, "".join(elements)


def canonical(address: str) -> str:
    """The address in canonical form: an IPv6 address can be written in many ways."""
    return str(ip_address(address))
