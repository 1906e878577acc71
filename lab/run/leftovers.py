"""What workers that do not hold a floating address still have configured for it."""

from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address

from floatingip.core.model import Allocation, Carry
from floatingip.core.settings import Settings
from floatingip.edges.kernel.mark_table import table_name
from lab.ec2 import Guest
from lab.run.machine import Machine
from lab.run.region import Region


def record(region: Region) -> None:
    """Record all present leftovers in the history."""
    for what in leftovers(region):
        region.history.record({"source": "lab", "event": "leftover", "what": what})


def leftovers(region: Region) -> Iterator[str]:
    """What workers that run and are not the holder still have, in words."""
    numbers: Counter[str] = Counter()
    for floating in region.floating:
        index = numbers[floating.cluster]
        numbers[floating.cluster] += 1
        address = region.carried(floating)
        try:
            holder = region.holder(floating).name
        except LookupError:
            holder = ""
        for machine in region.machines.values():
            if machine.name == holder or machine.guest is not Guest.RUNNING or machine.ending:
                continue
            if machine.cluster != floating.cluster:
                continue
            for what in _traces(region, machine, index, address):
                yield f"{what} on {machine.name}"


def _traces(region: Region, machine: Machine, index: int, address: str) -> Iterator[str]:
    namespace = machine.worker.namespace
    settings = Settings(tuple(Allocation(floating.target) for floating in region.floating))
    # With carry: address, a standby has all but the address and the first rule ahead of time.
    ahead = region.carry == Carry.ADDRESS
    ours = range(settings.priority + 2 * index, settings.priority + 2 * index + (1 if ahead else 2))
    for link in namespace.show("address show"):
        if any(info.get("local") == address for info in link["addr_info"]):
            yield f"{address} on link {link['ifname']}"
    for family in ("-4", "-6"):
        for rule in namespace.show(f"{family} rule show"):
            if rule["priority"] in ours:
                yield f"rule {rule['priority']} of {address}"
    table = table_name(ip_address(address))
    if not ahead and table in namespace.run(["nft", "list", "tables"]).split():
        yield f"nft table {table}"
