"""
Let the lab's EC2 refuse what an IAM policy does not allow, so that a missing permission shows in a scenario.

    for machine in region.machines.values():
        enforce(POLICY, region.ec2.faults, machine.instance.instance_id)

By action only: resources and conditions of a statement are not looked at.  tests/packaging/test_iam.py checks those
against what EC2 knows.  A call that the policy does not allow is answered `UnauthorizedOperation`, as EC2 does.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session

from lab.ec2.transport import Fault, Faults

POLICY = Path(__file__).parents[2] / "docs" / "iam-policy.json"
"""The policy that the documents tell users to give the pods."""


def statements(policy: Path) -> list[dict[str, Any]]:
    """The policy's statements.  Raises OSError, and ValueError for a file that is not JSON or not like our policy."""
    document = json.loads(policy.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = document["Statement"]
    if any(statement["Effect"] != "Allow" for statement in found):
        raise ValueError(f"{policy}: a statement that does not allow is not known to the lab")
    return found


def allowed(policy: Path) -> frozenset[str]:
    """The EC2 actions that a policy allows, such as `AttachNetworkInterface`.

    Raises ValueError for an action that EC2 does not have, such as a misspelt one or a pattern.
    """
    named: set[str] = set()
    for statement in statements(policy):
        actions = statement["Action"]
        named.update([actions] if isinstance(actions, str) else actions)
    known = {f"ec2:{action}" for action in every_action()}
    if unknown := named - known:
        raise ValueError(f"{policy}: {', '.join(sorted(unknown))}: not an action of EC2's")
    return frozenset(action.removeprefix("ec2:") for action in named)


def enforce(policy: Path, faults: Faults, caller: str) -> Fault:
    """Refuse all calls of an instance that the policy does not allow, until the returned fault ends."""
    return faults.deny(every_action() - allowed(policy), caller)


@cache
def every_action() -> frozenset[str]:
    """All actions of EC2, by its service model."""
    return frozenset(botocore.session.get_session().get_service_model("ec2").operation_names)
