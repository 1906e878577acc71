"""What the doctor says of what EC2, this node's kernel or nft does not show: not known, or wrong, and never "ok"."""

import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

import pytest

from floatingip.commands.doctor import checks, examine, finding, node
from floatingip.commands.doctor.facts import Facts
from floatingip.commands.doctor.finding import Finding, Verdict
from floatingip.core.ec2 import Eni
from floatingip.core.model import Allocation, Target
from floatingip.core.node import Identity
from floatingip.core.settings import Settings
from floatingip.edges.kernel import chains
from tests.edges.ec2_server import ADDRESS, Become, Server, answer, error, instances, interface, interfaces, subnets

pytest_plugins = ["tests.edges.ec2_fixtures"]

ABSENT = Eni("eni-1", "02:00:00:00:00:64", ADDRESS, "subnet-1", "us-west-2-lax-1a", None, {})
UNREAD = ("nft's table ip kube-proxy", "iptables filter")


def test_an_interface_whose_device_is_not_there_is_named() -> None:
    """Beside what is said of others of ours; EC2 shows it attached, so "none is here yet" would be wrong."""
    alone, *_ = node.links({}, [ABSENT])
    assert (alone.verdict, alone.what) == (
        Verdict.WARN,
        "EC2 shows eni-1 on this node, whose kernel has no link with its MAC 02:00:00:00:00:64",
    )
    assert [each.verdict for each in node.links({"ens6": ()}, [ABSENT])] == [Verdict.WARN, Verdict.OK]


def test_rules_that_cannot_be_read_are_not_taken_for_none() -> None:
    """What is known is said all the same."""

    def marks(users: tuple[str, ...]) -> list[Finding]:
        return list(node.marks(users, 0x70, UNREAD))

    def firewall(dropping: tuple[str, ...]) -> list[Finding]:
        return list(node.firewall(dropping, UNREAD))

    for check in (marks, firewall):
        (unknown,) = check(())
        assert (unknown.verdict, unknown.is_known) == (Verdict.WARN, False)
        assert "rules that cannot be read here (nft's table ip kube-proxy, iptables filter)" in unknown.what
        assert "in nft list ruleset, iptables-legacy-save and ip6tables-legacy-save" in unknown.remedy
        known, unknown = check(("nft's chain inet x y",))
        assert "nft's chain inet x y" in known.what
        assert (known.is_known, unknown.is_known) == (True, False)


FLOWTABLE = {"family": "inet", "table": "fast", "name": "f", "handle": 2, "hook": "ingress", "prio": 0}


@pytest.mark.parametrize(
    ("devices", "is_named"),
    [("ens6", True), (["eth0", "ens6"], True), (["ens*"], True), (["eth0", "ens5"], False), (None, False), ([], False)],
)
def test_a_flowtable_with_our_link_is_named(devices: object, is_named: bool) -> None:
    """In the form of libnftables-json(5)."""
    found = chains.passing_by([{"flowtable": {**FLOWTABLE, "dev": devices}}], ["ens6"])
    assert found == (("nft's flowtable inet fast f",) if is_named else ())
    first = next(node.marks((), 0x70, (), found))
    assert (first.verdict is Verdict.WARN) is is_named


def test_what_is_left_of_other_settings_is_no_failure_and_no_ok() -> None:
    """It may be another deployment's."""
    (found,) = node.routing((), ("a rule at priority 902 to table 841",))
    assert (found.verdict, found.what) == (
        Verdict.WARN,
        "another deployment on this node, or former settings, have left a rule at priority 902 to table 841",
    )
    assert "remove them by `ip rule del` and `ip route del`, or reboot the node" in found.remedy


def test_a_filter_that_drops_replies_of_pods_is_named_beside_our_own_links() -> None:
    """Ours are loose, so that they alone would be well."""
    pods, own = node.rp_filter({"all": 0, "ens6": 2}, ("eni1",))
    assert (pods.verdict, own.verdict) == (Verdict.WARN, Verdict.OK)
    assert pods.what == "replies of pods behind eni1 are dropped once they have our mark"


@pytest.mark.parametrize("hanging", [[finding.SLOTS], [finding.SLOTS, finding.EC2]], ids=["one call", "EC2"])
def test_what_did_not_come_in_time_is_no_reason_to_change_anything(
    monkeypatch: pytest.MonkeyPatch, hanging: list[finding.Check]
) -> None:
    """One kind of question hangs, and others are answered: the remedy for a full node would be a wrong one."""
    over = threading.Event()

    def hang(_facts: Facts) -> Iterator[Finding]:
        over.wait(5.0)
        yield from ()

    for check in hanging:
        monkeypatch.setitem(checks.LOOKS, check.name, hang)
    monkeypatch.setitem(checks.LOOKS, finding.NO_MANAGE.name, lambda _: iter([finding.NO_MANAGE.ok("asked")]))
    facts = Facts(Settings((ADDRESS,)), {}, None)
    first, *_, last = examine.examine(facts, [*hanging, finding.NO_MANAGE], within=0.1)
    over.set()
    assert (first.check, first.verdict, last.verdict) == ("slots", Verdict.WARN, Verdict.OK)
    assert first.what == "not known: no answer within 0.1 s"
    assert first.remedy == ("see ec2" if finding.EC2 in hanging else examine.LATE)


def test_a_container_without_its_nodes_network_is_told_of_the_rights_that_it_lacks_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where Pod Security takes both away: whoever has given it the network need not ask again for the rest."""
    monkeypatch.setitem(checks.LOOKS, "capabilities", lambda _: iter([finding.CAPABILITIES.fail("NET_RAW")]))
    monkeypatch.setitem(checks.LOOKS, "forwarding", lambda _: iter([finding.FORWARDING.ok("1")]))
    asked, facts = [finding.CAPABILITIES, finding.FORWARDING], OnWorker(Settings((ADDRESS,)), {}, None)
    network, rights, forwarding = examine.examine(facts, asked, within=60.0)
    assert network.what.startswith("this container has no link with the MAC of the node's primary interface")
    assert (rights.what, forwarding.remedy, forwarding.is_known) == ("NET_RAW", "see capabilities", False)


KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "HOME": "/nonexistent"}
ME = Identity("i-0a", "us-west-2", "us-west-2a", "vpc-1", "subnet-1", "02:", IPv4Address("10.0.0.10"), ("sg-1",))
WORKER = (
    "<instanceId>i-0a</instanceId><instanceState><name>running</name></instanceState><instanceType>m9</instanceType>"
)
SUBNET = (
    "<subnetId>subnet-1</subnetId><availabilityZone>us-west-2a</availabilityZone><cidrBlock>10.0.0.0/24</cidrBlock>"
)


class OnWorker(Facts):
    """Where IMDS tells which worker this is."""

    identified = (ME, 0.0)


SLOTS = "<item><networkInfo><maximumNetworkInterfaces>3</maximumNetworkInterfaces></networkInfo></item>"
ANSWERS = {
    "DescribeNetworkInterfaces": interfaces(interface()),
    "DescribeInstances": instances(WORKER),
    "DescribeSubnets": subnets(SUBNET),
    "DescribeInstanceTypes": answer("DescribeInstanceTypes", f"<instanceTypeSet>{SLOTS}</instanceTypeSet>"),
    "GetSubnetCidrReservations": answer("GetSubnetCidrReservations", "<subnetIpv4CidrReservationSet/>"),
    "DescribeAddresses": answer("DescribeAddresses", "<addressesSet/>"),
    "CreateTags": error(403, "UnauthorizedOperation"),
    "": error(412, "DryRunOperation"),
}

Told = Callable[..., list[str]]


@pytest.fixture
def told(server: Server, environment: Become) -> Told:
    """The actions that the doctor calls denied, where EC2 refuses these by these codes, and CreateTags."""
    environment(AWS_ENDPOINT_URL_EC2=server.url, **KEYS)

    def tell(*others: Target, **refused: str) -> list[str]:
        # Before what is answered to all else, which is last.
        server.replies |= {action: error(400, code) for action, code in refused.items()}
        server.replies |= {action: reply for action, reply in ANSWERS.items() if action not in refused}
        found = examine.examine(
            OnWorker(Settings((ADDRESS, *others), name="lab"), {}, None), [finding.PERMISSIONS], within=10
        )
        assert {each.verdict for each in found} == {Verdict.FAIL}, found
        return [each.what.removeprefix("IAM denies ") for each in found]

    return tell


@pytest.mark.parametrize(
    ("action", "code"),
    [
        ("DescribeInstanceTypes", "InvalidInstanceType"),
        ("GetSubnetCidrReservations", "OperationNotPermitted"),
        ("GetSubnetCidrReservations", "InvalidSubnetID.NotFound"),
    ],
)
def test_what_is_refused_for_another_cause_hides_no_denial(told: Told, action: str, code: str) -> None:
    """A type that the Region does not know, or a subnet that another account shares."""
    assert told(**{action: code}) == ["ec2:CreateTags"]


def test_one_denial_hides_no_other(told: Told) -> None:
    """All of them are told at once."""
    lookups = ["ec2:DescribeInstanceTypes", "ec2:GetSubnetCidrReservations"]
    denied = dict.fromkeys((each.removeprefix("ec2:") for each in lookups), "UnauthorizedOperation")
    assert told(**denied) == ["ec2:CreateTags", *lookups]


def test_a_permission_that_another_address_needs_is_tried_for_each_of_them(told: Told, server: Server) -> None:
    """That the first one needs none of it says nothing of an Elastic IP, nor does one of these of the next."""
    elastic = Allocation("eipalloc-1"), Allocation("eipalloc-2")
    assert "ec2:AssociateAddress" in told(*elastic, AssociateAddress="UnauthorizedOperation")
    tried = [asked for asked in server.asked if "Action=AssociateAddress&" in asked]
    assert [any(f"AllocationId={each.id}" in asked for asked in tried) for each in elastic] == [True, True]


def test_an_instance_that_ec2_did_not_describe_is_not_taken_for_another_regions(
    server: Server, environment: Become
) -> None:
    """It answered all other questions."""
    environment(AWS_ENDPOINT_URL_EC2=server.url, **KEYS)
    server.replies |= {"DescribeInstances": error(503, "Unavailable")}
    server.replies |= {action: reply for action, reply in ANSWERS.items() if action != "DescribeInstances"}
    [found] = examine.examine(OnWorker(Settings((ADDRESS,), name="lab"), {}, None), [finding.SLOTS], within=10)
    assert found.verdict is Verdict.WARN
    assert found.what.startswith("not known: this instance, of which EC2 did not tell (DescribeInstances: Unavailable")
    assert found.remedy == "see ec2"
