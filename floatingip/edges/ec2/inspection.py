"""
What only `floatingip doctor` asks EC2: whose credentials these are, which workers there are, what their security groups
admit, and which permissions there are, each by a dry run.

A part of ``ec2``.  It changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from floatingip.agent.looks import CLUSTER_TAG, CLUSTER_TAG_PREFIX
from floatingip.core.ec2 import Eni
from floatingip.core.groups import Rule, Worker
from floatingip.core.model import Allocation, Target
from floatingip.edges import background, clock
from floatingip.edges.ec2.api import Api, denied
from floatingip.edges.ec2.asking import Asking
from floatingip.edges.ec2.meaning import meaning
from floatingip.edges.ec2.sdk import identity
from floatingip.edges.ec2.shown import read_instance

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

PATIENCE = 5.0
"""Seconds for any one answer."""

PAGE = 25
"""Instances in one answer, which may not have more than `MOST_BYTES` (connections.py): EC2's description of one
instance, with the addresses of its pods, may have some 150 thousand bytes.
"""


class Inspection:
    """The doctor's questions to EC2, for one Region and VPC."""

    def __init__(self, ec2: EC2Client, region: str, vpc_id: str) -> None:
        self._ec2 = ec2
        self._region = region
        self._vpc_id = vpc_id
        self._api = Api(Asking(PATIENCE))

    def caller(self) -> str:
        """The ARN of the caller.  Raises ``CloudError``."""
        return self._api.ask("GetCallerIdentity", lambda: identity(self._region, PATIENCE), str)

    def workers(self, cluster: str) -> tuple[Worker, ...]:
        """The cluster's instances in this VPC.  Raises ``CloudError``."""
        names = {"tag-key": f"{CLUSTER_TAG_PREFIX}{cluster}", f"tag:{CLUSTER_TAG}": cluster}
        asked = [background.begin("workers", partial(self._workers_with, *named)) for named in names.items()]
        found = {worker.instance.id: worker for answer in asked for worker in answer.result()}
        return tuple(found[instance_id] for instance_id in sorted(found))

    def _workers_with(self, name: str, value: str) -> list[Worker]:
        """The workers that one filter selects.  Raises ``CloudError``."""
        filters: list[Any] = [{"Name": "vpc-id", "Values": [self._vpc_id]}, {"Name": name, "Values": [value]}]
        action, call = "DescribeInstances", self._ec2.describe_instances
        shown = self._api.pages(action, call, "Reservations", Filters=filters, MaxResults=PAGE)
        with meaning(action):
            return [_worker(item) for reservation in shown for item in reservation["Instances"]]

    def clock(self) -> tuple[float | None, float]:
        """By how many seconds this node's clock is ahead of EC2's, and how many seconds EC2's answer took.

        The former is None if something on the way removed the date from the answer.  Raises ``CloudError``.
        """
        began, wall = clock.now(), time.time()

        def read(answer: Mapping[str, Any]) -> tuple[float | None, float]:
            took = clock.now() - began
            try:
                return seconds_ahead(wall, took, answer["ResponseMetadata"]["HTTPHeaders"]["date"]), took
            except (LookupError, TypeError, ValueError, ArithmeticError):
                return None, took

        filters: list[Any] = [{"Name": "vpc-id", "Values": [self._vpc_id]}]
        return self._api.ask("DescribeSubnets", partial(self._ec2.describe_subnets, Filters=filters), read)

    def rules(self, groups: frozenset[str]) -> tuple[Rule, ...]:
        """What these security groups admit.  Raises ``CloudError``."""
        filters: list[Any] = [{"Name": "group-id", "Values": sorted(groups)}]
        action, call = "DescribeSecurityGroupRules", self._ec2.describe_security_group_rules
        shown = self._api.pages(action, call, "SecurityGroupRules", Filters=filters)
        with meaning(action):
            return tuple(map(_rule, shown))

    def denied(self, eni: Eni | None, targets: Iterable[Target]) -> tuple[str, ...]:
        """The actions of docs/iam-policy.json that are denied, except those that a rehearsal tries (cloud.py), and
        those that the doctor uses anyway.

        ``eni`` is one of ours, None while there is none: without one a policy that depends on tags cannot be tried.
        Raises ``CloudUnavailable``.
        """
        ec2 = self._ec2
        calls: dict[str, Callable[..., object]] = {"DescribeAddresses": ec2.describe_addresses}
        if eni is not None:
            calls["DeleteNetworkInterface"] = partial(ec2.delete_network_interface, NetworkInterfaceId=eni.id)
            calls["ModifyNetworkInterfaceAttribute"] = partial(
                ec2.modify_network_interface_attribute, NetworkInterfaceId=eni.id, SourceDestCheck={"Value": True}
            )
            if eni.attachment is not None:
                calls["DetachNetworkInterface"] = partial(ec2.detach_network_interface, AttachmentId=eni.attachment.id)
        tried = list(calls.items())
        for target in targets:
            if eni is not None and isinstance(target, Allocation):  # Each of them, as a policy may go by their tags.
                associate = partial(ec2.associate_address, AllocationId=target.id, NetworkInterfaceId=eni.id)
                tried.append(("AssociateAddress", associate))
        return denied(partial(self._api.ask, name, partial(call, DryRun=True), bool) for name, call in tried)


def seconds_ahead(asked_at: float, took: float, date: str) -> float:
    """By how many seconds a clock that showed ``asked_at`` is ahead of EC2's, whose answer with this ``date`` came
    ``took`` seconds later.

    The date is assumed to be from half way through the call.  It has whole seconds, so half a second is added.
    """
    return asked_at + took / 2 - (parsedate_to_datetime(date).timestamp() + 0.5)


def _worker(item: Any) -> Worker:
    groups = frozenset(group["GroupId"] for group in item.get("SecurityGroups", []))
    return Worker(read_instance(item), groups)


def _rule(item: Mapping[str, Any]) -> Rule:
    network = item.get("CidrIpv4") or item.get("CidrIpv6")
    return Rule(
        group=item["GroupId"],
        is_egress=bool(item.get("IsEgress")),
        protocol=str(item["IpProtocol"]),
        first=int(item.get("FromPort", -1)),
        last=int(item.get("ToPort", -1)),
        network=ip_network(network, strict=False) if network else None,
        other_group=item.get("ReferencedGroupInfo", {}).get("GroupId", ""),
    )
