"""Where EC2 has what, by one state of it: looked up far more often than it changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from floatingip.core.ec2 import Eni
from floatingip.core.model import Address


class Layout:
    """Of these ``enis``: who has an address, in whatever way; what an instance has attached, by its id; the private
    address that an Elastic IP leads to, by its allocation's id.
    """

    def __init__(self, enis: Mapping[str, Eni]) -> None:
        self.enis = enis
        self.having: defaultdict[Address, list[Eni]] = defaultdict(list)
        self.attached: defaultdict[str, list[Eni]] = defaultdict(list)
        self.private: dict[str, Address] = {}
        for eni in enis.values():
            self.private.update((allocation_id, address) for address, allocation_id in eni.elastic.items())
            for address in {eni.address, *eni.secondary, *eni.ipv6s} - {None}:
                assert address is not None, "taken out a moment ago"
                self.having[address].append(eni)
            if eni.attachment is not None:
                self.attached[eni.attachment.instance_id].append(eni)
