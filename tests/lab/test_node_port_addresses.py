"""At which of the node's addresses kube-proxy in iptables mode serves NodePorts, as the doctor finds out."""

import pytest

from floatingip.core.plumbing import Plumbing
from floatingip.edges.kernel import nft
from floatingip.edges.kernel.inspection import KernelInspection
from floatingip.edges.kernel.kube_proxy import kept_off
from tests.lab.plumbed import BOTH, IPV4, Node

COMMENT = '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"'
SERVICE = "-A KUBE-SERVICES -d {own} -p tcp -m tcp --dport 443 -j KUBE-SVC-A"
ADDRESSES = {4: ("10.0.0.10", "10.0.0.11"), 6: ("2001:db8:0:1::a", "2001:db8:0:1::b")}


def kube_proxy(node: Node, version: int, *to_node_ports: str) -> None:
    """Its chain of Services, which ends with these ways to the NodePorts."""
    own = ADDRESSES[version][0]
    rules = [
        SERVICE.format(own=own),
        *(f"-A KUBE-SERVICES {COMMENT} {each} -j KUBE-NODEPORTS" for each in to_node_ports),
    ]
    chains = [f":{name} - [0:0]" for name in ("KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-SVC-A")]
    script = "\n".join(["*nat", *chains, *rules, "COMMIT"])
    restore = "iptables-nft-restore" if version == 4 else "ip6tables-nft-restore"
    node.namespace.run(["sh", "-c", f"{restore} <<'END'\n{script}\nEND"])


def served(node: Node, version: int) -> frozenset[str] | None:
    return node.namespace.call(lambda: KernelInspection().node_ports_by_iptables(version))


@BOTH
def test_addresses_to_which_kube_proxy_keeps_are_told(node: Node, plumbing: Plumbing) -> None:
    """By nodePortAddresses, `primary` among them: the floating address has no rule then, and no NodePort."""
    version = plumbing.address.version
    kube_proxy(node, version, *(f"-d {address}" for address in ADDRESSES[version]))
    found = served(node, version)
    assert found == frozenset(ADDRESSES[version])
    assert f"kube-proxy (iptables mode) serves NodePorts at {ADDRESSES[version][0]}, " in kept_off(
        plumbing.address, found, "iptables"
    )
    assert served(node, 10 - version) is None


@pytest.mark.parametrize(
    "ways", [(), ("-m addrtype --dst-type LOCAL",), ("! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL",)]
)
def test_a_kube_proxy_that_serves_all_or_none_keeps_to_none(node: Node, ways: tuple[str, ...]) -> None:
    """By default, without NodePorts on the loopback, and in another mode."""
    assert served(node, 4) is None
    kube_proxy(node, 4, *ways)
    assert served(node, 4) is None
    assert kept_off(IPV4.address, None, "iptables") == ""


def test_a_chain_that_takes_too_much_memory_tells_nothing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with thousands of Services: that is no fault, as little as a list that is too long."""
    kube_proxy(node, 4, *(f"-d {address}" for address in ADDRESSES[4]))
    monkeypatch.setattr(nft, "NFT_MEMORY", 1 << 19)
    assert served(node, 4) is None
