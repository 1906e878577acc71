"""
docs/install.md from top to bottom, as a reader takes it: its own commands, in one shell with an empty environment.

The lab's EC2 answers the AWS CLI, find-available-ips.py and `floatingip release`.  Every variable has to be set before
it is used, each command has to be one that its program knows, and succeed; and at the end there is nothing left of it.
"""

import copy
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lab.kubernetes.real.plane import ControlPlane
from tests.guide.aws import aws
from tests.guide.cloud import LOCAL_ZONE, ZONES, Cloud, EksCluster
from tests.guide.cluster import Cluster
from tests.guide.desk import Desk, Program
from tests.guide.eksctl import Eksctl
from tests.guide.kubectl import Kubectl
from tests.guide.page import WAYS, Block, blocks, way
from tests.guide.real_kubectl import Both, api_server, why_not
from tests.guide.shell import run, workplace
from tests.guide.tools import Curl, Docker, make_environment, pip, sleep, substitute

CNI = json.dumps({"env": {"ENABLE_PREFIX_DELEGATION": "true"}})
"""How the VPC CNI of a cluster that is there already is configured."""


@dataclass
class World:
    """Where one reader is: an account, a cluster or none yet, programs, and a folder."""

    cluster: Cluster
    desk: Desk
    folder: Path

    def read(self, chosen: list[Block]) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.desk.folder}:/usr/bin:/bin",
            "HOME": str(self.folder / "home"),
            "AWS_ACCESS_KEY_ID": "reader",
            "AWS_SECRET_ACCESS_KEY": "of-the-guide",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self.cluster.cloud.url,
        }
        return run(chosen, workplace(self.folder / "floatingip"), self.folder / "blocks", environment)


REAL_AWS = shutil.which("aws")


@contextmanager
def world(folder: Path, real_aws: str | None = None, plane: ControlPlane | None = None) -> Iterator[World]:
    """An empty account, asked by the AWS CLI at that path and by kubectl before that API server, if any."""
    cloud = Cloud()
    cluster = Cluster(cloud)
    programs: dict[str, Program] = {
        "aws": aws,
        "eksctl": Eksctl(cluster),
        "kubectl": Kubectl(cluster) if plane is None else Both(plane, cluster),
        "docker": Docker(cluster),
        "curl": Curl(cluster),
        "envsubst": substitute,
        "sleep": sleep,
        "pip": pip,
        "python3": make_environment,
    }
    (folder / "home").mkdir()
    (folder / "programs").mkdir()
    desk = Desk(folder / "programs", programs)
    if real_aws is not None:
        (desk.folder / "aws").write_text(f'#!/bin/sh\nexec {real_aws} "$@"\n', encoding="utf-8")
    try:
        yield World(cluster, desk, folder)
    finally:
        desk.close()
        cloud.close()


def prepare(name: str, found: World) -> None:
    """What this reader has before the first command."""
    if name in ("existing", "migration"):
        cluster = EksCluster(groups={"workers": {}}, addons={"vpc-cni": CNI}, oidc=name == "migration")
        found.cluster.create("floatingip", cluster)
        found.cluster.add_group(ZONES[0] if name == "existing" else LOCAL_ZONE, cluster.groups["workers"])
    if name == "migration":
        found.cluster.put("10.0.0.100", list(found.cluster.nodes.values())[-1], {})


@pytest.mark.parametrize("name", WAYS)
def test_the_guide_can_be_walked(name: str, tmp_path: Path) -> None:
    """Each way through it; afterwards there is what was there before."""
    with world(tmp_path) as found:
        prepare(name, found)
        before = copy.deepcopy(found.cluster.left())
        done = found.read(way(name))
        assert done.returncode == 0, done.stdout + done.stderr
        if name == "migration":
            assert_served_where_it_was(found.cluster)
        else:
            assert found.cluster.left() == before


@pytest.mark.long
@pytest.mark.skipif(REAL_AWS is None, reason="there is no AWS CLI")
@pytest.mark.parametrize("name", WAYS)
def test_the_real_aws_cli_takes_what_ours_takes(name: str, tmp_path: Path) -> None:
    """The commands are not what we think that it knows, but what it knows."""
    with world(tmp_path, REAL_AWS) as found:
        prepare(name, found)
        done = found.read(way(name))
        assert done.returncode == 0, done.stdout + done.stderr
        assert not [call for call in found.desk.calls if call.startswith("aws ")]


@pytest.mark.long
@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize("name", ["region", "existing"])
def test_the_real_kubectl_takes_what_ours_takes(name: str, tmp_path: Path) -> None:
    """Before a real API server, from which the clean-up takes all that was applied."""
    with api_server(tmp_path) as plane:
        kinds = "deployments,services,configmaps,roles,poddisruptionbudgets,priorityclasses"
        before = plane.kubectl("get", kinds, "--output", "name").stdout
        with world(tmp_path, plane=plane) as found:
            prepare(name, found)
            done = found.read(way(name))
            assert done.returncode == 0, done.stdout + done.stderr
        assert plane.kubectl("get", kinds, "--output", "name").stdout == before


def assert_served_where_it_was(cluster: Cluster) -> None:
    """The interface is ours by its tags now, on the same worker, and has its address."""
    assert ("Deployment", "floating-ip") in cluster.objects
    assert cluster.holder() is list(cluster.nodes.values())[-1]
    interface = cluster.interface()
    assert interface["PrivateIpAddress"] == "10.0.0.100"
    tags = {tag["Key"]: tag["Value"] for tag in interface["TagSet"]}
    assert tags == {"floatingip": "floatingip", "node.k8s.amazonaws.com/no_manage": "true"}


def test_each_block_is_on_a_way() -> None:
    taken = {block for name in WAYS for block in way(name)}
    assert taken == set(blocks())


@pytest.mark.parametrize(
    ("name", "said", "instead", "told"),
    [
        ("region", "AWS_ACCOUNT=$(", "ACCOUNT=$(", "envsubst: not set, or not exported: {'AWS_ACCOUNT'}"),
        ("region", "--query Account", "--querry Account", "aws: Unknown options: --querry"),
        ("local-zone", "--opt-in-status opted-in", "--opt-in-status yes", "aws: An error occurred"),
        ("local-zone", "until aws", "true || until aws", "eksctl: the account has not opted in to us-west-2-lax-1a"),
        ("existing", "--labels 'add", "--labels 'insert", "aws: Unknown parameter in insertOrUpdateLabels"),
        ("existing", "--resolve-conflicts PRESERVE", "--resolve PRESERVE", "aws: Unknown options: --resolve"),
        ("existing", "aws eks update-kubeconfig", "true", "kubectl: The connection to the server"),
    ],
)
def test_a_fault_of_the_page_stops_the_walk(name: str, said: str, instead: str, told: str, tmp_path: Path) -> None:
    """One planted in a block is told by its line, or by the program that does not know it."""
    spoilt = [replace(block, commands=block.commands.replace(said, instead, 1)) for block in way(name)]
    assert spoilt != way(name)
    with world(tmp_path) as found:
        prepare(name, found)
        done = found.read(spoilt)
    assert done.returncode != 0
    assert told in done.stderr


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("aws iam create-policy", "POLICY: unbound variable"),
        ("INSTANCE=", "SUBNET: unbound variable"),
        ("docker push", "ImagePullBackOff"),
        ("find_holder() {", "NODE: unbound variable"),
    ],
)
def test_a_block_that_comes_too_late_stops_the_walk(said: str, told: str, tmp_path: Path) -> None:
    """What it does is missed where it stood."""
    chosen = way("region")
    [late] = [block for block in chosen if said in block.commands and "export TAG" not in block.commands]
    chosen.remove(late)
    with world(tmp_path) as found:
        done = found.read([*chosen, late])
    assert done.returncode != 0
    assert told in done.stderr
