"""What a standing ENI has beside its floating addresses."""

from __future__ import annotations

from ipaddress import IPv4Address

from floatingip.core.model import Eni
from floatingip.core.settings import Settings


def spares(eni: Eni, settings: Settings) -> list[IPv4Address]:
    """The secondary addresses of a standing ENI that wait for an Elastic IP."""
    return sorted(set(eni.secondary) - set(eni.elastic) - set(settings.floating_ips))
