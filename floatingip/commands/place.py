"""Is this the right place, and the right name?  What EC2 does not show there reads as if nobody had the addresses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from floatingip.commands.insisting import insist
from floatingip.core.ec2 import OWNER_TAG, Eni, Subnet
from floatingip.core.errors import CloudError, ConfigurationError, Denied
from floatingip.core.model import Allocation, Target
from floatingip.core.ports import Cloud
from floatingip.core.wording import printable

T = TypeVar("T")

Patience = Callable[[Callable[[], T]], T]
"""How a question is put, and whether again."""


def check_place(cloud: Cloud, region: str, vpc_id: str, put: Patience[tuple[Subnet, ...]] = insist) -> None:
    """Raise ConfigurationError where these credentials show no such VPC in that Region; and CloudError.

    Whoever may not ask, as a person need not be allowed to, is believed.
    """
    try:
        subnets = put(cloud.describe_subnets)
    except Denied:
        return
    if not subnets:
        raise ConfigurationError(
            f"{vpc_id}: these credentials show no subnet of it in {region}",
            "are account, --region and --vpc-id those of the workers?",
        )


def stranger(cloud: Cloud, name: str, target: Target, put: Patience[tuple[Eni, ...]] = insist) -> str:
    """The sentence that an interface of others has this address; empty where none has, or EC2 does not tell.

    Perhaps the deployment has another ``name``.
    """
    if isinstance(target, Allocation):
        return ""
    try:
        found = put(partial(cloud.find_occupants, frozenset((target,))))
    except CloudError:  # it is a hint, no more
        return ""
    for eni in found:
        whose = printable(eni.tags.get(OWNER_TAG, ""))
        if whose != name:
            tagged = f"has the tag {OWNER_TAG}={whose}" if whose else f"has no tag {OWNER_TAG}"
            return f"{eni.id} has it, which {tagged}; is `name: {name}` what the deployment has?"
    return ""
