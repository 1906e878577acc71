"""The lab's instance metadata service behaves as the real one where the product, and boto3, can tell."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
import requests
from botocore.config import Config

from floatingip.edges.http_client import Connection, NoAnswer
from lab.ec2 import PROFILES, Ec2, Instance, NoDevices
from lab.ec2.imds import (
    LIFECYCLE,
    MAINTENANCE,
    REBALANCE,
    SPOT,
    TERMINATED,
    Imds,
    Trouble,
    maintenance_notice,
    rebalance_notice,
    spot_notice,
)
from tests.waiting import until

TOKEN = "X-aws-ec2-metadata-token"
TTL = "X-aws-ec2-metadata-token-ttl-seconds"


class Lab:
    """An EC2 endpoint, a worker, and the worker's metadata service on a loopback socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.events: list[dict[str, object]] = []
        self.ec2 = Ec2(PROFILES["instant"], NoDevices(), self.events.append, seed=1)
        self.worker: Instance = self.ec2.run_instance("worker-a", "10.0.0.10", ["10.0.0.20"])
        self.imds = Imds(sock, self.worker, self.ec2)

    def put(self, path: str = "/latest/api/token", ttl: str = "60") -> requests.Response:
        return requests.put(self.imds.endpoint_url + path, headers={TTL: ttl}, timeout=2)

    def get(self, path: str, token: str | None = None) -> requests.Response:
        headers = {TOKEN: token or self.put().text}
        return requests.get(f"{self.imds.endpoint_url}/latest/meta-data/{path}", headers=headers, timeout=2)

    def ask(self, seconds: float) -> None:
        """Ask for a value with a total of seconds, which requests does not know.  Raises NoAnswer."""
        url = urlsplit(self.imds.endpoint_url)
        with closing(Connection(url.hostname or "", url.port or 0, seconds=seconds)) as connection:
            connection.get("/latest/meta-data/instance-id")

    def macs(self) -> list[str]:
        return self.get("network/interfaces/macs/").text.replace("/", "").split()

    def attach(self, address: str) -> tuple[str, str]:
        """The id and MAC of a new ENI that is attached to the worker."""
        client = self.ec2.client()
        eni = client.create_network_interface(SubnetId=self.ec2.subnet_id, PrivateIpAddress=address)["NetworkInterface"]
        client.attach_network_interface(
            NetworkInterfaceId=eni["NetworkInterfaceId"], InstanceId=self.worker.instance_id, DeviceIndex=1
        )
        return eni["NetworkInterfaceId"], eni["MacAddress"]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """One worker with its metadata."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        lab = Lab(sock)
        yield lab
        lab.imds.stop()
        lab.ec2.stop()


def test_without_a_valid_token_nothing_is_told(lab: Lab) -> None:
    """Version 1 requests, invented and expired tokens get 401; a token must ask for a sensible life."""
    url = f"{lab.imds.endpoint_url}/latest/meta-data/instance-id"
    assert requests.get(url, timeout=2).status_code == 401
    assert lab.get("instance-id", "invented").status_code == 401
    token = lab.put(ttl="60").text
    assert lab.get("instance-id", token).text == lab.worker.instance_id
    lab.imds.expire_tokens()
    assert lab.get("instance-id", token).status_code == 401
    asked = time.monotonic()
    short = lab.put(ttl="1").text
    assert lab.get("instance-id", short).status_code == 200
    until(lambda: lab.get("instance-id", short).status_code == 401, 5)
    assert time.monotonic() - asked >= 1
    assert [lab.put(ttl=ttl).status_code for ttl in ("", "0", "21601", "x")] == [400] * 4


def test_the_node_learns_who_and_where_it_is(lab: Lab) -> None:
    """The paths that the product reads, the primary ENI included."""
    mac = lab.worker.mac
    subnet = f"network/interfaces/macs/{mac}"
    told = {
        "instance-id": lab.worker.instance_id,
        "mac": mac,
        "placement/availability-zone": "us-west-2-lax-1a",
        "placement/region": "us-west-2",
        f"{subnet}/interface-id": lab.worker.eni_id,
        f"{subnet}/device-number": "0",
        f"{subnet}/subnet-id": lab.ec2.subnet_id,
        f"{subnet}/vpc-id": lab.ec2.vpc_id,
        f"{subnet}/security-group-ids": lab.ec2.security_group_id,
        f"{subnet}/local-ipv4s": "10.0.0.10\n10.0.0.20",
        f"{subnet}/subnet-ipv4-cidr-block": "10.0.0.0/24",
    }
    assert {path: lab.get(path).text for path in told} == told


def test_ipv6_shows_where_there_is_some(lab: Lab) -> None:
    """The worker's own, its pods' and a hot-plugged ENI's; a worker without any has no such path."""
    subnet = f"network/interfaces/macs/{lab.worker.mac}"
    assert lab.get("ipv6").status_code == lab.get(f"{subnet}/ipv6s").status_code == 404
    worker = lab.ec2.run_instance(
        "worker-b", "10.0.0.11", ["10.0.0.30", "2001:db8:0:1::30"], ipv6="2001:db8:0:1::b", instance_type="t3.small"
    )
    lab.imds.instance = worker
    subnet = f"network/interfaces/macs/{worker.mac}"
    assert lab.get("ipv6").text == "2001:db8:0:1::b"
    assert lab.get("instance-type").text == "t3.small"
    assert lab.get(f"{subnet}/local-ipv4s").text == "10.0.0.11\n10.0.0.30"
    assert lab.get(f"{subnet}/ipv6s").text == "2001:db8:0:1::b\n2001:db8:0:1::30"
    assert lab.get(f"{subnet}/subnet-ipv6-cidr-blocks").text == "2001:db8:0:1::/64"


def test_a_worker_on_an_outpost_and_in_another_zone_says_so(lab: Lab) -> None:
    """Both come from its subnet; a subnet without IPv6 shows none."""
    arn = "arn:aws:outposts:us-west-2:210000000001:outpost/op-0123456789abcdef0"
    subnet_id = lab.ec2.add_subnet("10.0.1.0/24", "us-west-2-lax-1b", outpost_arn=arn)
    assert lab.get("outpost-arn").status_code == 404
    lab.imds.instance = worker = lab.ec2.run_instance("worker-b", "10.0.1.11", subnet_id=subnet_id)
    assert lab.get("outpost-arn").text == arn
    assert lab.get("placement/availability-zone").text == "us-west-2-lax-1b"
    assert lab.get(f"network/interfaces/macs/{worker.mac}/subnet-ipv6-cidr-blocks").status_code == 404


def test_an_attached_eni_shows_late_and_goes_late(lab: Lab) -> None:
    """Not before the lag is over, in both directions; what EC2 says is known at once."""
    eni, mac = lab.attach("10.0.0.100")
    lab.imds.lag = 30.0
    assert lab.get("network/interfaces/macs/").text == ""
    lab.imds.lag = 0.0
    assert lab.macs() == [lab.worker.mac, mac]
    assert lab.get(f"network/interfaces/macs/{mac}/interface-id").text == eni
    assert lab.get(f"network/interfaces/macs/{mac}/local-ipv4s").text == "10.0.0.100"
    lab.imds.lag = 0.5
    until(lambda: mac in lab.macs(), 5)
    client = lab.ec2.client()
    attachment = client.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]["Attachment"]
    detached = time.monotonic()
    client.detach_network_interface(AttachmentId=attachment["AttachmentId"])
    assert lab.macs() == [lab.worker.mac, mac]
    until(lambda: mac not in lab.macs(), 5)
    assert time.monotonic() - detached >= 0.5


def test_secondary_addresses_show_and_go_late(lab: Lab) -> None:
    """Behind the primary one, those of IPv6 apart; what moved away is shown by both for the time of the lag."""
    eni, mac = lab.attach("10.0.0.50")
    client, interface = lab.ec2.client(), f"network/interfaces/macs/{mac}"
    assert lab.get(f"{interface}/ipv6s").status_code == 404
    client.assign_ipv6_addresses(NetworkInterfaceId=eni, Ipv6Addresses=["2001:db8:0:1::100"])
    client.assign_private_ip_addresses(NetworkInterfaceId=eni, PrivateIpAddresses=["10.0.0.20"], AllowReassignment=True)
    assert lab.get(f"{interface}/ipv6s").text == "2001:db8:0:1::100"
    assert lab.get(f"{interface}/local-ipv4s").text == "10.0.0.50\n10.0.0.20"
    assert lab.get(f"network/interfaces/macs/{lab.worker.mac}/local-ipv4s").text == "10.0.0.10"
    lab.imds.lag = 0.5
    until(lambda: "10.0.0.20" in lab.get(f"{interface}/local-ipv4s").text, 5)
    unassigned = time.monotonic()
    client.unassign_private_ip_addresses(NetworkInterfaceId=eni, PrivateIpAddresses=["10.0.0.20"])
    assert lab.get(f"{interface}/local-ipv4s").text == "10.0.0.50\n10.0.0.20"
    until(lambda: "10.0.0.20" not in lab.get(f"{interface}/local-ipv4s").text, 5)
    assert time.monotonic() - unassigned >= 0.5


NOTICE_AT = 1548061243.0
"""21 Jan 2019 09:00:43 GMT, the time of the user guide's example of a maintenance."""


@pytest.mark.parametrize(
    ("path", "notice", "says"),
    [
        (SPOT, spot_notice(NOTICE_AT), {"action": "terminate", "time": "2019-01-21T09:00:43Z"}),
        (REBALANCE, rebalance_notice(NOTICE_AT), {"noticeTime": "2019-01-21T09:00:43Z"}),
        (
            MAINTENANCE,
            maintenance_notice(NOTICE_AT),
            [
                {
                    "NotBefore": "21 Jan 2019 09:00:43 GMT",
                    "NotAfter": "21 Jan 2019 09:15:43 GMT",
                    "Code": "system-reboot",
                    "Description": "scheduled reboot",
                    "State": "active",
                    "EventId": "instance-event-0d59937288b749b32",
                }
            ],
        ),
    ],
)
def test_a_notice_looks_as_the_user_guide_says(lab: Lab, path: str, notice: str, says: object) -> None:
    """JSON, with the times as each kind has them."""
    lab.imds.notices[path] = notice
    assert lab.get(path).json() == says


def test_there_is_no_notice_until_one_is_raised(lab: Lab) -> None:
    """404 before and after, or an empty list of maintenances; one notice is not another."""

    def shown() -> list[str]:
        return [answer.text if answer.ok else "" for answer in map(lab.get, (SPOT, REBALANCE, LIFECYCLE, MAINTENANCE))]

    assert shown() == ["", "", "", "[]"]
    lab.imds.notices[LIFECYCLE] = TERMINATED
    lab.imds.notices[MAINTENANCE] = "[{}]"
    assert shown() == ["", "", "Terminated", "[{}]"]
    lab.imds.notices.clear()
    assert shown() == ["", "", "", "[]"]
    assert lab.get(SPOT).status_code == 404


@pytest.mark.parametrize("trouble", [Trouble.DOWN, Trouble.HANGS, Trouble.DRIPS])
def test_a_service_in_trouble_gives_no_answer(lab: Lab, trouble: Trouble) -> None:
    """The connection breaks, or nothing whole comes; afterwards it answers again, to the same token too."""
    token = lab.put().text
    lab.imds.trouble = trouble
    with pytest.raises(NoAnswer, match="closed without" if trouble is Trouble.DOWN else "in time"):
        lab.ask(0.3)
    lab.imds.trouble = None
    assert lab.put().status_code == 200
    assert lab.get("instance-id", token).text == lab.worker.instance_id


@pytest.mark.parametrize(
    ("trouble", "token", "value"),
    [
        (Trouble.NO_TOKEN, (200, "not\na token"), (401, "")),
        (Trouble.HTML, (200, "<html><body>Welcome</body></html>"), (200, "<html><body>Welcome</body></html>")),
        (Trouble.FAILS, (503, "no"), (503, "no")),
        (Trouble.EMPTY, (200, ""), (200, "")),
        (Trouble.NOT_FOUND, (200, None), (404, "")),
    ],
)
def test_a_service_in_trouble_answers_badly(
    lab: Lab, trouble: Trouble, token: tuple[int, str | None], value: tuple[int, str]
) -> None:
    """To everything, a token that was good before included; afterwards that one is good again."""
    good = lab.put().text
    lab.imds.trouble = trouble
    put, get = lab.put(), lab.get("instance-id", good)
    assert (put.status_code, put.text if token[1] is not None else None) == token
    assert (get.status_code, get.text) == value
    lab.imds.trouble = None
    assert lab.get("instance-id", good).text == lab.worker.instance_id


def test_boto3_finds_credentials_and_ec2_knows_who_calls(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The default chain, with nothing in environment and files but the endpoints; the call is the worker's."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", lab.imds.endpoint_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", lab.ec2.endpoint_url)
    session = boto3.Session(region_name="us-west-2")
    client = session.client("ec2", config=Config(retries={"total_max_attempts": 1}))
    assert client.describe_network_interfaces()["NetworkInterfaces"]
    credentials = session.get_credentials()
    assert credentials is not None
    assert credentials.method == "iam-role"
    assert credentials.get_frozen_credentials().access_key == lab.ec2.credentials(lab.worker.instance_id)["AccessKeyId"]
    assert lab.events[-1]["caller"] == lab.worker.instance_id


def test_the_identity_document_agrees_with_the_rest(lab: Lab) -> None:
    """Region, zone, instance and its type, and the account."""
    token = lab.put().text
    url = f"{lab.imds.endpoint_url}/latest/dynamic/instance-identity/document"
    document = requests.get(url, headers={TOKEN: token}, timeout=2).json()
    assert document == {
        "accountId": lab.ec2.account,
        "availabilityZone": "us-west-2-lax-1a",
        "instanceId": lab.worker.instance_id,
        "instanceType": "m5.large",
        "privateIp": "10.0.0.10",
        "region": "us-west-2",
    }
