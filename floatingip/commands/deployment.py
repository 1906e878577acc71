"""Which deployment a command is about, and how EC2 is asked: found out on a worker, given as arguments elsewhere."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

from floatingip.agent.looks import cluster_name
from floatingip.commands import arguments
from floatingip.commands.insisting import insist
from floatingip.commands.place import check_place
from floatingip.core.errors import CloudError, CloudUnavailable, ConfigurationError, MetadataError
from floatingip.core.model import Address, Carry
from floatingip.core.ports import Cloud
from floatingip.core.settings import Settings
from floatingip.edges.ec2.cloud import Ec2Cloud, check_environment, client, obtain
from floatingip.edges.ec2.inspection import Inspection
from floatingip.edges.imds import Imds


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment: EC2, the ``name`` that our interfaces are tagged with, their VPC, how they ``carry`` addresses,
    and the observers' ``port``.  ``me`` is the instance that the command runs on, ``address`` its primary address.

    ``me`` is empty and ``address`` None if Region, VPC and name were all given: then IMDS was not asked.  The command
    may then run on any machine.  ``wall`` gives Unix seconds by EC2's clock, as observers have them: AWS also serves
    machines whose clock is minutes off.
    """

    cloud: Cloud
    name: str
    vpc_id: str
    carry: Carry
    port: int
    me: str = ""
    address: Address | None = None
    wall: Callable[[], float] = time.time


def find(settings: Settings, options: argparse.Namespace) -> Deployment:
    """The deployment that these settings and the arguments ``--region`` and ``--vpc-id`` are about.

    Raises ConfigurationError if its name is not known, or there is no such VPC; MetadataError if IMDS does not answer;
    and CloudError.
    """
    check_environment()
    region, vpc_id, name = options.region, options.vpc_id, settings.name
    me = None
    if not (region and vpc_id and name):
        try:
            me = Imds().identity()
        except MetadataError as error:
            raise MetadataError(str(error), arguments.ELSEWHERE) from error
        region, vpc_id = arguments.place(region, vpc_id, me)
    obtain(region)
    ec2 = client(region, settings.ec2_timeout)
    cloud = Ec2Cloud(ec2, vpc_id, ())
    if me is not None and not name:
        asked = frozenset((me.instance_id,))
        mine = insist(lambda: cloud.describe_instances(asked)).get(me.instance_id)
        name = cluster_name(mine.tags) if mine is not None else ""
    if not name:
        raise ConfigurationError("name: not set, and this instance names no cluster; set `name` in the settings")
    if me is not None:
        return Deployment(cloud, name, vpc_id, settings.carry, settings.port, me.instance_id, me.address)
    check_place(cloud, region, vpc_id)
    ahead = _ahead(Inspection(ec2, region, vpc_id))
    return Deployment(cloud, name, vpc_id, settings.carry, settings.port, wall=lambda: time.time() - ahead)


def _ahead(inspection: Inspection) -> float:
    """By how many seconds this machine's clock is ahead of EC2's; 0 if EC2 refuses to tell.

    Raises ``CloudUnavailable`` if EC2 does not answer: it would not answer the next question, either.
    """
    try:
        return insist(inspection.clock)[0] or 0.0
    except CloudUnavailable:
        raise
    except CloudError:  # a person may lack the permission for this, and does not need it
        return 0.0
