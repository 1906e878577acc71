"""
Counts to be compared before and after: of each observer's process, of each node's kernel, and in EC2.

A holder is compared with a holder, a standby with a standby: they differ in rules, routes and addresses.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from lab.network.netns import Namespace
from lab.run.hostile import usage
from lab.run.region import Region
from lab.run.sequences import OBSERVER

SAMPLES, EVERY = 10, 0.5
"""How often a process is looked at, and the seconds between two looks.  The least value counts, since each process asks
something now and then, which takes memory, a thread and some files for a moment.
"""

TOLERATED = {"memory": 8 * 1024, "threads": 2, "files": 4, "conntrack marks": 2}
"""
How much more a process may have.  Memory is in kB: Python keeps memory that it once had, fragmented, and how much of it
is resident depends on other processes; over a hundred failovers, a leak of 80 kB each would be seen.  The others allow
for chance, since probes, questions and connections come and go.
"""

_MARK = re.compile(r"\bmark=([1-9]\d*)")

Counts = Mapping[str, int]


@dataclass(frozen=True)
class Node:
    """One node: whether it holds the address, its observer's process id, and how many there are of each kind."""

    name: str
    is_holder: bool
    process: int
    counts: Counts


@dataclass(frozen=True)
class Census:
    """All nodes, and EC2."""

    nodes: tuple[Node, ...]
    ec2: Counts


def take(region: Region) -> Census:
    """Count now, for some seconds.  Raises LookupError if nobody holds the address, or an observer does not run."""
    holder = region.holder().name
    processes = {
        name: region.cluster.container_process(region.cluster.pod_on(name).name, OBSERVER) for name in region.machines
    }
    least: dict[str, dict[str, int]] = {}
    for _ in range(SAMPLES):
        for name, process in processes.items():
            found = usage(process)
            before = least.get(name, found)
            least[name] = {what: min(used, before.get(what, used)) for what, used in found.items()}
        time.sleep(EVERY)
    nodes = tuple(
        Node(name, name == holder, processes[name], {**least[name], **kernel(machine.worker.namespace)})
        for name, machine in region.machines.items()
    )
    interfaces = region.administrator.describe_network_interfaces()["NetworkInterfaces"]
    addresses = sum(len(one.get("PrivateIpAddresses", [])) + len(one.get("Ipv6Addresses", [])) for one in interfaces)
    return Census(nodes, {"interfaces": len(interfaces), "addresses": addresses})


def kernel(namespace: Namespace) -> Counts:
    """Counts of a node's kernel, for both IP versions; of tracked connections, how many different marks."""
    ruleset = json.loads(namespace.run(["nft", "-j", "list", "ruleset"]))["nftables"]
    objects = sum(1 + len(described.get("elem", [])) for item in ruleset for described in item.values())
    tracked = ""
    with suppress(OSError):
        tracked = namespace.run(["cat", "/proc/net/nf_conntrack"])
    links = namespace.show("address show")
    return {
        "links": len(links),
        "addresses": sum(len(link["addr_info"]) for link in links),
        "rules": len(namespace.show("-4 rule show")) + len(namespace.show("-6 rule show")),
        "routes": len(namespace.show("-4 route show table all")) + len(namespace.show("-6 route show table all")),
        "nft objects": objects,
        "conntrack marks": len(set(_MARK.findall(tracked))),
    }


def leaks(before: Census, after: Census) -> tuple[str, ...]:
    """What has grown by more than is tolerated, in words."""
    return tuple(_leaks(before, after))


def _leaks(before: Census, after: Census) -> Iterator[str]:
    for node in after.nodes:
        role = "the holder" if node.is_holder else "a standby"
        for what, count in node.counts.items():
            most = most_of(before.nodes, what, is_holder=node.is_holder)
            allowed = most + TOLERATED.get(what, 0)
            if count > allowed:
                yield f"{node.name}, {role}: {count} {what}, at most {allowed} are allowed ({most} before)"
    for what, count in after.ec2.items():
        if count > before.ec2[what]:
            yield f"EC2: {count} {what}, {before.ec2[what]} before"


def most_of(nodes: Sequence[Node], what: str, *, is_holder: bool) -> int:
    """The most of ``what`` that one of these nodes in that role has."""
    return max((node.counts.get(what, 0) for node in nodes if node.is_holder is is_holder), default=0)
