"""
One EKS worker: a namespace with its primary ENI, pods, the VPC CNI's rules and kube-proxy's NodePort rules.

The rules are written for nftables, but do what the originals' iptables rules do (aws/amazon-vpc-cni-k8s 1.23, and
kube-proxy in iptables mode), since the product has to live with these:

- CNI: pods have secondary addresses of the primary ENI, routed one by one; rule 512 leads to pods, rule 1024 (mark
  0x80) to the main table; connections that enter by eth0 for a local address carry 0x80, restored on what their pods
  reply; connections from here to outside of the VPC get the primary address as source, whichever link they leave by.
  All this is for IPv4; for IPv6 there is only rule 512, without mark and translation.
- kube-proxy: kube_proxy.py.
- rp_filter: strict for every new link, loose on eth0 (the CNI does that), and `all` off, so that each link's own
  counts.
- A node has its IPv6 address as a /128, as DHCPv6 gives it on EC2, without the prefix that EC2 advertises beside it:
  all of its IPv6 traffic goes through the router.
- Duplicate address detection: the kernel's default on hot-plugged links; off on all others, to boot quickly.

Pods' HTTP servers run in a thread of this process, one per worker, and die with its power.
"""

import asyncio
import functools
import socket
import subprocess
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from lab.network.fabric import GATEWAY, IPV6_GATEWAY, SUBNET_PREFIX, VPC_CIDR, Fabric
from lab.network.kube_proxy import NodePort, TrafficPolicy, kube_proxy_rules
from lab.network.netns import BACKLOG, CommandFailed, Namespace

IMDS_ADDRESS = "169.254.169.254"
BACKEND_PORT = 8080
PODS = 4
"""
How many pod addresses a worker has of each family: 10.0.0.20 to .23 and 2001:db8:0:1::20 to ::23 for the first, .30 and
::30 for the second, ...
"""

_POD_GATEWAY = "169.254.1.1"
_POD_IPV6_GATEWAY = "fe80::1"
_RENAME_AFTER = 0.05
"""Seconds from a hot plug until udev renames the link."""
_REQUEST_TIMEOUT = 5.0
"""Seconds that a backend waits for a request once a client has connected."""

_CNI_RULES = """
table ip aws-cni {{
    chain mangle {{
        type filter hook prerouting priority mangle; policy accept;
        iifname "eth0" fib daddr . iif type local ct mark set ct mark or 0x80
        iifname "eni*" ct mark and 0x80 == 0x80 meta mark set meta mark or 0x80
    }}
    chain outbound {{
        type nat hook prerouting priority dstnat; policy accept;
        iifname "eni*" ip daddr != {vpc} ct mark set ct mark or 0x80
        ct mark and 0x80 == 0x80 meta mark set meta mark or 0x80
    }}
    chain leaving {{
        type nat hook postrouting priority srcnat + 1; policy accept;
        ip daddr != {vpc} fib daddr type != local snat to {address} fully-random
    }}
}}
"""


class Worker:
    """
    The worker `name`, the `index`-th of the lab: its primary addresses are 10.0.0.(10 + index) and, with the same
    number in hexadecimal, 2001:db8:0:1::a and so on.

    Nothing exists before `start()`.  `eni_id` and `mac` are the primary ENI's, as EC2 knows it.  Without `pods` it has
    only what the operating system makes, and a real Kubernetes makes the pods' addresses and all rules.
    """

    def __init__(
        self,
        name: str,
        index: int,
        fabric: Fabric,
        *,
        eni_id: str | None = None,
        mac: str | None = None,
        pods: int = PODS,
    ) -> None:
        self.name = name
        self.address = f"10.0.0.{10 + index}"
        self.ipv6_address = f"2001:db8:0:1::{10 + index:x}"
        self.pod_addresses = [f"10.0.0.{20 + 10 * index + pod}" for pod in range(pods)]
        self.pod_ipv6_addresses = [f"2001:db8:0:1::{20 + 10 * index + pod}" for pod in range(pods)]
        self.eni_id = eni_id or f"eni-{name}-primary"
        self.mac = mac or f"02:00:00:00:00:{10 + index:02x}"
        self.namespace = Namespace(name)
        self._fabric = fabric
        self._pods: dict[int, Namespace] = {}
        self._node_ports: dict[int, NodePort] = {}
        self._processes: list[subprocess.Popen[str]] = []
        self._renamings: list[threading.Timer] = []
        self._backends = _Backends(name)

    # -- life

    def start(self) -> None:
        """Boot: the namespace, eth0 with its addresses, the CNI's rules.  Raises CommandFailed."""
        self.namespace.create()
        # Before any link is made: new links take over the values of `default`.
        self.namespace.sysctl(
            {
                "ipv4/ip_forward": 1,
                "ipv4/conf/all/rp_filter": 0,
                "ipv4/conf/default/rp_filter": 1,
                "ipv6/conf/all/forwarding": 1,
                "ipv6/conf/default/accept_ra": 0,
                "ipv6/conf/default/accept_dad": 0,
            }
        )
        addresses = [self.address, *self.pod_addresses, self.ipv6_address, *self.pod_ipv6_addresses]
        self._fabric.plug(self.eni_id, self.mac, addresses, self.namespace, "eth0", up=True)
        self.namespace.sysctl({"ipv4/conf/eth0/rp_filter": 2, "ipv6/conf/default/accept_dad": 1})
        self.namespace.ip(
            # Scope host: otherwise masquerading towards a pod would choose this address as source.
            f"address add {IMDS_ADDRESS}/32 dev lo scope host",
            f"address add {self.address}/{SUBNET_PREFIX} dev eth0",
            f"address add {self.ipv6_address}/128 dev eth0",
            f"route add default via {GATEWAY}",
            f"route add default via {IPV6_GATEWAY} dev eth0",
        )
        if self.pod_addresses:
            self.namespace.ip("rule add priority 1024 fwmark 0x80/0x80 lookup main")
            self.namespace.nft(_CNI_RULES.format(vpc=VPC_CIDR, address=self.address))

    def power_off(self) -> None:
        """Cut the power: the links of all its ENIs, its pods and its processes are gone.  Idempotent."""
        self._fabric.cut(self._fabric.plugged(self.namespace))
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        self._processes.clear()
        for renaming in self._renamings:
            renaming.cancel()
            renaming.join()
        self._renamings.clear()
        self._backends.stop()

    def boot(self) -> None:
        """Start again after `power_off`, with nothing but the primary ENI: no rule, no pod.  Raises CommandFailed."""
        self._remove()
        self._backends = _Backends(self.name)
        self._node_ports.clear()
        self.start()

    def close(self) -> None:
        """Remove everything that is or was this worker's, from the fabric too.  Idempotent."""
        self.power_off()
        self._remove()

    def _remove(self) -> None:
        for eni_id in self._fabric.plugged(self.namespace):
            self._fabric.unplug(eni_id)
        for namespace in (*self._pods.values(), self.namespace):
            namespace.delete()
        self._pods.clear()

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start a process of this worker (as Namespace.popen), which dies with its power."""
        process = self.namespace.popen(command, **options)
        self._processes = [*(other for other in self._processes if other.poll() is None), process]
        return process

    # -- ENIs

    def hot_plug(self, eni_id: str, mac: str, addresses: Sequence[str], device_index: int) -> None:
        """
        Let a second ENI appear, as on Amazon Linux 2023: DOWN and bare, as `ens6` (device index 1), and renamed to
        `enp0s6` a moment later, as udev does, even if it is in use by then.  Fabric.unplug takes it away.
        """
        self._fabric.plug(eni_id, mac, addresses, self.namespace, f"ens{device_index + 5}")
        renaming = threading.Timer(_RENAME_AFTER, self._rename_if_there, (mac, f"enp0s{device_index + 5}"))
        renaming.daemon = True
        self._renamings.append(renaming)
        renaming.start()

    def rename(self, ifname: str, new: str) -> None:
        """Rename a link, up or down.  Raises CommandFailed."""
        self.namespace.ip(f"link set dev {ifname} name {new}")

    def link_of(self, mac: str) -> str | None:
        """The name of the link with this MAC now, or None if there is no such link."""
        return next((link["ifname"] for link in self.namespace.show("link show") if link["address"] == mac), None)

    def _rename_if_there(self, mac: str, new: str) -> None:
        # The link may be taken away at any time, also in between.
        with suppress(CommandFailed):
            if (ifname := self.link_of(mac)) is not None:
                self.rename(ifname, new)

    # -- pods

    def start_backend(self, pod_index: int | None = None, port: int = BACKEND_PORT) -> tuple[str, int]:
        """
        Start an HTTP server and return its endpoint: in pod number `pod_index`, or on the host's network if None.

        It listens on both families; the endpoint that is returned is IPv4's, and IPv6's is at the same pod (or host).
        It answers every request with "WORKER/pod-N CLIENT" or "WORKER/host CLIENT", CLIENT being the address it sees.
        """
        if pod_index is None:
            address, name, namespace = self.address, "host", self.namespace
        else:
            address, name, namespace = self.pod_addresses[pod_index], f"pod-{pod_index}", self.pod(pod_index)
        for every in ("0.0.0.0", "::"):
            self._backends.serve(namespace.listen(every, port), f"{self.name}/{name}")
        return address, port

    def pod(self, index: int) -> Namespace:
        """The namespace of pod `index`; the first call makes it, connected as the CNI does it."""
        if index in self._pods:
            return self._pods[index]
        pod, veth = Namespace(f"{self.name}-pod-{index}"), f"eni-pod{index}"
        address, ipv6_address = self.pod_addresses[index], self.pod_ipv6_addresses[index]
        pod.create()
        self._pods[index] = pod
        pod.sysctl({"ipv6/conf/default/accept_dad": 0, "ipv6/conf/default/accept_ra": 0})
        self.namespace.ip(f"link add {veth} mtu 9001 type veth peer name eth0 mtu 9001 netns {pod.name}")
        self.namespace.sysctl({f"ipv6/conf/{veth}/accept_dad": 0})
        self.namespace.ip(
            f"link set {veth} up",
            f"route add {address}/32 dev {veth} scope link",
            f"route add {ipv6_address}/128 dev {veth}",
            f"rule add priority 512 to {address} lookup main",
        )
        self.namespace.ip6(f"rule add priority 512 to {ipv6_address} lookup main")
        host_mac = self.namespace.show(f"link show dev {veth}")[0]["address"]
        pod.ip(
            f"address add {address}/32 dev eth0",
            f"address add {ipv6_address}/128 dev eth0",
            "link set eth0 up",
            f"route add {_POD_GATEWAY} dev eth0 scope link",
            f"route add default via {_POD_GATEWAY}",
            f"route add default via {_POD_IPV6_GATEWAY} dev eth0",
            f"neigh replace {_POD_GATEWAY} lladdr {host_mac} nud permanent dev eth0",
            f"neigh replace {_POD_IPV6_GATEWAY} lladdr {host_mac} nud permanent dev eth0",
        )
        return pod

    # -- rules

    def expose(self, node_port: int, endpoints: Sequence[tuple[str, int]], policy: TrafficPolicy = "Cluster") -> None:
        """
        Let kube-proxy serve `node_port` with these endpoints (address, port): pods' or workers', of any worker.

        Replaces what the port was before.  Each family is served by its own endpoints.  Without any endpoint,
        connections are refused; with policy Local and no endpoint on this worker they are dropped, unless they come
        from the worker itself.
        """
        self._node_ports[node_port] = NodePort(node_port, tuple(endpoints), policy)
        local = {self.address, *self.pod_addresses, self.ipv6_address, *self.pod_ipv6_addresses}
        self.namespace.nft("".join(kube_proxy_rules(self._node_ports, local, family) for family in ("ip", "ip6")))

    def flush_rules(self, *, priorities: Collection[int] = (), nft_tables: Collection[str] = ()) -> None:
        """
        Delete the routing rules of these priorities, of both families, and these nft tables ("inet floatingip"), where
        they exist.
        """
        for delete, show in ((self.namespace.ip, "rule show"), (self.namespace.ip6, "-6 rule show")):
            rules = [rule["priority"] for rule in self.namespace.show(show) if rule["priority"] in priorities]
            delete(*(f"rule delete priority {priority}" for priority in rules))
        # "add" first makes "delete" succeed for a table that is not there.
        self.namespace.nft("".join(f"add table {table}\ndelete table {table}\n" for table in nft_tables))


class _Backends:
    """The HTTP servers of one worker: an event loop in a thread, started with the first."""

    def __init__(self, worker: str) -> None:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name=f"{worker}-pods", daemon=True)
        self._running = threading.Event()
        self._servers: list[asyncio.Server] = []

    def serve(self, listener: socket.socket, name: str) -> None:
        """Answer on `listener` from now on, by `name`."""
        if not self._running.is_set():
            self._thread.start()
            self._running.wait()
        asyncio.run_coroutine_threadsafe(self._listen(listener, name), self._loop).result()

    def stop(self) -> None:
        """End all servers and their connections.  Idempotent; nothing can be served after it."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._running.set()
        await self._stopping.wait()
        for server in self._servers:
            server.close()

    async def _listen(self, listener: socket.socket, name: str) -> None:
        answer = functools.partial(_answer, name)
        self._servers.append(await asyncio.start_server(answer, sock=listener, backlog=BACKLOG))


async def _answer(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request, whatever it asks for, and close."""
    try:
        async with asyncio.timeout(_REQUEST_TIMEOUT):
            await reader.readuntil(b"\r\n\r\n")
            body = f"{name} {writer.get_extra_info('peername')[0]}\n"
            head = ("HTTP/1.1 200 OK", "Content-Type: text/plain", f"Content-Length: {len(body)}", "Connection: close")
            writer.write(("\r\n".join(head) + "\r\n\r\n" + body).encode())
            await writer.drain()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # the client has gone, or never asked: no error of the server
    finally:
        writer.close()
