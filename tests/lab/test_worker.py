"""
The lab's workers route as EKS workers do: on a second ENI a NodePort answers only with marks.

`plumb` below is what a second ENI needs, written down as commands: it proves the lab apart from the product, whose own
plumbing test_nodeport.py proves in both families.
"""

import socket

import pytest

from lab.network.fabric import CLIENT_IN_ADDRESS, CLIENT_OUT_ADDRESS, GATEWAY, Fabric
from lab.network.kube_proxy import TrafficPolicy
from lab.network.netns import Namespace
from lab.network.worker import Worker
from tests.lab.matrix import ENI, FLOATING, MAC, NODE_PORT, POLICIES, Backends, Fetch, Workers, ask_all
from tests.waiting import until

TABLE = "ip plumbing"

MARKS = """
table ip plumbing {{
    chain prerouting {{
        type filter hook prerouting priority mangle;
        iif {link} ct direction original ct mark set ct mark or 0x40
        ct direction reply ct mark and 0x40 == 0x40 meta mark set meta mark or 0x40
    }}
}}
"""
MARKS_OF_OWN_REPLIES = """
table ip plumbing {
    chain output {
        type route hook output priority mangle;
        ct direction reply ct mark and 0x40 == 0x40 meta mark set meta mark or 0x40
    }
}
"""


@pytest.fixture
def backends(workers: Workers) -> Backends:
    return Backends(*workers)


@pytest.fixture
def second_eni(fabric: Fabric, workers: Workers) -> str:
    """The link of a hot-plugged ENI in worker-a, with the floating address on it and nothing but a `from` rule."""
    a = workers[0]
    fabric.plug(ENI, MAC, [FLOATING], a.namespace, "ens6")
    a.namespace.sysctl({"ipv4/conf/ens6/rp_filter": 2})
    a.namespace.ip(
        "link set ens6 up mtu 9001",
        f"address add {FLOATING}/32 dev ens6",
        f"route add {GATEWAY} dev ens6 scope link table 100",
        f"route add default via {GATEWAY} dev ens6 table 100",
        f"rule add priority 900 from {FLOATING} lookup 100",
    )
    return "ens6"


def plumb(worker: Worker, link: str) -> None:
    """What `second_eni` lacks: marks on what entered by it, and a rule that leads marked replies back out by it."""
    worker.namespace.ip("rule add priority 901 fwmark 0x40/0x40 lookup 100")
    worker.namespace.nft(MARKS.format(link=link) + MARKS_OF_OWN_REPLIES)


def test_node_port_on_a_second_eni_fails_without_marks(
    fabric: Fabric, workers: Workers, backends: Backends, fetch: Fetch, second_eni: str
) -> None:
    """Replies leave by the primary ENI with the floating address as source, and the source check drops them all."""
    a = workers[0]
    answers = ask_all(fabric, fetch, a, backends, "Cluster", FLOATING, timeout=0.3)
    assert set(answers.values()) == {"TimeoutError"}, answers
    drops = fabric.source_check_drops()
    assert set(drops) == {(a.eni_id, FLOATING)}
    assert drops[a.eni_id, FLOATING] >= len(answers)
    # What misleads those who try it by hand: the node's own sockets do answer.
    assert fetch(fabric.client_in, FLOATING, 8080).text == f"worker-a/host {CLIENT_IN_ADDRESS}"


def test_without_the_output_chain_only_backends_on_the_host_fail(
    fabric: Fabric, workers: Workers, backends: Backends, fetch: Fetch, second_eni: str
) -> None:
    """Replies of the node's own sockets never pass prerouting."""
    a = workers[0]
    plumb(a, second_eni)
    a.flush_rules(nft_tables=[TABLE])
    a.namespace.nft(MARKS.format(link=second_eni))
    answers = ask_all(fabric, fetch, a, backends, "Local", FLOATING, timeout=0.3)
    assert {name for (name, _), answer in answers.items() if answer == "TimeoutError"} == {"worker-a/host"}


def test_strict_rp_filter_on_the_second_eni_fails_everything(
    fabric: Fabric, workers: Workers, backends: Backends, fetch: Fetch, second_eni: str
) -> None:
    """And strict is what a new link starts with; the primary ENI is loose, as the CNI leaves it."""
    a = workers[0]
    plumb(a, second_eni)
    a.namespace.ip("link add probe type veth peer name probe-end")
    modes = {link: a.namespace.run(["cat", f"/proc/sys/net/ipv4/conf/{link}/rp_filter"]) for link in ("probe", "eth0")}
    assert modes == {"probe": "1\n", "eth0": "2\n"}
    a.namespace.sysctl({f"ipv4/conf/{second_eni}/rp_filter": 1})
    answers = ask_all(fabric, fetch, a, backends, "Cluster", FLOATING, timeout=0.3)
    assert set(answers.values()) == {"TimeoutError"}, answers


@pytest.mark.parametrize("policy", POLICIES)
def test_node_port_answers_on_an_elastic_ip(
    fabric: Fabric, workers: Workers, backends: Backends, fetch: Fetch, second_eni: str, policy: TrafficPolicy
) -> None:
    """From the outside by the public address, with the marks on the private one; and inside by the private one."""
    a, public = workers[0], "203.0.113.100"
    plumb(a, second_eni)
    fabric.associate(public, FLOATING)
    for endpoint, name in backends.all():
        if policy == "Local" and name.startswith("worker-b"):
            continue
        a.expose(NODE_PORT, [endpoint], policy)
        assert fetch(fabric.client_out, public, NODE_PORT).text.split()[0] == name
        assert fetch(fabric.client_in, FLOATING, NODE_PORT).text.split()[0] == name
    assert fabric.source_check_drops() == {}
    a.expose(NODE_PORT, [], policy)
    assert fetch(fabric.client_out, public, NODE_PORT).error == "ConnectionRefusedError"


def test_policy_decides_what_client_address_a_backend_sees(
    fabric: Fabric, workers: Workers, backends: Backends, fetch: Fetch
) -> None:
    """Local keeps the client's; Cluster masquerades with an address of the worker."""
    a = workers[0]
    expected: dict[TrafficPolicy, list[str]] = {
        "Local": [CLIENT_IN_ADDRESS, CLIENT_OUT_ADDRESS],
        "Cluster": [a.address, a.address],
    }
    for policy, seen in expected.items():
        a.expose(NODE_PORT, [backends.local[0]], policy)
        clients = [fetch(client, a.address, NODE_PORT).text for client in (fabric.client_in, fabric.client_out)]
        assert clients == [f"worker-a/pod-0 {address}" for address in seen]


def test_node_port_without_a_usable_backend(fabric: Fabric, workers: Workers, backends: Backends, fetch: Fetch) -> None:
    """Policy Local without an endpoint on the worker drops; a Service without any refuses; both as kube-proxy does."""
    a = workers[0]
    a.expose(NODE_PORT, [backends.remote[0]], "Local")
    assert fetch(fabric.client_in, a.address, NODE_PORT, timeout=0.3).error == "TimeoutError"
    assert fetch(a.namespace, a.address, NODE_PORT).text.startswith("worker-b/pod-0")
    a.expose(NODE_PORT, [], "Cluster")
    assert fetch(fabric.client_in, a.address, NODE_PORT).error == "ConnectionRefusedError"


def test_cluster_policy_spreads_over_all_endpoints(
    fabric: Fabric, workers: Workers, backends: Backends, fetch: Fetch
) -> None:
    """Local does so over its own only."""
    a = workers[0]
    endpoints = [endpoint for endpoint, _ in backends.all()]
    expected: dict[TrafficPolicy, set[str]] = {
        "Cluster": {name for _, name in backends.all()},
        "Local": {"worker-a/pod-0", "worker-a/host"},
    }
    for policy, names in expected.items():
        a.expose(NODE_PORT, endpoints, policy)
        assert {fetch(fabric.client_in, a.address, NODE_PORT).text.split()[0] for _ in range(40)} == names


def test_pods_keep_their_address_inside_and_get_the_workers_outside(
    fabric: Fabric, workers: Workers, backends: Backends, fetch: Fetch
) -> None:
    """As the CNI's source translation has it; and no packet fails the source check."""
    a, _ = workers
    pod = Namespace("worker-a-pod-0")
    assert fetch(pod, *backends.remote[0]).text == f"worker-b/pod-0 {a.pod_addresses[0]}"
    assert _peer_seen_outside(fabric, pod) == a.address
    assert fabric.source_check_drops() == {}


def test_power_off_takes_pods_and_processes_along(
    fabric: Fabric, workers: Workers, backends: Backends, fetch: Fetch
) -> None:
    """What ran on the worker is gone, even for those on it; the other worker serves on."""
    a, b = workers
    process = a.popen(["sleep", "60"])
    endpoint, name = backends.local
    pod = Namespace("worker-a-pod-0")
    assert fetch(pod, *endpoint).text.startswith(name)
    a.power_off()
    assert process.returncode == -9
    assert fetch(pod, *endpoint).error == "ConnectionRefusedError"
    assert fetch(fabric.client_in, b.address, 8080).text.startswith("worker-b/host")


def test_hot_plugged_link_is_renamed_though_it_is_in_use(fabric: Fabric, workers: Workers) -> None:
    """First ens6, and enp0s6 within half a second, up or down; a link that was taken away meanwhile is no error."""
    a = workers[0]
    a.hot_plug(ENI, MAC, [FLOATING], 1)
    assert a.link_of(MAC) == "ens6"
    a.namespace.ip("link set ens6 up")
    until(lambda: a.link_of(MAC) == "enp0s6", 0.5)
    fabric.unplug(ENI)
    a.hot_plug(ENI, MAC, [FLOATING], 2)
    fabric.unplug(ENI)
    assert a.link_of(MAC) is None


def test_flushing_rules_takes_only_what_is_named(workers: Workers, second_eni: str) -> None:
    """The CNI's rules and tables stay; what is not there is no error."""
    a = workers[0]
    plumb(a, second_eni)
    a.flush_rules(priorities=[900, 901, 902], nft_tables=[TABLE, "inet nothing"])
    assert {rule["priority"] for rule in a.namespace.show("rule show")} == {0, 1024, 32766, 32767}
    assert a.namespace.run(["nft", "list", "tables"]).splitlines() == ["table ip aws-cni"]


def _peer_seen_outside(fabric: Fabric, namespace: Namespace) -> str:
    """The source address that the outside client sees of a connection from `namespace`."""
    with fabric.client_out.listen(CLIENT_OUT_ADDRESS, 80) as listener:
        listener.settimeout(2)
        with namespace.call(lambda: socket.create_connection((CLIENT_OUT_ADDRESS, 80), timeout=2)):
            connection, (address, _) = listener.accept()
            connection.close()
    return str(address)
