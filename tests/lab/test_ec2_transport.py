"""The transport of the EC2 endpoint: latency, faults, callers and the record of each call."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from mypy_boto3_ec2 import EC2Client

from lab.ec2 import PROFILES, Ec2, Instance, NoDevices
from tests.lab.endpoint import refusal, soon

DESCRIBE = "DescribeNetworkInterfaces"


class Lab:
    """An endpoint with one worker, the worker's client and the history."""

    def __init__(self, answer: tuple[float, float] = (0.0, 0.0)) -> None:
        self.events: list[dict[str, Any]] = []
        profile = replace(PROFILES["instant"], answer=answer)
        self.ec2 = Ec2(profile, NoDevices(), self.events.append, seed=1)
        self.worker: Instance = self.ec2.run_instance("worker-a", "10.0.0.10")
        self.client: EC2Client = self.ec2.client(self.worker.instance_id, timeout=1.5)

    def create(self) -> str:
        answer = self.client.create_network_interface(SubnetId=self.ec2.subnet_id, PrivateIpAddress="10.0.0.100")
        return answer["NetworkInterface"]["NetworkInterfaceId"]

    def count(self) -> int:
        return len(self.client.describe_network_interfaces()["NetworkInterfaces"])

    def errors(self) -> list[str | None]:
        return [event["error"] for event in self.events if event["event"] == "call"]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """An endpoint that answers at once; its first, slower call is already made."""
    lab = Lab()
    lab.ec2.client().describe_network_interfaces()
    lab.events.clear()
    yield lab
    lab.ec2.stop()


def test_each_call_is_recorded_with_its_caller_and_without_credentials(lab: Lab) -> None:
    """By the instance whose credentials signed it; nothing secret is in the event."""
    eni = lab.create()
    refusal(lab.client.detach_network_interface, AttachmentId="eni-attach-0", Force=True)
    created, detached = (event for event in lab.events if event["event"] == "call")
    assert set(created) == {"t", "source", "event", "action", "caller", "began", "error", "params"}
    assert (created["action"], created["caller"]) == ("CreateNetworkInterface", lab.worker.instance_id)
    assert created["params"]["PrivateIpAddress"] == "10.0.0.100"
    assert created["began"] <= created["t"] <= time.time()
    assert (created["error"], detached["error"]) == (None, "InvalidAttachmentID.NotFound")
    assert detached["params"] == {"AttachmentId": "eni-attach-0", "Force": "true"}
    secrets = lab.ec2.credentials(lab.worker.instance_id)
    assert not any(secrets[name] in str(lab.events) for name in ("AccessKeyId", "SecretAccessKey", "Token"))
    assert eni


def test_another_caller_has_another_name(lab: Lab) -> None:
    """The lab's own client is no instance; whom EC2 does not know is unknown."""
    lab.ec2.client().describe_network_interfaces()
    lab.ec2.client("client-of-nemesis").describe_network_interfaces()
    assert [event["caller"] for event in lab.events] == ["lab", "client-of-nemesis"]


def test_a_denied_action_names_itself(lab: Lab) -> None:
    """UnauthorizedOperation with EC2's message, for that action only, until the fault ends; a dry run sees it too."""
    with lab.ec2.faults.deny(["CreateNetworkInterface"]):
        for dry_run in False, True:
            with pytest.raises(ClientError) as caught:
                lab.client.create_network_interface(SubnetId=lab.ec2.subnet_id, DryRun=dry_run)
            assert caught.value.response["Error"]["Code"] == "UnauthorizedOperation"
            assert "not authorized to perform: ec2:CreateNetworkInterface" in str(caught.value)
            assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        assert lab.count() == 1
    assert lab.create()


def test_throttling_and_failing_end_after_their_count(lab: Lab) -> None:
    """Two calls are throttled, then one fails, then all is well."""
    lab.ec2.faults.throttle(count=2)
    lab.ec2.faults.fail([DESCRIBE], count=1)
    seen = []
    for _ in range(3):
        with pytest.raises(ClientError) as caught:
            lab.client.describe_network_interfaces()
        answer = caught.value.response
        seen.append((answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]))
    assert seen == [("RequestLimitExceeded", 503)] * 2 + [("InternalError", 500)]
    assert lab.count() == 1
    assert lab.errors() == ["RequestLimitExceeded", "RequestLimitExceeded", "InternalError", None]


def test_a_fault_can_hit_every_second_call(lab: Lab) -> None:
    """Of those that it fits: others go well, and do not count."""
    lab.ec2.faults.throttle([DESCRIBE], every=2)
    for _ in range(2):
        lab.client.describe_network_interfaces()
        lab.client.describe_instances()
        refusal(lab.client.describe_network_interfaces)
    assert lab.errors() == [None, None, "RequestLimitExceeded"] * 2


def test_a_lost_answer_has_taken_effect(lab: Lab) -> None:
    """The caller sees a broken connection, at once, and the ENI is there."""
    lab.ec2.faults.lose_answers(["CreateNetworkInterface"], count=1)
    began = time.monotonic()
    with pytest.raises(HTTPClientError):
        lab.create()
    assert time.monotonic() - began < 1.0, "that was a timeout"
    assert lab.count() == 2
    assert lab.errors() == ["lost", None]


def test_a_refused_call_has_no_effect(lab: Lab) -> None:
    """The connection breaks at once, and there is no ENI."""
    with lab.ec2.faults.refuse():
        began = time.monotonic()
        with pytest.raises(HTTPClientError):
            lab.create()
        assert time.monotonic() - began < 1.0, "that was a timeout"
    assert lab.count() == 1
    assert lab.errors() == ["refused", None]


def test_a_hanging_call_holds_nobody_else_up(lab: Lab) -> None:
    """One action hangs until its caller gives up, without effect; another is answered meanwhile."""
    with lab.ec2.faults.hang(["CreateNetworkInterface"]):
        failed = threading.Event()

        def create() -> None:
            try:
                lab.create()
            except BotoCoreError:
                failed.set()

        thread = threading.Thread(target=create)
        thread.start()
        while "hung" not in lab.errors():
            assert thread.is_alive()
            time.sleep(0.01)
        assert lab.count() == 1
        assert thread.is_alive()
        thread.join()
        assert failed.is_set()
    assert lab.count() == 1


def test_stale_describes_lag_behind_what_was_written(lab: Lab) -> None:
    """One caller's Describes tell what was so a second ago, everybody else's what is so; writes are not stale."""
    eni, fresh = lab.create(), lab.ec2.client("fresh")

    def attachment(client: EC2Client) -> str | None:
        [shown] = client.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"]
        return shown.get("Attachment", {}).get("Status")

    with lab.ec2.faults.stale(1.0, caller=lab.worker.instance_id):
        assert attachment(lab.client) is None
        began = time.monotonic()
        attach, both = lab.client.attach_network_interface, (eni, lab.worker.instance_id)
        attachment_id = attach(NetworkInterfaceId=both[0], InstanceId=both[1], DeviceIndex=1)["AttachmentId"]
        assert (attachment(lab.client), attachment(fresh)) == (None, "attached")
        [shown] = lab.client.describe_instances(InstanceIds=[lab.worker.instance_id])["Reservations"]
        assert len(shown["Instances"][0]["NetworkInterfaces"]) == 1
        again = refusal(attach, NetworkInterfaceId=both[0], InstanceId=both[1], DeviceIndex=2)
        assert again == "InvalidNetworkInterface.InUse"
        soon(lambda: attachment(lab.client) is not None)
        assert time.monotonic() - began >= 1.0
    with lab.ec2.faults.stale(60.0, caller=lab.worker.instance_id):
        lab.client.detach_network_interface(AttachmentId=attachment_id)
        lab.client.delete_network_interface(NetworkInterfaceId=eni)
        assert attachment(lab.client) == "attached"
    assert lab.count() == 1


def test_a_stale_describe_of_addresses_shows_the_former_association(lab: Lab) -> None:
    """On both sides; but nothing older than the fault itself."""
    allocation, eni = lab.ec2.allocate("203.0.113.100"), lab.create()
    with lab.ec2.faults.stale(60.0):
        lab.client.associate_address(AllocationId=allocation, NetworkInterfaceId=eni)
        assert "AssociationId" not in lab.client.describe_addresses()["Addresses"][0]
        [shown] = lab.client.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"]
        assert "Association" not in shown
        another = lab.client.create_network_interface(SubnetId=lab.ec2.subnet_id)["NetworkInterface"]
        describe, ids = lab.client.describe_network_interfaces, [another["NetworkInterfaceId"]]
        assert refusal(describe, NetworkInterfaceIds=ids) == "InvalidNetworkInterfaceID.NotFound"
    assert "AssociationId" in lab.client.describe_addresses()["Addresses"][0]
    assert lab.count() == 3


def test_a_partition_cuts_off_one_caller(lab: Lab) -> None:
    """The worker gets no answer, the lab's client does; afterwards both do."""
    cut = lab.ec2.faults.partition(lab.worker.instance_id)
    with pytest.raises(BotoCoreError):
        lab.count()
    assert lab.ec2.client().describe_network_interfaces()["NetworkInterfaces"]
    cut.end()
    assert lab.count() == 1


def test_clearing_ends_all_faults_and_frees_hanging_calls(lab: Lab) -> None:
    """A call that hangs is closed without an answer, long before its caller's own timeout."""
    lab.ec2.faults.hang()
    patient = lab.ec2.client(timeout=30)
    threading.Timer(0.1, lab.ec2.faults.clear).start()
    began = time.monotonic()
    with pytest.raises(HTTPClientError):
        patient.describe_network_interfaces()
    assert time.monotonic() - began < 10
    assert lab.count() == 1


def test_calls_take_their_time_and_do_not_wait_for_each_other() -> None:
    """Four calls of 0.5 s at once take less than 2 s: latency is outside of the lock."""
    lab = Lab(answer=(0.5, 0.5))
    try:
        lab.ec2.client().describe_network_interfaces()
        clients = [lab.ec2.client() for _ in range(4)]
        threads = [threading.Thread(target=client.describe_network_interfaces) for client in clients]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 0.5 <= time.monotonic() - began < 1.5
    finally:
        lab.ec2.stop()


def test_the_endpoint_serves_on_the_socket_that_it_is_given() -> None:
    """And leaves it open at the end; a new endpoint can take it over."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        for _ in range(2):
            ec2 = Ec2(PROFILES["instant"], NoDevices(), lambda event: None, seed=1, sock=sock)
            assert ec2.endpoint_url == f"http://127.0.0.1:{sock.getsockname()[1]}"
            with ec2.faults.throttle():
                assert requests.get(ec2.endpoint_url, timeout=5).status_code == 503
            assert ec2.client().describe_network_interfaces()["NetworkInterfaces"] == []
            ec2.stop()


def test_a_transition_that_fails_is_not_hidden() -> None:
    """What the lab's devices raise later, in the background, is raised by stop."""
    plugging = threading.Event()

    class Broken(NoDevices):
        def plug(self, *args: object) -> None:
            plugging.set()
            raise RuntimeError("no such worker")

    ec2 = Ec2(replace(PROFILES["instant"], device=0.01), Broken(), lambda event: None, seed=1)
    worker, client = ec2.run_instance("worker-a", "10.0.0.10"), ec2.client()
    eni = client.create_network_interface(SubnetId=ec2.subnet_id)["NetworkInterface"]["NetworkInterfaceId"]
    client.attach_network_interface(NetworkInterfaceId=eni, InstanceId=worker.instance_id, DeviceIndex=1)
    assert plugging.wait(5)
    with pytest.raises(RuntimeError, match="no such worker"):
        ec2.stop()
