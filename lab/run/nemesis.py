"""
What goes wrong: one function per misfortune, each done to one machine of a region.

They act on the world only (kernel, power, EC2, Kubernetes); the scenario records that they began.
"""

import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any

from floatingip.core.model import Allocation
from floatingip.core.settings import Settings
from lab.ec2 import Guest, imds
from lab.ec2.transport import Effect
from lab.kubernetes.cluster import OBSERVERS, SAMPLE, Kind
from lab.network.fabric import VPC_CIDR
from lab.run.machine import Machine
from lab.run.region import Region

SCALED_WITHIN = 60.0
"""Seconds within which a third replica must be ready."""

FLAP_LASTS = 0.1
"""Seconds for which a flapping link stays down."""

SPOT_WARNING = 120.0
"""Seconds from a spot interruption's notice until the interruption (EC2 user guide)."""

MAINTENANCE_AHEAD = 1800.0
"""Seconds from the notice of a scheduled maintenance until it begins."""

TROUBLED_BEFORE, TROUBLED_AFTER = 4.0, 6.0
"""Seconds for which IMDS answers badly before a power cut, and after it: ten in all."""

TROUBLE_BEFORE, TROUBLE_AFTER = 2.0, 8.0
"""Seconds for which EC2 answers badly before a power cut, and after it."""

SERVED_BEFORE = 8.0
"""Seconds from a change of the service's pods until every observer has checked every node and told its peers."""


def nothing(_region: Region, _machine: Machine) -> None:
    """Only time passes."""


def pod_delete(region: Region, machine: Machine) -> None:
    """`kubectl delete pod`: the Deployment makes a new one."""
    region.cluster.delete_pod(region.cluster.pod_on(machine.name).name)


def cordon_and_delete(region: Region, machine: Machine) -> None:
    """`kubectl cordon` and `kubectl delete pod`: the new pod goes to another node, if there is one."""
    region.cluster.cordon(machine.name)
    pod_delete(region, machine)


def drain(region: Region, machine: Machine) -> None:
    """`kubectl drain`.  Raises TimeoutError if a budget never allows an eviction."""
    region.cluster.drain(machine.name)


def spot_notice(_region: Region, machine: Machine) -> None:
    """EC2 announces that it takes the spot instance back in two minutes."""
    machine.imds.notices[imds.SPOT] = imds.spot_notice(time.time() + SPOT_WARNING)


def asg_notice(_region: Region, machine: Machine) -> None:
    """The Auto Scaling group has decided to terminate the instance, and waits for its lifecycle hook."""
    machine.imds.notices[imds.LIFECYCLE] = imds.TERMINATED


def maintenance_notice(_region: Region, machine: Machine) -> None:
    """A scheduled reboot is half an hour away."""
    machine.imds.notices[imds.MAINTENANCE] = imds.maintenance_notice(time.time() + MAINTENANCE_AHEAD)


def rebalance_notice(_region: Region, machine: Machine) -> None:
    """EC2 says that the spot instance is likelier than usual to be interrupted."""
    machine.imds.notices[imds.REBALANCE] = imds.rebalance_notice(time.time())


def trouble_imds(trouble: imds.Trouble) -> Callable[[Region, Machine], None]:
    """A nemesis that makes IMDS answer badly in this way on every machine; it returns some seconds after that began."""

    def begin(region: Region, _machine: Machine) -> None:
        _answer_by(region, trouble)
        time.sleep(TROUBLED_BEFORE)

    return begin


def cut_power_of_troubled(region: Region, machine: Machine) -> None:
    """A power cut while IMDS answers badly; IMDS goes on so for some more seconds."""
    cut_power(region, machine)
    time.sleep(TROUBLED_AFTER)
    _answer_by(region, None)


def trouble_imds_in_turn(region: Region, _machine: Machine) -> None:
    """IMDS answers badly on every machine, in one way after the other, each for long enough that an address
    which IMDS leaves out would count as lost.
    """
    for trouble in imds.Trouble:
        _answer_by(region, trouble)
        time.sleep(TROUBLED_BEFORE)
    _answer_by(region, None)


def _answer_by(region: Region, trouble: imds.Trouble | None) -> None:
    for machine in region.machines.values():
        machine.imds.trouble = trouble


def terminate(region: Region, machine: Machine) -> None:
    """TerminateInstances: EC2 says shutting-down at once, the machine ends a moment later."""
    region.administrator.terminate_instances(InstanceIds=[machine.instance.instance_id])


def cut_power(region: Region, machine: Machine) -> None:
    """Processes, links and carrier are gone at once; EC2 says `running` all the same."""
    region.power.off(machine)


def cut_power_unheard(region: Region, machine: Machine) -> None:
    """A power cut, in a VPC that does not carry announcements."""
    region.fabric.carry_announcements = False
    cut_power(region, machine)


def cut_power_while(effect: Effect, seconds: float) -> Callable[[Region, Machine], None]:
    """A power cut; all of EC2's answers have this ``effect`` from a while before it until a while after."""

    def strike(region: Region, machine: Machine) -> None:
        with region.ec2.faults.begin(effect, seconds=seconds):
            time.sleep(TROUBLE_BEFORE)
            cut_power(region, machine)
            time.sleep(TROUBLE_AFTER)

    return strike


def hang_kernel(region: Region, machine: Machine) -> None:
    """Nothing runs and nothing is answered, but every link keeps its carrier; a detach hangs until it is forced."""
    machine.guest = Guest.HUNG
    region.fabric.silence(region.fabric.plugged(machine.worker.namespace))
    region.cluster.freeze_node(machine.name)


def thaw_kernel(region: Region, machine: Machine) -> None:
    """A kernel that hung goes on as if nothing had happened."""
    machine.guest = Guest.RUNNING
    region.fabric.unsilence(region.fabric.plugged(machine.worker.namespace))
    region.cluster.thaw_node(machine.name)


def flap_link(region: Region, machine: Machine) -> None:
    """The ENI's link goes down and up: the kernel forgets its routes."""
    link = _floating_link(region, machine)
    machine.worker.namespace.ip(f"link set {link} down")
    time.sleep(FLAP_LASTS)
    machine.worker.namespace.ip(f"link set {link} up")


def flush_rules(region: Region, machine: Machine) -> None:
    """Somebody flushes our rules, our routing tables and our nft tables, of all addresses."""
    settings = Settings(tuple(Allocation(floating.target) for floating in region.floating))
    namespace = machine.worker.namespace
    tables = namespace.run(["nft", "list", "tables"]).splitlines()
    priorities = range(settings.priority, settings.priority + 2 * len(region.floating))
    machine.worker.flush_rules(
        priorities=priorities, nft_tables=[table.removeprefix("table ") for table in tables if "floatingip" in table]
    )
    for index in range(len(region.floating)):
        for flush in (namespace.ip, namespace.ip6):
            flush(f"route flush table {settings.table + index}")


def remove_address(region: Region, machine: Machine) -> None:
    """`ip address delete` by hand."""
    address = region.carried(region.floating[0])
    length = ip_address(address).max_prefixlen
    machine.worker.namespace.ip(f"address delete {address}/{length} dev {_floating_link(region, machine)}")


def drop_forwarded(region: Region, machine: Machine) -> None:
    """A host firewall drops packets that come in by the floating address' link and are for a pod."""
    machine.worker.namespace.nft(
        "table inet firewall { chain forward { type filter hook forward priority 10;\n"
        f'iifname "{_floating_link(region, machine)}" drop\n'
        "}\n}\n"
    )


def detach_eni(region: Region, machine: Machine) -> None:
    """DetachNetworkInterface by hand."""
    eni = next(e["eni"] for e in reversed(region.attachments()) if e["instance"] == machine.instance.instance_id)
    shown = region.administrator.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]
    region.administrator.detach_network_interface(AttachmentId=shown["Attachment"]["AttachmentId"])


def hand_over(region: Region, _machine: Machine) -> None:
    """`floatingip handover`, on a standby.  Raises CommandFailed."""
    region.command(region.standbys()[0], "handover")


def close_icmp(region: Region, _machine: Machine) -> None:
    """A security group stops letting pings through to the floating address."""
    region.fabric.close_icmp(region.carried(region.floating[0]))


def close_port(region: Region, _machine: Machine | None = None) -> None:
    """The workers' security group stops letting them through to each other's observers."""
    for each in region.machines.values():
        each.worker.namespace.nft(
            "table inet closed { chain in { type filter hook input priority 0;\n"
            f"ip saddr {VPC_CIDR} ip saddr != {each.worker.address} tcp dport 9807 drop\n"
            "}\n}\n"
        )


def partition(region: Region, machine: Machine) -> None:
    """The worker is cut off from everybody, EC2 and its peers included, and goes on running."""
    region.fabric.silence(region.fabric.plugged(machine.worker.namespace))


def stop_service(region: Region, machine: Machine) -> None:
    """The NodePort answers nobody any more on this worker; the worker itself is well."""
    if region.kubernetes is Kind.SMALL:
        machine.worker.expose(region.backends.node_port, [], "Local")
    else:
        region.cluster.cordon(machine.name)
        region.cluster.delete_pod(region.cluster.pod_on(machine.name, SAMPLE).name)


def serve_from_holder(region: Region, machine: Machine) -> None:
    """The service has one pod, where the address is, for long enough that all observers know it."""
    region.backends.serve_from(machine)
    time.sleep(SERVED_BEFORE)


def serve_from_standby(region: Region, machine: Machine) -> None:
    """The service has one pod, on another node that has an observer."""
    region.backends.serve_from(
        next(each for each in region.standbys() if _is_observed(region, each) and each is not machine)
    )


def serve_from_nowhere(region: Region, _machine: Machine) -> None:
    """The service has no pod that is ready."""
    region.backends.serve_from()


def _is_observed(region: Region, machine: Machine) -> bool:
    return any(pod.node == machine.name and not pod.is_ending for pod in region.cluster.pods())


def restart(region: Region, _machine: Machine) -> None:
    """`kubectl rollout restart`: every pod is replaced, one after the other."""
    region.cluster.restart(OBSERVERS)


def scale_up_and_down(region: Region, _machine: Machine) -> None:
    """`kubectl scale` to three replicas, and back to two."""
    region.cluster.scale(OBSERVERS, 3)
    region.cluster.wait_ready(SCALED_WITHIN)
    region.cluster.scale(OBSERVERS, 2)


def kill_observer(region: Region, machine: Machine) -> None:
    """SIGKILL to the observer: Kubernetes starts it again."""
    region.cluster.kill_container(region.cluster.pod_on(machine.name).name, "observer")


def _floating_link(region: Region, machine: Machine) -> str:
    links, address = machine.worker.namespace.show("address show"), region.carried(region.floating[0])
    return str(next(link["ifname"] for link in links if _has(link, address)))


def _has(link: Mapping[str, Any], address: str) -> bool:
    return any(info.get("local") == address for info in link["addr_info"])
