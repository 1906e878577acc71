"""What each of the doctor's checks makes of what was found: verdict, cause, remedy; and that all are told."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_network
from pathlib import Path

import pytest

from floatingip.commands.doctor import aws, fleet, kubernetes, node, vpc
from floatingip.commands.doctor.checks import LOOKS
from floatingip.commands.doctor.examine import FOR_ATTACH, _late
from floatingip.commands.doctor.finding import CHECKS, CLOCK, EC2, IMDS, NFT, Finding, Verdict, failed
from floatingip.commands.doctor.fleet import Carried, Met, Reached
from floatingip.commands.doctor.once import once
from floatingip.core.ec2 import (
    NO_MANAGE_TAG,
    OWNER_TAG,
    Attachment,
    AttachmentStatus,
    Eni,
    Instance,
    InstanceState,
    Subnet,
)
from floatingip.core.errors import (
    CloudUnavailable,
    ConfigurationError,
    Denied,
    HostError,
    MetadataError,
    NoCredentials,
    ServicesUnknown,
)
from floatingip.core.groups import End, Rule, Worker
from floatingip.core.model import Address, Carry
from floatingip.core.node import Identity, OwnPod
from floatingip.core.peer import Sight
from floatingip.core.probe import NodePort
from floatingip.core.word import RESERVED, Held, Status
from floatingip.edges import control_group

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "doctor.md"
ADDRESS, ME, OTHER = IPv4Address("10.0.0.100"), IPv4Address("10.0.0.10"), IPv4Address("10.0.0.11")
ZONE, PORT = "us-west-2a", 9807
IDENTITY = Identity("i-a", "us-west-2", ZONE, "vpc-1", "subnet-1", "02:", ME, ("sg-1",))
SUBNET = Subnet("subnet-1", (IPv4Network("10.0.0.0/24"),), ZONE)
OURS = {OWNER_TAG: "lab", NO_MANAGE_TAG: "true"}
WORKER = Worker(Instance("i-b", InstanceState.RUNNING, OTHER, ZONE, frozenset((0,))), frozenset(("sg-1",)))
STATUS = Status("lab", "i-b", holds={"10.0.0.100": Held("a1")})
TCP, NONE = NodePort(30007, service="web"), tuple[str, ...]()
TCP4, TCP6 = (NodePort(30007, service="web", versions=frozenset((version,))) for version in (4, 6))
IPV6, FLOATING6 = IPv6Address("2001:db8:0:1::a"), IPv6Address("2001:db8:0:1::100")
KEPT_OFF = "kube-proxy serves NodePorts at 10.0.0.10; set its nodePortAddresses to [0.0.0.0/0]"


def eni(tags: Mapping[str, str] = OURS, *, held_by: str = "", source_check: bool = True) -> Eni:
    """The interface with the address."""
    bound = Attachment("a1", held_by, 1, AttachmentStatus.ATTACHED) if held_by else None
    return Eni("eni-1", "02:", ADDRESS, SUBNET.id, ZONE, bound, tags, source_check=source_check)


def rule(protocol: str = "-1", first: int = -1, last: int = -1, *, egress: bool = False, group: str = "sg-1") -> Rule:
    """One of sg-1, from or to the members of a group."""
    return Rule("sg-1", egress, protocol, first, last, other_group=group)


def from_all6(protocol: str, port: int) -> Rule:
    """One of sg-1, from everywhere by IPv6."""
    return Rule("sg-1", is_egress=False, protocol=protocol, first=port, last=port, network=ip_network("::/0"))


def carried(name: str, address: Address) -> Carried:
    """A worker's address, in the workers' group."""
    return Carried(name, End(address, frozenset(("sg-1",))))


def by_rules(*rules: Rule, node_ports: Iterable[NodePort] = ()) -> Iterable[Finding]:
    """What EC2's rules say of two workers."""
    return fleet.rules(rules, [carried("i-a", ME)], [carried("i-b", OTHER)], PORT, node_ports)


def by_rules_of_ipv6(*rules: Rule) -> Iterable[Finding]:
    """The same of this one, which has both, and a floating IPv6 address."""
    own = [carried("i-a", ME), carried("i-a", IPV6)]
    return fleet.rules(rules, own, [carried(str(FLOATING6), FLOATING6)], PORT)


def served_at(*addresses: IPv4Address) -> Iterable[Finding]:
    """A NodePort that answers at these, of this node's and the floating one, which it has."""
    return fleet.node_port([TCP], [ME, IPV6], {str(ADDRESS): ADDRESS}, [ADDRESS], lambda _, each: each in addresses)


OUT = rule(egress=True)

CASES: list[tuple[Iterable[Finding], str, str]] = [
    (aws.imds(IDENTITY, 0.01), "ok", "i-a in us-west-2a, 10.0.0.10"),
    (aws.imds(IDENTITY, 2.0), "warn", "within 2000 ms"),
    (aws.imds(MetadataError("IMDS answers 403", "enable it"), 0.0), "fail", "IMDS answers 403 -> enable it"),
    (aws.credentials("arn:aws:sts::1:assumed-role/r"), "ok", "arn:aws:sts::1:assumed-role/r"),
    (aws.credentials(NoCredentials("no AWS credentials", "give")), "fail", "no AWS credentials -> give"),
    (aws.credentials(CloudUnavailable("no answer")), "warn", "STS does not tell: no answer -> nothing, while EC2"),
    (aws.credentials(CloudUnavailable("no name", "look it up")), "warn", "STS does not tell: no name -> look it up"),
    (aws.ec2(0.2), "ok", "within 200 ms"),
    (aws.ec2(4.0), "warn", "within 4000 ms -> let this node reach"),
    (aws.ec2(CloudUnavailable("DescribeSubnets: no answer")), "fail", "no answer -> let this node reach"),
    (aws.ec2(ConfigurationError("AWS_PROFILE: x", "correct it")), "fail", "AWS_PROFILE: x -> correct it"),
    (aws.ec2(NoCredentials("none")), "warn", "no credentials"),
    (aws.ec2(Denied("ec2:DescribeSubnets")), "ok", "by a denial of ec2:DescribeSubnets"),
    (aws.clock(1.0), "ok", "as EC2's"),
    (aws.clock(-30.0), "warn", "30 s behind EC2's -> have the node's chrony"),
    (aws.clock(290.0), "fail", "290 s ahead of EC2's"),
    (aws.clock(None), "warn", "EC2's answer came without its time -> is there a proxy"),
    (aws.permissions((), eni()), "ok", "by dry runs with eni-1"),
    (aws.permissions((), None), "ok", "before there is an interface of ours"),
    (aws.permissions(("ec2:CreateTags",) * 2, eni()), "fail", "IAM denies ec2:CreateTags -> allow ec2:CreateTags to"),
    (vpc.place(ADDRESS, "", SUBNET), "ok", "10.0.0.100: subnet-1 in us-west-2a"),
    (vpc.place(ADDRESS, "it is elsewhere; run there", SUBNET), "fail", "it is elsewhere -> run there"),
    (vpc.owner(ADDRESS, None, "lab", ""), "ok", "free"),
    (vpc.owner(ADDRESS, eni(), "lab", ""), "ok", "our eni-1, which no instance has"),
    (vpc.owner(ADDRESS, eni(held_by="i-b"), "lab", ""), "ok", "attached to i-b by our eni-1"),
    (vpc.owner(ADDRESS, eni({}), "lab", ""), "fail", "eni-1 (tag floatingip=) has the address and is not ours"),
    (vpc.owner(ADDRESS, eni({OWNER_TAG: "b"}), "lab", ""), "fail", "is not ours: nothing is touched -> free it there"),
    (vpc.owner(ADDRESS, eni(), "lab", "eni-2"), "fail", "eni-2: of the other way to carry -> scale to 0"),
    (vpc.slots(Carry.ENI, "i-a", 3, 2, (), 1), "ok", "1 of 3 ENI slots are free"),
    (vpc.slots(Carry.ENI, "i-a", 3, 3, (), 1), "fail", "i-a has no free ENI slot -> keep one free"),
    (vpc.slots(Carry.ENI, "i-a", 3, 3, [eni()], 1), "ok", "all that is needed is here"),
    (vpc.slots(Carry.ENI, "i-a", 3, 3, [eni()], 2), "fail", "no free"),
    (vpc.slots(Carry.ADDRESS, "i-a", 3, 3, [eni()], 2), "ok", "all that is needed is here"),
    (vpc.reservation(ADDRESS, SUBNET, [IPv4Network("10.0.0.96/28")], is_kept=False), "ok", "is reserved in subnet-1"),
    (vpc.reservation(ADDRESS, SUBNET, [], is_kept=True), "ok", "stays on its interface"),
    (
        vpc.reservation(ADDRESS, SUBNET, [], is_kept=False),
        "warn",
        "create-subnet-cidr-reservation` --subnet-id subnet-1",
    ),
    (vpc.source_check([eni()]), "ok", "on"),
    (vpc.source_check([eni(source_check=False)]), "warn", "off on eni-1"),
    (vpc.no_manage([eni()]), "ok", "leaves our interfaces alone"),
    (vpc.no_manage([eni({OWNER_TAG: "lab"})]), "fail", "eni-1: no tag node.k8s.amazonaws.com/no_manage=true"),
    (fleet.workers([Met(WORKER, STATUS)], ZONE, PORT, is_deployed=True), "ok", "i-b (10.0.0.11)"),
    (fleet.workers([], ZONE, PORT, is_deployed=False), "fail", "in us-west-2a, by EC2's tags -> label two"),
    (fleet.workers([Met(WORKER)], ZONE, PORT, is_deployed=False), "warn", "no observer runs yet"),
    (fleet.workers([Met(WORKER)], ZONE, PORT, is_deployed=True), "fail", "i-b (10.0.0.11) -> run two, on two nodes"),
    (fleet.port([Met(WORKER, STATUS)], [], PORT), "ok", "TCP 9807 is open at i-b"),
    (fleet.port([Met(WORKER, refused=True)], [], PORT), "ok", "open at i-b"),
    (
        fleet.port([Met(WORKER)], [], PORT),
        "fail",
        "answers pings, but nothing on TCP 9807 -> let the workers' security",
    ),
    (fleet.port([Met(WORKER, pinged=False)], [], PORT), "fail", "i-b (10.0.0.11) answers nothing on TCP 9807"),
    (fleet.port([Met(WORKER), Met(WORKER, STATUS)], [], PORT), "warn", "nothing on TCP 9807"),
    (fleet.port([Met(WORKER, holds=True), Met(WORKER, STATUS)], [], PORT), "fail", "nothing on TCP 9807"),
    (fleet.port([], [], PORT), "warn", "nobody to try"),
    (fleet.port([], [Reached(ADDRESS, "i-b", sight=Sight.UNSEEN)], PORT), "fail", "of this node from 10.0.0.100"),
    (fleet.port([Met(WORKER, STATUS)], [Reached(ADDRESS, "i-b", sight=Sight.SEEN)], PORT), "ok", "i-b reaches this"),
    (
        fleet.port([Met(WORKER, led_here=True)], [Reached(ADDRESS, "i-b", led_here=True)], PORT),
        "fail",
        "itself answers what it sends to TCP 9807 of i-b (10.0.0.11), 10.0.0.100 -> remove the rule",
    ),
    (fleet.icmp([Met(WORKER, STATUS)], [Reached(ADDRESS, "i-b")], PORT), "ok", "i-b (10.0.0.11), 10.0.0.100"),
    (
        fleet.icmp([Met(WORKER, STATUS, pinged=False)], [], PORT),
        "fail",
        "answers TCP 9807, but no ping -> let the work",
    ),
    (fleet.icmp([Met(WORKER, pinged=False), Met(WORKER, STATUS)], [], PORT), "warn", "answers no ping"),
    (fleet.icmp([], [Reached(ADDRESS, "i-b", pinged=False)], PORT), "fail", "probe blocked: i-b holds the address"),
    (
        fleet.icmp([], [Reached(ADDRESS, "i-b", False, False)], PORT),
        "fail",
        "nor TCP 9807 -> look whether that instance lives; if it does, let the",
    ),
    (fleet.icmp([Met(WORKER, pinged=None)], [], PORT), "warn", "this node can send no pings"),
    (
        by_rules(rule(group=""), OUT),
        "warn",
        "admit ICMP from i-a to i-b only if a prefix list has it -> see icmp and port",
    ),
    (by_rules(rule("tcp", PORT, PORT, group=""), OUT), "fail", "admit no ICMP from i-a to i-b"),
    (fleet.rules(Denied("ec2:D"), [carried("i-a", ME)], [], PORT), "ok", "not known by rules (IAM denies ec2:D)"),
    (fleet.rules(CloudUnavailable("x"), [carried("i-a", ME)], [], PORT), "warn", "not known by rules (x)"),
    (by_rules(rule(), OUT), "ok", "admit ICMP and the observers' port"),
    (by_rules(rule("icmp"), rule("tcp", 9807, 9807), OUT), "ok", "admit ICMP and the observers' port"),
    (by_rules(rule("tcp", 0, 65535), OUT), "fail", "no ICMP from i-a to i-b -> let the workers' security group"),
    (by_rules(rule("icmp"), rule("tcp", 80, 9806), OUT), "fail", "no TCP 9807 from i-b to i-a"),
    (by_rules(rule(group="sg-2"), OUT), "fail", "no ICMP from i-a to i-b"),
    (by_rules(rule()), "fail", "no ICMP from i-a to i-b"),
    (by_rules_of_ipv6(rule("58", 128, -1), rule("tcp", PORT, PORT), OUT), "ok", "admit ICMP and the observers' port"),
    (by_rules_of_ipv6(rule("icmpv6"), from_all6("tcp", PORT), OUT), "ok", "admit ICMP and the observers' port"),
    (by_rules_of_ipv6(rule("icmp"), rule("tcp", PORT, PORT), OUT), "fail", "no ICMPv6 from i-a to 2001:db8:0:1::100"),
    (by_rules_of_ipv6(rule("58", 8, 8), rule("tcp", PORT, PORT), OUT), "fail", "no ICMPv6 from i-a to 2001:db8"),
    (by_rules(rule("icmp"), rule("tcp", 9807, 9807), OUT, node_ports=[TCP]), "warn", "admits TCP 30007 from anybody"),
    (fleet.observer(None, "", is_refused=True), "ok", "none runs on this node"),
    (fleet.observer(RESERVED, "", is_refused=False), "warn", "it does not answer"),
    (fleet.observer(STATUS, "", is_refused=False), "ok", "ready; holds 10.0.0.100"),
    (
        fleet.observer(STATUS, "no free slot; keep one", is_refused=False),
        "fail",
        "no free slot; keep one -> see docs/run",
    ),
    (fleet.node_port([], [], {}, [], lambda _port, _address: False), "ok", "none is to be checked"),
    (
        fleet.node_port([TCP6], [ME, IPV6], {str(FLOATING6): FLOATING6}, [], lambda _, each: each != ME),
        "ok",
        "answers at this node, 2001:db8:0:1::100",
    ),
    (
        fleet.node_port([TCP6], [ME], {str(FLOATING6): FLOATING6}, [], lambda _, each: each != ME),
        "ok",
        "answers at 2001:db8:0:1::100",
    ),
    (
        fleet.node_port([TCP4], [ME], {str(ADDRESS): ADDRESS, str(FLOATING6): FLOATING6}, [], lambda _, _each: True),
        "fail",
        "none is served by IPv6, so nothing answers at 2001:db8:0:1::100 -> set `ipFamilyPolicy",
    ),
    (
        fleet.node_port(
            [TCP4, TCP6], [ME], {"a": ADDRESS, "b": FLOATING6}, [], lambda port, at: at.version in port.versions
        ),
        "ok",
        "30007 (web) answers at b",
    ),
    (served_at(ME, ADDRESS), "ok", "30007 (web) answers at this node, 10.0.0.100"),
    (served_at(ME), "fail", "does not answer at 10.0.0.100 -> run a ready pod"),
    (served_at(ADDRESS), "warn", "but not at this node"),
    (served_at(), "fail", "does not answer at this node, 10.0.0.100"),
    (node.capabilities(("NET_RAW",)), "fail", "lacks NET_RAW -> give the container"),
    (node.capabilities(NONE), "ok", "all there"),
    (node.cpu(control_group.slowed(0.1)), "warn", "sees no holder die -> take that limit away"),
    (node.cpu(control_group.slowed(None)), "ok", "no limit"),
    (
        node.nft(HostError("nft: command not found", "the image must contain nftables")),
        "fail",
        "found -> the image must",
    ),
    (node.nft(None), "ok", "nft lists tables"),
    (node.forwarding({4: True}), "ok", "net.ipv4.ip_forward is 1"),
    (node.forwarding({6: False}), "fail", "forwarding is 0 -> set net.ipv6.conf.all.forwarding=1"),
    (node.rp_filter({"all": 1, "eth1": 2}), "ok", "all: 1, eth1: 2"),
    (node.rp_filter({}), "ok", "no such setting"),
    (node.rp_filter({"all": 1, "eth1": 0}), "warn", "strict on eth1"),
    (node.rp_filter({}, (), ("nft's chain ip6 a b",)), "warn", "dropped by nft's chain ip6 a b"),
    (node.conntrack(100, 1000), "ok", "100 of 1000"),
    (node.conntrack(901, 1000), "warn", "901 of 1000 connections are followed -> raise net.netfilter.nf_conntrack_max"),
    (node.links({}, ()), "ok", "no interface of ours"),
    (node.links({"eth1": ()}, ()), "ok", "nobody else has configured eth1"),
    (
        node.links({"eth1": ("a route to default (dhcp)",)}, ()),
        "warn",
        "put on eth1: a route to default (dhcp) -> let Netw",
    ),
    (node.routing(NONE), "ok", "are free"),
    (node.routing(("table 840 has routes of others; set `table` to a free one",)), "fail", "others -> set `table` to"),
    (node.firewall(NONE, NONE), "ok", "no chain drops all that it does not know"),
    (
        node.firewall(("nft's chain ip x y (input)",), NONE),
        "warn",
        "dropped by nft's chain ip x y (input) -> let it accept",
    ),
    (node.marks(NONE, 0x70, NONE), "ok", "nobody else uses 0x70"),
    (node.marks(("nft's chain ip x y",), 0x70, NONE), "warn", "used by others, too: nft's chain ip x y -> choose bits"),
    (node.kube_proxy([KEPT_OFF], frozenset(), has_ipvs=False), "fail", "at 10.0.0.10 -> set its nodePortAddresses"),
    (node.kube_proxy(NONE, frozenset(("10.0.0.100",)), has_ipvs=False), "ok", "nftables mode"),
    (node.kube_proxy(NONE, None, has_ipvs=True), "warn", "up to 30 s late -> set `ipvs.syncPeriod"),
    (node.kube_proxy(NONE, None, has_ipvs=False), "ok", "as far as nft tells: it serves any address"),
    (kubernetes.api_server(OwnPod(0.0, answered=True)), "ok", "it answers"),
    (kubernetes.api_server(OwnPod(0.0, problem="nothing came; mount it")), "fail", "nothing came -> mount it"),
    (
        kubernetes.api_server(OwnPod(0.0, problem="POD_NAME lacks; apply", unset="POD_NAME")),
        "warn",
        "this is no pod of the manifest (POD_NAME is not set)",
    ),
    (kubernetes.role(OwnPod(0.0, answered=True), None), "ok", "may be listed"),
    (kubernetes.role(OwnPod(0.0, True, "403 for x", refused=True), None), "fail", "403 for x -> apply the Role"),
    (kubernetes.role(OwnPod(0.0, True, "401; restart", refused=True), None), "fail", "401 -> restart"),
    (kubernetes.role(OwnPod(0.0, True, "429 for x"), None), "warn", "429 for x -> run the doctor again"),
    (kubernetes.role(OwnPod(0.0, answered=True), ServicesUnknown("500")), "warn", "500 -> run the doctor again"),
    (kubernetes.role(OwnPod(0.0, answered=True), ServicesUnknown("403", "apply it")), "fail", "403 -> apply it"),
    (kubernetes.role(OwnPod(0.0), None), "warn", "has not answered"),
]


@pytest.mark.parametrize(("findings", "verdict", "said"), CASES)
def test_each_check_gives_verdict_cause_and_remedy(findings: Iterable[Finding], verdict: str, said: str) -> None:
    """The worst of its findings counts."""
    found = list(findings)
    assert max(found, key=lambda each: list(Verdict).index(each.verdict)).verdict == verdict
    told = "\n".join(f"{each.what} -> {each.remedy}" for each in found if each.verdict == verdict)
    assert said in told


def test_every_check_is_made_and_has_a_line_in_the_page() -> None:
    """The table has its name, why it matters, and what to do; nothing else is told there."""
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.*) \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(check.name, check.why, check.remedy) for check in CHECKS]
    assert set(LOOKS) == {check.name for check in CHECKS}
    assert {check.name for check in FOR_ATTACH} < set(LOOKS)


def test_a_line_tells_what_why_and_what_to_do_unless_all_is_well() -> None:
    """Of what is not known why that is: that it matters need not be told each time."""
    [check] = [check for check in CHECKS if check.name == "slots"]
    assert check.ok("2 are free").line() == "ok    slots: 2 are free"
    assert check.unknown("EC2 did not answer", "see ec2").line() == (
        "warn  slots: not known: EC2 did not answer; what to do: see ec2"
    )
    bad = check.fail("none is free")
    assert bad.line() == f"fail  slots: none is free; why it matters: {check.why}; what to do: {check.remedy}"
    assert failed([check.ok("x"), check.warn("x"), bad]) == [bad]


def test_what_fails_once_fails_for_all_who_ask() -> None:
    """And what is answered is not asked again."""

    class Asked:
        count = 0

        @once
        def answer(self) -> int:
            """Counts."""
            self.count += 1
            return self.count

        @once
        def failure(self) -> int:
            """Fails, and counts."""
            self.count += 10
            raise HostError("once")

    asked = Asked()
    assert (asked.answer, asked.answer) == (1, 1)
    for _ in range(2):
        with pytest.raises(HostError, match="once"):
            _ = asked.failure
    assert asked.count == 11


def run(tmp_path: Path, document: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """`floatingip doctor` where there is neither IMDS nor AWS, as far as it waits for that."""
    (tmp_path / "settings.yaml").write_text(document, encoding="utf-8")
    basic = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "FLOATING_IP": str(ADDRESS)}
    command = [sys.executable, "-m", "floatingip", "doctor", "--settings", "settings.yaml", *options]
    return subprocess.run(command, env=basic, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)


def test_bad_settings_are_failures_each_by_itself(tmp_path: Path) -> None:
    """Nothing else can be looked at."""
    done = run(tmp_path, "fall: many\ncolour: red\n")
    assert (done.returncode, done.stderr) == (1, "")
    assert [line[:22] for line in done.stdout.splitlines()] == ["fail  settings: fall: ", "fail  settings: colour"]


def test_everything_is_told_in_time_whoever_is_silent(tmp_path: Path) -> None:
    """What has not come is not known, by a warning."""
    done = run(tmp_path, "", "--json", "--within", "1")
    found = json.loads(done.stdout)
    assert list(dict.fromkeys(each["check"] for each in found)) == [check.name for check in CHECKS]
    assert {each["check"]: each["what"] for each in found}["place"].startswith("not known: ")
    assert done.returncode == any(each["verdict"] == "fail" for each in found)


def test_what_hangs_is_blamed_for_what_rests_on_it() -> None:
    """IMDS before EC2, which is not asked without it; where neither hangs, a check that is late is its own matter."""
    by_imds = [_late(check, (IMDS, EC2, CLOCK), 4.0) for check in (IMDS, EC2, CLOCK)]
    assert [(each.verdict, each.remedy) for each in by_imds[1:]] == [(Verdict.WARN, "see imds")] * 2
    assert [each.verdict for each in (by_imds[0], _late(EC2, (EC2, CLOCK), 4.0))] == [Verdict.FAIL] * 2
    assert _late(CLOCK, (EC2, CLOCK), 4.0).remedy == "see ec2"
    assert _late(NFT, (NFT,), 4.0).remedy == NFT.remedy
