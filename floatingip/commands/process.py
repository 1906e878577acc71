"""The agent of this node as a process, for ``attach`` and ``observe``: assembled from its parts, and run."""

from __future__ import annotations

import dataclasses
import gc
import os
import signal
import sys
import threading
import time
import traceback
from functools import partial
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from floatingip.commands.ending import LOG_ENDS_WITHIN
from floatingip.core.errors import MetadataError
from floatingip.core.model import Address
from floatingip.core.node import Identity
from floatingip.core.ports import Metadata, Prober
from floatingip.core.settings import Settings
from floatingip.edges import configmap, control_group
from floatingip.edges.ec2.cloud import Ec2Cloud, check_environment, client
from floatingip.edges.imds import Imds
from floatingip.edges.kernel import container
from floatingip.edges.kernel.host import KernelHost
from floatingip.edges.kubernetes.api_server import ApiServer
from floatingip.edges.kubernetes.board import PodsBoard
from floatingip.edges.kubernetes.node_ports import PodsServices
from floatingip.edges.kubernetes.own_pod import PodsOrders
from floatingip.edges.outlet import Outlet
from floatingip.edges.probes.icmp import IcmpProber
from floatingip.edges.probes.reach import ReachProber
from floatingip.edges.probes.tcp import KnockProber, service_prober
from floatingip.edges.tally import Tally
from floatingip.edges.telemetry import Log
from floatingip.runtime.doing import Edges
from floatingip.runtime.loop import Loop

IMDS_RETRY = 2.0
"""Seconds between two tries to learn from IMDS who this node is."""

IMDS_DEADLINE = 300.0
"""Seconds after which that is given up.  Then Kubernetes restarts the container, with ever longer pauses in which
nobody notices that IMDS answers again.  So this is long, and the manifest's startup probe waits even longer.
"""

THREADS_SWITCH_AFTER = 0.0005
"""Seconds until a thread that computes lets another one run (`sys.setswitchinterval`).  Plumbing takes some forty short
system calls; with Python's default, each may wait 5 ms for the thread that parses EC2's answer.
"""

DEFECT = 70
"""The exit code of a process in which a thread ended because of a defect."""


def run(command: str, settings: Settings, path: Path, log: Log, outlet: Outlet) -> int:
    """Run the agent as ``command``; return the exit code.  Raises FloatingIPError.

    ``path`` is where the settings are; they may change meanwhile.  The log goes to ``outlet``.
    """

    def prober(address: Address) -> Prober:
        # The knock goes to the observers' port, which workers must admit from each other anyway.
        timeout = settings.probe_timeout
        return ReachProber(IcmpProber(address, timeout), KnockProber(address, settings.port, timeout))

    check_environment()
    metadata = Imds()
    me = identity(metadata, log)
    container.check(me.mac)
    if slowed := control_group.slowed(control_group.cpu_limit()):
        log.warning("cpu", f"{slowed}; {control_group.CPU_HINT}")
    kubernetes = address_in_kubernetes(os.environ.get("NODE_ADDRESS", ""), me.address)
    me = dataclasses.replace(me, node=os.environ.get("NODE_NAME", ""), kubernetes=kubernetes)
    log.info("node", instance=me.instance_id, zone=me.zone, address=me.address, node=me.node)
    api_server = ApiServer(os.environ)
    tally = Tally()
    groups = settings.security_groups or me.security_groups
    edges = Edges(
        cloud=Ec2Cloud(client(me.region, settings.ec2_timeout), me.vpc_id, groups, tally=tally),
        host=KernelHost(),
        prober=prober,
        metadata=metadata,
        orders=PodsOrders(api_server),
        service=service_prober(settings),
        services=PodsServices(api_server),
        tally=tally,
        settings=partial(configmap.Watched(path).changed, os.environ),
        board=PodsBoard(api_server, os.environ.get("NODE_NAME", "")),
        outlet=outlet,
    )
    loop = Loop(settings, me, edges, log, observes=command == "observe")
    sys.setswitchinterval(THREADS_SWITCH_AFTER)
    # What is loaded by now, mostly EC2's service model, is never freed.  A full garbage collection would visit all of
    # it and stop every thread for up to 80 ms, most likely when there is much to do, as in a takeover.
    gc.freeze()
    threading.excepthook = lambda failed: _die(log, outlet, failed)
    signal.signal(signal.SIGTERM, lambda _number, _frame: loop.stop())
    return loop.run()


def _die(log: Log, outlet: Outlet, failed: threading.ExceptHookArgs) -> None:
    """End the process: an agent that lost a thread to a defect works only in part; a restarted one is whole again."""
    trace = "".join(traceback.format_exception(failed.exc_type, failed.exc_value, failed.exc_traceback))
    log.error("defect", trace, thread=failed.thread.name if failed.thread else "")
    outlet.end(LOG_ENDS_WITHIN)
    os._exit(DEFECT)


def address_in_kubernetes(told: str, own: Address) -> Address | None:
    """The address that Kubernetes has of this node, as the manifest ``told``; None if it is its ``own``, or useless."""
    try:
        address = ip_address(told.strip())
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    # Nobody else can reach this node at such an address, or it stands for all addresses of the node.
    nobodys = address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
    return None if address == own or "%" in told or nobodys else address


def identity(metadata: Metadata, log: Log) -> Identity:
    """Ask IMDS who this node is until it answers.  Raises MetadataError if it has not answered for a while."""
    deadline, told = time.monotonic() + IMDS_DEADLINE, set[str]()
    while True:
        try:
            me = metadata.identity()
        except MetadataError as error:
            if time.monotonic() > deadline:
                raise
            if str(error) not in told:
                # PLE1205 mistakes telemetry.Log for logging's: here the second argument is the message.
                log.warning("imds", str(error), retry_in=IMDS_RETRY)
            told.add(str(error))
            time.sleep(IMDS_RETRY)
        else:
            if told:
                log.info("imds", "IMDS answers again")
            return me
