"""
The IAM policy allows what the product calls and nothing else, on nothing but what is ours.

What the code calls is read from its syntax tree, so a new call or one that is gone shows here, in either direction.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore.exceptions import ClientError

from floatingip.core.errors import Denied
from floatingip.edges.ec2 import cloud as ec2
from lab.ec2 import PROFILES, Ec2, NoDevices
from lab.ec2.policy import POLICY, allowed, enforce, every_action
from tests.packaging.substitution import envsubst

ROOT = Path(__file__).parents[2]
VARIABLES = {
    "AWS_ACCOUNT": "111122223333",
    "AWS_REGION": "cn-north-1",
    "CLUSTER": "lab",
    "PARTITION": "aws-cn",
    "VPC": "vpc-0123456789abcdef0",
}

NETWORK_INTERFACE = frozenset({"network-interface"})
BOTH_ENDS = frozenset({"network-interface", "instance"})
RESOURCES = {
    "AssignIpv6Addresses": NETWORK_INTERFACE,
    "AssignPrivateIpAddresses": NETWORK_INTERFACE,
    "AssociateAddress": frozenset({"elastic-ip", "network-interface"}),
    "AttachNetworkInterface": BOTH_ENDS,
    "CreateNetworkInterface": frozenset({"network-interface", "security-group", "subnet"}),
    "CreateTags": NETWORK_INTERFACE,
    "DeleteNetworkInterface": NETWORK_INTERFACE,
    "DetachNetworkInterface": BOTH_ENDS,
    "ModifyNetworkInterfaceAttribute": BOTH_ENDS | {"security-group"},
    "UnassignIpv6Addresses": NETWORK_INTERFACE,
    "UnassignPrivateIpAddresses": NETWORK_INTERFACE,
}
"""The types of resources that EC2 looks at for each write, as far as our calls name them (AWS' service authorization
reference, August 2026).  Describes have none."""

UNTAGGED = frozenset({"security-group", "subnet"})
"""What is not ours, and only named by our calls."""


def called() -> set[str]:
    """The actions that `floatingip/edges/ec2/cloud.py` calls: methods of its client, and its paginators' names."""
    actions = {botocore.xform_name(action): action for action in every_action()}
    found = set()
    for node in ast.walk(ast.parse(Path(ec2.__file__).read_text(encoding="utf-8"))):
        match node:
            case ast.Call(ast.Attribute(ast.Attribute(attr="_ec2"), "get_paginator"), [ast.Constant(str(name))]):
                found.add(actions[name])
            case ast.Attribute(ast.Attribute(attr="_ec2"), name) if name != "get_paginator":
                found.add(actions[name])
    return found


def listed(value: str | list[str]) -> list[str]:
    """One or several, as IAM lets a policy say it."""
    return [value] if isinstance(value, str) else value


def substituted() -> str:
    """The policy as the documents have users make it."""
    return envsubst(POLICY.read_text(encoding="utf-8"), VARIABLES)


def grants() -> list[tuple[str, str, dict[str, dict[str, Any]]]]:
    """Each action with each type of resource (`*` for Describes) that it is allowed on, and on what conditions."""
    return [
        (action.removeprefix("ec2:"), resource.rpartition(":")[2].removesuffix("/*"), statement.get("Condition", {}))
        for statement in json.loads(substituted())["Statement"]
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]


def test_the_policy_allows_what_the_code_calls_and_nothing_else() -> None:
    """An action more is a right that nobody needs; one fewer shows at the worst moment."""
    assert "DescribeNetworkInterfaces" in called(), "it saw nothing"
    assert allowed(POLICY) == called()


def test_each_write_may_touch_the_resources_that_ec2_looks_at_and_no_others() -> None:
    """EC2 denies a call when one of its resources is not allowed: an attach needs the interface and the instance."""
    touched: dict[str, set[str]] = {}
    for action, resource, _ in grants():
        touched.setdefault(action, set()).add(resource)
    describes = {action: {"*"} for action in allowed(POLICY) if action.startswith(("Describe", "Get"))}
    assert touched == RESOURCES | describes


def test_only_what_is_ours_may_be_touched() -> None:
    """What exists has to have our tag, be it an interface or an Elastic IP; and an instance has to be the cluster's."""
    ours = {"aws:ResourceTag/floatingip": "lab"}
    workers = {"aws:ResourceTag/kubernetes.io/cluster/lab": "owned"}
    for action, resource, conditions in grants():
        if resource == "*" or resource in UNTAGGED or "ec2:CreateAction" in conditions.get("StringEquals", {}):
            continue
        if action == "CreateNetworkInterface":
            assert conditions == {"StringEquals": {"aws:RequestTag/floatingip": "lab"}}
        else:
            assert conditions["StringEquals"] == (workers if resource == "instance" else ours), (action, resource)


def test_what_has_no_tag_of_ours_is_at_least_of_our_vpc() -> None:
    """The account may have others, in which nobody expects us to make an interface or to use a security group."""
    found = [(resource, conditions) for _, resource, conditions in grants() if resource in UNTAGGED]
    assert {resource for resource, _ in found} == UNTAGGED
    for _, conditions in found:
        assert conditions == {"ArnLike": {"ec2:Vpc": "arn:aws-cn:ec2:cn-north-1:*:vpc/vpc-0123456789abcdef0"}}


def test_tags_may_be_written_at_creation_and_later_only_ours() -> None:
    """Who could tag any interface as ours could then do anything with it."""
    at_creation, later = (conditions for action, _, conditions in grants() if action == "CreateTags")
    assert at_creation == {"StringEquals": {"ec2:CreateAction": "CreateNetworkInterface"}}
    assert later["ForAllValues:StringLike"] == {"aws:TagKeys": ["floatingip", "floatingip/*"]}
    assert later["StringEqualsIfExists"] == {"aws:RequestTag/floatingip": "lab"}


def test_it_is_of_one_partition_account_region_and_cluster() -> None:
    """Each is a variable, and no other `$` is in it.  Only a subnet may be another account's, which shares it."""
    text = POLICY.read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{(\w+)\}", text)) == set(VARIABLES)
    assert "$" not in substituted()
    for statement in json.loads(substituted())["Statement"]:
        for resource in listed(statement["Resource"]):
            account = "*" if resource.endswith(":subnet/*") else "111122223333"
            assert resource == "*" or resource.startswith(f"arn:aws-cn:ec2:cn-north-1:{account}:")


def test_an_action_that_ec2_does_not_have_is_refused(tmp_path: Path) -> None:
    """As is a pattern: what it stands for would go unseen."""
    for action in ("ec2:AttachNetworkInterfaces", "ec2:Describe*"):
        policy = tmp_path / "policy.json"
        policy.write_text(json.dumps({"Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}))
        with pytest.raises(ValueError, match=re.escape(action)):
            allowed(policy)


@pytest.fixture
def endpoint() -> Iterator[Ec2]:
    """An EC2 endpoint with nothing but a VPC."""
    served = Ec2(PROFILES["instant"], NoDevices(), lambda event: None, seed=1)
    try:
        yield served
    finally:
        served.stop()


def test_the_lab_refuses_what_the_policy_does_not_allow(endpoint: Ec2) -> None:
    """And only to the instance that has the policy."""
    agent, other = endpoint.client("agent"), endpoint.client("other")
    with enforce(POLICY, endpoint.faults, "agent"):
        assert agent.describe_subnets()["Subnets"]
        with pytest.raises(ClientError, match="UnauthorizedOperation"):
            agent.describe_vpcs()
        assert other.describe_vpcs()["Vpcs"]
    assert agent.describe_vpcs()["Vpcs"]


def test_an_action_that_is_taken_from_the_policy_is_missed_by_name(endpoint: Ec2, tmp_path: Path) -> None:
    """So the lab shows what a user would see who forgot it."""
    policy = tmp_path / "policy.json"
    policy.write_text(POLICY.read_text(encoding="utf-8").replace('"ec2:DescribeSubnets"', '"ec2:DescribeInstances"'))
    with enforce(policy, endpoint.faults, "agent"), pytest.raises(Denied, match="ec2:DescribeSubnets"):
        ec2.Ec2Cloud(endpoint.client("agent"), endpoint.vpc_id, ()).describe_subnets()
