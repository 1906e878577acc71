"""Clusters with hundreds of workers: EC2 takes and gives only so much at a time."""

from typing import Any

import pytest

from floatingip.core.ec2 import InstanceState
from floatingip.edges.ec2.inspection import Inspection
from tests.edges.ec2_stub import Endpoint

pytest_plugins = ["tests.edges.ec2_fixtures"]

MOST = 200
"""Values in a filter, beyond which EC2 says FilterLimitExceeded."""


@pytest.mark.parametrize("many", [MOST, MOST + 1, 2 * MOST + 1])
def test_more_instances_than_a_filter_takes_are_asked_about(endpoint: Endpoint, many: int) -> None:
    """Each is one that has ended and left its standing ENI: EC2 refused the question, and with it every look."""
    ids = [f"i-{number:04}" for number in range(many)]
    for first in range(0, many, MOST):
        part = ids[first : first + MOST]
        shown = [{"InstanceId": each, "State": {"Name": "terminated"}} for each in part]
        asked = {"Filters": [{"Name": "instance-id", "Values": part}]}
        endpoint.answers("DescribeInstances", {"Reservations": [{"Instances": shown}]}, asked)
    found = endpoint.cloud.describe_instances(frozenset(ids))
    assert found.keys() == set(ids)
    assert {instance.state for instance in found.values()} == {InstanceState.TERMINATED}


def test_the_doctor_gets_the_workers_page_by_page(monkeypatch: pytest.MonkeyPatch, stubbed: Any) -> None:
    """What EC2 shows of a worker has all of its pods' addresses: of two hundred in one answer that is too long."""
    told: list[int] = []

    def describe(*, Filters: list[Any], MaxResults: int = 1000, NextToken: str = "0") -> dict[str, Any]:
        first, is_ours = int(NextToken), Filters[1]["Name"] == "tag-key"
        instances = [{"InstanceId": f"i-{number:04}"} for number in range(200 if is_ours else 0)]
        told.append(len(instances[first : first + MaxResults]))
        more = {"NextToken": str(first + MaxResults)} if first + MaxResults < len(instances) else {}
        return {"Reservations": [{"Instances": instances[first : first + MaxResults]}], **more}

    monkeypatch.setattr(stubbed, "describe_instances", describe)
    assert len(Inspection(stubbed, "us-west-2", "vpc-1").workers("lab")) == 200
    assert max(told) <= 25
