"""
The eksctl configurations make clusters that floating-ip.yaml runs on.

Whether eksctl knows their fields is checked by its own schema, which it prints (`eksctl utils schema`), in CI.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.packaging.substitution import envsubst

ROOT = Path(__file__).parents[2]
REGION = ROOT / "eksctl-config.yaml"
VARIANTS = [REGION, *sorted((ROOT / "docs" / "eksctl").glob("*.yaml"))]
VARIABLES = {
    "AWS_REGION": "us-west-2",
    "CLUSTER": "demo",
    "KUBERNETES_VERSION": "1.35",
    "OTHER_ZONE": "us-west-2b",
    "OUTPOST_ARN": "arn:aws:outposts:us-west-2:111122223333:outpost/op-0123456789abcdef0",
    "PARTITION": "aws",
    "ZONE": "us-west-2a",
}
INTERFACES, ADDRESSES = 4, 15
"""Of an m5.xlarge: interfaces, and IPv4 addresses of each (EC2's guide, "IP addresses per network interface")."""

Object = dict[str, Any]


def configured(path: Path) -> Object:
    """The configuration as eksctl gets it."""
    return dict(yaml.safe_load(envsubst(path.read_text(encoding="utf-8"), VARIABLES)))


@pytest.fixture(params=VARIANTS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture
def config(path: Path) -> Object:
    """The same, as eksctl gets it."""
    return configured(path)


def group_of(config: Object) -> Object:
    [group] = config.get("managedNodeGroups", []) + config.get("nodeGroups", [])
    return dict(group)


def test_there_is_one_for_each_place() -> None:
    """A Region, a Local Zone, an Outpost."""
    assert [path.name for path in VARIANTS] == ["eksctl-config.yaml", "local-zone.yaml", "outposts.yaml"]


def test_it_is_of_no_partition(path: Path) -> None:
    """In China and GovCloud an ARN begins otherwise."""
    assert "arn:aws" not in path.read_text(encoding="utf-8")


def test_each_says_which_variables_it_has(path: Path) -> None:
    """Those that its first lines tell to export are those that it uses, and envsubst leaves no `$`."""
    text = path.read_text(encoding="utf-8")
    comment = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#   export"))
    exported = set(re.findall(r"(\w+)=", comment))
    assert exported == set(re.findall(r"\$\{(\w+)\}", text))
    assert exported <= set(VARIABLES)
    assert "$" not in envsubst(text, VARIABLES)


def test_the_nodes_have_no_right_of_the_pods(config: Object) -> None:
    """The policy names the VPC, which is there only when the cluster is: docs/install.md gives it to the pods then."""
    assert "iam" not in group_of(config)
    assert "Statement" not in json.dumps(config)


@pytest.mark.parametrize("manifest", ["floating-ip.yaml", "sample-service.yaml"])
def test_its_workers_are_those_that_the_manifests_choose(config: Object, manifest: str) -> None:
    """By their label: elsewhere the address could not be, and nobody would answer for it."""
    documents = yaml.safe_load_all((ROOT / manifest).read_text(encoding="utf-8"))
    [deployment] = [document for document in documents if document["kind"] == "Deployment"]
    assert group_of(config)["labels"] == deployment["spec"]["template"]["spec"]["nodeSelector"]


def test_its_workers_are_all_in_one_place(config: Object) -> None:
    """A standby in another zone could never take over."""
    group = group_of(config)
    places = [group.get("availabilityZones"), group.get("localZones"), group.get("outpostARN")]
    [place] = [place for place in places if place is not None]
    assert place in (["us-west-2a"], VARIABLES["OUTPOST_ARN"])


def test_there_are_a_holder_and_a_standby(config: Object) -> None:
    """At least two workers, also while the group is being updated."""
    group = group_of(config)
    assert 2 <= group["minSize"] <= group["desiredCapacity"] < group["maxSize"]


def test_an_interface_is_kept_free_for_the_address(config: Object) -> None:
    """The VPC CNI would take all of them, and the failover would find none."""
    [cni] = [addon for addon in config["addons"] if addon["name"] == "vpc-cni"]
    most = int(json.loads(cni["configurationValues"])["env"]["MAX_ENI"])
    assert group_of(config)["instanceType"] == "m5.xlarge"
    assert most == INTERFACES - 1


def test_no_pod_is_left_without_an_address_on_the_holder(config: Object) -> None:
    """The VPC CNI counts our interface within MAX_ENI, so it has one fewer for pods while the address is here."""
    for_pods = (INTERFACES - 2) * (ADDRESSES - 1)
    with_the_hosts_network = 2
    assert group_of(config)["maxPodsPerNode"] <= for_pods + with_the_hosts_network


def test_its_nodes_are_of_today(config: Object) -> None:
    """Amazon Linux 2023 without IMDSv1; and what comes to a NodePort is forwarded."""
    group = group_of(config)
    assert group["amiFamily"] == "AmazonLinux2023"
    assert group["disableIMDSv1"] is True
    assert any("net.ipv4.ip_forward=1" in command for command in group["preBootstrapCommands"])


def test_where_there_are_no_managed_nodes_nobody_asks_for_them() -> None:
    """Nor for Pod Identity, which Outposts do not have: there, roles come by OIDC."""
    for path in VARIANTS:
        config, in_region = configured(path), path == REGION
        assert ("managedNodeGroups" in config) is in_region
        assert config.get("iam", {}).get("withOIDC", False) is not in_region
        agents = [addon for addon in config["addons"] if addon["name"] == "eks-pod-identity-agent"]
        assert bool(agents) is in_region
