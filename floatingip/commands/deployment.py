"""Whose interfaces a command is about, and how EC2 is asked: on a worker that is found out, elsewhere it is named."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from floatingip.agent.looks import cluster_name
from floatingip.commands import arguments
from floatingip.core.errors import ConfigurationError, MetadataError
from floatingip.core.model import Carry
from floatingip.core.ports import Cloud
from floatingip.core.settings import Settings
from floatingip.edges.ec2.cloud import Ec2Cloud, check_environment, client, obtain
from floatingip.edges.imds import Imds


@dataclass(frozen=True, slots=True)
class Deployment:
    """EC2, the ``name`` that our interfaces are tagged with, their VPC, how they ``carry`` addresses, the observers'
    ``port``, and ``me``, the instance that this runs on.

    ``me`` is empty where Region, VPC and name were all given: then IMDS was not asked.
    """

    cloud: Cloud
    name: str
    vpc_id: str
    carry: Carry
    port: int
    me: str = ""


def find(settings: Settings, options: argparse.Namespace) -> Deployment:
    """The deployment that these settings and the arguments ``--region`` and ``--vpc-id`` are about.

    Raises ConfigurationError where its name is not known, MetadataError where IMDS does not answer, and CloudError.
    """
    check_environment()
    region, vpc_id, name = options.region, options.vpc_id, settings.name
    me = None
    if not (region and vpc_id and name):
        try:
            me = Imds().identity()
        except MetadataError as error:
            raise MetadataError(str(error), arguments.ELSEWHERE) from error
        region, vpc_id = region or me.region, vpc_id or me.vpc_id
    obtain(region)
    cloud = Ec2Cloud(client(region, settings.ec2_timeout), vpc_id, ())
    if me is not None and not name:
        instances = cloud.describe_instances(frozenset((me.instance_id,)))
        name = cluster_name(instances[me.instance_id].tags) if me.instance_id in instances else ""
    if not name:
        raise ConfigurationError("name: not set, and this instance names no cluster; set `name` in the settings")
    my_id = me.instance_id if me is not None else ""
    return Deployment(cloud, name, vpc_id, settings.carry, settings.port, my_id)
