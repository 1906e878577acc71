"""Check the place and the name: in a wrong place EC2 shows none of our interfaces, as if nobody had the addresses."""

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
"""How EC2 is asked, and whether it is asked again."""


def check_place(cloud: Cloud, region: str, vpc_id: str, put: Patience[tuple[Subnet, ...]] = insist) -> None:
    """Raise ConfigurationError if these credentials show no such VPC in that Region; and CloudError.

    If IAM does not allow the question (a person needs no such permission), the place is taken as right.
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
    """A sentence for the user if an interface of others has this address; empty if none has, or EC2 does not tell.

    The deployment may have another ``name`` than the one given.
    """
    if isinstance(target, Allocation):
        return ""
    try:
        found = put(partial(cloud.find_occupants, frozenset((target,))))
    except CloudError:  # this is only a hint
        return ""
    for eni in found:
        whose = printable(eni.tags.get(OWNER_TAG, ""))
        if whose != name:
            tagged = f"has the tag {OWNER_TAG}={whose}" if whose else f"has no tag {OWNER_TAG}"
            return f"{eni.id} has it, which {tagged}; is `name: {name}` what the deployment has?"
    return ""
