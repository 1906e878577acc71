"""
The cluster that the guide is walked in, and what its pods would do to the address.

It takes what a real one would take at that moment: pods want their image, their role, and labelled workers.
"""

import json
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import boto3

from lab.ec2 import Instance
from lab.ec2.server import REGION
from tests.guide.cloud import ZONES, Cloud, EksCluster, Object
from tests.guide.desk import Call, Refused

ACCOUNT = "default/floating-ip"
"""The pods' service account."""
LABEL = "floatingip"


@dataclass
class Node:
    """A worker of the cluster; its labels are its group's, whatever becomes of them."""

    instance: Instance
    group: dict[str, str]
    cordoned: bool = False

    @property
    def name(self) -> str:
        """As EC2 names it."""
        return f"ip-{self.instance.address.replace('.', '-')}.{REGION}.compute.internal"

    @property
    def labels(self) -> dict[str, str]:
        """Those of its group, and its zone."""
        return {**self.group, "topology.kubernetes.io/zone": self.instance.zone}

    def as_object(self) -> Object:
        provider = f"aws:///{self.instance.zone}/{self.instance.instance_id}"
        return {"metadata": {"name": self.name, "labels": self.labels}, "spec": {"providerID": provider}}


@dataclass
class Cluster:
    """
    One cluster of an account, from before there is one.

    objects: what was applied, by kind and name.  images: those in ECR.  roles: that of each service account.
    """

    cloud: Cloud
    name: str = ""
    nodes: dict[str, Node] = field(default_factory=dict)
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    images: set[str] = field(default_factory=set)
    roles: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ec2 = self.cloud.ec2.client()
        self.iam = self.client("iam")

    def client(self, service: str) -> Any:
        """For what is not asked by the page."""
        return boto3.client(
            service,  # type: ignore[call-overload]  # any of them
            region_name=REGION,
            endpoint_url=self.cloud.url,
            aws_access_key_id="world",
            aws_secret_access_key="of-the-guide",
        )

    # What there is before, or is made by eksctl.

    def create(self, name: str, cluster: EksCluster) -> None:
        """A cluster without workers."""
        self.name = name
        self.cloud.clusters[name] = cluster

    def add_group(self, place: str, labels: dict[str, str]) -> None:
        """Two workers at this place, and one of no use in another zone, which kubectl shows first in a Region."""
        self._add_worker(ZONES[1], 9, labels)
        self._add_worker(place, 10, labels)
        self._add_worker(place, 11, labels)

    def _add_worker(self, place: str, host: int, labels: dict[str, str]) -> None:
        subnet_id = self.cloud.subnets[place]
        [subnet] = self.ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"]
        address = str(ip_network(subnet["CidrBlock"])[host])
        tags = {f"kubernetes.io/cluster/{self.name}": "owned"}
        node = Node(self.cloud.ec2.run_instance(address, address, tags=tags, subnet_id=subnet_id), labels)
        self.nodes[node.name] = node

    def write_kubeconfig(self, call: Call) -> None:
        """What kubectl has to have before it knows of a cluster."""
        kubeconfig = Path(call.environment["HOME"], ".kube", "config")
        kubeconfig.parent.mkdir(exist_ok=True)
        kubeconfig.write_text(json.dumps({"current-context": self.name}), encoding="utf-8")

    def give_role(self, account: str, policy: str) -> None:
        """Let IAM have a role with this policy."""
        role = f"{self.name}-{account.replace('/', '-')}"
        self.iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")
        self.iam.attach_role_policy(RoleName=role, PolicyArn=policy)
        self.roles[account] = role

    def take_role(self, account: str) -> None:
        role = self.roles.pop(account, None)
        if role is None:
            raise Refused(f"{account} has no role")
        for policy in self.iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
            self.iam.detach_role_policy(RoleName=role, PolicyArn=policy["PolicyArn"])
        self.iam.delete_role(RoleName=role)

    # What the pods do.

    def start_pods(self) -> None:
        """The deployment is to run, and one of its pods attaches the address.  Raises Refused for what it lacks."""
        deployment, config = self.objects["Deployment", "floating-ip"], self.objects["ConfigMap", "floating-ip"]
        pod = deployment["spec"]["template"]["spec"]
        for container in pod["initContainers"] + pod["containers"]:
            if container["image"] not in self.images:
                raise Refused(f"ImagePullBackOff: {container['image']}; there are {sorted(self.images)}")
        if ACCOUNT not in self.roles or ("ServiceAccount", "floating-ip") not in self.objects:
            raise Refused(f"{ACCOUNT} has no role: {self.roles}")
        workers = [node for node in self.nodes.values() if node.labels.get(LABEL) == "true"]
        if len(workers) < 2:
            raise Refused(f"fewer than two workers have the label {LABEL}=true")
        if self.interface() is None:
            self.put(config["data"]["FLOATING_IP"], workers[-1], {LABEL: self.name})

    def put(self, address: str, node: Node, tags: dict[str, str]) -> None:
        """On an interface of its own, with these tags, which is attached to this worker."""
        [reserved] = self.ec2.describe_instances(InstanceIds=[node.instance.instance_id])["Reservations"]
        more: Object = {"PrivateIpAddress": address}
        if address.startswith("eipalloc-"):
            more, tags = {}, {**tags, f"{LABEL}/allocation": address}
        elif ":" in address:
            more = {"Ipv6Addresses": [{"Ipv6Address": address}]}
        listed: Any = [{"Key": key, "Value": value} for key, value in tags.items()]
        made = self.ec2.create_network_interface(
            SubnetId=reserved["Instances"][0]["SubnetId"],
            TagSpecifications=[{"ResourceType": "network-interface", "Tags": listed}] if listed else [],
            **more,
        )
        eni_id = made["NetworkInterface"]["NetworkInterfaceId"]
        if address.startswith("eipalloc-"):
            self.ec2.associate_address(AllocationId=address, NetworkInterfaceId=eni_id)
        self._attach(eni_id, node)

    def _attach(self, eni_id: str, node: Node) -> None:
        self.ec2.attach_network_interface(
            NetworkInterfaceId=eni_id, InstanceId=node.instance.instance_id, DeviceIndex=1
        )

    def interface(self) -> Any:
        """Ours, as EC2 shows it; None while there is none."""
        filters: Any = [{"Name": "tag:floatingip", "Values": [self.name]}]
        found = self.ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]
        return found[0] if found else None

    def holder(self) -> Node:
        """Where the address is.  Raises Refused."""
        interface = self.interface()
        attached = interface and interface.get("Attachment", {}).get("InstanceId")
        for node in self.nodes.values():
            if node.instance.instance_id == attached:
                return node
        raise Refused("nobody holds the address")

    def move(self) -> None:
        """To another worker of the zone."""
        interface, before = self.interface(), self.holder()
        self.ec2.detach_network_interface(AttachmentId=interface["Attachment"]["AttachmentId"])
        zone = before.instance.zone
        after = [node for node in self.nodes.values() if node is not before and node.instance.zone == zone]
        self._attach(interface["NetworkInterfaceId"], after[0])

    def left(self) -> dict[str, Any]:
        """What is in the account and in the cluster beside its workers; what there is none of is not named."""
        ec2, own = self.ec2, self.cloud.clusters.get(self.name)
        reserved = [ec2.get_subnet_cidr_reservations(SubnetId=subnet) for subnet in self.cloud.subnets.values()]
        [group] = ec2.describe_security_groups(GroupIds=[self.cloud.ec2.security_group_id])["SecurityGroups"]
        found = {
            "clusters": {self.name: own} if own is not None else {},
            "objects": self.objects,
            "roles": self.roles,
            "policies": self.iam.list_policies(Scope="Local")["Policies"],
            "repositories": self.client("ecr").describe_repositories()["repositories"],
            "reservations": [
                *(each for answer in reserved for each in answer["SubnetIpv4CidrReservations"]),
                *(each for answer in reserved for each in answer["SubnetIpv6CidrReservations"]),
            ],
            "rules": group["IpPermissions"],
            "interface": self.interface(),
            "addresses": ec2.describe_addresses()["Addresses"],
        }
        return {name: there for name, there in found.items() if there}
