"""What EC2 has where, in one of its states; made for each state, as look-ups are far more frequent than changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from floatingip.core.ec2 import Eni
from floatingip.core.model import Address


class Layout:
    """Indexes of these ``enis``: address -> ENIs that have it; instance id -> ENIs attached to it; instance id ->
    its standing ENIs; allocation id -> private address of that Elastic IP.
    """

    def __init__(self, enis: Mapping[str, Eni]) -> None:
        self.enis = enis
        self.having: defaultdict[Address, list[Eni]] = defaultdict(list)
        self.attached: defaultdict[str, list[Eni]] = defaultdict(list)
        self.standing: defaultdict[str, list[Eni]] = defaultdict(list)
        self.private: dict[str, Address] = {}
        for eni in enis.values():
            self.private.update((allocation_id, address) for address, allocation_id in eni.elastic.items())
            for address in {eni.address, *eni.secondary, *eni.ipv6s} - {None}:
                assert address is not None, "taken out a moment ago"
                self.having[address].append(eni)
            self.standing[eni.standing_for].append(eni)
            if eni.attachment is not None:
                self.attached[eni.attachment.instance_id].append(eni)
