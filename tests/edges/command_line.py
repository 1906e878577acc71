"""What tests of the command line name: how it is run, and the lab's EC2 for it."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from floatingip.core.ec2 import OWNER_TAG
from lab.ec2 import Ec2
from lab.ec2.server import REGION

ROOT = Path(__file__).parents[2]

Run = Callable[..., "subprocess.CompletedProcess[str]"]

ADDRESS = "10.0.0.100"


@dataclass
class Vpc:
    """The lab's EC2 with an interface of ours, and the command line of somebody who names Region and VPC."""

    ec2: Ec2
    run: Run
    eni: str = ""

    def __post_init__(self) -> None:
        ours = [{"ResourceType": "network-interface", "Tags": [{"Key": OWNER_TAG, "Value": "cluster"}]}]
        made = self.ec2.client().create_network_interface(
            SubnetId=self.ec2.subnet_id,
            PrivateIpAddress=ADDRESS,
            TagSpecifications=ours,  # type: ignore[arg-type]  # a TypedDict, spelled out
        )
        self.eni = made["NetworkInterface"]["NetworkInterfaceId"]

    def release(self, *options: str, address: str = ADDRESS) -> "subprocess.CompletedProcess[str]":
        """`floatingip release` without a terminal."""
        return self.command("release", *options, address=address)

    def command(self, command: str, *options: str, address: str = ADDRESS) -> "subprocess.CompletedProcess[str]":
        """Any of those that may be run from elsewhere."""
        where = ("--region", REGION, "--vpc-id", self.ec2.vpc_id)
        aws = {
            "AWS_ENDPOINT_URL_EC2": self.ec2.endpoint_url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
        return self.run(command, *where, *options, address=address, document="name: cluster\n", environment=aws)

    def is_there(self) -> bool:
        """Our interface still exists."""
        filters = [{"Name": "network-interface-id", "Values": [self.eni]}]
        return bool(self.ec2.client().describe_network_interfaces(Filters=filters)["NetworkInterfaces"])  # type: ignore[arg-type]  # a TypedDict, spelled out
