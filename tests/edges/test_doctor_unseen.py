"""What the doctor says of what this node's kernel or nft does not show: not known, or wrong, and never "ok"."""

import threading
from collections.abc import Iterator

import pytest

from floatingip.commands.doctor import checks, examine, finding, node
from floatingip.commands.doctor.facts import Facts
from floatingip.commands.doctor.finding import Finding, Verdict
from floatingip.core.ec2 import Eni
from floatingip.core.settings import Settings
from floatingip.edges.kernel import chains
from tests.core.nodes import ADDRESS
from tests.edges.test_doctor_permissions import OnWorker

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
