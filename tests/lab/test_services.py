"""The NodePorts of a cluster as agents in it find and check them: by the manifest's own Role, and without it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from lab.ec2 import PROFILES
from lab.history import History
from lab.kubernetes.small.cluster import Cluster
from lab.run.region import Region
from tests.waiting import until

ASK = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], 9807, timeout=5)
connection.request("GET", "/readyz")
print(connection.getresponse().read().decode())
"""


@pytest.fixture(name="region", scope="module")
def _region(in_sandbox: None) -> Iterator[Region]:
    with History() as history, Region(PROFILES["instant"], history) as region:
        region.deploy()
        yield region


def test_the_node_ports_of_the_namespace_are_found_by_the_manifests_role(region: Region) -> None:
    """By each observer, at its start."""
    until(lambda: len(region.logged(event="services", checked="30007/sample-service")) == 2)


def test_kube_proxy_in_nftables_mode_is_told_of_by_attach_and_by_readiness(region: Region) -> None:
    """It serves NodePorts at the node's primary address, and not at the floating one."""
    holder = region.holder()
    namespace, address = holder.worker.namespace, holder.worker.address
    namespace.nft(
        f"table ip kube-proxy {{\n set nodeport-ips {{\n type ipv4_addr; elements = {{ {address} }}\n }}\n}}\n"
    )
    region.cluster.delete_pod(region.cluster.pod_on(holder.name).name)
    until(lambda: len(region.logged(event="nodeports", level="error")) >= 2)
    said = region.logged(event="nodeports")[0]["fields"]["msg"]
    assert said == (
        f"kube-proxy (nftables mode) serves NodePorts at {address}, not at 10.0.0.100;"
        " set its nodePortAddresses to [0.0.0.0/0]"
    )
    until(lambda: said in namespace.run(["python3", "-c", ASK, address]))
    assert region.holder() is holder
    namespace.nft("delete table ip kube-proxy\n")


def test_without_the_role_nothing_is_checked_and_it_is_said(region: Region) -> None:
    """And nobody is less ready for that."""
    assert isinstance(region.cluster, Cluster)
    manifest = region.cluster.manifest
    region.cluster.apply(replace(manifest, roles={name: rules[:1] for name, rules in manifest.roles.items()}))
    region.cluster.restart("floating-ip")
    until(lambda: len(region.logged(event="services", level="warning", checked="none")) == 2)
    assert "may not list the Services" in region.logged(event="services", level="warning")[0]["fields"]["msg"]
