"""
moto alone still lacks each rule that lab/ec2 adds (world.py has them all, and filters.py).

A canary that dies says: this moto has learnt the rule, so that part of the layer may go.  All canaries are asked once,
in one fresh process that never imports the lab (this file, run as a program), against moto's own server.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, cast

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError


class Moto:
    """moto's own EC2 endpoint, a VPC with a subnet in each of two zones, and short ways to say things to it."""

    def __init__(self) -> None:
        os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
        # Imported in the fresh process only: where pytest runs, the lab's own tests have patched it.
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415
        from werkzeug.serving import make_server  # noqa: PLC0415

        server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.ec2 = boto3.client(
            "ec2",
            region_name="us-west-2",
            endpoint_url=f"http://127.0.0.1:{server.port}",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )
        self.vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnet, self.elsewhere = (
            self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=cidr, AvailabilityZone=zone)["Subnet"]["SubnetId"]
            for cidr, zone in (("10.0.0.0/24", "us-west-2a"), ("10.0.1.0/24", "us-west-2b"))
        )
        self._last = iter(range(100, 250))

    def create(self, address: str = "", subnet: str = "", **more: Any) -> Any:
        """A new ENI, as the answer shows it."""
        return self.ec2.create_network_interface(
            SubnetId=subnet or self.subnet, PrivateIpAddress=address or f"10.0.0.{next(self._last)}", **more
        )["NetworkInterface"]

    def eni(self, **more: Any) -> str:
        """The id of a new ENI."""
        return str(self.create(**more)["NetworkInterfaceId"])

    def allocation(self) -> str:
        """The id of a new Elastic IP."""
        return str(self.ec2.allocate_address(Domain="vpc")["AllocationId"])

    def run(self, **more: Any) -> str:
        """The id of a new instance."""
        return self.ec2.run_instances(
            ImageId="ami-lab", MinCount=1, MaxCount=1, InstanceType="m5.large", SubnetId=self.subnet, **more
        )["Instances"][0]["InstanceId"]

    def attach(self, eni: str, instance: str, index: int = 1) -> str:
        """The id of a new attachment."""
        return self.ec2.attach_network_interface(NetworkInterfaceId=eni, InstanceId=instance, DeviceIndex=index)[
            "AttachmentId"
        ]

    def show(self, eni: str) -> Any:
        """The ENI."""
        return self.ec2.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]

    def filtered(self, name: str, value: str) -> list[str]:
        """The ids of the ENIs that a filter finds."""
        found = self.ec2.describe_network_interfaces(Filters=[{"Name": name, "Values": [value]}])
        return [item["NetworkInterfaceId"] for item in found["NetworkInterfaces"]]


CANARIES: dict[str, tuple[str, Callable[[Moto], bool]]] = {}


def canary(rule: str) -> Callable[[Callable[[Moto], bool]], Callable[[Moto], bool]]:
    """The decorated function says whether moto lacks what `rule`, a name in lab/ec2, adds."""

    def register(lacks: Callable[[Moto], bool]) -> Callable[[Moto], bool]:
        CANARIES[lacks.__name__] = rule, lacks
        return lacks

    return register


def accepted(call: Callable[..., object], *args: Any, **kwargs: Any) -> bool:
    """Whether the call ends without an error; an error may be one that cannot be parsed."""
    try:
        call(*args, **kwargs)
    except (ClientError, ResponseParserError):
        return False
    return True


@canary("World._created_before")
def client_token(moto: Moto) -> bool:
    """The same token makes two ENIs."""
    return moto.eni(ClientToken="t", address="10.0.0.90") != moto.eni(ClientToken="t", address="10.0.0.90")


@canary("Addresses.require_free")
def taken_address(moto: Moto) -> bool:
    """Two ENIs get one address."""
    return accepted(moto.create, moto.create()["PrivateIpAddress"])


@canary("_why_unusable")
def foreign_address(moto: Moto) -> bool:
    """An ENI gets an address of another network, and one that AWS keeps."""
    return accepted(moto.create, "192.0.2.1") and accepted(moto.create, "10.0.0.1")


@canary("World.adopt")
def private_dns_name(moto: Moto) -> bool:
    """An ENI has no name."""
    return "PrivateDnsName" not in moto.create()


@canary("_FILTERS")
def filter_secondary_address(moto: Moto) -> bool:
    """The filter does not see secondary addresses."""
    moto.ec2.create_network_interface(
        SubnetId=moto.subnet,
        PrivateIpAddresses=[
            {"PrivateIpAddress": "10.0.0.80", "Primary": True},
            {"PrivateIpAddress": "10.0.0.81", "Primary": False},
        ],
    )
    return moto.filtered("addresses.private-ip-address", "10.0.0.81") == []


@canary("_FILTERS")
def filter_attachment_status(moto: Moto) -> bool:
    """The filter is not known."""
    moto.attach(moto.eni(), moto.run())
    return not accepted(moto.filtered, "attachment.status", "attached")


@canary("page")
def paging(moto: Moto) -> bool:
    """Pages have no end."""
    for _ in range(6):
        moto.create()
    return len(moto.ec2.describe_network_interfaces(MaxResults=5)["NetworkInterfaces"]) > 5


@canary("World.describe")
def paging_with_ids(moto: Moto) -> bool:
    """Page size and ids do not exclude each other."""
    return accepted(moto.ec2.describe_network_interfaces, NetworkInterfaceIds=[moto.eni()], MaxResults=5)


@canary("the routed property group_set")
def own_groups(moto: Moto) -> bool:
    """An attached ENI shows the instance's groups too."""
    own = moto.ec2.create_security_group(GroupName="own", Description="own", VpcId=moto.vpc)["GroupId"]
    one = moto.eni(Groups=[own])
    other = moto.ec2.create_security_group(GroupName="other", Description="other", VpcId=moto.vpc)["GroupId"]
    instance = moto.run(SecurityGroupIds=[other])
    moto.attach(one, instance)
    return len(moto.show(one)["Groups"]) > 1


@canary("World.attach")
def double_attach(moto: Moto) -> bool:
    """Two instances win one ENI."""
    one = moto.eni()
    moto.attach(one, moto.run())
    return accepted(moto.attach, one, moto.run())


@canary("World.attach")
def taken_device_index(moto: Moto) -> bool:
    """Two ENIs share a device index."""
    instance = moto.run()
    moto.attach(moto.eni(), instance)
    return accepted(moto.attach, moto.eni(), instance)


@canary("World.attach")
def slot_limit(moto: Moto) -> bool:
    """An m5.large takes nine ENIs."""
    instance = moto.run()
    return all(accepted(moto.attach, moto.eni(), instance, index) for index in range(1, 9))


@canary("World.attach")
def other_zone(moto: Moto) -> bool:
    """An ENI leaves its zone."""
    return accepted(moto.attach, moto.eni(address="10.0.1.9", subnet=moto.elsewhere), moto.run())


@canary("World.attach")
def terminated_instance(moto: Moto) -> bool:
    """A terminated instance takes an ENI."""
    instance = moto.run()
    moto.ec2.terminate_instances(InstanceIds=[instance])
    return accepted(moto.attach, moto.eni(), instance)


@canary("World.attach")
def asynchronous_attach(moto: Moto) -> bool:
    """An attach is over at once."""
    one = moto.eni()
    moto.attach(one, moto.run())
    return bool(moto.show(one)["Attachment"]["Status"] == "attached")


@canary("World.detach")
def asynchronous_detach(moto: Moto) -> bool:
    """A detach is over at once."""
    one = moto.eni()
    moto.ec2.detach_network_interface(AttachmentId=moto.attach(one, moto.run()))
    return "Attachment" not in moto.show(one)


@canary("World.detach")
def primary_detach(moto: Moto) -> bool:
    """The primary ENI can be taken away."""
    instance = moto.run()
    moto.attach(moto.eni(), instance)
    primary = moto.filtered("attachment.instance-id", instance)
    by_index = {item["DeviceIndex"]: item["AttachmentId"] for item in (moto.show(one)["Attachment"] for one in primary)}
    gone = accepted(moto.ec2.detach_network_interface, AttachmentId=by_index[0])
    # Without its primary ENI the instance would break every later DescribeInstances.
    moto.ec2.attach_network_interface(
        NetworkInterfaceId=next(one for one in primary if "Attachment" not in moto.show(one)),
        InstanceId=instance,
        DeviceIndex=0,
    )
    return gone


@canary("World.delete")
def delete_in_use(moto: Moto) -> bool:
    """An attached ENI can be deleted."""
    one = moto.eni()
    moto.attach(one, moto.run())
    return accepted(moto.ec2.delete_network_interface, NetworkInterfaceId=one)


@canary("Addresses.require_free")
def taken_ipv6_address(moto: Moto) -> bool:
    """Two ENIs get one IPv6 address, outside of any subnet."""
    ipv6 = [{"Ipv6Address": "2001:db8:f::1"}]
    return accepted(moto.create, Ipv6Addresses=ipv6) and accepted(moto.create, Ipv6Addresses=ipv6)


@canary("canonical")
def ipv6_spelling(moto: Moto) -> bool:
    """An IPv6 address is kept as the caller spelt it."""
    shown = moto.create(Ipv6Addresses=[{"Ipv6Address": "2001:DB8:F:0::2"}])["Ipv6Addresses"]
    return bool(shown == [{"Ipv6Address": "2001:DB8:F:0::2"}])


@canary("World._created_before")
def token_with_other_parameters(moto: Moto) -> bool:
    """A token is not bound to what was asked for."""
    moto.create(ClientToken="u")
    return accepted(moto.create, ClientToken="u")


@canary("World._created_before")
def token_of_a_deleted_eni(moto: Moto) -> bool:
    """A token is forgotten with its ENI."""
    first = moto.eni(ClientToken="v", address="10.0.0.91")
    moto.ec2.delete_network_interface(NetworkInterfaceId=first)
    return moto.eni(ClientToken="v", address="10.0.0.91") != first


@canary("World._require_groups")
def groups_of_nothing(moto: Moto) -> bool:
    """An unknown security group is made up."""
    return accepted(moto.create, Groups=["sg-00000000000000000"])


@canary("_FILTERS")
def filter_ipv6_address(moto: Moto) -> bool:
    """The filter is not known."""
    moto.create(Ipv6Addresses=[{"Ipv6Address": "2001:db8:f::3"}])
    return not accepted(moto.filtered, "ipv6-addresses.ipv6-address", "2001:db8:f::3")


@canary("_FILTERS")
def filter_association(moto: Moto) -> bool:
    """The filter is not known."""
    moto.ec2.associate_address(AllocationId=moto.allocation(), NetworkInterfaceId=moto.eni())
    return not accepted(moto.filtered, "association.allocation-id", "eipalloc-*")


@canary("FILTER_VALUES")
def filter_values(moto: Moto) -> bool:
    """A filter may have any number of values."""
    many = [f"10.0.{n // 250}.{n % 250}" for n in range(201)]
    return accepted(moto.ec2.describe_network_interfaces, Filters=[{"Name": "private-ip-address", "Values": many}])


@canary("ElasticIps.associate")
def reassociation_by_default(moto: Moto) -> bool:
    """An Elastic IP does not move unless that is asked for."""
    allocation = moto.allocation()
    moto.ec2.associate_address(AllocationId=allocation, NetworkInterfaceId=moto.eni())
    return not accepted(moto.ec2.associate_address, AllocationId=allocation, NetworkInterfaceId=moto.eni())


@canary("ElasticIps.associate")
def association_leaves_the_old_eni(moto: Moto) -> bool:
    """The old ENI goes on showing the Elastic IP."""
    allocation, old = moto.allocation(), moto.eni()
    for one in old, moto.eni():
        moto.ec2.associate_address(AllocationId=allocation, NetworkInterfaceId=one, AllowReassociation=True)
    return "Association" in moto.show(old)


@canary("ElasticIps.associate")
def association_is_idempotent(moto: Moto) -> bool:
    """Asked twice, an association gets another id."""
    allocation, one = moto.allocation(), moto.eni()
    first, second = (
        moto.ec2.associate_address(AllocationId=allocation, NetworkInterfaceId=one)["AssociationId"] for _ in range(2)
    )
    return bool(first != second)


@canary("ElasticIps.associate")
def association_with_a_foreign_address(moto: Moto) -> bool:
    """The private address need not be the ENI's, and is ignored."""
    return accepted(
        moto.ec2.associate_address,
        AllocationId=moto.allocation(),
        NetworkInterfaceId=moto.eni(),
        PrivateIpAddress="192.0.2.1",
    )


@canary("ElasticIps.associate")
def internet_gateway(moto: Moto) -> bool:
    """A VPC without an internet gateway has Elastic IPs."""
    return accepted(moto.ec2.associate_address, AllocationId=moto.allocation(), NetworkInterfaceId=moto.eni())


@canary("ElasticIps.add")
def network_border_group(moto: Moto) -> bool:
    """Network border groups, even invented ones, are ignored."""
    allocation = moto.ec2.allocate_address(Domain="vpc", NetworkBorderGroup="us-west-2-nowhere-1")
    shown = moto.ec2.describe_addresses(AllocationIds=[allocation["AllocationId"]])["Addresses"][0]
    return "NetworkBorderGroup" not in shown


@canary("ElasticIps.forget")
def deletion_ends_the_association(moto: Moto) -> bool:
    """An Elastic IP stays with a deleted ENI."""
    allocation, one = moto.allocation(), moto.eni()
    moto.ec2.associate_address(AllocationId=allocation, NetworkInterfaceId=one)
    moto.ec2.delete_network_interface(NetworkInterfaceId=one)
    return "AssociationId" in moto.ec2.describe_addresses(AllocationIds=[allocation])["Addresses"][0]


@canary("ElasticIps.release")
def release_in_use(moto: Moto) -> bool:
    """An associated Elastic IP can be released."""
    allocation = moto.allocation()
    moto.ec2.associate_address(AllocationId=allocation, NetworkInterfaceId=moto.eni())
    return accepted(moto.ec2.release_address, AllocationId=allocation)


@canary("Addresses._require_assignable")
def assigned_twice(moto: Moto) -> bool:
    """Two ENIs get one secondary address without reassignment."""
    address = ["10.0.0.70"]
    return all(
        accepted(moto.ec2.assign_private_ip_addresses, NetworkInterfaceId=moto.eni(), PrivateIpAddresses=address)
        for _ in range(2)
    )


@canary("Addresses._finish")
def reassignment_leaves_the_old_eni(moto: Moto) -> bool:
    """After a reassignment both ENIs have the address."""
    old, new = moto.eni(), moto.eni()
    for one in old, new:
        moto.ec2.assign_private_ip_addresses(
            NetworkInterfaceId=one, PrivateIpAddresses=["10.0.0.71"], AllowReassignment=True
        )
    return all(len(moto.show(one)["PrivateIpAddresses"]) == 2 for one in (old, new))


@canary("ElasticIps.follow")
def elastic_ip_rides_along(moto: Moto) -> bool:
    """The Elastic IP of a reassigned address stays where it was."""
    allocation, old, new = moto.allocation(), moto.eni(), moto.eni()
    for one in old, new:
        moto.ec2.assign_private_ip_addresses(
            NetworkInterfaceId=one, PrivateIpAddresses=["10.0.0.72"], AllowReassignment=True
        )
        if one == old:
            moto.ec2.associate_address(AllocationId=allocation, NetworkInterfaceId=old, PrivateIpAddress="10.0.0.72")
    shown = moto.ec2.describe_addresses(AllocationIds=[allocation])["Addresses"][0]
    return shown["NetworkInterfaceId"] == old


@canary("Addresses._require_assignable")
def assigned_primary(moto: Moto) -> bool:
    """The primary address of another ENI can be taken."""
    return accepted(
        moto.ec2.assign_private_ip_addresses,
        NetworkInterfaceId=moto.eni(),
        PrivateIpAddresses=[moto.create()["PrivateIpAddress"]],
        AllowReassignment=True,
    )


@canary("_why_unusable")
def assigned_outside(moto: Moto) -> bool:
    """An ENI gets secondary addresses of another network, and one that AWS keeps, in both families."""
    ipv4, ipv6 = moto.ec2.assign_private_ip_addresses, moto.ec2.assign_ipv6_addresses
    return accepted(ipv4, NetworkInterfaceId=moto.eni(), PrivateIpAddresses=["192.0.2.1", "10.0.0.1"]) and accepted(
        ipv6, NetworkInterfaceId=moto.eni(), Ipv6Addresses=["2001:db8:f::9"]
    )


@canary("Addresses._require_assignable")
def address_limit(moto: Moto) -> bool:
    """An ENI of an m5.large takes more than ten addresses."""
    one = moto.eni()
    moto.attach(one, moto.run())
    addresses = [f"10.0.0.{n}" for n in range(50, 61)]
    return accepted(moto.ec2.assign_private_ip_addresses, NetworkInterfaceId=one, PrivateIpAddresses=addresses)


@canary("_require_either")
def number_and_addresses(moto: Moto) -> bool:
    """Addresses and their number can be given together, and neither need be."""
    assign, one = moto.ec2.assign_private_ip_addresses, moto.eni()
    return accepted(
        assign, NetworkInterfaceId=one, PrivateIpAddresses=["10.0.0.73"], SecondaryPrivateIpAddressCount=1
    ) and accepted(assign, NetworkInterfaceId=one)


@canary("Addresses.assign_ipv4")
def answer_names_what_was_assigned(moto: Moto) -> bool:
    """The answer names all addresses of the ENI."""
    answer = moto.ec2.assign_private_ip_addresses(NetworkInterfaceId=moto.eni(), PrivateIpAddresses=["10.0.0.74"])
    return len(answer["AssignedPrivateIpAddresses"]) > 1


@canary("Addresses._unassign")
def unassigned_by_others(moto: Moto) -> bool:
    """What an ENI has not can be taken from it."""
    return accepted(
        moto.ec2.unassign_private_ip_addresses, NetworkInterfaceId=moto.eni(), PrivateIpAddresses=["10.0.0.75"]
    ) and accepted(moto.ec2.unassign_ipv6_addresses, NetworkInterfaceId=moto.eni(), Ipv6Addresses=["2001:db8:f::8"])


@canary("Addresses._unassign")
def unassigned_primary(moto: Moto) -> bool:
    """An ENI can lose its primary address."""
    one = moto.create()
    moto.ec2.unassign_private_ip_addresses(
        NetworkInterfaceId=one["NetworkInterfaceId"], PrivateIpAddresses=[one["PrivateIpAddress"]]
    )
    return bool(moto.show(one["NetworkInterfaceId"])["PrivateIpAddresses"] == [])


@canary("Addresses._require_assignable")
def assigned_ipv6_twice(moto: Moto) -> bool:
    """Two ENIs get one IPv6 address."""
    return all(
        accepted(moto.ec2.assign_ipv6_addresses, NetworkInterfaceId=moto.eni(), Ipv6Addresses=["2001:db8:f::7"])
        for _ in range(2)
    )


@canary("World.modify")
def delete_on_termination(moto: Moto) -> bool:
    """DeleteOnTermination cannot be set."""
    one, instance = moto.eni(), moto.run()
    attachment = moto.attach(one, instance)
    moto.ec2.modify_network_interface_attribute(
        NetworkInterfaceId=one, Attachment={"AttachmentId": attachment, "DeleteOnTermination": True}
    )
    return moto.show(one)["Attachment"]["DeleteOnTermination"] is False


@canary("World._release")
def termination_releases(moto: Moto) -> bool:
    """A terminated instance keeps its ENIs."""
    one, instance = moto.eni(), moto.run()
    moto.attach(one, instance)
    moto.ec2.terminate_instances(InstanceIds=[instance])
    return bool(moto.show(one)["Status"] == "in-use")


@canary("World.terminate")
def shutting_down(moto: Moto) -> bool:
    """An instance is terminated at once."""
    instance = moto.run()
    moto.ec2.terminate_instances(InstanceIds=[instance])
    state = moto.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]["State"]["Name"]
    return state == "terminated"


@canary("_existing")
def tags_of_nothing(moto: Moto) -> bool:
    """What does not exist gets tags."""
    return accepted(moto.ec2.create_tags, Resources=["eni-00000000000000000"], Tags=[{"Key": "a", "Value": "b"}])


@pytest.fixture(scope="module")
def answers() -> dict[str, bool]:
    """For each canary: does moto still lack the rule?"""
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return cast(dict[str, bool], json.loads(done.stdout))


@pytest.mark.parametrize("name", CANARIES)
def test_moto_alone_still_lacks_the_rule(answers: dict[str, bool], name: str) -> None:
    """Where this fails, moto has the rule now, and ours may go."""
    assert answers[name], f"moto has learnt {name}: see {CANARIES[name][0]} in lab/ec2"


if __name__ == "__main__":
    moto = Moto()
    print(json.dumps({name: lacks(moto) for name, (_, lacks) in CANARIES.items()}))
